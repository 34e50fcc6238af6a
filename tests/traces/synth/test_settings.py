from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import pytest

from gpucv.traces.synth.settings import DURATION_LEVELS, load_settings

if TYPE_CHECKING:
    from pathlib import Path


def test_sixteen_experiments_are_every_model_under_every_workload() -> None:
    experiments = load_settings().experiments
    pairs = {(experiment.served.spec.name, experiment.workload) for experiment in experiments}
    assert len(experiments) == len(pairs) == 16
    assert {workload for _, workload in pairs} == {"codegen", "general", "reasoning", "roleplay"}


def test_tensor_parallelism_is_that_of_the_recordings() -> None:
    tp = {e.served.spec.name: e.served.tp for e in load_settings().experiments}
    assert tp == {
        "llama-2-7b": 1,
        "codellama-34b": 2,
        "mixtral-8x7b-v0-1": 2,
        "llama-2-70b": 4,
    }


def test_quantiles_never_fall() -> None:
    for experiment in load_settings().experiments:
        assert list(experiment.duration_us) == sorted(experiment.duration_us)
        assert list(experiment.output_tokens) == sorted(experiment.output_tokens)


def test_rows_are_the_published_ones(shared_data: Path) -> None:
    with (shared_data / "published" / "h3_cv_summary.csv").open(encoding="utf-8") as file:
        published = {
            row["experiment_id"]: int(row["n_test"])
            for row in csv.DictReader(file)
            if row["cv_type"] == "lomo_per_exp"
        }
    assert {e.id: e.rows for e in load_settings().experiments} == published


def test_duration_quantiles_are_the_published_ones(shared_data: Path) -> None:
    names = [f"q{round(level * 100):03d}" for level in DURATION_LEVELS]
    with (shared_data / "published" / "step_duration_quantiles.csv").open(encoding="utf-8") as file:
        published = {row["experiment_id"]: row for row in csv.DictReader(file)}
    for experiment in load_settings().experiments:
        row = published[experiment.id]
        assert list(experiment.duration_us) == pytest.approx(
            [float(row[name]) for name in names], abs=0.51
        )


def test_engine_settings_are_those_of_the_recordings(shared_data: Path) -> None:
    settings = load_settings()
    with (shared_data / "requests" / "experiments.csv").open(encoding="utf-8") as file:
        recorded = {row["experiment_id"]: row for row in csv.DictReader(file)}
    for experiment in settings.experiments:
        row = recorded[experiment.id]
        assert experiment.served.kv_blocks_total == int(row["kv_blocks_total_gpu"])
        assert settings.engine.max_num_seqs == int(row["max_num_seqs"])
        assert settings.engine.max_num_batched_tokens == int(row["max_num_batched_tokens"])
        assert settings.engine.block_size == int(row["block_size"])
