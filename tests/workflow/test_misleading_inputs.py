"""Inputs that would run to the end and mean something else than their author thinks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import gpucv
from gpucv.errors import DataError, SplitError, StudyError
from gpucv.study import study_from_dict

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pandas as pd

    Run = Callable[..., gpucv.Result]


def test_a_table_without_any_batch_column_is_no_step_table(
    study: dict[str, Any], few_steps: pd.DataFrame, tmp_path: Path
) -> None:
    bare = few_steps[[c for c in few_steps.columns if not c.startswith("batch.")]]
    bare.to_parquet(tmp_path / "steps.parquet")
    with pytest.raises(DataError, match=r"physics-30 needs each step's batch, and the data has"):
        gpucv.run(study, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_column_that_reads_as_zero_is_told(
    study: dict[str, Any], few_steps: pd.DataFrame, tmp_path: Path
) -> None:
    few_steps.drop(columns="kv.blocks_free_gpu").to_parquet(tmp_path / "steps.parquet")
    result = gpucv.run(study, out=tmp_path / "run")
    told = [note["message"] for note in result.manifest["notes"]]
    assert "the data lacks kv.blocks_free_gpu: read as 0, as published" in told


def test_a_constant_for_a_column_the_data_has_is_refused(
    study: dict[str, Any], run: Run, tmp_path: Path
) -> None:
    with pytest.raises(StudyError, match=r"data\.constants\.tp: the data has a column of that"):
        run(data={**study["data"], "constants": {"tp": 8}})
    assert not (tmp_path / "run").exists()


def test_a_log_of_zero_is_refused_before_anything_trains(
    study: dict[str, Any], few_steps: pd.DataFrame, tmp_path: Path
) -> None:
    few_steps.assign(**{"step.duration_us": [0, *few_steps["step.duration_us"][1:]]}).to_parquet(
        tmp_path / "steps.parquet"
    )
    with pytest.raises(DataError, match="transform 'log' needs positive targets, and 1 of 160"):
        gpucv.run({**study, "predictors": [{"transform": "log"}]}, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_validation_that_leaves_nothing_to_fit_on_is_refused_before_anything_trains(
    run: Run, tmp_path: Path
) -> None:
    with pytest.raises(SplitError):
        run(validation={"order": "group", "group": "workload", "fraction": 0.9})
    assert not (tmp_path / "run").exists()


def test_a_strong_threshold_above_the_plain_one_is_refused_before_anything_trains(
    run: Run, tmp_path: Path
) -> None:
    with pytest.raises(StudyError, match=r"mape_strong 40\.0 is above mape_max 25\.0"):
        run(verdict={"mape_strong": 40.0})
    assert not (tmp_path / "run").exists()


def test_overrides_reach_a_study_that_is_loaded_already(
    study: dict[str, Any], tmp_path: Path
) -> None:
    loaded = study_from_dict(study, base=tmp_path)
    seven = gpucv.run(loaded, overrides=["seed=7"], out=tmp_path / "loaded")
    same = gpucv.run(loaded.study, overrides=["seed=7"], out=tmp_path / "study")
    assert seven.manifest["seed"] == same.manifest["seed"] == 7
    assert seven.manifest["study_fingerprint"] == same.manifest["study_fingerprint"]


def test_a_run_of_which_no_fold_was_scored_is_not_ok(run: Run) -> None:
    result = run(schemes=[{"name": "random", "splitter": "KFold", "params": {"n_splits": 2}}])
    assert result.ok
    result.tables.folds["status"] = "skipped"
    assert not result.ok
