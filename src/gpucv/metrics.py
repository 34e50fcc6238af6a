"""How wrong predictions are.

Percentage errors leave out rows whose measured value is zero, as the published
study does. A metric that is undefined (no rows, no spread) is NaN, never a guess.

Measured and predicted values on a GPU (both CuPy's) are scored there: a handful of numbers
crosses to the host, the arrays do not. Sums are added up in another order there, so the
last digits of a score may differ.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from gpucv.frames import is_on_device, namespace_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpucv.frames import Array

__all__ = ["Scores", "mape", "mspe", "p99_ape", "pearson_r", "score", "time_error", "wape"]


Values: TypeAlias = "Array | Sequence[float]"
"""Numbers of shape (n,): an array of either device, or a list."""


@dataclass(frozen=True, slots=True)
class Scores:
    """The six figures a fold is scored by; all but `r` in percent."""

    mape: float
    mspe: float
    r: float
    wape: float
    p99_ape: float
    time_error: float

    def named(self, prefix: str) -> dict[str, float]:
        """Return the figures under ``<prefix>_<metric>`` names."""
        return {f"{prefix}_{name}": value for name, value in asdict(self).items()}


def score(actual: Values, predicted: Values) -> Scores:
    """Return every metric of `predicted` against `actual`, both of shape (n,)."""
    errors = _percentage_errors(actual, predicted)
    return Scores(
        mape=_mean(np.abs(errors)),
        mspe=_mean(errors),
        r=pearson_r(actual, predicted),
        wape=wape(actual, predicted),
        p99_ape=_p99(np.abs(errors)),
        time_error=time_error(actual, predicted),
    )


def mape(actual: Values, predicted: Values) -> float:
    """Return the mean absolute percentage error over rows with a non-zero `actual`.

    Examples
    --------
    >>> mape([100.0, 200.0, 0.0], [110.0, 180.0, 5.0])
    10.0
    """
    return _mean(np.abs(_percentage_errors(actual, predicted)))


def mspe(actual: Values, predicted: Values) -> float:
    """Return the mean *signed* percentage error, positive where predictions are too high.

    Elsewhere the letters also stand for a squared error; here, as in the published
    study, they do not.
    """
    return _mean(_percentage_errors(actual, predicted))


def wape(actual: Values, predicted: Values) -> float:
    """Return sum of absolute errors / sum of absolute `actual`, in percent."""
    a, p = _pair(actual, predicted)
    largest = _largest(a)
    if not largest:
        return float("nan")
    with np.errstate(over="ignore", invalid="ignore"):
        a, p = a / largest, p / largest  # neither sum overflows
        return 100.0 * float(np.abs(p - a).sum() / np.abs(a).sum())


def time_error(actual: Values, predicted: Values) -> float:
    """Return the error of the total, |sum(predicted) - sum(actual)| / |sum(actual)|, in percent.

    What the published study calls the time-weighted error: how far off a simulation is that
    adds the predictions up. Errors of either sign cancel, so it never exceeds `wape` where
    no `actual` is negative. NaN where the total is zero.

    Examples
    --------
    >>> time_error([100.0, 100.0], [150.0, 75.0])
    12.5
    """
    a, p = _pair(actual, predicted)
    largest = _largest(a)
    if not largest:
        return float("nan")
    with np.errstate(over="ignore", invalid="ignore"):
        total = float((a / largest).sum())
        off = float((p / largest).sum()) - total
    return 100.0 * abs(off) / abs(total) if total else float("nan")


def p99_ape(actual: Values, predicted: Values) -> float:
    """Return the 99th percentile of the absolute percentage error."""
    return _p99(np.abs(_percentage_errors(actual, predicted)))


def _p99(errors: Array) -> float:
    with np.errstate(invalid="ignore"):
        return float(np.quantile(errors, 0.99)) if len(errors) else float("nan")


def pearson_r(actual: Values, predicted: Values) -> float:
    """Return the linear correlation; NaN for fewer than two rows or a constant side."""
    a, p = _pair(actual, predicted)
    if len(a) < 2:
        return float("nan")
    return float(np.clip(_direction(a) @ _direction(p), -1.0, 1.0))


def _direction(values: Array) -> Array:
    """Return the deviations from the mean as a unit vector; NaN where there is no spread.

    Scaled, a constant is exactly 1 and so is its mean: no rounding passes for spread.
    Scaling also keeps the squares finite.
    """
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        scaled = values / np.abs(values).max()
        deviations = scaled - scaled.mean()
        return deviations / np.sqrt(deviations @ deviations)


def _largest(values: Array) -> float:
    """Return the largest magnitude; 0 of no rows, of which CuPy's maximum has none."""
    return float(np.abs(values).max()) if len(values) else 0.0


def _pair(actual: Values, predicted: Values) -> tuple[Array, Array]:
    """Return both as float64, where `predicted` lies; they are not moved for a score."""
    if is_on_device(actual) != is_on_device(predicted):
        msg = "actual and predicted must lie on the same device"
        raise ValueError(msg)
    xp = namespace_of(predicted)
    a, p = xp.asarray(actual, dtype=np.float64), xp.asarray(predicted, dtype=np.float64)
    if a.ndim != 1 or a.shape != p.shape:
        msg = f"actual and predicted must both have shape (n,), found {a.shape} and {p.shape}"
        raise ValueError(msg)
    return a, p


def _percentage_errors(actual: Values, predicted: Values) -> Array:
    a, p = _pair(actual, predicted)
    measured = a != 0
    with np.errstate(over="ignore"):  # an error beyond float64 is infinite
        return 100.0 * ((p[measured] - a[measured]) / a[measured])


def _mean(values: Array) -> float:
    with np.errstate(over="ignore", invalid="ignore"):
        return float(values.mean()) if len(values) else float("nan")
