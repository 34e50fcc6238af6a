"""Rows that are handed over piece by piece, because together they may not fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["RowBlocks"]


@runtime_checkable
class RowBlocks(Protocol):
    """A feature matrix of which only one block exists at a time.

    Attributes
    ----------
    shape : tuple of int
        (n_rows, n_features), as of an array.
    """

    shape: tuple[int, int]

    def __len__(self) -> int:
        """Return the number of rows."""

    def blocks(self) -> Iterator[tuple[slice, Any]]:
        """Yield (place, X) in order: X is float32, C order, of shape (place's rows, n_features).

        May be asked for any number of times, and gives the same blocks each time.
        """
