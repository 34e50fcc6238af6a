"""Column names, units, dtypes and schema versions: written once, here.

A *step table* has one row per engine iteration. Its columns keep the names of
the recordings (OpenTelemetry attributes of ``vllm.scheduler.step``), so a value
can be followed from the trace to the report. Units: ``_us`` microseconds,
``_ns`` nanoseconds on a monotonic clock, tokens, requests, KV-cache blocks.

A *measurement table* has one row per measured operator, forward pass or request of
another system's files. The formats under ``traces/formats`` name their own shape
columns; the groups, the measured time and the physics have one name everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = [
    "BENCHMARK_SCHEMA",
    "CYCLE_US",
    "EXPERIMENT_COLUMNS",
    "GROUP_COLUMNS",
    "MEASUREMENT_TABLE_SCHEMA",
    "PHASES",
    "PHYSICS_COLUMNS",
    "PROTOCOL",
    "RUN_SCHEMA",
    "SCHEDULE_US",
    "SNAPSHOT_COLUMNS",
    "STEP_COLUMNS",
    "STEP_TABLE_SCHEMA",
    "STUDY_SCHEMA",
    "Column",
    "DType",
    "columns_by_name",
]

STUDY_SCHEMA = 1
"""Version of the study file (``schema = 1``)."""
PROTOCOL = 1
"""Version of how a fold is made and scored; raised whenever equal inputs give other results."""
RUN_SCHEMA = 1
"""Version of the run folder and every file in it."""
BENCHMARK_SCHEMA = 1
"""Version of the files under ``bench/results``."""
STEP_TABLE_SCHEMA = 1
"""Version of the step table, kept in the parquet metadata as ``gpucv.step_table``."""

MEASUREMENT_TABLE_SCHEMA = 1
"""Version of measurement tables, kept in the parquet metadata as ``gpucv.measurements``."""

PHASES = ("pure decode", "mixed", "prefill")
"""What a step computes, by whose tokens it schedules: decode alone, both, prefill alone."""

DType = Literal["string", "int64", "float64"]

EXPERIMENT = "experiment_id"
MODEL = "model"
WORKLOAD = "workload"
GPU = "gpu"
TP = "tp"
STEP_ID = "step.id"
TS_START_NS = "step.ts_start_ns"
TS_END_NS = "step.ts_end_ns"
DURATION_US = "step.duration_us"
RUNNING_DEPTH = "queue.running_depth"
WAITING_DEPTH = "queue.waiting_depth"
PREFILL_TOKENS = "batch.prefill_tokens"
DECODE_TOKENS = "batch.decode_tokens"
SCHEDULED_TOKENS = "batch.scheduled_tokens"
NUM_PREFILL_REQS = "batch.num_prefill_reqs"
NUM_DECODE_REQS = "batch.num_decode_reqs"
NUM_FINISHED = "batch.num_finished"
NUM_PREEMPTED = "batch.num_preempted"
KV_USAGE_RATIO = "kv.usage_gpu_ratio"
KV_BLOCKS_TOTAL = "kv.blocks_total_gpu"
KV_BLOCKS_FREE = "kv.blocks_free_gpu"
KV_TOKENS_SUM = "kv.tokens_sum"
KV_TOKENS_MAX = "kv.tokens_max"
KV_TOKENS_MEAN = "kv.tokens_mean"

CYCLE_US = "step.cycle_us"
"""Start of the next consecutive step minus start of this one, us: derived."""
SCHEDULE_US = "step.schedule_us"
"""End minus start of the scheduler call, us, with the clock's nanoseconds: derived."""

ENGINE = "engine"
ENGINE_VERSION = "engine_version"
DTYPE = "dtype"
OP = "op"
LATENCY_US = "latency_us"
FLOPS = "flops"
BYTES = "bytes"
PEAK_FLOPS = "peak_flops"
MEMORY_BANDWIDTH = "memory_bandwidth"
SOL_US = "sol_us"
SOURCE_FILE = "source_file"


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the step table: name, dtype, unit and what it holds."""

    name: str
    dtype: DType
    unit: str
    meaning: str


EXPERIMENT_COLUMNS: tuple[Column, ...] = (
    Column(EXPERIMENT, "string", "label", "one model x workload x GPU x TP recording"),
    Column(MODEL, "string", "label", "the LLM, as named in the catalog"),
    Column(WORKLOAD, "string", "label", "the request mix"),
    Column(GPU, "string", "label", "the GPU, as named in the catalog"),
    Column(TP, "int64", "GPUs", "tensor-parallel degree"),
)

STEP_COLUMNS: tuple[Column, ...] = (
    *EXPERIMENT_COLUMNS,
    Column(STEP_ID, "int64", "count", "engine iteration number within the experiment"),
    Column(TS_START_NS, "int64", "ns", "entry of the scheduler call, monotonic clock"),
    Column(TS_END_NS, "int64", "ns", "end of the scheduler call, monotonic clock"),
    Column(DURATION_US, "int64", "us", "CPU time of the scheduler call, not of the GPU"),
    Column(RUNNING_DEPTH, "int64", "requests", "requests running"),
    Column(WAITING_DEPTH, "int64", "requests", "requests waiting"),
    Column(PREFILL_TOKENS, "int64", "tokens", "prompt tokens scheduled in this step"),
    Column(DECODE_TOKENS, "int64", "tokens", "output tokens scheduled in this step"),
    Column(SCHEDULED_TOKENS, "int64", "tokens", "all tokens scheduled in this step"),
    Column(NUM_PREFILL_REQS, "int64", "requests", "requests in their prefill phase"),
    Column(NUM_DECODE_REQS, "int64", "requests", "requests in their decode phase"),
    Column(NUM_FINISHED, "int64", "requests", "requests finished by the previous step"),
    Column(NUM_PREEMPTED, "int64", "requests", "requests preempted in this step"),
    Column(KV_USAGE_RATIO, "float64", "ratio", "share of KV-cache blocks in use"),
    Column(KV_BLOCKS_TOTAL, "int64", "blocks", "KV-cache blocks on the GPU"),
    Column(KV_BLOCKS_FREE, "int64", "blocks", "KV-cache blocks free"),
)

SNAPSHOT_COLUMNS: tuple[Column, ...] = (
    Column(KV_TOKENS_SUM, "int64", "tokens", "sum of the running requests' contexts, before it"),
    Column(KV_TOKENS_MAX, "int64", "tokens", "the longest of these contexts"),
    Column(KV_TOKENS_MEAN, "float64", "tokens", "their mean"),
)
"""What a step reads from the KV cache; null where no request snapshots were recorded."""

GROUP_COLUMNS: tuple[Column, ...] = (
    Column(SOURCE_FILE, "string", "label", "the file a row was read from"),
    Column(MODEL, "string", "label", "the LLM, as named in the catalog"),
    Column(GPU, "string", "label", "the GPU, as named in the catalog"),
    Column(TP, "int64", "GPUs", "tensor-parallel degree"),
    Column(ENGINE, "string", "label", "the serving engine or library measured"),
    Column(ENGINE_VERSION, "string", "label", "its version"),
    Column(DTYPE, "string", "label", "number format of weights and arithmetic"),
)
"""What rows of a measurement table may be grouped by; a table has those its source knows."""

PHYSICS_COLUMNS: tuple[Column, ...] = (
    Column(FLOPS, "float64", "FLOP", "floating-point operations of the row, on one GPU"),
    Column(BYTES, "float64", "bytes", "least bytes moved on one GPU, each tensor once"),
    Column(PEAK_FLOPS, "float64", "FLOP/s", "data-sheet peak of one GPU for the dtype"),
    Column(MEMORY_BANDWIDTH, "float64", "bytes/s", "data-sheet memory bandwidth of one GPU"),
    Column(SOL_US, "float64", "us", "speed of light: max(flops / peak, bytes / bandwidth)"),
)
"""The work of a row and the least time it can take; null where the GPU is not known."""


def columns_by_name() -> dict[str, Column]:
    """Return the step table's columns by name, in table order."""
    return {column.name: column for column in STEP_COLUMNS}
