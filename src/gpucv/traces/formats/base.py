"""What a format is: how its files are told apart, opened and described.

A reader turns one file of another system into Arrow tables with the format's columns,
a bounded number of rows at a time. Importing, reading straight from a study and the
audit all go through the same three methods, so they see the same rows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from gpucv.traces.memory import MemoryBudget

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from gpucv.catalog import Catalog
    from gpucv.schema import Column
    from gpucv.traces.provenance import Note, SourceFile
    from gpucv.traces.sources import Source

__all__ = ["Format", "OneTable", "OpenFile", "Reading", "Repeats", "arrow_schema", "table_of"]

Repeats = Literal["keep", "median"]
"""What becomes of repeated measurements of one point."""


def _nothing(size: int) -> None:
    """Take no notice of progress."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a reader is given beside the file.

    Attributes
    ----------
    catalog : Catalog
        Gives models, GPUs and number formats their names and figures.
    repeats : {"keep", "median"}
        For formats that measure a point more than once.
    on_bytes : callable
        Called with the number of bytes read since the last call.
    budget : MemoryBudget
        What the rows of all files read together may take.
    """

    catalog: Catalog
    repeats: Repeats = "keep"
    on_bytes: Callable[[int], None] = _nothing
    budget: MemoryBudget = field(default_factory=MemoryBudget)


class OpenFile(Protocol):
    """One file being read: tables of rows, then what was read."""

    def batches(self) -> Iterator[Any]:
        """Yield ``pyarrow`` tables or record batches of the format's schema.

        Raises
        ------
        TraceError
            Naming the file, and the line or column at fault.
        """
        ...

    def source_file(self) -> SourceFile:
        """Return size, digest and rows; to be asked after the last batch."""
        ...

    def notes(self) -> tuple[Note, ...]:
        """Return what was noticed; to be asked after the last batch."""
        ...


@dataclass(frozen=True, slots=True)
class Format:
    """One kind of file, and how to read it.

    Attributes
    ----------
    name : str
        As ``gpucv import`` and ``data.format`` call it.
    told : str
        One line for help texts.
    files : tuple of str
        Patterns of file names (as in ``fnmatch``) that a folder is searched for.
    columns : tuple of Column
        What its rows hold.
    kind : {"steps", "measurements"}
        Whether rows are steps of the step table or another measurement.
    recognises : callable
        Whether a file whose name fits is of this format: looks at its first bytes only,
        and says yes to a damaged one, so that reading it can say what is wrong.
    open : callable
        Start reading one file.
    joins_repeats : bool
        Whether the reader can make one row of a point's repeated measurements.
    """

    name: str
    told: str
    files: tuple[str, ...]
    columns: tuple[Column, ...]
    kind: Literal["steps", "measurements"]
    recognises: Callable[[Path], bool]
    open: Callable[[Source, Reading], OpenFile]
    joins_repeats: bool = False


def arrow_schema(columns: Sequence[Column]) -> Any:
    """Return the columns as a ``pyarrow.Schema``; text is dictionary-encoded."""
    import pyarrow as pa

    kinds = {
        "string": pa.dictionary(pa.int32(), pa.string()),
        "int64": pa.int64(),
        "float64": pa.float64(),
    }
    return pa.schema([(column.name, kinds[column.dtype]) for column in columns])


def table_of(columns: Sequence[Column], values: Mapping[str, Any], rows: int) -> Any:
    """Return a ``pyarrow`` table of `columns`.

    Parameters
    ----------
    columns : sequence of Column
    values : mapping of str to array or scalar
        NumPy or Arrow arrays of `rows` values, or one value for all rows. A column
        without an entry, or with None, is null.
    rows : int

    Raises
    ------
    KeyError
        If `values` names a column the format does not have: a fault of the reader.
    """
    import pyarrow as pa

    schema = arrow_schema(columns)
    unknown = sorted(set(values) - set(schema.names))
    if unknown:
        msg = f"no such columns: {unknown}"
        raise KeyError(msg)
    return pa.table(
        [_array(values.get(field.name), field.type, rows) for field in schema], schema=schema
    )


def _array(value: Any, kind: Any, rows: int) -> Any:
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.types as pt

    if value is None:
        return pa.nulls(rows, kind)
    if isinstance(value, str | int | float):
        if pt.is_dictionary(kind):
            codes = pa.array(np.zeros(rows, dtype=np.int32))
            return pa.DictionaryArray.from_arrays(codes, pa.array([value], pa.string()))
        return pa.repeat(pa.scalar(value, kind), rows)
    array = value if isinstance(value, pa.Array | pa.ChunkedArray) else pa.array(value)
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    if pt.is_dictionary(kind):
        if pt.is_dictionary(array.type):
            array = array.cast(pa.dictionary(array.type.index_type, pa.string()))
            return pa.DictionaryArray.from_arrays(
                pc.cast(array.indices, pa.int32()), array.dictionary
            )
        return pc.dictionary_encode(pc.cast(array, pa.string()))
    return pc.cast(array, kind)


@dataclass(slots=True)
class OneTable:
    """A file small enough to be read in one piece, already read."""

    table: Any
    file: SourceFile
    noticed: tuple[Note, ...] = ()

    def batches(self) -> Iterator[Any]:
        """Yield the table."""
        yield self.table

    def source_file(self) -> SourceFile:
        """Return what the rows were read from."""
        return self.file

    def notes(self) -> tuple[Note, ...]:
        """Return what was noticed."""
        return self.noticed
