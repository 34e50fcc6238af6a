"""Join the pieces of several sources into one frame with settled dtypes.

The dtypes are decided once, here:

- whole numbers become ``int64``; with a missing value among them ``float64`` with NaN,
  which every later stage (NumPy, cuDF, XGBoost) reads the same way;
- other numbers become ``float64``; truth values ``bool`` (``float64`` with NaN);
- text becomes pandas' text dtype (``str`` on pandas 3, ``object`` before);
- a step-table column has its schema's kind, and whole numbers stored as floats (what
  pandas makes of a column with gaps) become ``int64`` again where no gap is left.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from gpucv.errors import TraceError
from gpucv.schema import Column, columns_by_name
from gpucv.traces.memory import give_arrow_memory_back
from gpucv.traces.piece import one_line
from gpucv.traces.provenance import Note

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import pandas as pd

    from gpucv.traces.memory import MemoryBudget
    from gpucv.traces.piece import Piece

__all__ = ["as_types", "frame_of", "join", "settled_types", "whole_numbers"]

_EXACT_IN_FLOAT64 = 2**53


def join(pieces: Sequence[Piece]) -> tuple[dict[str, Any], tuple[Note, ...]]:
    """Return each column as one chunked Arrow array, in order of first appearance.

    A column some sources lack is null there, and noted.

    Raises
    ------
    TraceError
        If sources disagree on a column's kind, or a step-table column has another
        kind than its schema's, such as a count with a fraction.
    """
    import pyarrow as pa

    types = settled_types(pieces)
    cast = [as_types(piece, types) for piece in pieces]
    columns: dict[str, Any] = {}
    gaps: list[str] = []
    for name, kind in types.items():
        chunks = [chunk for each in cast for chunk in each.pop(name).chunks]
        columns[name] = pa.chunked_array(chunks, kind)
        lacking = [
            piece for piece in pieces if not piece.whole and name not in piece.table.column_names
        ]
        if lacking and columns[name].null_count < len(columns[name]):
            gaps.append(f"{one_line(repr(name), 60)} in {len(lacking)}")
    if not gaps:
        return columns, ()
    message = f"of {len(pieces)} files, these columns are missing: {one_line(', '.join(gaps), 300)}"
    return columns, (Note("column_missing", message, len(gaps), "info"),)


def settled_types(pieces: Sequence[Piece]) -> dict[str, Any]:
    """Return the Arrow type of each column of the pieces' tables, in order of appearance.

    Raises
    ------
    TraceError
        If sources disagree on a column's kind, or with a step table's.
    """
    names = dict.fromkeys(name for piece in pieces for name in piece.table.column_names)
    contract = columns_by_name()
    return {name: _kind(name, pieces, contract.get(name)) for name in names}


def as_types(piece: Piece, types: Mapping[str, Any]) -> dict[str, Any]:
    """Return a source's columns as `types`, exactly; a column it lacks is null.

    Raises
    ------
    TraceError
        If a value is not of its column's type, such as a count with a fraction.
    """
    import pyarrow as pa

    contract = columns_by_name()
    columns = {}
    for name, kind in types.items():
        if name not in piece.table.column_names:
            columns[name] = pa.chunked_array([pa.nulls(piece.table.num_rows, kind)])
            continue
        columns[name] = _cast(piece, name, kind)
        if name in contract and contract[name].dtype == "int64":
            _refuse_fractions(piece, name, columns[name])
    return columns


def _family(kind: Any) -> str:
    """Return what a type is to a reader of tables: kinds of one family can be joined."""
    import pyarrow.types as pt

    if pt.is_dictionary(kind):
        kind = kind.value_type
    if pt.is_integer(kind) or pt.is_floating(kind) or pt.is_decimal(kind):
        return "number"
    return "string" if pt.is_string(kind) or pt.is_large_string(kind) else str(kind)


def _kind(name: str, pieces: Sequence[Piece], column: Column | None) -> Any:
    """Return the Arrow type that every source's values of `name` are cast to."""
    import pyarrow as pa
    import pyarrow.types as pt

    kinds: dict[str, list[str]] = {}
    families: dict[str, Any] = {}
    whole = True
    for piece in pieces:
        if name not in piece.table.column_names:
            continue
        kind = piece.table.schema.field(name).type
        if pt.is_null(kind):
            continue
        kinds.setdefault(_shown(kind), []).append(piece.source.path)
        families[_family(kind)] = kind
        whole = whole and pt.is_integer(kind.value_type if pt.is_dictionary(kind) else kind)
    if len(families) > 1:
        shown = "; ".join(f"{kind} in {one_line(paths[0])}" for kind, paths in kinds.items())
        msg = f"column {one_line(repr(name))} differs between files: {shown}; store it as one type"
        raise TraceError(msg)
    family, kind = next(iter(families.items()), ("null", pa.null()))
    if column is not None:
        _check_contract(column, family, whole, kinds)
        if column.dtype == "string":
            family = "string"
        elif family in {"null", "bool"}:
            family, whole = "number", column.dtype == "int64"
    if family == "number":
        return pa.int64() if whole else pa.float64()
    if family == "string":
        return pa.dictionary(pa.int32(), pa.string())
    return pa.float64() if family == "null" else kind


def _shown(kind: Any) -> str:
    import pyarrow.types as pt

    return (
        "string"
        if _family(kind) == "string"
        else str(kind.value_type if pt.is_dictionary(kind) else kind)
    )


def _check_contract(column: Column, family: str, whole: bool, kinds: dict[str, list[str]]) -> None:
    fits = {"null", "string", "number"} if column.dtype == "string" else {"null", "number", "bool"}
    if family in fits and not (column.dtype == "string" and family == "number" and not whole):
        return
    kind, paths = next(iter(kinds.items()))
    msg = (
        f"{one_line(paths[0])}: column {column.name!r} holds {kind}, a step table's holds "
        f"{column.dtype} ({column.unit}); convert or rename it"
    )
    raise TraceError(msg)


def _cast(piece: Piece, name: str, kind: Any) -> Any:
    """Return a source's column as `kind`, exactly."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.types as pt

    column = piece.table.column(name)
    try:
        if pt.is_dictionary(kind):
            return _as_labels(column, kind)
        if pt.is_dictionary(column.type):
            column = pc.cast(column, column.type.value_type)
        if pt.is_decimal(column.type):
            return pc.cast(column, kind, safe=False)
        return pc.cast(column, kind)
    except pa.ArrowInvalid as error:
        msg = (
            f"{piece.source.path}: column {one_line(repr(name))} cannot be read: {one_line(error)}"
        )
        raise TraceError(msg) from error


def _refuse_fractions(piece: Piece, name: str, column: Any) -> None:
    """Raise TraceError for a count with a fraction; times in ``_us`` may have one."""
    import pyarrow.compute as pc
    import pyarrow.types as pt

    if not pt.is_floating(column.type) or name.endswith("_us"):
        return
    fractions = column.filter(pc.and_(pc.is_finite(column), pc.not_equal(column, pc.floor(column))))
    if len(fractions):
        msg = (
            f"{piece.source.path}: column {name!r} counts whole units, and holds "
            f"{fractions[0].as_py()!r}; mend or rename it"
        )
        raise TraceError(msg)


def _as_labels(column: Any, kind: Any) -> Any:
    """Return a column of text or whole numbers as dictionary-encoded text."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.types as pt

    if not pt.is_dictionary(column.type):
        column = pc.dictionary_encode(pc.cast(column, kind.value_type))
    chunks = [
        pa.DictionaryArray.from_arrays(
            pc.cast(chunk.indices, kind.index_type), pc.cast(chunk.dictionary, kind.value_type)
        )
        for chunk in column.chunks
    ]
    return pa.chunked_array(chunks, kind)


def frame_of(
    columns: dict[str, Any],
    rows: int,
    budget: MemoryBudget,
    *,
    labels: Literal["text", "category"] = "text",
) -> tuple[pd.DataFrame, tuple[Note, ...]]:
    """Return the columns as a frame, emptying `columns` on the way to hold each once.

    Raises
    ------
    TraceError
        If text would not fit in memory once written out.
    """
    import pandas as pd
    import pyarrow.types as pt

    contract = columns_by_name()
    arrays: dict[str, Any] = {}
    notes: list[Note] = []
    for name in list(columns):
        column = columns.pop(name)
        give_arrow_memory_back()
        if labels == "category" and pt.is_dictionary(column.type):
            labelled = column.unify_dictionaries().to_pandas().array
            # In order of their text: sorting rows by the categories is sorting by the text.
            arrays[name] = labelled.reorder_categories(sorted(labelled.categories))
            continue
        arrays[name] = _values(name, column, budget)
        if arrays[name].dtype.kind == "f" and name in contract and contract[name].dtype == "int64":
            arrays[name] = whole_numbers(arrays[name])
        if column.null_count and _beyond_float64(column):
            message = f"{one_line(repr(name))} has gaps and values beyond 2^53, which are rounded"
            notes.append(Note("rounded", message, column.null_count, "warning"))
    column = None
    give_arrow_memory_back()
    return pd.DataFrame(arrays, index=pd.RangeIndex(rows), copy=False), tuple(notes)


def _values(name: str, column: Any, budget: MemoryBudget) -> Any:
    """Return a column as a NumPy array that may be written to, or a pandas text array."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.types as pt

    if pt.is_dictionary(column.type):
        budget.require(_text_bytes(column), one_line(repr(name)))
        text = pa.chunked_array(
            [pc.cast(chunk, pa.large_string()) for chunk in column.chunks], pa.large_string()
        )
        return text.to_pandas().array
    if pt.is_boolean(column.type) and column.null_count:
        column = pc.cast(pc.cast(column, pa.int8()), pa.float64())
    if pt.is_temporal(column.type):
        return column.to_pandas().array
    return np.array(column.to_numpy(), copy=True)


def _text_bytes(column: Any) -> int:
    """Return the bytes of dictionary-encoded text once every row has its own copy."""
    import pyarrow.compute as pc

    total = 0
    for chunk in column.chunks:
        lengths = pc.cast(pc.binary_length(chunk.dictionary), "int64")
        total += pc.sum(pc.take(lengths, chunk.indices)).as_py() or 0
    return int(total)


def _beyond_float64(column: Any) -> bool:
    import pyarrow.compute as pc
    import pyarrow.types as pt

    if not pt.is_integer(column.type):
        return False
    ends = pc.min_max(column)
    low, high = ends["min"].as_py() or 0, ends["max"].as_py() or 0
    return max(-low, high) > _EXACT_IN_FLOAT64


def whole_numbers(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return floats as ``int64`` where every one is a whole number, else as they are."""
    import numpy as np

    known = np.isfinite(values).all() and (np.abs(values) <= _EXACT_IN_FLOAT64).all()
    return values.astype("int64") if known and (values == np.floor(values)).all() else values
