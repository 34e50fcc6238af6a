"""Read one CSV file in blocks, so that its text is never held whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpucv.errors import EnvironmentFaultError
from gpucv.runs.layout import sha256_of
from gpucv.traces.csv_stream import CsvStream, csv_header
from gpucv.traces.piece import Piece
from gpucv.traces.provenance import SourceFile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpucv.traces.memory import MemoryBudget
    from gpucv.traces.piece import Selection
    from gpucv.traces.sources import Source

__all__ = ["read_csv"]


def read_csv(source: Source, selection: Selection, budget: MemoryBudget) -> Piece:
    """Return the selected columns of a comma-separated file with a header line.

    Missing values are empty fields and the usual words for them (``NA``, ``nan``,
    ``null`` …); text keeps such words as they stand.

    Raises
    ------
    TraceError
        Naming the file, and the line where there is one; also if the columns do not fit in
        `budget`.
    """
    try:
        names = csv_header(source)
        picked = [name for name in selection.pick(names, source.name) if name]
        stream = CsvStream(source, names, picked)
        table = stream.whole(lambda batches: _gathered(batches, source.name, budget))
        size, digest = source.path.stat().st_size, sha256_of(source.path)
    except OSError as error:
        msg = f"cannot read {source.name}: {error.strerror or error}"
        raise EnvironmentFaultError(msg) from error
    budget.hold(table.nbytes, source.name)
    file = SourceFile(source.name, size, digest, table.num_rows, "csv")
    return Piece(table, file, tuple(stream.notes))


def _gathered(batches: Iterator[Any], name: str, budget: MemoryBudget) -> Any:
    """Return the batches as one table, or refuse them as soon as they are too many."""
    import pyarrow as pa

    held = []
    size = 0
    for batch in batches:
        size += batch.nbytes
        budget.require(size, name)
        held.append(batch)
    return pa.concat_tables(held)
