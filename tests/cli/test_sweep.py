"""A sweep is one plan: every command sees the predictors it is written out into."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pandas as pd
import pytest
import tomli_w

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Outcome

    Command = Callable[..., Outcome]

TITLES = [
    "xgboost features=none, seed=1",
    "xgboost features=none, seed=2",
    "xgboost features=physics-30, seed=1",
    "xgboost features=physics-30, seed=2",
]


@pytest.fixture
def sweep(study: Path) -> Path:
    """Two feature sets x two seeds x four folds."""
    content = {
        "data": {"steps": ["steps.parquet"], "audit": "off"},
        "features": {"columns": ["batch.prefill_tokens", "batch.decode_tokens"]},
        "predictors": [
            {
                "params": {"n_estimators": 3},
                "sweep": {"features": ["", "physics-30"], "seed": [1, 2]},
            }
        ],
        "execution": {"workers": 2, "threads_per_fold": 1},
    }
    study.write_text(tomli_w.dumps(content), encoding="utf-8")
    return study


def test_the_plan_lists_every_fold_of_every_predictor(gpucv: Command, sweep: Path) -> None:
    for words in (("run", sweep, "--dry-run"), ("validate", sweep)):
        outcome = gpucv(*words, "--json")
        assert outcome.code == 0, outcome.err
        folds = json.loads(outcome.out)["folds"]
        assert [fold["predictor"] for fold in folds] == TITLES * 4
        assert [fold["seed"] for fold in folds] == [1, 2] * 8
        assert len({fold["key"] for fold in folds}) == 16


def test_a_run_differs_by_seed_and_features_and_resumes_from_the_written_list(
    gpucv: Command, sweep: Path
) -> None:
    assert gpucv("run", sweep, "--out", "run", "-q").code == 0
    written = (sweep.parent / "run" / "study.toml").read_text(encoding="utf-8")
    assert "sweep" not in written
    assert written.count("[[predictors]]") == 4
    folds = pd.read_csv("run/folds.csv")
    one = folds[folds["holdout"] == "llama-2-7b"]
    assert one["predictor"].tolist() == TITLES
    assert one["test_mape"].nunique() == 4
    before = (sweep.parent / "run" / "folds.csv").read_bytes()
    assert gpucv("resume", "run", "-q").code == 0
    assert (sweep.parent / "run" / "folds.csv").read_bytes() == before


def test_an_override_changes_the_sweep_as_the_file_has_it(gpucv: Command, sweep: Path) -> None:
    outcome = gpucv("validate", sweep, "--json", "--set", "predictors.0.sweep.seed=[7]")
    folds = json.loads(outcome.out)["folds"]
    assert {fold["seed"] for fold in folds} == {7}
    assert len(folds) == 8


@pytest.mark.parametrize(
    ("override", "fault"),
    [
        ("predictors.0.sweep.seed=7", "study.toml: predictors.0.sweep.seed: must be a list"),
        ("predictors.0.sweep.seed=['x']", "predictors.0.sweep.seed: input should be a valid int"),
        ("predictors.0.sweep.max_deph=[4]", "unknown parameter 'max_deph'; did you mean 'max_d"),
        ("predictors.0.sweep.features=['transfr']", "no feature set 'transfr'; did you mean 'tra"),
    ],
)
def test_a_fault_of_the_sweep_ends_with_its_place(
    override: str, fault: str, gpucv: Command, sweep: Path
) -> None:
    outcome = gpucv("run", sweep, "--out", "run", "--set", override)
    assert outcome.code == 2
    assert fault in outcome.err
    assert not (sweep.parent / "run").exists()
