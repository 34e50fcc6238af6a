"""Convert files of one format into one parquet table, in bounded memory."""

from __future__ import annotations

import json
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Any

from gpucv.errors import StudyError, TraceError
from gpucv.runs.disk import atomic_write_with
from gpucv.schema import MEASUREMENT_TABLE_SCHEMA, STEP_TABLE_SCHEMA
from gpucv.traces.formats import Reading, Repeats, refuse_repeats_kept
from gpucv.traces.formats.base import arrow_schema
from gpucv.traces.formats.otel.recording import refuse_repeated_recordings
from gpucv.traces.parquet import MEASUREMENTS_KEY, NOTES_KEY, SCHEMA_KEY, SYNTHETIC_KEY
from gpucv.traces.provenance import gathered, no_rows
from gpucv.traces.sources import find_sources

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from gpucv.catalog import Catalog
    from gpucv.traces.formats import Format
    from gpucv.traces.provenance import Note, SourceFile
    from gpucv.traces.sources import Source

__all__ = [
    "ImportedTable",
    "Importing",
    "Progress",
    "RowGroups",
    "import_tables",
    "replace_table",
    "silent",
]

_ROW_GROUP = 1 << 18
"""Rows written together: large enough to compress well, some 40 MB in memory."""
_ROW_GROUP_BYTES = 1 << 27
"""Most that is held before it is written, where rows are long."""


@dataclass(frozen=True, slots=True)
class ImportedTable:
    """What an import wrote, and from what."""

    path: Path
    rows: int
    sources: tuple[SourceFile, ...]
    notes: tuple[Note, ...]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an import is: files finished, and bytes read of all."""

    files: int
    files_total: int
    bytes: int
    bytes_total: int


def silent(progress: Progress) -> None:
    """Tell no one."""


@dataclass(frozen=True, slots=True)
class Importing:
    """How files are imported.

    Attributes
    ----------
    format : Format
    catalog : Catalog
    repeats : {"keep", "median"}
        What becomes of repeated measurements, in formats that have them.
    on_progress : callable
        Called with a `Progress` now and then.
    """

    format: Format
    catalog: Catalog
    repeats: Repeats = "keep"
    on_progress: Callable[[Progress], None] = silent


def import_tables(
    patterns: Sequence[str], out: Path, *, base: Path, how: Importing
) -> ImportedTable:
    """Write the rows of every file to one parquet file with page checksums.

    Reading the file gives the rows and notes that reading the sources gives. It appears
    under its name complete or not at all.

    Parameters
    ----------
    patterns : sequence of str
        Files of one format, folders of them, and globs, relative to `base`.
    out : Path
        The parquet file; replaced if it exists.
    how : Importing

    Raises
    ------
    StudyError
        If a pattern names nothing of the format.
    TraceError
        If a file is damaged or holds no rows, or two recordings have one name.
    EnvironmentFaultError
        If `out` cannot be written.
    """
    refuse_repeats_kept([how.format.name], how.repeats)
    sources, notes = find_sources(patterns, base, how.format.name)
    refuse_repeated_recordings(sources)
    conversion = _Conversion(sources, how)
    replace_table(out, sources, conversion.write)
    read = tuple(conversion.files)
    rows = sum(file.rows for file in read)
    return ImportedTable(out, rows, read, (*notes, *gathered(conversion.notes)))


def replace_table(out: Path, sources: Sequence[Source], write: Callable[[Path], None]) -> None:
    """Let `write` make the table of `sources`; it is at `out` complete or not at all.

    Raises
    ------
    StudyError
        If `out` is one of the sources.
    EnvironmentFaultError
        If it cannot be written.
    """
    for source in sources:
        if source.path.resolve() == out.resolve():
            msg = f"{out} is one of the files to import; name another file to write"
            raise StudyError(msg)

    def clean(beside: Path) -> None:
        try:
            write(beside)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise

    atomic_write_with(out, clean)


class _Conversion:
    """The files being read and the one file being written."""

    def __init__(self, sources: Sequence[Source], how: Importing) -> None:
        self.files: list[SourceFile] = []
        self.notes: list[Note] = []
        self._sources = sources
        self._how = how
        self._bytes = 0
        self._bytes_total = sum(source.path.stat().st_size for source in sources)

    def write(self, path: Path) -> None:
        import pyarrow.parquet as pq

        schema = arrow_schema(self._how.format.columns)
        with pq.ParquetWriter(
            path, schema, compression="zstd", write_page_checksum=True, version="2.6"
        ) as writer:
            groups = RowGroups(writer)
            for source in self._sources:
                self._convert(source, groups)
            groups.flush()
            if not sum(file.rows for file in self.files):
                names = [source.name for source in self._sources]
                raise TraceError(no_rows(names, self.notes))
            writer.add_key_value_metadata(self._metadata())

    def _convert(self, source: Source, groups: RowGroups) -> None:
        reading = Reading(self._how.catalog, self._how.repeats, self._advance)
        opened = self._how.format.open(source, reading)
        for batch in opened.batches():
            groups.add(batch)
        self.files.append(opened.source_file())
        self.notes += opened.notes()

    def _advance(self, size: int) -> None:
        self._bytes += size
        done, total = len(self.files), len(self._sources)
        self._how.on_progress(Progress(done, total, self._bytes, self._bytes_total))

    def _metadata(self) -> dict[str, str]:
        steps = self._how.format.kind == "steps"
        version = STEP_TABLE_SCHEMA if steps else MEASUREMENT_TABLE_SCHEMA
        return {
            (SCHEMA_KEY if steps else MEASUREMENTS_KEY).decode(): str(version),
            SYNTHETIC_KEY.decode(): "false",
            NOTES_KEY.decode(): json.dumps([astuple(note) for note in gathered(self.notes)]),
        }


class RowGroups:
    """Tables gathered until they fill a row group of a ``pyarrow.parquet.ParquetWriter``."""

    def __init__(self, writer: Any) -> None:
        self._writer = writer
        self._held: list[Any] = []
        self._rows = self._bytes = 0

    def add(self, batch: Any) -> None:
        """Take a table or record batch; write what has been gathered once it is enough."""
        import pyarrow as pa

        table = batch if isinstance(batch, pa.Table) else pa.Table.from_batches([batch])
        self._held.append(table)
        self._rows += table.num_rows
        self._bytes += table.nbytes
        if self._rows >= _ROW_GROUP or self._bytes >= _ROW_GROUP_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what has been gathered."""
        import pyarrow as pa

        if self._held:
            # One dictionary per column: a row group has only one.
            self._writer.write_table(pa.concat_tables(self._held).unify_dictionaries())
        self._held, self._rows, self._bytes = [], 0, 0
