"""What a predictor learns instead of the target itself, and the way back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from gpucv.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["TransformName", "check_domain", "forward", "inverse"]

TransformName = Literal["raw", "log"]


def check_domain(name: TransformName, y: NDArray[np.float64]) -> None:
    """Refuse targets the transform is not defined for.

    Raises
    ------
    DataError
        If ``log`` meets a target that is not positive.
    """
    if name == "log" and len(y) and y.min() <= 0:
        msg = (
            f"transform 'log' needs positive targets, and {int((y <= 0).sum()):,} of {len(y):,} "
            f"are not (the smallest is {y.min():g}); use 'raw' or drop these rows"
        )
        raise DataError(msg)


def forward(name: TransformName, y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what the predictor is fitted to, shape (n,)."""
    return np.log(y) if name == "log" else y


def inverse(name: TransformName, z: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return predictions in the target's own unit, shape (n,); infinite beyond float64."""
    if name == "raw":
        return z
    with np.errstate(over="ignore"):
        return np.exp(z)
