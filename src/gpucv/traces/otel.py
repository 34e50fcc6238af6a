"""Read the steps of an OpenTelemetry recording, one line at a time.

``traces.json`` holds one OTLP export per line::

    resourceSpans[] > scopeSpans[] {scope.name} > spans[] > events[] {name, attributes[]}

An attribute is ``{"key": …, "value": {"intValue": "12"}}``: 64-bit integers are
strings. Steps are the events named ``step.BATCH_SUMMARY``; a line may mix them with the
spans of other scopes, which are passed over. A line is the most that is held at once,
so a recording of any length is read in bounded memory.
"""

from __future__ import annotations

import gc
import hashlib
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from gpucv.errors import EnvironmentFaultError, TraceError
from gpucv.schema import EXPERIMENT_COLUMNS, STEP_COLUMNS
from gpucv.traces.piece import Piece, one_line
from gpucv.traces.provenance import Note, SourceFile
from gpucv.traces.recording import Recording, describe_recording

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gpucv.catalog import Catalog
    from gpucv.traces.memory import MemoryBudget
    from gpucv.traces.piece import Selection
    from gpucv.traces.sources import Source

__all__ = ["STEP_EVENT", "TraceReader", "arrow_schema", "read_recording"]

STEP_EVENT = "step.BATCH_SUMMARY"
"""The event that describes one step."""
LONGEST_LINE = 1 << 26
"""Bytes; parsed, a line takes some fifteen times its length in memory."""
_BATCH_ROWS = 1 << 15
"""Steps held as Python numbers, some 20 MB of them, before they become arrays."""

_MEASURED = STEP_COLUMNS[len(EXPERIMENT_COLUMNS) :]
_WHOLE = {column.name: column.dtype == "int64" for column in _MEASURED}


def arrow_schema() -> Any:
    """Return the step table's columns as a ``pyarrow.Schema``; labels dictionary-encoded."""
    import pyarrow as pa

    kinds = {
        "string": pa.dictionary(pa.int32(), pa.string()),
        "int64": pa.int64(),
        "float64": pa.float64(),
    }
    return pa.schema([(column.name, kinds[column.dtype]) for column in STEP_COLUMNS])


def read_recording(
    source: Source, selection: Selection, budget: MemoryBudget, catalog: Catalog
) -> Piece:
    """Return the steps of one recording, labelled by its folder.

    Raises
    ------
    TraceError
        If the trace or ``exp-config.yaml`` is damaged, or there is no step in it.
    """
    import pyarrow as pa

    schema = arrow_schema()
    picked = selection.pick(schema.names, source.name)
    reader = TraceReader(source, describe_recording(source.path.parent, source.name, catalog))
    batches = []
    for batch in reader.batches():
        chosen = batch.select(picked)
        budget.hold(chosen.nbytes, source.name)
        batches.append(chosen)
    return Piece(pa.Table.from_batches(batches), reader.source_file(), reader.notes())


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
        self._source = source
        self._recording = recording
        self._on_bytes = on_bytes
        self._digest = hashlib.sha256()
        self._size = 0
        self._rows = 0
        self._torn_line = 0
        self._seen: Counter[str] = Counter()

    def batches(self) -> Iterator[Any]:
        """Yield ``pyarrow.RecordBatch`` es of the step table, about 32,768 rows each.

        Raises
        ------
        TraceError
            With the line number, if a line is damaged; if there is no step at all.
        """
        columns: dict[str, list[Any]] = {name: [] for name in _WHOLE}
        held = 0
        for number, line in self._lines():
            if not line.strip():
                continue
            with _no_garbage_collection():
                steps = self._steps(self._parse(line, number), number)
                _append(steps, columns, f"{self._source.name}, line {number}")
            held += len(steps)
            if held >= _BATCH_ROWS:
                yield self._batch(columns, held)
                columns = {name: [] for name in _WHOLE}
                held = 0
        if held:
            yield self._batch(columns, held)
        if not self._rows:
            self._refuse_stepless()

    def source_file(self) -> SourceFile:
        """Return size, digest and rows of the trace; to be asked after the last batch."""
        digest = self._digest.hexdigest()
        return SourceFile(self._source.name, self._size, digest, self._rows, "otel")

    def notes(self) -> tuple[Note, ...]:
        """Return what was noticed; to be asked after the last batch."""
        if not self._torn_line:
            return self._recording.notes
        message = (
            f"{self._source.name}, line {self._torn_line}: the last line breaks off and was left "
            "out; the recorder was killed"
        )
        return (*self._recording.notes, Note("torn_last_line", message, 1, "warning"))

    def _parse(self, line: bytes, number: int) -> Any:
        """Return a line's JSON value; an export of nothing for a last line that breaks off."""
        from pydantic_core import from_json

        try:
            return from_json(line, cache_strings="keys")
        except ValueError as error:
            if not line.endswith(b"\n"):
                # Only a killed recorder leaves a last line without its end.
                self._torn_line = number
                return {"resourceSpans": []}
            msg = (
                f"{self._source.name}, line {number}: not JSON ({one_line(error)}); mend or "
                "remove that line"
            )
            raise TraceError(msg) from error

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        number = 0
        try:
            with self._source.path.open("rb") as file:
                while line := file.readline(LONGEST_LINE + 1):
                    number += 1
                    if len(line) > LONGEST_LINE:
                        msg = (
                            f"{self._source.name}, line {number}: longer than "
                            f"{LONGEST_LINE >> 20} MiB; a trace has one export per line"
                        )
                        raise TraceError(msg)
                    self._digest.update(line)
                    self._size += len(line)
                    if self._on_bytes is not None:
                        self._on_bytes(len(line))
                    yield number, line
        except OSError as error:
            msg = f"cannot read {self._source.name}: {error.strerror}"
            raise EnvironmentFaultError(msg) from error

    def _steps(self, export: Any, line: int) -> list[dict[str, Any]]:
        """Return the attributes of each step in one export, as they stand there."""
        steps = []
        try:
            for resource in export["resourceSpans"]:
                for scope in resource.get("scopeSpans", ()):
                    for span in scope.get("spans", ()):
                        for event in span.get("events", ()):
                            if event["name"] == STEP_EVENT:
                                found = {each["key"]: each["value"] for each in event["attributes"]}
                                steps.append(found)
                            elif not self._rows:
                                self._seen[_place(scope, event)] += 1
        except (KeyError, TypeError, AttributeError) as error:
            msg = (
                f"{self._source.name}, line {line}: JSON, but no OTLP trace export "
                f"({type(error).__name__}: {one_line(error)})"
            )
            raise TraceError(msg) from error
        self._rows += len(steps)
        return steps

    def _batch(self, columns: dict[str, list[Any]], rows: int) -> Any:
        import pyarrow as pa

        schema = arrow_schema()
        arrays = []
        for field in schema:
            if field.name in columns:
                arrays.append(pa.array(columns[field.name], field.type))
            else:
                value = getattr(self._recording, field.name)
                arrays.append(pa.repeat(pa.scalar(value, field.type), rows))
        return pa.RecordBatch.from_arrays(arrays, schema=schema)

    def _refuse_stepless(self) -> None:
        name = self._source.name
        if not self._size:
            msg = f"{name} is empty (0 bytes); record it again"
            raise TraceError(msg)
        found = ", ".join(f"{count:,} x {place}" for place, count in self._seen.most_common(4))
        msg = (
            f"{name}: no {STEP_EVENT} event; it holds {one_line(found, 300) or 'no events'}; "
            "record with step tracing on"
        )
        raise TraceError(msg)


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Keep the search for reference cycles off a line: JSON has none, and it halves the speed."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _place(scope: Any, event: Any) -> str:
    return f"{event['name']} ({scope.get('scope', {}).get('name', 'no scope')})"


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
            column.extend([_value(name, step, where) for step in steps])


def _whole(name: str, steps: list[dict[str, Any]]) -> list[int]:
    # With a base, int() takes nothing but text: a JSON number, perhaps a fraction, does not pass.
    values = [int(step[name]["intValue"], 10) for step in steps]
    if min(values) < -(2**63) or max(values) >= 2**63:
        msg = "beyond 64 bits"
        raise ValueError(msg)
    return values


def _float(name: str, steps: list[dict[str, Any]]) -> list[float]:
    return [float(step[name]["doubleValue"]) for step in steps]


def _value(name: str, step: dict[str, Any], where: str) -> int | float | None:
    """Return one attribute of one step, or say where it is no number."""
    value = step.get(name)
    if value is None:
        return None
    try:
        number = value["intValue"] if "intValue" in value else value["doubleValue"]
        return _int64(number) if _WHOLE[name] else float(number)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        msg = f"{where}: {name} is {one_line(repr(value), 60)}, not a number of its kind"
        raise TraceError(msg) from error


def _int64(value: Any) -> int:
    number = int(value)
    if isinstance(value, float) and number != value:
        msg = "a fraction"
        raise ValueError(msg)
    if not -(2**63) <= number < 2**63:
        msg = "beyond 64 bits"
        raise OverflowError(msg)
    return number
