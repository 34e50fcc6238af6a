"""Rows as a pipeline sees them: what is known beforehand, and what was measured.

`Inputs` hold no target. Whatever is asked for a prediction gets them and nothing else,
so that what a fold holds out cannot reach a fit.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from gpucv.frames import like, namespace_of, take
from gpucv.splits import combine

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from gpucv.features import FeatureTable
    from gpucv.frames import Array
    from gpucv.machine import Device
    from gpucv.splits import GroupLabels

__all__ = ["Examples", "GatheredBlocks", "Inputs", "block_rows", "examples_of", "inputs_of_rows"]

_BLOCK_ROWS = 500_000
_CACHED_ROWS = 4096
_BLOCK_VALUES = 1 << 25
"""Fewer rows where they are wide: a GPU sketches a block in 16 bytes a value, 512 MiB at most."""


def block_rows(columns: int) -> int:
    """Return how many rows of so many columns are gathered at a time."""
    return max(1, min(_BLOCK_ROWS, _BLOCK_VALUES // max(1, columns)))


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """Some rows of a feature table, without their target.

    Attributes
    ----------
    matrix : ndarray of float32, shape (n_table, n_features)
    light : ndarray of float64, shape (n_table,), or None
    keys : mapping of str to GroupLabels
        Of all rows of the table.
    rows : ndarray of intp, shape (n,)
        Which of them these are.
    combined : dict of tuple of str to GroupLabels
        Combinations of `keys` made so far, of all rows of the table. Filled as they are asked
        for, and shared by all inputs of one table: nothing else may write it.
    device_matrix : cupy.ndarray of float32, shape (n_table, n_features), or None
        `matrix` in the memory of a GPU, where folds run on one.
    """

    matrix: NDArray[np.float32]
    light: NDArray[np.float64] | None
    keys: Mapping[str, GroupLabels]
    rows: NDArray[np.intp]
    combined: dict[tuple[str, ...], GroupLabels] = field(default_factory=dict, repr=False)
    device_matrix: Array | None = field(default=None, repr=False)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.rows)

    def features(self, columns: Sequence[int], on: Device = "cpu") -> Array:
        """Return the features at `columns`, shape (n, len(columns)), C order.

        With `on` "cuda" they are gathered in the memory of the GPU, if the table is there.
        """
        every = tuple(columns) == tuple(range(self.matrix.shape[1]))
        if on == "cuda" and self.device_matrix is not None:
            return _gathered(self.device_matrix, self.rows, None if every else columns)
        if every:
            return self.matrix[self.rows]
        return np.ascontiguousarray(self.matrix[np.ix_(self.rows, np.asarray(columns, int))])

    def by_column(self, columns: Sequence[int]) -> NDArray[np.float32]:
        """Return the features at `columns` on the host, in Fortran order.

        Gathered a few thousand rows at a time, while they are in a cache: so it takes 3 ms
        for 70,000 rows of 30 features, and no second copy.
        """
        every = tuple(columns) == tuple(range(self.matrix.shape[1]))
        out = np.empty((len(self), len(columns)), dtype=self.matrix.dtype, order="F")
        for start in range(0, len(self), _CACHED_ROWS):
            rows = self.rows[start : start + _CACHED_ROWS]
            some = self.matrix[rows]
            out[start : start + len(rows)] = some if every else some[:, columns]
        return out

    def blocks(self, columns: Sequence[int], on: Device = "cpu") -> GatheredBlocks:
        """Return the features at `columns`, of which only one block is gathered at a time."""
        return GatheredBlocks(self, tuple(columns), on)

    @property
    def sol_us(self) -> NDArray[np.float64] | None:
        """Speed of light of each row, us; None where the table has none."""
        return None if self.light is None else self.light[self.rows]

    def groups(self, columns: Sequence[str]) -> GroupLabels:
        """Return each row's combination of `columns`, coded alike for all rows of the table."""
        asked = tuple(columns)
        whole = self.combined.get(asked)
        if whole is None:
            # Two threads may both get here; they make the same labels.
            whole = self.combined[asked] = combine([self.keys[column] for column in asked])
        return replace(whole, codes=whole.codes[self.rows])

    def take(self, which: NDArray[np.intp] | NDArray[np.bool_]) -> Inputs:
        """Return some of these rows, by position or mask."""
        return replace(self, rows=self.rows[which])


class GatheredBlocks:
    """Rows of `Inputs` as `gpucv.predictors.blocks.RowBlocks`, gathered as they are asked for."""

    def __init__(self, inputs: Inputs, columns: tuple[int, ...], on: Device) -> None:
        self.shape = (len(inputs), len(columns))
        self._inputs = inputs
        self._columns = columns
        self._on = on

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._inputs)

    def blocks(self) -> Iterator[tuple[slice, Array]]:
        """Yield (place, X) in order."""
        size = block_rows(len(self._columns))
        for start in range(0, len(self), size):
            place = slice(start, min(start + size, len(self)))
            rows = replace(self._inputs, rows=self._inputs.rows[place])
            yield place, rows.features(self._columns, self._on)


def _gathered(X: Array, rows: NDArray[np.intp], columns: Sequence[int] | None) -> Array:
    """Return some rows, and columns if named, of a matrix on a GPU; `rows` cross once.

    Column by column: rows and columns at once would need an index as large as the result.
    """
    if columns is None:
        return take(X, rows)
    xp, rows = namespace_of(X), like(rows, X)
    out = xp.empty((len(rows), len(columns)), dtype=X.dtype)
    for position, column in enumerate(columns):
        out[:, position] = X[:, column][rows]
    return out


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Rows whose target was measured, and may be learnt from.

    Attributes
    ----------
    inputs : Inputs
    y : ndarray of float64, shape (n,)
        In the target's unit.
    """

    inputs: Inputs
    y: NDArray[np.float64]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.y)

    def take(self, which: NDArray[np.intp] | NDArray[np.bool_]) -> Examples:
        """Return some of these rows, by position or mask."""
        return Examples(self.inputs.take(which), self.y[which])


def inputs_of_rows(table: FeatureTable, rows: NDArray[np.intp]) -> Inputs:
    """Return rows of a table without their target."""
    moved = table.device.X if table.device is not None else None
    return Inputs(table.X, table.sol_us, table.keys, rows, table.combined, moved)


def examples_of(table: FeatureTable, rows: NDArray[np.intp]) -> Examples:
    """Return rows of a table to learn from."""
    return Examples(inputs_of_rows(table, rows), table.y[rows])
