"""Take counts, times and labels out of a parquet table, or say which row is no such thing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gpucv.errors import TraceError
from gpucv.traces.parquet import is_text
from gpucv.traces.piece import one_line

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ParquetColumns", "codes_of", "nulls_for_nan"]

_LARGEST_COUNT = 2**53
_LARGEST_TIME = 1e300
"""Whole numbers up to here are exact as float64, which is what features are made of."""


@dataclass(frozen=True, slots=True)
class ParquetColumns:
    """The columns of a file or of one of its row groups, each asked for as what it has to be.

    Attributes
    ----------
    table : pyarrow.Table
        Text columns dictionary-encoded.
    name : str
        The file, as messages call it.
    first : int
        Rows of the file before these.
    """

    table: Any
    name: str
    first: int = 0

    def __contains__(self, column: str) -> bool:
        return column in self.table.column_names

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def counts(self, column: str, least: int) -> NDArray[np.int64]:
        """Return a column of whole numbers, shape (n_rows,).

        Raises
        ------
        TraceError
            If a value is missing, no whole number, below `least` or above 2**53.
        """
        values = self._numbers(column)
        self._refuse(column, values.astype(np.float64) != np.floor(values), "no whole number")
        self._refuse(column, values < least, f"below {least}")
        self._refuse(column, values > _LARGEST_COUNT, "beyond any count")
        return values.astype(np.int64)

    def times(self, column: str) -> NDArray[np.float64]:
        """Return a column of times, shape (n_rows,), in the file's unit.

        Raises
        ------
        TraceError
            If a value is missing, no number, infinite or negative.
        """
        values = self._numbers(column).astype(np.float64)
        # Larger ones leave no room for another unit.
        self._refuse(column, ~(np.abs(values) <= _LARGEST_TIME), "no finite time")
        self._refuse(column, values < 0, "negative")
        return values

    def watts(self, column: str) -> Any:
        """Return a column of powers as an Arrow array; what was not measured is null.

        Raises
        ------
        TraceError
            If the column holds no numbers, or one is infinite or negative.
        """
        import pyarrow.compute as pc

        array = pc.cast(self._numeric(column), "float64")
        values = array.to_numpy(zero_copy_only=False)
        self._refuse(column, np.isinf(values) | (values < 0), "no power")
        return nulls_for_nan(values)

    def texts(self, column: str, *, may_be_empty: bool = False) -> Any:
        """Return a column of labels as one Arrow dictionary array.

        Raises
        ------
        TraceError
            If the column holds no text, or a value is missing and may not be.
        """
        import pyarrow.compute as pc
        import pyarrow.types as pt

        held = self.table[column]
        if may_be_empty and pt.is_null(held.type):
            held = pc.cast(held, "string")
        if not is_text(held.type):
            msg = f"{self.name}, column {column!r} holds {held.type}, not text"
            raise TraceError(msg)
        if not pt.is_dictionary(held.type):
            held = pc.dictionary_encode(held)
        array = held.unify_dictionaries().combine_chunks()
        if not may_be_empty:
            self._refuse(column, array.is_null().to_numpy(zero_copy_only=False), "empty")
        return array

    def _numeric(self, column: str) -> Any:
        import pyarrow.types as pt

        held = self.table[column]
        if not (pt.is_integer(held.type) or pt.is_floating(held.type)):
            kind = "text" if is_text(held.type) else str(held.type)
            example = one_line(repr(held[0].as_py()), 40) if len(held) else "nothing"
            msg = f"{self.name}, column {column!r} holds {kind} such as {example}, not numbers"
            raise TraceError(msg)
        return held.combine_chunks()

    def _numbers(self, column: str) -> NDArray[Any]:
        array = self._numeric(column)
        if array.null_count:
            self._refuse(column, array.is_null().to_numpy(zero_copy_only=False), "empty")
        values: NDArray[Any] = array.to_numpy(zero_copy_only=False)
        return values

    def _refuse(self, column: str, bad: NDArray[np.bool_], wrong: str) -> None:
        """Raise TraceError for the first row in `bad`."""
        if not bad.any():
            return
        row = int(np.argmax(bad))
        value = one_line(repr(self.table[column][row].as_py()), 40)
        msg = (
            f"{self.name}, column {column!r}, row {self.first + row + 1:,}: {value} is {wrong} "
            f"({int(bad.sum()):,} such rows); collect or fetch the table again"
        )
        raise TraceError(msg)


def codes_of(array: Any) -> tuple[NDArray[np.int64], list[str | None]]:
    """Return the positions (-1: missing) and the texts of an Arrow dictionary array."""
    import pyarrow.compute as pc

    codes = pc.fill_null(pc.cast(array.indices, "int64"), -1)
    return codes.to_numpy(zero_copy_only=False), array.dictionary.to_pylist()


def nulls_for_nan(values: NDArray[np.float64]) -> Any:
    """Return an Arrow array with null for NaN."""
    import pyarrow as pa

    return pa.array(values, pa.float64(), from_pandas=True)
