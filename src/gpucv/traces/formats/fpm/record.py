"""Unwrap the lines of a trace, and turn many of them into columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from gpucv.errors import TraceError, nearest
from gpucv.schema import (
    DECODE_TOKENS,
    DTYPE,
    ENGINE,
    ENGINE_VERSION,
    EXPERIMENT,
    GPU,
    MODEL,
    NUM_DECODE_REQS,
    NUM_PREFILL_REQS,
    PREFILL_TOKENS,
    SCHEDULED_TOKENS,
    SOURCE_FILE,
    STEP_ID,
    TP,
    WAITING_DEPTH,
)
from gpucv.traces.formats.fields import Field, numbers, texts
from gpucv.traces.names import named
from gpucv.traces.piece import one_line

if TYPE_CHECKING:
    from gpucv.catalog import Catalog
    from gpucv.traces.sources import Source

__all__ = ["Batch"]

_SCHEMA = "dynamo.fpm.trace.v1"
_VERSION = 1

_SCHEDULED = {
    NUM_PREFILL_REQS: Field("num_prefill_requests", whole=True),
    PREFILL_TOKENS: Field("sum_prefill_tokens", whole=True),
    "prefill_kv_tokens": Field("sum_prefill_kv_tokens", whole=True),
    "var_prefill_length": Field("var_prefill_length", required=False),
    NUM_DECODE_REQS: Field("num_decode_requests", whole=True),
    "decode_kv_tokens": Field("sum_decode_kv_tokens", whole=True),
    "var_decode_kv_tokens": Field("var_decode_kv_tokens", required=False),
}
_QUEUED = {
    "queued_prefill_reqs": Field("num_prefill_requests", whole=True, required=False),
    "queued_prefill_tokens": Field("sum_prefill_tokens", whole=True, required=False),
    "queued_var_prefill_length": Field("var_prefill_length", required=False),
    "queued_decode_reqs": Field("num_decode_requests", whole=True, required=False),
    "queued_decode_kv_tokens": Field("sum_decode_kv_tokens", whole=True, required=False),
    "queued_var_decode_kv_tokens": Field("var_decode_kv_tokens", required=False),
}
_WALL_TIME = Field("wall_time")
_WHOLE = {
    "dp_rank": Field("dp_rank", whole=True, required=False),
    STEP_ID: Field("counter_id", whole=True, required=False),
}
_LABELS = (ENGINE, ENGINE_VERSION, DTYPE)


class Batch:
    """Records of one file, taken apart into their maps.

    Parameters
    ----------
    source : Source
    """

    def __init__(self, source: Source) -> None:
        self._name, self._label = source.name, source.label
        self._lines: list[int] = []
        self._outer: list[dict[str, Any]] = []
        self._passes: list[dict[str, Any]] = []
        self._scheduled: list[dict[str, Any]] = []
        self._queued: list[dict[str, Any]] = []

    def add(self, line: int, record: dict[str, Any]) -> None:
        """Take in one line's object.

        Raises
        ------
        TraceError
            If it is no forward pass, or one of another version.
        """
        self._lines.append(line)
        event = record.get("event")
        outer = event if isinstance(event, dict) else record
        inner = outer.get("fpm")
        one = inner if isinstance(inner, dict) else outer
        if outer.get("schema", _SCHEMA) != _SCHEMA:
            self._refuse(f"schema is {_told(outer['schema'])}; {_SCHEMA} is the one that is read")
        if not {"scheduled_requests", "wall_time"} & one.keys():
            hint = nearest("fpm", one) or f"; it has {one_line(', '.join(one), 200) or 'nothing'}"
            self._refuse(f"no forward pass{hint}")
        version = one.get("version", _VERSION)
        if version != _VERSION:
            self._refuse(f"version is {_told(version)}; version {_VERSION} is the one that is read")
        self._outer.append(outer)
        self._passes.append(one)
        self._scheduled.append(self._map(one, "scheduled_requests"))
        self._queued.append(self._map(one, "queued_requests") if "queued_requests" in one else {})

    def where(self, position: int) -> str:
        """Return the place of a record, by its position in the batch."""
        return f"{self._name}, line {self._lines[position]}"

    def seconds(self) -> Any:
        """Return the wall time of each pass, in s."""
        return numbers(self._passes, _WALL_TIME, self.where).to_numpy()

    def columns(self, catalog: Catalog) -> dict[str, Any]:
        """Return everything but phase and time, by column."""
        import pyarrow as pa
        import pyarrow.compute as pc

        columns: dict[str, Any] = {SOURCE_FILE: self._label}
        for fields, records in (
            (_SCHEDULED, self._scheduled),
            (_QUEUED, self._queued),
            (_WHOLE, self._passes),
        ):
            columns |= {name: numbers(records, field, self.where) for name, field in fields.items()}
        observed = Field("observed_at_unix_ms", whole=True, required=False)
        columns[observed.key] = numbers(self._outer, observed, self.where)
        columns[TP] = numbers(self._passes, Field(TP, whole=True, required=False), self.where)
        for name in _LABELS:
            columns[name] = pa.array(texts(self._passes, (name,), self.where), pa.string())
        capture = texts(self._outer, ("capture_mode",), self.where)
        columns["capture_mode"] = pa.array(capture, pa.string())
        columns[MODEL] = self._named((MODEL, "model_name"), catalog.models)
        columns[GPU] = self._named((GPU,), catalog.gpus)
        columns[EXPERIMENT] = pa.array(self._streams(), pa.string())
        columns[DECODE_TOKENS] = columns[NUM_DECODE_REQS]
        columns[SCHEDULED_TOKENS] = pc.add(columns[PREFILL_TOKENS], columns[DECODE_TOKENS])
        queued = (columns["queued_prefill_reqs"], columns["queued_decode_reqs"])
        columns[WAITING_DEPTH] = pc.add(*queued)
        return columns

    def _named(self, keys: tuple[str, ...], index: Any) -> Any:
        import pyarrow as pa

        return pa.array(named(texts(self._passes, keys, self.where), index), pa.string())

    def _streams(self) -> list[str]:
        """Return worker and rank of each pass; the file stands for a worker without a name."""
        workers = texts(self._passes, ("worker_id",), self.where)
        streams = []
        for position, one in enumerate(self._passes):
            source = self._outer[position].get("source")
            producer = source.get("producer_id") if isinstance(source, dict) else None
            worker = workers[position] or producer or self._label
            streams.append(f"{worker}/dp{one.get('dp_rank') or 0}")
        return streams

    def _map(self, one: dict[str, Any], key: str) -> dict[str, Any]:
        value = one.get(key)
        if not isinstance(value, dict):
            if key in one:
                self._refuse(f"{key} is {_told(value)}, not a map of counts")
            hint = nearest(key, one) or f"; it has {one_line(', '.join(one), 200)}"
            self._refuse(f"no field {key!r}{hint}")
        return value

    def _refuse(self, fault: str) -> NoReturn:
        msg = f"{self.where(-1)}: {fault}"
        raise TraceError(msg)


def _told(value: Any) -> str:
    return one_line(repr(value), 60)
