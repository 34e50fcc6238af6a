"""One experiment's recording: simulate every step, keep a random sample of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from gpucv import schema
from gpucv.catalog import load_catalog
from gpucv.traces.synth.cpu_time import schedule_us, typical_schedule_us
from gpucv.traces.synth.gpu_time import step_cost, step_noise
from gpucv.traces.synth.noise import stream
from gpucv.traces.synth.scheduler import Engine, StepLog
from gpucv.traces.synth.settings import GPU_NAME, load_settings
from gpucv.traces.synth.workload import prompt_pool, requests

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from gpucv.traces.synth.settings import Experiment

__all__ = ["ARROW_SCHEMA", "RecordingPlan", "record"]

_ARROW_TYPES = {"string": pa.string(), "int64": pa.int64(), "float64": pa.float64()}
ARROW_SCHEMA = pa.schema(
    [pa.field(column.name, _ARROW_TYPES[column.dtype]) for column in schema.STEP_COLUMNS]
)
"""The step table's columns as Arrow fields, in table order."""

_PROMPTS, _ARRIVALS, _GPU, _TYPICAL, _PRESSURE, _SAMPLE = range(6)


@dataclass(frozen=True, slots=True)
class RecordingPlan:
    """One recording to make: which experiment, which replica, how much of it.

    Attributes
    ----------
    experiment : Experiment
        What is served.
    replica : int
        0 for the experiment itself; others are independent runs with a suffix in
        their id.
    steps, rows : int
        Steps simulated, and how many of them are kept.
    stage_s : float
        Length of the first stage of arrivals, seconds.
    """

    experiment: Experiment
    replica: int
    steps: int
    rows: int
    stage_s: float

    @property
    def experiment_id(self) -> str:
        """The id this recording's rows carry."""
        return self.experiment.id + (f"-r{self.replica:06d}" if self.replica else "")


def record(plan: RecordingPlan, seed: int) -> pa.Table:
    """Simulate one recording and return its kept steps, sorted by step id.

    Parameters
    ----------
    plan : RecordingPlan
        What to record.
    seed : int
        The study's seed; every recording draws from streams of its own under it.
    """
    index = load_settings().experiments.index(plan.experiment)

    def draw(purpose: int) -> np.random.Generator:
        return stream(seed, plan.replica, index, purpose)

    log = _simulate(plan, draw(_PROMPTS), draw(_ARRIVALS), draw(_GPU), draw(_TYPICAL))
    duration_us = schedule_us(plan.experiment, log, draw(_PRESSURE))
    # Scheduling overlaps the GPU: the recordings' cycles do not grow with it until it
    # is the longer of the two.
    cycle_us = np.maximum(log.gpu_us, duration_us) + log.host_us
    cycle_us[:-1] += log.idle_us[1:]
    sample = draw(_SAMPLE)
    origin_ns = int((1.0 + sample.random()) * 1e15)
    start_ns = origin_ns + np.concatenate([[0], np.cumsum(np.rint(cycle_us * 1e3))[:-1]])
    keys = sample.random(plan.steps)
    kept = np.sort(np.argsort(keys, kind="stable")[: plan.rows])
    return _table(plan, log, kept, start_ns.astype(np.int64), duration_us)


def _simulate(
    plan: RecordingPlan,
    prompts: np.random.Generator,
    arrivals: np.random.Generator,
    gpu: np.random.Generator,
    typical: np.random.Generator,
) -> StepLog:
    settings = load_settings()
    served = plan.experiment.served
    pool = prompt_pool(plan.experiment, settings.requests, prompts)
    engine = Engine(
        settings.engine,
        served.kv_blocks_total,
        pool,
        requests(plan.experiment, pool, plan.stage_s, arrivals),
        settings.requests.timeout_s * 1e6,
    )
    return engine.run(
        plan.steps,
        step_cost(
            served, load_catalog().gpus.get(GPU_NAME), settings.engine.max_num_batched_tokens
        ),
        step_noise(served, plan.steps, gpu),
        typical_schedule_us(plan.experiment, plan.steps, typical),
    )


def _table(
    plan: RecordingPlan,
    log: StepLog,
    kept: NDArray[np.int64],
    start_ns: NDArray[np.int64],
    duration_us: NDArray[np.int64],
) -> pa.Table:
    """Lay the kept steps out as the step table's columns."""
    experiment = plan.experiment
    total = experiment.served.kv_blocks_total
    labels: Mapping[str, str | int] = {
        schema.EXPERIMENT: plan.experiment_id,
        schema.MODEL: experiment.served.spec.name,
        schema.WORKLOAD: experiment.workload,
        schema.GPU: GPU_NAME,
        schema.TP: experiment.served.tp,
        schema.KV_BLOCKS_TOTAL: total,
    }
    free = log.blocks_free[kept]
    values = {
        schema.STEP_ID: kept + 1,
        schema.TS_START_NS: start_ns[kept],
        schema.TS_END_NS: start_ns[kept] + 1000 * duration_us[kept],
        schema.DURATION_US: duration_us[kept],
        schema.RUNNING_DEPTH: log.running[kept],
        schema.WAITING_DEPTH: log.waiting[kept],
        schema.PREFILL_TOKENS: log.prefill_tokens[kept],
        schema.DECODE_TOKENS: log.decode_tokens[kept],
        schema.SCHEDULED_TOKENS: log.prefill_tokens[kept] + log.decode_tokens[kept],
        schema.NUM_PREFILL_REQS: log.num_prefill[kept],
        schema.NUM_DECODE_REQS: log.decode_tokens[kept],
        schema.NUM_FINISHED: log.finished[kept],
        schema.NUM_PREEMPTED: log.preempted[kept],
        schema.KV_USAGE_RATIO: (total - free) / total,
        schema.KV_BLOCKS_FREE: free,
    }
    columns = [
        pa.array(values[field.name], type=field.type)
        if field.name in values
        else pa.repeat(pa.scalar(labels[field.name], type=field.type), len(kept))
        for field in ARROW_SCHEMA
    ]
    return pa.Table.from_arrays(columns, schema=ARROW_SCHEMA)
