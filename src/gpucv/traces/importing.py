"""Convert recordings into one parquet step table, in bounded memory."""

from __future__ import annotations

import json
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Any

from gpucv.errors import StudyError
from gpucv.runs.layout import atomic_write_with
from gpucv.schema import STEP_TABLE_SCHEMA
from gpucv.traces.otel import TraceReader, arrow_schema
from gpucv.traces.parquet import NOTES_KEY, SCHEMA_KEY, SYNTHETIC_KEY
from gpucv.traces.recording import describe_recording, refuse_repeated_recordings
from gpucv.traces.sources import find_sources

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from gpucv.catalog import Catalog
    from gpucv.traces.provenance import Note, SourceFile
    from gpucv.traces.sources import Source

_ROW_GROUP = 1 << 18
"""Rows written together: large enough to compress well, some 40 MB in memory."""

__all__ = ["ImportedTable", "Progress", "import_recordings"]


@dataclass(frozen=True, slots=True)
class ImportedTable:
    """What an import wrote, and from what."""

    path: Path
    rows: int
    sources: tuple[SourceFile, ...]
    notes: tuple[Note, ...]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an import is: recordings finished, and bytes read of all."""

    recordings: int
    recordings_total: int
    bytes: int
    bytes_total: int


def import_recordings(
    patterns: Sequence[str],
    out: Path,
    *,
    base: Path,
    catalog: Catalog,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> ImportedTable:
    """Write the steps of every recording to one parquet file with page checksums.

    Reading the file gives the rows and notes that reading the recordings gives. It
    appears under its name complete or not at all.

    Parameters
    ----------
    patterns : sequence of str
        Recordings, folders of recordings, and globs, relative to `base`.
    out : Path
        The parquet file; replaced if it exists.
    on_progress : callable
        Called with a `Progress` after every line read.

    Raises
    ------
    StudyError
        If a pattern names nothing, or something that is no recording.
    TraceError
        If a recording is damaged or holds no step, or two have one name.
    EnvironmentFaultError
        If `out` cannot be written.
    """
    sources, notes = find_sources(patterns, base)
    for source in sources:
        if source.kind != "otel":
            msg = f"{source.name} is no recording (a folder with traces.json); name only recordings"
            raise StudyError(msg)
    refuse_repeated_recordings(sources)
    conversion = _Conversion(sources, catalog, on_progress)

    def write(beside: Path) -> None:
        try:
            conversion.write(beside)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise

    atomic_write_with(out, write)
    read = tuple(conversion.files)
    rows = sum(file.rows for file in read)
    return ImportedTable(out, rows, read, (*notes, *conversion.notes))


class _Conversion:
    """The recordings being read and the one file being written."""

    def __init__(
        self, sources: Sequence[Source], catalog: Catalog, on_progress: Callable[[Progress], None]
    ) -> None:
        self.files: list[SourceFile] = []
        self.notes: list[Note] = []
        self._sources = sources
        self._catalog = catalog
        self._on_progress = on_progress
        self._bytes = 0
        self._bytes_total = sum(source.path.stat().st_size for source in sources)

    def write(self, path: Path) -> None:
        import pyarrow.parquet as pq

        schema = arrow_schema()
        with pq.ParquetWriter(
            path, schema, compression="zstd", write_page_checksum=True, version="2.6"
        ) as writer:
            for source in self._sources:
                self._convert(source, writer)
            writer.add_key_value_metadata(self._metadata())

    def _convert(self, source: Source, writer: Any) -> None:
        import pyarrow as pa

        recording = describe_recording(source.path.parent, source.name, self._catalog)
        reader = TraceReader(source, recording, self._advance)
        held: list[Any] = []
        rows = 0
        for batch in reader.batches():
            held.append(batch)
            rows += batch.num_rows
            if rows >= _ROW_GROUP:
                writer.write_table(pa.Table.from_batches(held))
                held, rows = [], 0
        if held:
            writer.write_table(pa.Table.from_batches(held))
        self.files.append(reader.source_file())
        self.notes += reader.notes()

    def _advance(self, size: int) -> None:
        self._bytes += size
        done, total = len(self.files), len(self._sources)
        self._on_progress(Progress(done, total, self._bytes, self._bytes_total))

    def _metadata(self) -> dict[str, str]:
        return {
            SCHEMA_KEY.decode(): str(STEP_TABLE_SCHEMA),
            SYNTHETIC_KEY.decode(): "false",
            NOTES_KEY.decode(): json.dumps([astuple(note) for note in self.notes]),
        }
