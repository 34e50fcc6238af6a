"""Column names, units, dtypes and schema versions: written once, here.

A *step table* has one row per engine iteration. Its columns keep the names of
the recordings (OpenTelemetry attributes of ``vllm.scheduler.step``), so a value
can be followed from the trace to the report. Units: ``_us`` microseconds,
``_ns`` nanoseconds on a monotonic clock, tokens, requests, KV-cache blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = [
    "EXPERIMENT_COLUMNS",
    "PROTOCOL",
    "RUN_SCHEMA",
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
STEP_TABLE_SCHEMA = 1
"""Version of the step table, kept in the parquet metadata as ``gpucv.step_table``."""

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


def columns_by_name() -> dict[str, Column]:
    """Return the step table's columns by name, in table order."""
    return {column.name: column for column in STEP_COLUMNS}
