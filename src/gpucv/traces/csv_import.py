"""Convert CSV tables of any size into one parquet table, in bounded memory.

Each file is read twice: once to see which types fit all of its values, and once to write
them. A study reads the table far sooner than the text, and only the columns it needs.
"""

from __future__ import annotations

import json
from collections import deque
from dataclasses import astuple
from typing import TYPE_CHECKING, Any

from gpucv.errors import EnvironmentFaultError, StudyError, TraceError
from gpucv.runs.layout import sha256_of
from gpucv.traces.csv_stream import CsvStream, csv_header
from gpucv.traces.importing import ImportedTable, Progress, RowGroups, replace_table, silent
from gpucv.traces.join import as_types, settled_types
from gpucv.traces.parquet import NOTES_KEY
from gpucv.traces.piece import Piece, Selection, one_line
from gpucv.traces.provenance import Note, SourceFile, gathered, no_rows
from gpucv.traces.sources import TABLE, find_sources

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from gpucv.traces.sources import Source

__all__ = ["import_csv"]


def import_csv(
    patterns: Sequence[str],
    out: Path,
    *,
    base: Path,
    on_progress: Callable[[Progress], None] = silent,
) -> ImportedTable:
    """Write the rows of every CSV file to one parquet file with page checksums.

    Reading the file gives the rows that reading the sources gives. It appears under its name
    complete or not at all.

    Parameters
    ----------
    patterns : sequence of str
        CSV files with a header line, folders of them, and globs, relative to `base`.
    out : Path
        The parquet file; replaced if it exists.
    on_progress : callable
        Called after each file.

    Raises
    ------
    StudyError
        If a pattern names nothing of the kind.
    TraceError
        If a file is damaged, two files disagree on a column's type, or there are no rows.
    EnvironmentFaultError
        If a file cannot be read, or `out` cannot be written.
    """
    found, notes = find_sources(patterns, base, TABLE)
    sources = [source for source in found if source.kind == "csv"]
    if len(sources) < len(found):
        other = next(source for source in found if source.kind != "csv")
        msg = f"{other.name} is a parquet file, which needs no import; name CSV files alone"
        raise StudyError(msg)
    conversion = _Conversion(sources, on_progress)
    replace_table(out, sources, conversion.write)
    rows = sum(file.rows for file in conversion.files)
    return ImportedTable(
        out, rows, tuple(conversion.files), (*notes, *gathered(conversion.notes()))
    )


class _Conversion:
    """The files being read and the one file being written."""

    def __init__(self, sources: Sequence[Source], on_progress: Callable[[Progress], None]) -> None:
        self.files: list[SourceFile] = []
        self._sources = sources
        self._streams: list[CsvStream] = []
        self._lacking: dict[str, int] = {}
        self._on_progress = on_progress

    def notes(self) -> list[Note]:
        """Return what was noticed of the files; to be asked once they are written."""
        notes = [note for stream in self._streams for note in stream.notes]
        gaps = [f"{one_line(repr(name), 60)} in {n}" for name, n in self._lacking.items() if n]
        if gaps:
            message = f"of {len(self._sources)} files, these columns are missing: "
            message += one_line(", ".join(gaps), 300)
            notes.append(Note("column_missing", message, len(gaps), "info"))
        return notes

    def write(self, path: Path) -> None:
        """Write the rows of every file to a parquet file at `path`."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            pieces = [self._settled(source) for source in self._sources]
            types = settled_types(pieces)
            self._lacking = {
                name: sum(name not in piece.table.column_names for piece in pieces)
                for name in types
            }
            with pq.ParquetWriter(
                path,
                pa.schema(list(types.items())),
                compression="zstd",
                write_page_checksum=True,
                version="2.6",
            ) as writer:
                groups = RowGroups(writer)
                for source, stream in zip(self._sources, self._streams, strict=True):
                    self._convert(source, stream, types, groups)
                groups.flush()
                if not sum(file.rows for file in self.files):
                    raise TraceError(no_rows([each.name for each in self._sources], self.notes()))
                kept = json.dumps([astuple(note) for note in gathered(self.notes())])
                writer.add_key_value_metadata({NOTES_KEY.decode(): kept})
        except OSError as error:
            if error.filename not in [str(source.path) for source in self._sources]:
                raise
            msg = f"cannot read {error.filename}: {error.strerror}"
            raise EnvironmentFaultError(msg) from error

    def _settled(self, source: Source) -> Piece:
        """Return no row of a file, under the types that fit all of its values."""
        names = Selection((), None).pick(csv_header(source), source.name)
        stream = CsvStream(source, names, [name for name in names if name])
        last = stream.whole(lambda batches: deque(batches, maxlen=1)).pop()
        self._streams.append(stream)
        return Piece(last.slice(0, 0), self._read(source, 0))

    def _convert(
        self, source: Source, stream: CsvStream, types: dict[str, Any], groups: RowGroups
    ) -> None:
        import pyarrow as pa

        rows = 0
        try:
            for batch in stream.batches():
                piece = Piece(batch, self._read(source, 0))
                groups.add(pa.table(as_types(piece, types)))
                rows += batch.num_rows
        except (pa.ArrowInvalid, UnicodeDecodeError) as error:
            msg = f"{source.name} changed while it was read; import it once it is complete"
            raise TraceError(msg) from error
        self.files.append(self._read(source, rows, sha256_of(source.path)))
        sizes = [each.path.stat().st_size for each in self._sources]
        done = len(self.files)
        self._on_progress(Progress(done, len(sizes), sum(sizes[:done]), sum(sizes)))

    def _read(self, source: Source, rows: int, digest: str = "") -> SourceFile:
        return SourceFile(source.name, source.path.stat().st_size, digest, rows, "csv")
