"""Read the steps of an OpenTelemetry recording, one line at a time.

Steps are the events named ``step.BATCH_SUMMARY``; their contexts come from the
``step.REQUEST_SNAPSHOT`` events of the same ``step.id``. The spans of other scopes are
passed over.

A step's snapshots normally follow it in the same span, but a recorder may write them
on another line. So the last steps read are held back until snapshots are no longer to
be expected: some hundred bytes each, and no more than `_HELD_BATCHES` batches of them,
which stand for half a gigabyte of trace. Reading twice would need no holding back, and
would take twice as long. Snapshots that come later still are counted in a note.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from gpucv.schema import EXPERIMENT_COLUMNS, RUNNING_DEPTH, SNAPSHOT_COLUMNS, STEP_COLUMNS, STEP_ID
from gpucv.traces.formats.base import arrow_schema
from gpucv.traces.formats.otel.attributes import number
from gpucv.traces.formats.otel.exports import (
    LONGEST_LINE,
    SNAPSHOT_EVENT,
    STEP_EVENT,
    Exports,
    no_garbage_collection,
)
from gpucv.traces.formats.otel.snapshots import Snapshots

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gpucv.traces.formats.otel.recording import Recording
    from gpucv.traces.provenance import Note, SourceFile
    from gpucv.traces.sources import Source

__all__ = ["TraceReader"]

_BATCH_ROWS = 1 << 15
"""Steps held as Python numbers, some 20 MB of them, before they become arrays."""
_HELD_BATCHES = 8
"""Batches held back for snapshots to come; as arrays, some 5 MB each."""

_MEASURED = STEP_COLUMNS[len(EXPERIMENT_COLUMNS) :]
_WHOLE = {column.name: column.dtype == "int64" for column in _MEASURED}


class TraceReader:
    """One recording being read: batches of steps, then what was read.

    Parameters
    ----------
    source : Source
        The ``traces.json``.
    recording : Recording
        Labels of every step.
    on_bytes : callable, optional
        Called with the number of bytes of each line read.
    """

    def __init__(
        self, source: Source, recording: Recording, on_bytes: Callable[[int], None] | None = None
    ) -> None:
        self._exports = Exports(source, on_bytes, LONGEST_LINE)
        self._recording = recording
        self._snapshots = Snapshots()
        self._rows = 0

    def batches(self) -> Iterator[Any]:
        """Yield ``pyarrow.RecordBatch`` es of the step table, about 32,768 rows each.

        Raises
        ------
        TraceError
            With the line number, if a line is damaged; if there is no step at all.
        """
        held: deque[Any] = deque()
        columns: dict[str, list[Any]] = {name: [] for name in _WHOLE}
        for line_number, line in self._exports.lines():
            with no_garbage_collection():
                where = self._exports.place(line_number)
                steps = self._steps(self._exports.parse(line, line_number), line_number, where)
                _append(steps, columns, where)
            if len(columns[STEP_ID]) >= _BATCH_ROWS:
                held.append(self._batch(columns))
                columns = {name: [] for name in _WHOLE}
            if len(held) > _HELD_BATCHES:
                yield self._with_contexts(held.popleft())
        if columns[STEP_ID]:
            held.append(self._batch(columns))
        while held:
            yield self._with_contexts(held.popleft())
        if not self._rows:
            raise self._exports.refuse(STEP_EVENT, "record with step tracing on")

    def source_file(self) -> SourceFile:
        """Return size, digest and rows of the trace; to be asked after the last batch."""
        return self._exports.source_file(self._rows, "otel")

    def notes(self) -> tuple[Note, ...]:
        """Return what was noticed; to be asked after the last batch."""
        snapshot_notes = self._snapshots.notes(self._exports.name)
        return (*self._recording.notes, *snapshot_notes, *self._exports.notes())

    def _steps(self, export: Any, line: int, where: str) -> list[dict[str, Any]]:
        """Return the attributes of each step in one export, as they stand there.

        Snapshots are counted in on the way.
        """
        steps = []
        try:
            for resource in export["resourceSpans"]:
                for scope in resource.get("scopeSpans", ()):
                    for span in scope.get("spans", ()):
                        for event in span.get("events", ()):
                            name = event["name"]
                            if name == STEP_EVENT:
                                found = {each["key"]: each["value"] for each in event["attributes"]}
                                steps.append(found)
                            elif name == SNAPSHOT_EVENT:
                                found = {each["key"]: each["value"] for each in event["attributes"]}
                                self._snapshots.add(found, where)
                            elif not self._rows:
                                self._exports.passed_over(scope, event)
        except (KeyError, TypeError, AttributeError) as error:
            raise self._exports.no_export(line, error) from error
        self._rows += len(steps)
        return steps

    def _batch(self, columns: dict[str, list[Any]]) -> Any:
        """Return the steps as arrays, their contexts left out."""
        import pyarrow as pa

        schema = arrow_schema(STEP_COLUMNS)
        arrays = []
        for field in schema:
            if field.name in columns:
                arrays.append(pa.array(columns[field.name], field.type))
            else:
                value = getattr(self._recording, field.name)
                arrays.append(pa.repeat(pa.scalar(value, field.type), len(columns[STEP_ID])))
        return pa.RecordBatch.from_arrays(arrays, schema=schema)

    def _with_contexts(self, batch: Any) -> Any:
        import pyarrow as pa

        contexts = self._snapshots.take_all(batch[STEP_ID], batch[RUNNING_DEPTH])
        schema = arrow_schema([*STEP_COLUMNS, *SNAPSHOT_COLUMNS])
        return pa.RecordBatch.from_arrays([*batch.columns, *contexts], schema=schema)


def _append(steps: list[dict[str, Any]], columns: dict[str, list[Any]], where: str) -> None:
    """Append the steps' values column by column; None where a step lacks one.

    The usual case, every value there and of the usual kind, is a plain loop: most of
    the time beside parsing is spent here.
    """
    if not steps:
        return
    for name, column in columns.items():
        try:
            column.extend(_whole(name, steps) if _WHOLE[name] else _float(name, steps))
        except (KeyError, TypeError, ValueError):
            whole = _WHOLE[name]
            column.extend([number(step, name, where, whole=whole) for step in steps])


def _whole(name: str, steps: list[dict[str, Any]]) -> list[int]:
    # With a base, int() takes nothing but text: a JSON number, perhaps a fraction, does not pass.
    values = [int(step[name]["intValue"], 10) for step in steps]
    if min(values) < -(2**63) or max(values) >= 2**63:
        msg = "beyond 64 bits"
        raise ValueError(msg)
    return values


def _float(name: str, steps: list[dict[str, Any]]) -> list[float]:
    return [float(step[name]["doubleValue"]) for step in steps]
