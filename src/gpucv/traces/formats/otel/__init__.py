"""OpenTelemetry recordings of vLLM's scheduler: folders with a ``traces.json``.

Three formats read the same file: ``otel`` its recorded steps, ``otel-batches`` every
step, rebuilt from the journeys of requests, ``otel-requests`` the requests. The last
two are read only when asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpucv.schema import SNAPSHOT_COLUMNS, STEP_COLUMNS
from gpucv.traces.formats.base import Format, Reading
from gpucv.traces.formats.otel.batches import BATCH_COLUMNS, BatchReader
from gpucv.traces.formats.otel.reader import TraceReader
from gpucv.traces.formats.otel.recording import describe_recording
from gpucv.traces.formats.otel.requests import REQUEST_COLUMNS, RequestReader
from gpucv.traces.sources import TRACE_FILE

if TYPE_CHECKING:
    from pathlib import Path

    from gpucv.traces.formats.otel.recording import Recording
    from gpucv.traces.sources import Source

__all__ = ["OTEL", "OTEL_BATCHES", "OTEL_REQUESTS"]


def _is_trace(path: Path) -> bool:
    return path.name == TRACE_FILE


def _never(path: Path) -> bool:
    """Say no: the file is another format's unless this one is asked for."""
    return False


def _recording(source: Source, reading: Reading) -> Recording:
    return describe_recording(source.path.parent, source.name, reading.catalog)


def _open_steps(source: Source, reading: Reading) -> TraceReader:
    return TraceReader(source, _recording(source, reading), reading.on_bytes)


def _open_batches(source: Source, reading: Reading) -> BatchReader:
    return BatchReader(source, _recording(source, reading), reading.on_bytes)


def _open_requests(source: Source, reading: Reading) -> RequestReader:
    return RequestReader(source, _recording(source, reading), reading.on_bytes)


OTEL = Format(
    name="otel",
    told="recordings with a traces.json (OpenTelemetry, vLLM)",
    files=(TRACE_FILE,),
    columns=(*STEP_COLUMNS, *SNAPSHOT_COLUMNS),
    kind="steps",
    recognises=_is_trace,
    open=_open_steps,
)
OTEL_BATCHES = Format(
    name="otel-batches",
    told="every step of a recording, rebuilt from its requests' journeys",
    files=(TRACE_FILE,),
    columns=BATCH_COLUMNS,
    kind="steps",
    recognises=_never,
    open=_open_batches,
)
OTEL_REQUESTS = Format(
    name="otel-requests",
    told="the requests of a recording: queue time, TTFT, TPOT, end-to-end time",
    files=(TRACE_FILE,),
    columns=REQUEST_COLUMNS,
    kind="measurements",
    recognises=_never,
    open=_open_requests,
)
