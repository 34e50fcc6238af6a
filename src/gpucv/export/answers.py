"""From the sum of the trees to a time: one fixed sequence of operations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from gpucv.export.exact import exact_exp

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LARGEST_US", "times_of", "whole_microseconds"]

LARGEST_US = 9_223_372_036_854_774_784
"""2^63 - 1024, the largest float64 below 2^63: any longer time is this one."""


def times_of(
    margins: NDArray[np.float32],
    transform: Literal["raw", "log", "utilisation", "ratio"],
    reference: NDArray[np.float64] | None,
    smearing: float,
    floor_us: float | None,
) -> NDArray[np.float64]:
    """Return times in the target's unit.

    Parameters
    ----------
    margins : ndarray of float32, shape (n,)
    transform : str
    reference : ndarray of float64, shape (n,), or None
        What a relative transform multiplies by.
    smearing : float
    floor_us : float or None

    Returns
    -------
    ndarray of float64, shape (n,)
        NaN where the reference is.
    """
    with np.errstate(all="ignore"):
        values = margins.astype(np.float64)
        if transform != "raw":
            values = exact_exp(values)
        if reference is not None:
            values = values * reference
        if smearing != 1.0:
            values = values * smearing
        if floor_us is not None:
            values = np.where((values >= floor_us) | np.isnan(values), values, floor_us)
    return values


def whole_microseconds(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return times as a simulator's clock takes them: whole, halves to even, at least 1.

    0 stands where there is none (NaN).
    """
    known = np.isfinite(values) | np.isinf(values)
    bounded = np.clip(np.rint(np.where(known, values, 1.0)), 1.0, float(LARGEST_US))
    return np.where(known, bounded, 0.0).astype(np.int64)
