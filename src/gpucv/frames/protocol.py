"""The one face a table shows to the feature code, on any device.

Formulas are written once, over 1-D arrays and an array namespace ``xp``. NumPy
is the namespace on a CPU; CuPy is the same one on a GPU. A backend only knows how
to take columns out of its frames, so that no formula has a second copy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["Array", "ArrayNamespace", "Columns"]

Array: TypeAlias = Any
"""A 1-D float64 array of the backend: ``numpy.ndarray`` or ``cupy.ndarray``."""
ArrayNamespace: TypeAlias = Any
"""A module with NumPy's functions: ``numpy`` or ``cupy``."""


class Columns(Protocol):
    """The columns of one table, as arrays on one device."""

    xp: ArrayNamespace

    def __len__(self) -> int:
        """Return the number of rows."""

    def __contains__(self, name: object) -> bool:
        """Tell whether the table has a column of that name."""

    def numbers(self, name: str, missing: float) -> Array:
        """Return column `name` as float64, nulls and an absent column read as `missing`.

        Raises
        ------
        DataError
            If the column holds anything but numbers.
        """

    def labels(self, name: str) -> list[str]:
        """Return the distinct values of a text column, sorted.

        Raises
        ------
        DataError
            If the column is empty in some row.
        """

    def lookup(self, name: str, values: Mapping[str, float]) -> Array:
        """Return, row by row, the number `values` gives the text in column `name`."""

    def label_codes(self, name: str, reading: Callable[[str], str] = str) -> Array:
        """Return a number for what `reading` makes of each row's text: equal, if that is.

        The number is made from the text alone, so it is the same in every table and
        block; float32 holds it exactly. An empty cell, text or absent column is 0.
        """

    def reading(self, name: str, number: Callable[[str], float]) -> Array:
        """Return what `number` makes of each row's text, NaN where the cell is empty."""

    def blocks(self, rows: int) -> Iterator[tuple[slice, Columns]]:
        """Yield the table in blocks of at most `rows` rows, with their place in it."""
