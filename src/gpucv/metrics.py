"""How wrong predictions are.

Percentage errors leave out rows whose measured value is zero, as the published
study does. A metric that is undefined (no rows, no spread) is NaN, never a guess.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["Scores", "mape", "mspe", "p99_ape", "pearson_r", "score", "time_error", "wape"]


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


def score(actual: ArrayLike, predicted: ArrayLike) -> Scores:
    """Return every metric of `predicted` against `actual`, both of shape (n,)."""
    return Scores(
        mape=mape(actual, predicted),
        mspe=mspe(actual, predicted),
        r=pearson_r(actual, predicted),
        wape=wape(actual, predicted),
        p99_ape=p99_ape(actual, predicted),
        time_error=time_error(actual, predicted),
    )


def mape(actual: ArrayLike, predicted: ArrayLike) -> float:
    """Return the mean absolute percentage error over rows with a non-zero `actual`.

    Examples
    --------
    >>> mape([100.0, 200.0, 0.0], [110.0, 180.0, 5.0])
    10.0
    """
    return _mean(np.abs(_percentage_errors(actual, predicted)))


def mspe(actual: ArrayLike, predicted: ArrayLike) -> float:
    """Return the mean *signed* percentage error, positive where predictions are too high.

    Elsewhere the letters also stand for a squared error; here, as in the published
    study, they do not.
    """
    return _mean(_percentage_errors(actual, predicted))


def wape(actual: ArrayLike, predicted: ArrayLike) -> float:
    """Return sum of absolute errors / sum of absolute `actual`, in percent."""
    a, p = _pair(actual, predicted)
    largest = float(np.abs(a).max(initial=0.0))
    if not largest:
        return float("nan")
    with np.errstate(over="ignore", invalid="ignore"):
        a, p = a / largest, p / largest  # neither sum overflows
        return 100.0 * float(np.abs(p - a).sum() / np.abs(a).sum())


def time_error(actual: ArrayLike, predicted: ArrayLike) -> float:
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
    largest = float(np.abs(a).max(initial=0.0))
    if not largest:
        return float("nan")
    with np.errstate(over="ignore", invalid="ignore"):
        total = float((a / largest).sum())
        off = float((p / largest).sum()) - total
    return 100.0 * abs(off) / abs(total) if total else float("nan")


def p99_ape(actual: ArrayLike, predicted: ArrayLike) -> float:
    """Return the 99th percentile of the absolute percentage error."""
    errors = np.abs(_percentage_errors(actual, predicted))
    with np.errstate(invalid="ignore"):
        return float(np.quantile(errors, 0.99)) if len(errors) else float("nan")


def pearson_r(actual: ArrayLike, predicted: ArrayLike) -> float:
    """Return the linear correlation; NaN for fewer than two rows or a constant side."""
    a, p = _pair(actual, predicted)
    if len(a) < 2:
        return float("nan")
    return float(np.clip(_direction(a) @ _direction(p), -1.0, 1.0))


def _direction(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the deviations from the mean as a unit vector; NaN where there is no spread.

    Scaled, a constant is exactly 1 and so is its mean: no rounding passes for spread.
    Scaling also keeps the squares finite.
    """
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        scaled = values / np.abs(values).max()
        deviations = scaled - scaled.mean()
        direction: NDArray[np.float64] = deviations / np.sqrt(deviations @ deviations)
    return direction


def _pair(
    actual: ArrayLike, predicted: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    a, p = np.asarray(actual, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    if a.ndim != 1 or a.shape != p.shape:
        msg = f"actual and predicted must both have shape (n,), found {a.shape} and {p.shape}"
        raise ValueError(msg)
    return a, p


def _percentage_errors(actual: ArrayLike, predicted: ArrayLike) -> NDArray[np.float64]:
    a, p = _pair(actual, predicted)
    measured = a != 0
    with np.errstate(over="ignore"):  # an error beyond float64 is infinite
        errors: NDArray[np.float64] = 100.0 * ((p[measured] - a[measured]) / a[measured])
    return errors


def _mean(values: NDArray[np.float64]) -> float:
    with np.errstate(over="ignore", invalid="ignore"):
        return float(values.mean()) if len(values) else float("nan")
