"""Format ``otel-requests``: one row per request, from its journey.

Times are the server's. What the client saw of a request (its first token's arrival over
the network, say) is in no trace.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpucv.schema import EXPERIMENT_COLUMNS, GROUP_COLUMNS, SOURCE_FILE, Column
from gpucv.traces.formats.base import table_of
from gpucv.traces.formats.otel.exports import Exports
from gpucv.traces.formats.otel.journeys import gather
from gpucv.traces.formats.otel.lifecycle import lifecycles
from gpucv.traces.provenance import Note

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gpucv.traces.formats.otel.journeys import Moment, ServerSpan
    from gpucv.traces.formats.otel.lifecycle import Lifecycle
    from gpucv.traces.formats.otel.recording import Recording
    from gpucv.traces.provenance import SourceFile
    from gpucv.traces.sources import Source

__all__ = ["REQUEST_COLUMNS", "RequestReader"]

_NS_PER_US = 1000.0

_OWN: tuple[Column, ...] = (
    Column("request_id", "string", "label", "the request, as its journey is known"),
    Column("queued_ns", "int64", "ns", "it joined the engine's queue, monotonic clock"),
    Column("scheduled_ns", "int64", "ns", "it was first scheduled, monotonic clock"),
    Column("first_token_ns", "int64", "ns", "its first token was known, monotonic clock"),
    Column("finished_ns", "int64", "ns", "its last token was known, monotonic clock"),
    Column("queue_us", "float64", "us", "from queued to scheduled"),
    Column("ttft_us", "float64", "us", "from queued to first token, in the engine"),
    Column("e2e_us", "float64", "us", "from queued to finished, in the engine"),
    Column("tpot_us", "float64", "us", "time per output token after the first"),
    Column("prompt_tokens", "int64", "tokens", "length of the prompt"),
    Column("output_tokens", "int64", "tokens", "tokens generated"),
    Column("num_preemptions", "int64", "count", "times it was preempted"),
    Column("finish_status", "string", "label", "stopped, length, aborted, ignored or error"),
    Column("api_arrived_ns", "int64", "ns", "the server received it, monotonic clock"),
    Column("api_departed_ns", "int64", "ns", "the server sent its last answer, same clock"),
)
REQUEST_COLUMNS: tuple[Column, ...] = (
    *GROUP_COLUMNS,
    *(column for column in EXPERIMENT_COLUMNS if column not in GROUP_COLUMNS),
    *_OWN,
)
"""Nulls stand for events that were not recorded."""


class RequestReader:
    """One recording being read: its requests, then what was read.

    The journeys are held in memory, about a kilobyte per request.

    Parameters
    ----------
    source : Source
        The ``traces.json``.
    recording : Recording
        Labels of every request.
    on_bytes : callable, optional
        Called with the number of bytes of each line read.
    """

    def __init__(
        self, source: Source, recording: Recording, on_bytes: Callable[[int], None] | None = None
    ) -> None:
        self._exports = Exports(source, on_bytes)
        self._recording = recording
        self._rows = 0
        self._noticed: list[Note] = []

    def batches(self) -> Iterator[Any]:
        """Yield one ``pyarrow.Table`` with a row for every request, first queued first.

        Raises
        ------
        TraceError
            If a line is damaged, there are no journeys, or too many are out of order.
        """
        name = self._exports.name
        journeys = gather(self._exports)
        lives, notes = lifecycles(journeys.all(), name)
        servers = journeys.server_spans()
        self._noticed += [journeys.identity_note(name), *notes]
        if lives and not servers:
            message = f"{name}: no api.* events; when the server received requests is not known"
            self._noticed.append(Note("no_server_spans", message, len(lives), "info"))
        lives.sort(key=_began_ns)
        rows = [_row(life, servers.get(life.request)) for life in lives]
        self._rows = len(rows)
        labels = {
            column.name: getattr(self._recording, column.name) for column in EXPERIMENT_COLUMNS
        }
        values: dict[str, Any] = {SOURCE_FILE: self._exports.label, **labels}
        values |= _columns(rows)
        yield table_of(REQUEST_COLUMNS, values, len(rows))

    def source_file(self) -> SourceFile:
        """Return size, digest and rows of the trace; to be asked after the last batch."""
        return self._exports.source_file(self._rows, "otel-requests")

    def notes(self) -> tuple[Note, ...]:
        """Return what was noticed; to be asked after the last batch."""
        return (*self._recording.notes, *self._noticed, *self._exports.notes())


def _columns(rows: list[dict[str, Any]]) -> dict[str, Any]:
    import pyarrow as pa

    kinds = {"string": pa.string(), "int64": pa.int64(), "float64": pa.float64()}
    return {
        column.name: pa.array([row[column.name] for row in rows], kinds[column.dtype])
        for column in _OWN
    }


def _row(life: Lifecycle, server: ServerSpan | None) -> dict[str, Any]:
    scheduled = life.scheduled[0] if life.scheduled else None
    finished, first, queued = life.finished, life.first_token, life.queued
    moments = [each for each in (queued, *life.scheduled, *life.preempted, first, finished) if each]
    outputs = finished.output if finished else None
    decoding_us = _between_us(first, finished)
    per_token_us = None
    if outputs is not None and outputs > 1 and decoding_us is not None:
        per_token_us = decoding_us / (outputs - 1)
    prompts = [each.prompt for each in moments if each.prompt is not None]
    preemptions = [each.preemptions for each in moments if each.preemptions is not None]
    return {
        "request_id": life.request,
        "queued_ns": queued and queued.ts_ns,
        "scheduled_ns": scheduled and scheduled.ts_ns,
        "first_token_ns": first and first.ts_ns,
        "finished_ns": finished and finished.ts_ns,
        "queue_us": _between_us(queued, scheduled),
        "ttft_us": _between_us(queued, first),
        "e2e_us": _between_us(queued, finished),
        "tpot_us": per_token_us,
        "prompt_tokens": prompts[-1] if prompts else None,
        "output_tokens": outputs,
        "num_preemptions": max([*preemptions, len(life.preempted)]),
        "finish_status": finished and finished.status,
        "api_arrived_ns": server and server.arrived_ns,
        "api_departed_ns": server and server.departed_ns,
    }


def _between_us(start: Moment | None, end: Moment | None) -> float | None:
    return None if start is None or end is None else (end.ts_ns - start.ts_ns) / _NS_PER_US


def _began_ns(life: Lifecycle) -> int:
    first = life.queued or (life.scheduled[0] if life.scheduled else life.finished)
    return first.ts_ns if first else 0
