"""Read the forward-pass database that aiconfigurator publishes: one point on each row.

``fpm_forward_perf.parquet`` holds whole forward passes of one GPU system, engine and
version over a grid of batches. Counts are those of one data-parallel rank; the time is
the slowest rank's, in ms. A ``.metadata.json`` beside it, where there is one, holds the
digest it was published with.

Source: aiconfigurator, ``collector/fpm_forward/database.py``, schema 6.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpucv.errors import TraceError
from gpucv.runs.layout import sha256_of
from gpucv.schema import (
    DECODE_TOKENS,
    DTYPE,
    ENGINE,
    ENGINE_VERSION,
    EXPERIMENT,
    GPU,
    LATENCY_US,
    MODEL,
    NUM_DECODE_REQS,
    NUM_PREFILL_REQS,
    PREFILL_TOKENS,
    SCHEDULED_TOKENS,
    SOURCE_FILE,
    TP,
)
from gpucv.traces.formats.base import OneTable, Reading, table_of
from gpucv.traces.formats.fpm.columns import COLUMNS, UnitCheck
from gpucv.traces.formats.fpm.work import with_physics
from gpucv.traces.formats.parquet_columns import ParquetColumns
from gpucv.traces.names import named
from gpucv.traces.parquet import open_parquet, read_columns
from gpucv.traces.piece import Selection, one_line
from gpucv.traces.provenance import Note, SourceFile

if TYPE_CHECKING:
    from gpucv.catalog import Catalog
    from gpucv.traces.memory import MemoryBudget
    from gpucv.traces.sources import Source

__all__ = ["MARKS", "open_database"]

MARKS = frozenset({"workload_kind", "batch_size", "total_prefill_tokens", "total_kv_read_tokens"})
"""Columns that only this table has, all together."""

_TEXTS = {
    EXPERIMENT: "cell_id",
    MODEL: "model_path",
    GPU: "system",
    ENGINE: "backend",
    ENGINE_VERSION: "backend_version",
    DTYPE: "gemm_quant_mode",
    "kv_cache_dtype": "kv_cache_dtype",
    "phase": "workload_kind",
}
_COUNTS = {TP: "tp", "pp": "pp", "dp": "dp", "moe_tp": "moe_tp", "moe_ep": "moe_ep"}
_POINT = ("batch_size", "total_prefill_tokens", "total_kv_read_tokens")
_LATENCY = "latency_ms"
_ONE_EACH = ("system", "backend", "backend_version")
_PHASES = ("prefill", "decode")
_REGIME = "kv_seed_regime"
_ROW_BYTES = 1000
"""Upper estimate of the memory one point takes while it is read and converted."""
_SIDECAR_BYTES = 1 << 24
"""Most that is read of a sidecar: it describes a collection, and holds no points."""


def open_database(source: Source, reading: Reading) -> OneTable:
    """Read one database, some ten thousand points, in one piece.

    Raises
    ------
    TraceError
        If it is damaged or not the file its sidecar was published with, lacks a column,
        or holds impossible points, another unit, or more than one system or version.
    """
    held = ParquetColumns(_read(source, reading.budget), source.name)
    digest = sha256_of(source.path)
    _check_sidecar(source, digest)
    columns = _labels(held, reading.catalog) | {SOURCE_FILE: source.label}
    counts = {name: held.counts(name, 0) for name in _POINT}
    times = held.times(_LATENCY)
    prefill = _check_points(held, counts, times)
    _check_unit(times, counts, prefill, source.name)
    columns |= _batches(counts, prefill)
    columns[LATENCY_US] = times * 1000.0
    columns = with_physics(columns, reading.catalog)
    rows = len(held)
    size = source.path.stat().st_size
    reading.on_bytes(size)
    read = SourceFile(source.name, size, digest, rows, source.kind)
    notes = _regimes(columns.get(_REGIME), source.name)
    return OneTable(table_of(COLUMNS, columns, rows), read, notes)


def _read(source: Source, budget: MemoryBudget) -> Any:
    required = (*_TEXTS.values(), *_COUNTS.values(), *_POINT, _LATENCY)
    with open_parquet(source.path, source.name) as file:
        names = Selection(required, (_REGIME,)).pick(file.schema_arrow.names, source.name)
        budget.require(file.metadata.num_rows * _ROW_BYTES, source.name)
        table = read_columns(file, names, source.name)
    if not table.num_rows:
        msg = f"{source.name} has no rows; collect it again"
        raise TraceError(msg)
    return table


def _check_sidecar(source: Source, digest: str) -> None:
    """Raise TraceError if a sidecar lies beside the file and is about another one."""
    from pydantic_core import from_json

    sidecar = source.path.with_suffix(".metadata.json")
    if not sidecar.is_file():
        return
    try:
        with sidecar.open("rb") as file:
            # pydantic's parser refuses what is nested too deep, Python's own overflows.
            published = from_json(file.read(_SIDECAR_BYTES))["parquet_sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        msg = f"{sidecar.name} beside {source.name} cannot be read: {one_line(repr(error))}"
        raise TraceError(msg) from error
    if published != digest:
        msg = (
            f"{source.name} is not the file that {sidecar.name} was published with (SHA-256 "
            f"{digest[:12]}…, not {one_line(published, 12)}); copy both again"
        )
        raise TraceError(msg)


def _labels(held: ParquetColumns, catalog: Catalog) -> dict[str, Any]:
    """Return every column but the batch and the time."""
    import pyarrow as pa

    columns: dict[str, Any] = {
        name: held.texts(original, may_be_empty=True) for name, original in _TEXTS.items()
    }
    for original in _ONE_EACH:
        found = held.table.column(original).unique().to_pylist()
        if len(found) > 1:
            shown = " and ".join(one_line(repr(each), 60) for each in found[:2])
            msg = f"{held.name}: column {original!r} holds {shown}; a database is of one {original}"
            raise TraceError(msg)
    for name, index in ((MODEL, catalog.models), (GPU, catalog.gpus)):
        columns[name] = pa.array(named(columns[name].to_pylist(), index), pa.string())
    columns |= {name: held.counts(original, 0) for name, original in _COUNTS.items()}
    if _REGIME in held:
        columns[_REGIME] = held.texts(_REGIME, may_be_empty=True)
    return columns


def _check_points(held: ParquetColumns, counts: dict[str, Any], times: Any) -> Any:
    """Return which points are prefill; raise TraceError at one that cannot be."""
    import numpy as np

    phases = np.asarray(held.table.column("workload_kind").to_pylist(), dtype=object)
    prefill = phases == "prefill"
    batch, tokens = counts["batch_size"], counts["total_prefill_tokens"]
    for bad, fault in (
        (~prefill & (phases != "decode"), f"workload_kind is none of {' and '.join(_PHASES)}"),
        (batch < 1, "batch_size is 0"),
        (prefill & (tokens < batch), "a prefill point has fewer tokens than requests"),
        (~prefill & (tokens > 0), "a decode point has prefill tokens"),
        (times == 0, f"{_LATENCY} is 0"),
    ):
        if bad.any():
            row = int(bad.argmax())
            point = ", ".join(f"{key} {counts[key][row]:g}" for key in _POINT)
            kind = one_line(repr(phases[row]), 60)
            msg = f"{held.name}, row {row + 1}: {fault} ({kind}, {point}, {times[row]:g} ms)"
            raise TraceError(msg)
    return prefill


def _check_unit(times: Any, counts: dict[str, Any], prefill: Any, name: str) -> None:
    import numpy as np

    check = UnitCheck()
    tokens = np.where(prefill, counts["total_prefill_tokens"], counts["batch_size"])
    check.count(times / 1000.0, tokens)
    mend = ("microseconds: divide it by 1000", "nanoseconds: divide it by 1,000,000")
    check.refuse_long(name, f"{_LATENCY} in ms", mend)
    check.refuse_short(name, f"{_LATENCY} in ms", "seconds: multiply it by 1000")


def _batches(counts: dict[str, Any], prefill: Any) -> dict[str, Any]:
    """Return the batch of each point under the names of the step table."""
    batch, tokens, cached = (counts[name] for name in _POINT)
    decodes = batch * ~prefill
    return {
        NUM_PREFILL_REQS: batch * prefill,
        PREFILL_TOKENS: tokens,
        "prefill_kv_tokens": cached * prefill,
        NUM_DECODE_REQS: decodes,
        DECODE_TOKENS: decodes,
        "decode_kv_tokens": cached * ~prefill,
        SCHEDULED_TOKENS: tokens + decodes,
    }


def _regimes(regimes: Any, name: str) -> tuple[Note, ...]:
    """Return a note on decode points measured without real KV in the cache."""
    found = [] if regimes is None else regimes.to_pylist()
    fake = found.count("fake_fallback")
    if not fake:
        return ()
    message = (
        f"{name}: {fake:,} decode points read a cache without real KV (kv_seed_regime "
        "fake_fallback); their times may be too short"
    )
    return (Note("fake_kv", message, fake, "warning"),)
