"""What a predictor learns instead of the target itself, and the way back.

A relative transform learns the logarithm of target / reference: the speed of light
(``utilisation``) or what a baseline predicts (``ratio``). What is learnt then has no
unit, and says how far from the reference a row is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gpucv.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gpucv.study import TransformName

__all__ = ["RELATIVE", "check_domain", "forward", "inverse", "smearing_factor"]

RELATIVE = {"utilisation": "a speed of light (sol_us)", "ratio": "a baseline's prediction"}
"""Transforms that divide by something, and by what."""


def check_domain(
    name: TransformName, y: NDArray[np.float64], reference: NDArray[np.float64] | None = None
) -> None:
    """Refuse targets, and references where given, that the transform is not defined for.

    Raises
    ------
    DataError
        If a logarithm meets what is not positive and finite.
    """
    if name != "raw" and len(y) and y.min() <= 0:
        msg = (
            f"transform {name!r} needs positive targets, and {int((y <= 0).sum()):,} of "
            f"{len(y):,} are not (the smallest is {y.min():g}); use 'raw' or drop these rows"
        )
        raise DataError(msg)
    if reference is None or name not in RELATIVE:
        return
    usable = np.isfinite(reference) & (reference > 0)
    if not usable.all():
        msg = (
            f"transform {name!r} needs {RELATIVE[name]} above 0 in every row, and "
            f"{int((~usable).sum()):,} of {len(usable):,} rows have none; use 'log', or leave "
            "these rows out"
        )
        raise DataError(msg)


def forward(
    name: TransformName, y: NDArray[np.float64], reference: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Return what the predictor is fitted to, shape (n,).

    `reference`, of the target's unit, is what a relative transform divides by.
    """
    if name == "raw":
        return y
    return np.log(y / (1.0 if reference is None else reference))


def inverse(
    name: TransformName, z: NDArray[np.float64], reference: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Return predictions in the target's own unit, shape (n,); infinite beyond float64."""
    if name == "raw":
        return z
    with np.errstate(over="ignore"):
        return np.exp(z) * (1.0 if reference is None else reference)


def smearing_factor(z: NDArray[np.float64], fitted: NDArray[np.float64]) -> float:
    """Return what predictions are multiplied by, so that their mean is not biased.

    The exponential of a mean logarithm is the median, not the mean. Duan's estimate of
    the difference is the mean of the exponentiated residuals (Duan 1983, "Smearing
    estimate: a nonparametric retransformation method").
    """
    with np.errstate(over="ignore"):
        return float(np.exp(z - fitted).mean()) if len(z) else 1.0
