"""Read one parquet file, refusing what is damaged or too large before it is unpacked."""

from __future__ import annotations

import base64
import json
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from gpucv.errors import EnvironmentFaultError, TraceError
from gpucv.runs.layout import sha256_of
from gpucv.schema import MEASUREMENT_TABLE_SCHEMA, STEP_TABLE_SCHEMA
from gpucv.traces.parquet_chunks import refuse_shared_bytes
from gpucv.traces.piece import Piece, one_line
from gpucv.traces.provenance import Note, SourceFile

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from gpucv.traces.memory import MemoryBudget
    from gpucv.traces.piece import Selection
    from gpucv.traces.sources import Source

__all__ = [
    "MEASUREMENTS_KEY",
    "NOTES_KEY",
    "SCHEMA_KEY",
    "SYNTHETIC_KEY",
    "is_text",
    "open_parquet",
    "read_columns",
    "read_parquet",
    "refusing_damage",
]

SCHEMA_KEY = b"gpucv.step_table"
"""Metadata key: version of the step table, a decimal number."""
MEASUREMENTS_KEY = b"gpucv.measurements"
"""Metadata key: version of the measurement table, a decimal number."""
SYNTHETIC_KEY = b"gpucv.synthetic"
"""Metadata key: ``true`` where the rows were simulated."""
NOTES_KEY = b"gpucv.notes"
"""Metadata key: what the import noticed, a JSON list of notes."""


def read_parquet(source: Source, selection: Selection, budget: MemoryBudget) -> Piece:
    """Return the selected columns of a parquet file, page checksums verified.

    Text is read dictionary-encoded, so that a long value repeated a million times
    is held once. Nested and binary columns are passed over with a note.

    Raises
    ------
    TraceError
        If the file is damaged, from a newer gpucv, lacks a required column or does
        not fit in `budget`.
    """
    with open_parquet(source.path, source.name) as file:
        schema = file.schema_arrow
        keys = dict(file.metadata.metadata or {})
        _check_version(source.name, keys)
        picked = selection.pick(schema.names, source.name)
        flat, passed_over = _flat(schema, picked)
        selection.check(flat, source.name)
        budget.hold(_bytes_in_memory(file.metadata, schema, flat), source.name)
        table = read_columns(file, flat, source.name)
    notes = [*_kept_notes(source.name, keys)]
    if passed_over:
        shown = one_line(", ".join(map(repr, passed_over)))
        message = f"{source.name}: passed over nested or binary columns {shown}"
        notes.append(Note("column_passed_over", message, len(passed_over), "info"))
    size = source.path.stat().st_size
    return Piece(
        table=table,
        source=SourceFile(source.name, size, sha256_of(source.path), table.num_rows, "parquet"),
        notes=tuple(notes),
        synthetic=keys.get(SYNTHETIC_KEY, b"false") != b"false",
    )


def open_parquet(path: Path, name: str) -> Any:
    """Return the ``pyarrow.parquet.ParquetFile`` at `path`; to be closed.

    Text will be read dictionary-encoded, and page checksums be verified where the file
    has them.

    Raises
    ------
    TraceError
        If it is damaged.
    EnvironmentFaultError
        If it may not be read.
    """
    import pyarrow.parquet as pq

    with refusing_damage(name):
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow
            _check_schema(name, schema, dict(file.metadata.metadata or {}))
        refuse_shared_bytes(path)
        text = [field.name for field in schema if is_text(field.type)]
        return pq.ParquetFile(path, read_dictionary=text, page_checksum_verification=True)


def read_columns(file: Any, names: Sequence[str], name: str) -> Any:
    """Return columns of an open file as a ``pyarrow.Table``, read group by group.

    Raises
    ------
    TraceError
        If the file, as messages call it `name`, is damaged.
    """
    import pyarrow as pa

    metadata = file.metadata
    with refusing_damage(name):
        groups = [
            file.read_row_group(group, columns=list(names))
            for group in range(metadata.num_row_groups)
        ]
        empty = pa.schema([file.schema_arrow.field(each) for each in names]).empty_table()
        table = pa.concat_tables(
            [group.replace_schema_metadata(None) for group in groups] or [empty]
        )
        if table.num_rows != metadata.num_rows:
            msg = f"{metadata.num_rows} rows announced, {table.num_rows} found"
            raise ValueError(msg)
        table.validate(full=True)
    return table


@contextmanager
def refusing_damage(name: str) -> Iterator[None]:
    """Turn whatever the parquet reader raises on a bad file into one TraceError."""
    try:
        yield
    except PermissionError as error:
        # The system's own words: pyarrow's repeat the path.
        reason = os.strerror(error.errno) if error.errno else error
        msg = f"cannot read {name}: {reason}"
        raise EnvironmentFaultError(msg) from error
    except UnicodeEncodeError as error:
        msg = f"cannot read {name}: its path is no text in UTF-8; rename it, or set LC_ALL=C.UTF-8"
        raise EnvironmentFaultError(msg) from error
    except (OSError, ValueError, KeyError, NotImplementedError, OverflowError) as error:
        # pyarrow's own errors derive from these; a failed page checksum is an OSError, and a
        # damaged type or codec in the footer reads as one that pyarrow has not implemented.
        what = one_line(error).rstrip(".")
        msg = f"{name} is not a sound parquet file: {what}; fetch or make it again"
        raise TraceError(msg) from error


def _check_schema(name: str, schema: Any, keys: dict[bytes, bytes]) -> None:
    """Compare names and types with the second copy that Arrow writers leave.

    Page checksums do not cover the footer: a flipped bit there could rename a column, turn
    it into one that is passed over, or read its numbers as others.
    """
    import pyarrow as pa

    kept = keys.get(b"ARROW:schema")
    if kept is None:
        return
    second = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(kept)))
    columns = [{(field.name, _stored(field.type)) for field in each} for each in (schema, second)]
    if columns[0] != columns[1]:
        odd = sorted({column for column, _ in columns[0] ^ columns[1]})
        msg = f"{name} is damaged: its two lists of columns differ in {one_line(odd, 100)}"
        raise TraceError(msg)


def _check_version(name: str, keys: dict[bytes, bytes]) -> None:
    known = {
        SCHEMA_KEY: ("step table", STEP_TABLE_SCHEMA),
        MEASUREMENTS_KEY: ("measurement table", MEASUREMENT_TABLE_SCHEMA),
    }
    for key, (what, newest) in known.items():
        version = keys.get(key, b"0").decode("ascii", "replace")
        if not version.isdigit() or int(version) > newest:
            msg = (
                f"{name} is a {what} of version {one_line(version, 20)}, this gpucv reads up to "
                f"{newest}; update gpucv"
            )
            raise TraceError(msg)


def _flat(schema: Any, names: list[str]) -> tuple[list[str], list[str]]:
    """Split the columns into those a table of numbers and labels can hold, and others."""
    flat = [name for name in names if _kind(schema.field(name).type) != "other"]
    return flat, [name for name in names if name not in flat]


def is_text(kind: Any) -> bool:
    """Whether an Arrow type is text, dictionary-encoded or not."""
    import pyarrow as pa
    import pyarrow.types as pt

    kind = kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind
    kind = kind.value_type if pt.is_dictionary(kind) else kind
    return bool(pt.is_string(kind) or pt.is_large_string(kind))


def _kind(kind: Any) -> Literal["text", "value", "other"]:
    """Return what a type is to a table of numbers and labels."""
    import pyarrow as pa
    import pyarrow.types as pt

    if is_text(kind):
        return "text"
    kind = kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind
    kind = kind.value_type if pt.is_dictionary(kind) else kind
    bare = pt.is_binary(kind) or pt.is_large_binary(kind) or pt.is_fixed_size_binary(kind)
    return "other" if bare or pt.is_nested(kind) else "value"


def _stored(kind: Any) -> str:
    """Return what a type is stored as: one word for those that parquet does not tell apart."""
    import pyarrow as pa
    import pyarrow.types as pt

    if (rough := _kind(kind)) != "value":
        return rough
    kind = kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind
    kind = kind.value_type if pt.is_dictionary(kind) else kind
    if pt.is_decimal(kind):
        return f"decimal({kind.precision}, {kind.scale})"
    if pt.is_temporal(kind):
        return str(kind).partition("[")[0].rstrip("0123456789")
    # Version 1.0 of the format has no unsigned numbers of 32 bits.
    return "int64" if kind == pa.uint32() else str(kind)


def _bytes_in_memory(metadata: Any, schema: Any, names: list[str]) -> int:
    """Return an upper estimate of the table's size: rows x width, and the text encoded.

    The encoded size alone says little: a column of zeros takes a few bytes per million.
    It is taken by row group, not by column: on a damaged footer, asking pyarrow for a
    column's metadata ends the whole process.
    """
    kinds = [schema.field(name).type for name in names]
    size = int(metadata.num_rows) * sum(map(_width, kinds))
    if "text" in map(_kind, kinds):
        groups = range(metadata.num_row_groups)
        size += sum(int(metadata.row_group(group).total_byte_size) for group in groups)
    return size


def _width(kind: Any) -> int:
    try:
        return max(int(kind.bit_width) // 8, 1)
    except ValueError:
        return 4  # text: the index into its dictionary


def _kept_notes(name: str, keys: dict[bytes, bytes]) -> list[Note]:
    """Return the notes an import left in the file: an overload stays known."""
    stored = keys.get(NOTES_KEY)
    if stored is None:
        return []
    try:
        return [
            Note(
                str(code),
                one_line(message, 400),
                int(count),
                "warning" if level == "warning" else "info",
            )
            for code, message, count, level in json.loads(stored)
        ]
    except (ValueError, TypeError, RecursionError) as error:
        msg = f"{name} is damaged: its notes cannot be read; import it again"
        raise TraceError(msg) from error
