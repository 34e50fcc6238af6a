"""Statistics of many groups at once, on sorted arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["medians", "shares", "starts_of"]


def starts_of(keys: NDArray[Any]) -> NDArray[np.int64]:
    """Return where each run of equal values starts in sorted `keys`."""
    if not len(keys):
        return np.zeros(0, dtype=np.int64)
    return np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))


def medians(
    keys: NDArray[np.int64], values: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """Return each group's key in order, its median, and how many values it has.

    Parameters
    ----------
    keys, values : ndarray, shape (n_rows,)
        Without NaN.
    """
    order = np.lexsort((values, keys))
    keys, values = keys[order], values[order]
    starts = starts_of(keys)
    counts = np.diff(np.append(starts, len(keys)))
    lower, upper = values[starts + (counts - 1) // 2], values[starts + counts // 2]
    # Half of a sum would turn equal values into others by rounding near the largest floats.
    return keys[starts], np.where(lower == upper, lower, (lower + upper) / 2), counts


def shares(
    numbers: NDArray[np.int64], counted: NDArray[np.bool_], groups: int
) -> list[tuple[int, int]]:
    """Return, of each group by number, how many rows are `counted` and how many there are."""
    hits = np.bincount(numbers[counted], minlength=groups)
    rows = np.bincount(numbers, minlength=groups)
    return list(zip(hits.tolist(), rows.tolist(), strict=True))
