"""Rows as a pipeline sees them: what is known beforehand, and what was measured.

`Inputs` hold no target. Whatever is asked for a prediction gets them and nothing else,
so that what a fold holds out cannot reach a fit.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from gpucv.splits import combine

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from gpucv.features import FeatureTable
    from gpucv.splits import GroupLabels

__all__ = ["Examples", "Inputs", "examples_of", "inputs_of_rows"]


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
    """

    matrix: NDArray[np.float32]
    light: NDArray[np.float64] | None
    keys: Mapping[str, GroupLabels]
    rows: NDArray[np.intp]
    combined: dict[tuple[str, ...], GroupLabels] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.rows)

    def features(self, columns: Sequence[int]) -> NDArray[np.float32]:
        """Return the features at `columns`, shape (n, len(columns)), C order."""
        if tuple(columns) == tuple(range(self.matrix.shape[1])):
            return self.matrix[self.rows]
        return np.ascontiguousarray(self.matrix[np.ix_(self.rows, np.asarray(columns, int))])

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
    return Inputs(table.X, table.sol_us, table.keys, rows, table.combined)


def examples_of(table: FeatureTable, rows: NDArray[np.intp]) -> Examples:
    """Return rows of a table to learn from."""
    return Examples(inputs_of_rows(table, rows), table.y[rows])
