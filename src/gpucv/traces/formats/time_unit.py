"""Refuse times in another unit than the format's, on the evidence of physics.

A time is held against the least the work can take (the speed of light) plus the start
of a kernel or of a pass. The median of every operator in public profiles lies between
0.04 and 10 times that, so a thousandth of it is below 0.01 and a thousandfold above 200
but for times that are nonsense already.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gpucv.errors import TraceError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["REFERENCE_BANDWIDTH", "REFERENCE_FLOPS", "refuse_other_unit"]

REFERENCE_FLOPS = 312e12
"""FLOP/s taken for a GPU the catalog does not know: within some ten times of any."""
REFERENCE_BANDWIDTH = 2.039e12
"""Bytes/s taken for such a GPU."""

_LEAST, _MOST = 1 / 50, 200.0
"""Bounds of a median time over what the work takes at least."""


def refuse_other_unit(
    latency_us: NDArray[np.float64], least_us: NDArray[np.float64], start_us: float, what: str
) -> None:
    """Raise TraceError if times read as milliseconds can only be of another unit.

    Parameters
    ----------
    latency_us : ndarray, shape (n_rows,)
        Times, as they are if the file holds milliseconds.
    least_us : ndarray, shape (n_rows,)
        Their speed of light; NaN where it is not known.
    start_us : float
        What starting the work takes, whatever its size.
    what : str
        The file and column, as the message begins.
    """
    known = np.isfinite(least_us) & np.isfinite(latency_us) & (least_us > 0)
    if not known.any():
        return
    factor = float(np.median(latency_us[known] / (least_us[known] + start_us)))
    if _LEAST <= factor <= _MOST:
        return
    if factor < 1:
        times = f"{1 / factor:,.0f}x below" if factor else "nothing beside"
        unit, mend = "seconds", "multiply by 1000"
    elif factor < _MOST * 1000:
        times, unit, mend = f"{factor:,.0f}x above", "microseconds", "divide by 1000"
    else:
        times, unit, mend = f"{factor:,.0f}x above", "nanoseconds", "divide by 1000000"
    msg = (
        f"{what}: the median time is {times} what the work takes at the GPU's peak and "
        f"bandwidth ({np.count_nonzero(known):,} rows): it looks like {unit}; the format's unit "
        f"is ms: {mend}"
    )
    raise TraceError(msg)
