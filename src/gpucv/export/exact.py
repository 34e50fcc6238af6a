"""The exponential as a fixed sequence of float64 operations, the same bits in any language.

Mathematical libraries agree on the exponential but for its last bit. An artifact promises the
same times wherever it is read, so its exponential is spelled out: every line below is one
operation, rounded to float64, and none may be fused with the next.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["COEFFICIENTS", "exact_exp"]

COEFFICIENTS = tuple(1.0 / math.factorial(n) for n in range(14))
"""Taylor's, 1 / n!: on |r| <= ln 2 / 2 what is left out is below a twentieth of the last bit."""

_LOG2_E = 1.4426950408889634
_LN2_HIGH = float.fromhex("0x1.62e42feep-1")  # its 21 last bits are 0: k times it is exact
_LN2_LOW = float.fromhex("0x1.a39ef35793c76p-33")
_LARGEST = 709.782712893384
"""Beyond it the result is above float64."""
_SMALLEST = -745.1332191019412
"""Below it the result rounds to 0."""


def exact_exp(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return e to the power of x, within one unit in the last place.

    Parameters
    ----------
    x : ndarray of float64

    Returns
    -------
    ndarray of float64
        NaN where x is, infinite above 709.782..., 0 below -745.133...

    Notes
    -----
    Cody and Waite 1980, *Software Manual for the Elementary Functions*: x is k ln 2 + r with
    ln 2 in two parts, so that r loses nothing; a polynomial gives exp(r), and 2^k is exact.
    """
    inside = np.clip(np.where(np.isnan(x), 0.0, x), _SMALLEST, _LARGEST)
    k = np.floor(inside * _LOG2_E + 0.5)
    high = inside - k * _LN2_HIGH
    low = k * _LN2_LOW
    r = high - low
    lost = (high - r) - low
    p = np.full_like(r, COEFFICIENTS[13])
    for n in range(12, 1, -1):
        p = p * r
        p = p + COEFFICIENTS[n]
    s = r + (lost + (r * r) * p)
    e = 1.0 + s
    # In two steps: 2^1024 is no float64, and only the last may round to a subnormal.
    first = np.floor(k / 2.0)
    with np.errstate(over="ignore", under="ignore"):
        result = (e * _power_of_two(first)) * _power_of_two(k - first)
    result = np.where(x > _LARGEST, np.inf, np.where(x < _SMALLEST, 0.0, result))
    return np.where(np.isnan(x), x, result)


def _power_of_two(k: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 2^k for whole k from -1022 to 1023, made from its bits."""
    return ((k.astype(np.int64) + 1023) << 52).view(np.float64)
