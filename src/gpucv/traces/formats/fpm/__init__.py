"""Forward-pass metrics: whole passes of a serving engine, with the batch they computed.

Two kinds of files hold them: traces of a live engine, as JSON lines, and databases over
a grid of batches, as parquet. Dynamo defines the metrics, version 1; vLLM, SGLang and
TensorRT-LLM report them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpucv.traces.formats.base import Format, OpenFile, Reading
from gpucv.traces.formats.fpm.columns import COLUMNS
from gpucv.traces.formats.fpm.database import MARKS, open_database
from gpucv.traces.formats.fpm.trace import Passes
from gpucv.traces.formats.json_lines import first_line

if TYPE_CHECKING:
    from pathlib import Path

    from gpucv.traces.sources import Source

__all__ = ["FPM"]

_MARKS = (
    b'"dynamo.fpm.trace',
    b'"wall_time"',
    b'"dp_rank"',
    b'"scheduled_requests"',
    b'"queued_requests"',
)
"""Two of these make a line a forward pass: bare or wrapped, and with one name misspelt."""


def _recognises(path: Path) -> bool:
    if path.suffix == ".parquet":
        return _is_database(path)
    line = first_line(path)
    return sum(mark in line for mark in _MARKS) >= 2


def _is_database(path: Path) -> bool:
    """Whether a parquet file has the columns, or the published name and nothing readable.

    Of the columns one may be misspelt.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return len(MARKS.intersection(pq.read_schema(path).names)) >= len(MARKS) - 1
    except (pa.ArrowException, OSError, ValueError):  # ValueError: names that are no text
        return path.name.startswith("fpm_forward")


def _open(source: Source, reading: Reading) -> OpenFile:
    if source.path.suffix == ".parquet":
        return open_database(source, reading)
    return Passes(source, reading)


FPM = Format(
    name="fpm",
    told="forward-pass metrics of vLLM, SGLang and TensorRT-LLM: JSON lines, or the database",
    files=("*.jsonl", "*.jsonl.gz", "fpm*.parquet"),
    columns=COLUMNS,
    kind="measurements",
    recognises=_recognises,
    open=_open,
)
