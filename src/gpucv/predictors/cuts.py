"""Cuts that every fold of a study shares: one sketch of the whole table instead of one a fold.

XGBoost bins a matrix by the cuts of another one it is given as ``ref``. Of that other one it
reads the cuts alone, so a matrix of a single row that was binned by the table's stands for the
table here (v3.2.0, ``src/data/iterative_dmatrix.cc``): what is kept takes kilobytes, not the
binned table.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from gpucv.predictors.blocks import RowBlocks

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from gpucv.predictors.base import EveryRow

__all__ = ["shared_cuts"]

_MOST = 16
"""Cuts kept, those first made dropped first: of each view and number of bins of a study, one."""
_made: dict[Hashable, Any] = {}
_access = threading.Lock()


def shared_cuts(every_row: EveryRow, kind: Hashable, bin_rows: Callable[[Any, Any], Any]) -> Any:
    """Return a matrix that holds the cuts of a whole table.

    Made once per process; who else asks meanwhile waits for it.

    Parameters
    ----------
    every_row : EveryRow
    kind : hashable
        What else the cuts follow from: the number of bins, the device.
    bin_rows : callable
        ``(X, ref)`` to a matrix of rows without labels, binned by `ref` or by their own cuts.
    """
    key = (every_row.name, kind)
    with _access:
        found = _made.get(key)
        if found is not None:
            return found
        rows = every_row.rows()
        first = next(rows.blocks())[1][:1] if isinstance(rows, RowBlocks) else rows[:1].copy()
        whole = bin_rows(rows, None)
        del rows
        while len(_made) >= _MOST:
            del _made[next(iter(_made))]
        _made[key] = found = bin_rows(first, whole)
        return found
