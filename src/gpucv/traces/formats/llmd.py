"""Training samples of llm-d's latency predictor: one request on each line.

The predictor's training server receives these records, and its trace recorder keeps
them as JSON lines: the state of a pod when a request was sent there, and the time to
first token (TTFT) and per output token (TPOT) that followed. Rows are requests, so the
table is wide: one row has both times.

A time of 0 is no time: in disaggregated serving the prefill pod reports the one, the
decode pod the other. It is null here.

Source: llm-d-latency-predictor, ``training/training_server.py``, ``TrainingEntry``.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from gpucv.errors import TraceError
from gpucv.schema import GPU, GROUP_COLUMNS, MODEL, SOURCE_FILE, TP, Column
from gpucv.traces.formats.base import Format, Reading, table_of
from gpucv.traces.formats.fields import Field, numbers, texts
from gpucv.traces.formats.json_lines import JsonLines, first_line
from gpucv.traces.names import named
from gpucv.traces.piece import one_line
from gpucv.traces.provenance import Note

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from gpucv.catalog import NameIndex
    from gpucv.traces.provenance import SourceFile
    from gpucv.traces.sources import Source

__all__ = ["LLMD"]

_FEATURES = (
    (Field("kv_cache_percentage", share=True), "ratio", "share of the pod's KV cache in use"),
    (Field("input_token_length", whole=True), "tokens", "length of the prompt"),
    (Field("num_request_waiting", whole=True), "requests", "requests waiting on the pod"),
    (Field("num_request_running", whole=True), "requests", "requests running on the pod"),
    (Field("prefix_cache_score", share=True), "ratio", "share of the prompt found in the cache"),
    (
        Field("num_tokens_generated", whole=True, required=False),
        "tokens",
        "output tokens when the time per token was taken",
    ),
    (
        Field("prefill_tokens_in_flight", whole=True, required=False),
        "tokens",
        "prompt tokens of all requests on the pod not yet computed",
    ),
    (
        Field("decode_tokens_in_flight", whole=True, required=False),
        "tokens",
        "output tokens of all requests on the pod still to come",
    ),
    (
        Field("encoder_matched_size", whole=True, required=False),
        "tokens",
        "multimodal input found in the encoder's cache",
    ),
    (Field("encoder_input_size", whole=True, required=False), "tokens", "multimodal input"),
)
_LABELS = {"ttft_us": Field("actual_ttft_ms"), "tpot_us": Field("actual_tpot_ms")}
_NAMES = (MODEL, "model_name", GPU, TP, "pod_type", "timestamp")

_COLUMNS = (
    *GROUP_COLUMNS,
    Column("pod_type", "string", "label", "prefill, decode, or monolithic for both"),
    Column("timestamp_ns", "int64", "ns", "when the record was made, since 1970 in UTC"),
    *(
        Column(field.key, "int64" if field.whole else "float64", unit, meaning)
        for field, unit, meaning in _FEATURES
    ),
    Column("effective_input_tokens", "float64", "tokens", "prompt tokens not found in the cache"),
    Column("ttft_us", "float64", "us", "time to first token; null where not measured"),
    Column("tpot_us", "float64", "us", "mean time of an output token; null where not measured"),
)

_PLAUSIBLE_MS = {"ttft_us": (1.0, 600_000.0), "tpot_us": (0.1, 5_000.0)}
"""Between these, in ms, lies the median of any server's times. A first token takes at
least a forward pass and a network round trip, and no client waits ten minutes for the
usual one; 0.1 ms per token would be 10,000 tokens a second of one request, 5,000 ms a
token every 5 seconds. So times in seconds fall below one of the two, times in us above."""
_ENOUGH = 20
"""Times below which half of them outside the bounds says little about the unit."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class _Samples:
    """One file being read."""

    def __init__(self, source: Source, reading: Reading) -> None:
        self._source = source
        self._reading = reading
        self._lines = JsonLines(source, reading.on_bytes)
        self._rows = 0
        self._units = {name: _UnitCheck(name, field) for name, field in _LABELS.items()}
        self._unread: Counter[str] = Counter()

    def batches(self) -> Iterator[Any]:
        """Yield tables of up to 16,384 requests."""
        for lines, records in self._lines.batches():
            yield self._table(records, lines)
        for check in self._units.values():
            check.refuse_wrong_unit(self._source.name)

    def source_file(self) -> SourceFile:
        """Return what the rows were read from."""
        return self._lines.source_file(self._rows)

    def notes(self) -> tuple[Note, ...]:
        """Return gaps of the recording."""
        notes = list(self._lines.notes())
        for check in self._units.values():
            if check.unlabelled:
                message = (
                    f"{self._source.name}: {check.field.key} is 0, not measured, in "
                    f"{check.unlabelled:,} of {self._rows:,} requests; to predict it, leave them "
                    'out with bad_rows = "drop" under [data]'
                )
                notes.append(Note("unlabelled", message, check.unlabelled, "info"))
        if self._unread:
            names = one_line(", ".join(sorted(self._unread)), 200)
            message = f"{self._source.name}: fields passed over: {names}"
            notes.append(Note("other_fields", message, len(self._unread), "info"))
        return tuple(notes)

    def _table(self, records: Sequence[dict[str, Any]], lines: Sequence[int]) -> Any:
        import pyarrow as pa
        import pyarrow.compute as pc

        def where(position: int) -> str:
            return f"{self._source.name}, line {lines[position]}"

        catalog = self._reading.catalog
        columns: dict[str, Any] = {
            SOURCE_FILE: self._source.label,
            MODEL: _labels(texts(records, (MODEL, "model_name"), where), catalog.models),
            GPU: _labels(texts(records, (GPU,), where), catalog.gpus),
            TP: numbers(records, Field(TP, whole=True, required=False), where),
            "pod_type": pa.array(
                [
                    "monolithic" if pod == "" else pod
                    for pod in texts(records, ("pod_type",), where)
                ],
                pa.string(),
            ),
            "timestamp_ns": pa.array(
                [_nanoseconds(record, where(at)) for at, record in enumerate(records)], pa.int64()
            ),
        }
        for field, _, _ in _FEATURES:
            columns[field.key] = numbers(records, field, where)
        missed = pc.subtract(1.0, columns["prefix_cache_score"])
        length = pc.cast(columns["input_token_length"], pa.float64())
        columns["effective_input_tokens"] = pc.multiply(missed, length)
        for name, field in _LABELS.items():
            columns[name] = self._units[name].microseconds(numbers(records, field, where))
        self._rows += len(records)
        self._unread.update({key for record in records for key in record} - _READ)
        return table_of(_COLUMNS, columns, len(records))


class _UnitCheck:
    """Counts of one label's values: measured or not, and on which side of the bounds.

    What is refused is as with forward passes, but the bounds there move with the tokens and
    some sides are only told, so that one class for both would be the longer.
    """

    def __init__(self, name: str, field: Field) -> None:
        self.field = field
        self.unlabelled = 0
        self._low, self._high = _PLAUSIBLE_MS[name]
        self._labelled = self._below = self._above = 0

    def microseconds(self, milliseconds: Any) -> Any:
        """Return times in us, null for 0, and count them."""
        import numpy as np
        import pyarrow as pa

        values = milliseconds.to_numpy()
        zero = values == 0
        self.unlabelled += int(zero.sum())
        self._labelled += int((~zero).sum())
        self._below += int((~zero & (values < self._low)).sum())
        self._above += int((values > self._high).sum())
        return pa.array(values * 1000.0, pa.float64(), mask=np.asarray(zero))

    def refuse_wrong_unit(self, name: str) -> None:
        """Raise TraceError if more than half of the times are no milliseconds."""
        if self._labelled < _ENOUGH:
            return
        for count, bound, side, unit in (
            (self._below, self._low, "below", "seconds: multiply it by 1000"),
            (self._above, self._high, "above", "microseconds: divide it by 1000"),
        ):
            if 2 * count > self._labelled:
                msg = (
                    f"{name}: {self.field.key} is {side} {bound:,g} ms in {count:,} of "
                    f"{self._labelled:,} measured requests, which no server reaches: it looks "
                    f"like {unit}"
                )
                raise TraceError(msg)


_READ = {
    *_NAMES,
    *(field.key for field, _, _ in _FEATURES),
    *(field.key for field in _LABELS.values()),
}


def _labels(labels: Sequence[str | None], index: NameIndex[Any]) -> Any:
    import pyarrow as pa

    return pa.array(named(labels, index), pa.string())


def _nanoseconds(record: dict[str, Any], where: str) -> int | None:
    """Return a record's time stamp: ISO 8601, in UTC if it names no zone, or Unix seconds."""
    value = record.get("timestamp")
    if value is None:
        return None
    try:
        if isinstance(value, str):
            moment = datetime.fromisoformat(value)
        else:
            moment = datetime.fromtimestamp(value, UTC)
    except (ValueError, TypeError, OverflowError, OSError) as error:
        found = one_line(repr(value), 60)
        msg = f"{where}: timestamp is {found}, neither an ISO 8601 time nor Unix seconds"
        raise TraceError(msg) from error
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // _MICROSECOND * 1000


def _recognises(path: Path) -> bool:
    """Whether the first line has two of the names; one of them may be misspelt."""
    line = first_line(path)
    marks = (b"actual_ttft_ms", b"actual_tpot_ms", b"kv_cache_percentage", b"prefix_cache_score")
    return sum(mark in line for mark in marks) >= 2


LLMD = Format(
    name="llm-d",
    told="training samples of llm-d's latency predictor (JSON lines, plain or gzip)",
    files=("*.jsonl", "*.jsonl.gz"),
    columns=_COLUMNS,
    kind="measurements",
    recognises=_recognises,
    open=_Samples,
)
