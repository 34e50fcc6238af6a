"""Every peer runs the study's own folds, and comes to errors like gpucv's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from bars.folder import write_folder
from peers.__main__ import run
from peers.registry import PEERS
from peers.study import Study, read_study

if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY = Path(__file__).resolve().parents[2]
STEPS = 60
# The same XGBoost on the same rows, whoever calls it: the same trees. `xgb-cv` draws the rows
# of all folds from one random stream, and shared cuts are other cuts.
SAME_TREES = ["sklearn-loky", "sklearn-threading", "sklearn-longest-first", "sklearn-1xn"]
SAME_TREES += ["study-loop", "xgb-loop"]
SAME_TREES += ["gpucv-single", "gpucv-run"]
OTHER_TREES = ["gpucv-shared", "xgb-cv", "lightgbm-cv", "lightgbm-threads"]
OTHER_TREES += ["catboost-cv", "catboost-threads", "sklearn-hgb"]
OTHER_TREES += ["h2o-loop", "autogluon-bagging"]


@pytest.fixture(autouse=True)
def every_core() -> Iterator[set[int]]:
    """Hold the libraries to one core: tests beside each other wait long for each other's."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(allowed)[:1])
    yield allowed
    os.sched_setaffinity(0, allowed)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("folds")
    write_folder(folder, ("predictors.0.params.n_estimators=30",), limit=STEPS)
    return folder


@pytest.fixture(scope="module")
def study(folder: Path) -> Study:
    return read_study(folder)


@pytest.fixture(scope="module")
def ours(folder: Path) -> dict[str, Any]:
    return run("gpucv", folder, 1)


def test_the_folds_hold_out_each_model_and_each_workload(study: Study) -> None:
    steps = pd.read_parquet(REPOSITORY / "data" / "study.parquet")
    steps = steps.sort_values(["experiment_id", "step.id"]).groupby("experiment_id").head(STEPS)
    expected = {
        (scheme, name): list(np.flatnonzero(steps[column] == name))
        for scheme, column in (("lomo", "model"), ("lowo", "workload"))
        for name in steps[column].unique()
    }
    assert {(f.scheme, f.holdout): f.test.tolist() for f in study.folds} == expected
    np.testing.assert_array_equal(study.y, steps["step.duration_us"])


def test_the_last_quarter_of_the_rows_kept_is_not_fitted_to(study: Study) -> None:
    for fold in study.folds:
        kept = np.setdiff1d(np.arange(len(study.y)), fold.test)
        cut = len(kept) - len(kept) // 4
        np.testing.assert_array_equal(fold.fit, kept[:cut])
        np.testing.assert_array_equal(fold.valid, kept[cut:])


@pytest.mark.parametrize("name", SAME_TREES)
def test_a_peer_of_the_same_trees_has_the_same_error(
    name: str, folder: Path, ours: dict[str, Any]
) -> None:
    theirs = run(name, folder, 1)  # one process: loky starts none
    for figure in ("rows", "mape", "squares"):
        expected = pytest.approx([fold[figure] for fold in ours["folds"]], rel=1e-6)
        assert [fold[figure] for fold in theirs["folds"]] == expected


@pytest.mark.parametrize("name", OTHER_TREES)
def test_a_peer_of_other_trees_predicts_the_same_rows_about_as_well(
    name: str, folder: Path, study: Study, ours: dict[str, Any]
) -> None:
    if missing := PEERS[name].missing():
        pytest.skip(f"{', '.join(missing)} is not installed")
    theirs = run(name, folder, 1)
    assert [each["rows"] for each in theirs["folds"]] == [len(f.test) for f in study.folds]
    assert theirs["scores"]["rmse"] == pytest.approx(ours["scores"]["rmse"], rel=0.25)
    assert theirs["scores"] != ours["scores"], "these are the very same trees"


def test_every_peer_of_a_cpu_is_tested_here() -> None:
    tested = {"gpucv", *SAME_TREES, *OTHER_TREES}
    assert {name for name, peer in PEERS.items() if peer.part != "gpu"} == tested


def test_scores_are_those_of_the_predictions(folder: Path, study: Study) -> None:
    from xgboost import XGBRegressor

    fold = study.folds[2]
    regressor = XGBRegressor(**study.boosting.xgboost(), random_state=study.seed, n_jobs=1)
    regressor.fit(study.X[fold.fit], study.y[fold.fit])
    error = regressor.predict(study.X[fold.test]) - study.y[fold.test]
    found = run("xgb-loop", folder, 1)["folds"][2]
    assert found["squares"] == pytest.approx(np.sum(error**2), rel=1e-6)
    assert found["mape"] == pytest.approx(100 * np.mean(np.abs(error) / study.y[fold.test]))


def test_a_peer_is_held_to_the_cores_it_may_use(folder: Path, every_core: set[int]) -> None:
    os.sched_setaffinity(0, every_core)
    command = [sys.executable, "-m", "peers", "xgb-loop", str(folder), "--cores", "1"]
    done = subprocess.run(
        command, cwd=REPOSITORY / "bench", capture_output=True, text=True, check=True
    )
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["cores"] == 1
    assert told["wall_s"] == told["phases"]["folds_s"]
