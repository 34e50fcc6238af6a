"""Tell milliseconds from seconds and microseconds by what the GPU could have done.

Quartiles, not the median that decides elsewhere: in some published tables so few rows come
near the speed of light that a median's bounds would let a thousandth of their times pass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gpucv.errors import TraceError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["JUDGED_FROM_US", "refuse_other_units"]

JUDGED_FROM_US = 5.0
"""Speed of light of the rows judged, us: the time of smaller ones is that of the launch."""

_FEWEST = 20
"""Rows needed for a verdict."""
_SECONDS, _MICROSECONDS = 2.0, 0.005
"""Utilisations between which milliseconds lie. Over 321 published tables the lower
quartile is 0.005 to 0.66 and the upper one 0.021 to 1.98: a thousand times more, or less,
falls outside."""


def refuse_other_units(name: str, column: str, utilisation: NDArray[np.float64]) -> None:
    """Raise TraceError if times given in ms look like seconds or microseconds.

    Single rows are wrong by that much in published tables; a file's quartiles are not.

    Parameters
    ----------
    name, column : str
        The file and the column judged.
    utilisation : ndarray, shape (n_rows,)
        Speed of light / time, of the rows with a speed of light of `JUDGED_FROM_US` or more.
    """
    if len(utilisation) < _FEWEST:
        return
    lower, upper = np.quantile(utilisation, [0.25, 0.75])
    rows = f"3 of 4 of {len(utilisation):,} rows"
    if lower > _SECONDS:
        fault = f"{rows} are over {lower:,.0f} x faster than the GPU's"
        unit, factor = "seconds", "multiply them by 1000"
    elif upper < _MICROSECONDS:
        fault = f"{rows} are over {1 / upper:,.0f} x slower than the GPU's"
        unit, factor = "microseconds", "divide them by 1000"
    else:
        return
    msg = (
        f"{name}, column {column!r}: {fault} peak rates allow: the times look like {unit}; the "
        f"format's unit is ms; {factor}"
    )
    raise TraceError(msg)
