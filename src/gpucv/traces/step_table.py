"""Read the step tables a study names, of any supported kind, into one frame."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from gpucv.errors import TraceError
from gpucv.schema import SNAPSHOT_COLUMNS, STEP_COLUMNS
from gpucv.traces.csv_file import read_csv
from gpucv.traces.formats import FORMATS, Reading, refuse_repeats_kept
from gpucv.traces.formats.otel.recording import refuse_repeated_recordings
from gpucv.traces.join import frame_of, join
from gpucv.traces.memory import MemoryBudget
from gpucv.traces.names import catalog_names
from gpucv.traces.parquet import read_parquet
from gpucv.traces.piece import Piece, Selection
from gpucv.traces.provenance import Note, SourceFile, gathered, no_rows
from gpucv.traces.sources import AUTO, find_sources

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas as pd

    from gpucv.catalog import Catalog
    from gpucv.traces.formats import Repeats
    from gpucv.traces.sources import Source

__all__ = ["ReadOptions", "StepTable", "read_steps"]


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How sources are read.

    Attributes
    ----------
    format : str
        ``"auto"``: each file's own, found by its name and first bytes; ``"table"``: parquet
        and CSV files as they stand; else the name of one of `FORMATS`.
    repeats : {"keep", "median"}
        What becomes of repeated measurements, in formats that have them.
    labels : {"text", "category"}
        Text columns as text, or as categories, which hold each label once.
    filled : bool
        Of a format's columns, read all that hold anything and no others, whatever columns
        are asked for: a format has one schema for many operators, so half may be empty.
    """

    format: str = AUTO
    repeats: Repeats = "keep"
    labels: Literal["text", "category"] = "text"
    filled: bool = False


@dataclass(frozen=True, slots=True)
class StepTable:
    """Rows read from one or more sources.

    Attributes
    ----------
    frame : pandas.DataFrame
        One row per step (or per measurement, for any other table), in reading order.
        Whole-number columns are ``int64``, or ``float64`` with NaN where values are
        missing; others ``float64``, ``bool`` or text.
    sources : tuple of SourceFile
        The files read, with digests and row counts, in reading order.
    notes : tuple of Note
        What the readers noticed.
    synthetic : bool
        Whether any source says that its rows were simulated.
    """

    frame: pd.DataFrame
    sources: tuple[SourceFile, ...]
    notes: tuple[Note, ...]
    synthetic: bool


def read_steps(
    patterns: Sequence[str],
    *,
    base: Path,
    catalog: Catalog,
    required: Sequence[str],
    columns: Sequence[str] | None = None,
    options: ReadOptions = ReadOptions(),
) -> StepTable:
    """Read every source the patterns name into one table.

    Parameters
    ----------
    patterns : sequence of str
        Parquet and CSV files, recordings (folders with a ``traces.json``), folders of
        these, and globs, in any mix; or files of one other format. Relative to `base`.
    base : Path
        Folder that relative patterns start from, usually the study's.
    catalog : Catalog
        Gives models and GPUs their names.
    required : sequence of str
        Columns every source must have. Other columns may be missing from some sources.
    columns : sequence of str, optional
        Columns to read beside the required ones; by default all.
    options : ReadOptions

    Raises
    ------
    StudyError
        If a pattern names nothing readable, or two name the same file.
    TraceError
        If a file is damaged, too large for memory, lacks a required column, or
        disagrees with another on a column's type; or if there are no rows.
    """
    sources, notes = find_sources(patterns, base, options.format)
    selection = Selection(tuple(required), None if columns is None else tuple(columns))
    budget = MemoryBudget()
    refuse_repeats_kept((source.kind for source in sources), options.repeats)
    refuse_repeated_recordings(sources)
    reading = Reading(catalog, options.repeats, budget=budget)
    pieces = [
        _read_table(source, selection, budget)
        if source.is_table
        else _read_format(source, _asked(selection, options), budget, reading)
        for source in sources
    ]
    rows = sum(piece.table.num_rows for piece in pieces)
    if rows == 0:
        names = [piece.source.path for piece in pieces]
        raise TraceError(no_rows(names, [note for piece in pieces for note in piece.notes]))
    joined, join_notes = join(pieces)
    _leave_out_unrecorded(joined, selection)
    name_notes = catalog_names(joined, catalog)
    read = tuple(piece.source for piece in pieces)
    piece_notes = gathered(note for piece in pieces for note in piece.notes)
    synthetic = any(piece.synthetic for piece in pieces)
    del pieces  # their buffers are freed column by column as the frame takes them over
    frame, frame_notes = frame_of(joined, rows, budget, labels=options.labels)
    all_notes = (*notes, *piece_notes, *_empty(read), *join_notes, *name_notes, *frame_notes)
    return StepTable(frame, read, all_notes, synthetic)


def _asked(selection: Selection, options: ReadOptions) -> Selection:
    """Return what is asked of a format's file."""
    return replace(selection, columns=None, filled=True) if options.filled else selection


def _read_table(source: Source, selection: Selection, budget: MemoryBudget) -> Piece:
    read = read_parquet if source.kind == "parquet" else read_csv
    return read(source, selection, budget)


def _read_format(
    source: Source, selection: Selection, budget: MemoryBudget, reading: Reading
) -> Piece:
    """Return the selected columns of a file of another system's format."""
    import pyarrow as pa

    file_format = FORMATS[source.kind]
    picked = selection.pick([column.name for column in file_format.columns], source.name)
    opened = file_format.open(source, reading)
    tables = []
    for batch in opened.batches():
        chosen = batch.select(picked)
        budget.hold(chosen.nbytes, source.name)
        tables.append(chosen if isinstance(chosen, pa.Table) else pa.Table.from_batches([chosen]))
    table = pa.concat_tables(tables)
    if selection.filled:
        empty = {name for name in picked if table[name].null_count == table.num_rows}
        kept = [name for name in picked if name not in empty - {*selection.required}]
        table = table.select(kept)
    return Piece(table, opened.source_file(), opened.notes(), whole=selection.filled)


def _leave_out_unrecorded(columns: dict[str, Any], selection: Selection) -> None:
    """Leave out step-table columns without a single value, as if no source had them.

    A recording that names no GPU then reads like a table without the column, and a
    study can give it one value for all rows.
    """
    for column in (*STEP_COLUMNS, *SNAPSHOT_COLUMNS):
        values = columns.get(column.name)
        if values is not None and values.null_count == len(values):
            if column.name in selection.required:
                msg = f"column {column.name!r} is required, and empty in every row"
                raise TraceError(msg)
            del columns[column.name]


def _empty(sources: Sequence[SourceFile]) -> list[Note]:
    empty = [source.path for source in sources if source.rows == 0]
    if not empty:
        return []
    message = f"no rows in {empty[0]}" + _and_more(len(empty) - 1)
    return [Note("empty_file", message, len(empty), "warning")]


def _and_more(count: int) -> str:
    return f" and {count} more" if count > 0 else ""
