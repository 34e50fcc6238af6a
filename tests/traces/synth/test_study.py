"""The embedded study as it is committed: is it what its README says it is?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from gpucv import schema
from gpucv.catalog import load_catalog
from gpucv.traces.synth.gpu_time import weight_floor_us
from gpucv.traces.synth.settings import Experiment, load_settings

if TYPE_CHECKING:
    from pathlib import Path

EXPERIMENTS = load_settings().experiments
each_experiment = pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda e: e.id)

PUBLISHED_CYCLE_US = {
    "llama-2-7b": 8_156,
    "codellama-34b": 14_738,
    "llama-2-70b": 18_587,
    "mixtral-8x7b-v0-1": 18_850,
}


def rows_of(study: pd.DataFrame, experiment: Experiment) -> pd.DataFrame:
    return study[study[schema.EXPERIMENT] == experiment.id].reset_index(drop=True)


def gaps(rows: pd.DataFrame) -> pd.DataFrame:
    """Steps between each row and the next, and the mean cycle between them."""
    steps = np.diff(rows[schema.STEP_ID])
    elapsed_us = np.diff(rows[schema.TS_START_NS]) / 1e3
    return pd.DataFrame({"steps": steps, "cycle_us": elapsed_us / steps})


def test_the_columns_are_those_of_the_step_table(study: pd.DataFrame) -> None:
    assert list(study.columns) == [column.name for column in schema.STEP_COLUMNS]
    for column in schema.STEP_COLUMNS:
        if column.dtype != "string":
            assert study[column.name].dtype == column.dtype
    assert not study.isna().any().any()


def test_the_table_is_sorted_and_no_step_stands_twice(study: pd.DataFrame) -> None:
    keys = list(zip(study[schema.EXPERIMENT], study[schema.STEP_ID], strict=True))
    assert keys == sorted(set(keys))


@each_experiment
def test_rows_and_labels_are_as_published(study: pd.DataFrame, experiment: Experiment) -> None:
    rows = rows_of(study, experiment)
    assert len(rows) == experiment.rows
    assert set(rows[schema.MODEL]) == {experiment.served.spec.name}
    assert set(rows[schema.WORKLOAD]) == {experiment.workload}
    assert set(rows[schema.GPU]) == {"h100"}
    assert set(rows[schema.TP]) == {experiment.served.tp}


@each_experiment
def test_the_median_duration_is_the_published_one_overall_and_in_the_last_fifth(
    study: pd.DataFrame, experiment: Experiment
) -> None:
    durations = rows_of(study, experiment)[schema.DURATION_US]
    last_fifth = durations.iloc[-int(0.2 * len(durations)) :]
    for part in (durations, last_fifth):
        assert part.median() == pytest.approx(experiment.duration_us[5], rel=0.07)
        quartiles = part.quantile([0.25, 0.75, 0.90])
        published = [experiment.duration_us[place] for place in (4, 6, 7)]
        assert quartiles.tolist() == pytest.approx(published, rel=0.30)


@pytest.mark.parametrize("model", PUBLISHED_CYCLE_US)
def test_the_median_cycle_is_near_the_published_one(study: pd.DataFrame, model: str) -> None:
    parts = [
        gaps(rows_of(study, experiment))
        for experiment in EXPERIMENTS
        if experiment.served.spec.name == model
    ]
    cycles = pd.concat(parts)
    consecutive = cycles[cycles["steps"] == 1]
    assert consecutive["cycle_us"].median() == pytest.approx(PUBLISHED_CYCLE_US[model], rel=0.07)


@each_experiment
def test_no_cycle_beats_reading_the_weights(study: pd.DataFrame, experiment: Experiment) -> None:
    floor = weight_floor_us(experiment.served, load_catalog().gpus.get("h100"))
    assert gaps(rows_of(study, experiment))["cycle_us"].min() > floor


@each_experiment
def test_a_tenth_of_the_steps_is_kept_at_random(
    study: pd.DataFrame, experiment: Experiment
) -> None:
    rows = rows_of(study, experiment)
    assert rows[schema.STEP_ID].iloc[-1] <= 10 * len(rows)
    steps = gaps(rows)["steps"]
    assert steps.mean() == pytest.approx(10.0, rel=0.01)
    assert steps.std() == pytest.approx(9.5, rel=0.1)
    assert (steps == 1).mean() == pytest.approx(0.1, abs=0.02)


def test_a_step_ends_when_its_scheduling_does_and_before_the_next_begins(
    study: pd.DataFrame,
) -> None:
    took_ns = study[schema.TS_END_NS] - study[schema.TS_START_NS]
    assert (took_ns == 1000 * study[schema.DURATION_US]).all()
    same = study[schema.EXPERIMENT].eq(study[schema.EXPERIMENT].shift(-1))
    assert (study[schema.TS_END_NS] < study[schema.TS_START_NS].shift(-1))[same].all()


def test_the_engine_keeps_its_limits(study: pd.DataFrame) -> None:
    prefill, decode = study[schema.PREFILL_TOKENS], study[schema.DECODE_TOKENS]
    assert (study[schema.SCHEDULED_TOKENS] == prefill + decode).all()
    assert study[schema.SCHEDULED_TOKENS].between(1, 2048).all()
    assert study[schema.RUNNING_DEPTH].between(1, 128).all()
    assert (study[schema.NUM_DECODE_REQS] == decode).all()
    assert (study[schema.NUM_PREFILL_REQS] <= prefill).all()
    free, total = study[schema.KV_BLOCKS_FREE], study[schema.KV_BLOCKS_TOTAL]
    assert free.between(0, total).all()
    assert np.allclose(study[schema.KV_USAGE_RATIO], 1 - free / total, rtol=0, atol=1e-12)


def test_reasoning_overloads_the_engine_and_only_the_7b_runs_out_of_blocks(
    study: pd.DataFrame,
) -> None:
    waiting = study.groupby(schema.WORKLOAD)[schema.WAITING_DEPTH].median()
    assert waiting["reasoning"] > 100
    assert waiting.drop("reasoning").max() == 0
    preempted = study.groupby([schema.MODEL, schema.WORKLOAD])[schema.NUM_PREEMPTED].sum()
    assert preempted["llama-2-7b", "reasoning"] > 0
    assert preempted.drop(("llama-2-7b", "reasoning")).sum() == 0


@each_experiment
def test_durations_follow_the_queue_where_its_depth_varies(
    study: pd.DataFrame, experiment: Experiment
) -> None:
    rows = rows_of(study, experiment)
    depth, duration = rows[schema.RUNNING_DEPTH], rows[schema.DURATION_US]
    assert np.corrcoef(depth.rank(), duration.rank())[0, 1] > 0.2
    early = rows.iloc[: int(0.8 * len(rows))]
    if experiment.workload != "reasoning":  # its batch is full from start to end
        ranks = early[[schema.RUNNING_DEPTH, schema.DURATION_US]].rank()
        assert np.corrcoef(ranks.T)[0, 1] > 0.6


@pytest.mark.parametrize(
    "name",
    ["20260217-202857-llama-2-70b-tp4-general", "20260218-150304-codellama-34b-tp2-general"],
)
def test_batches_are_like_those_of_the_real_recording(
    study: pd.DataFrame, shared_data: Path, name: str
) -> None:
    real = pd.read_parquet(shared_data / "vllm-steps" / f"{name}.parquet").astype(
        {schema.RUNNING_DEPTH: "float64", schema.PREFILL_TOKENS: "float64"}
    )
    ours = study[study[schema.EXPERIMENT] == name]
    for column in (
        schema.RUNNING_DEPTH,
        schema.KV_USAGE_RATIO,
        schema.NUM_PREFILL_REQS,
        schema.NUM_FINISHED,
    ):
        assert ours[column].mean() == pytest.approx(float(real[column].mean()), rel=0.15), column
    prefilling = [(rows[schema.PREFILL_TOKENS] > 0).mean() for rows in (ours, real)]
    assert prefilling[0] == pytest.approx(prefilling[1], rel=0.10)
