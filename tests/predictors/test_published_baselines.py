"""The published in-distribution study, run again on the two recordings at hand."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xgboost

import gpucv
from gpucv.study import load_study
from gpucv.workflow import prepare

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "h2-per-experiment.toml"
LLAMA = "20260217-202857-llama-2-70b-tp4-general"
CODELLAMA = "20260218-150304-codellama-34b-tp2-general"

# inference-sim, branch stepml-experiments, hypotheses/h-stepml/round1/idea-1-tree-ensemble:
# h2-model/output/evaluation_results.csv, column bb_mape.
BLACKBOX = {LLAMA: 61.154177880328795, CODELLAMA: 151.06270494181769}
# h1-features/output/evaluation_results.csv, column ridge_30f_per_exp_mape.
RIDGE = {LLAMA: 57.447596423305626, CODELLAMA: 143.66559472850662}


@pytest.fixture(scope="module")
def overrides(shared_data: Path) -> tuple[str, ...]:
    steps = json.dumps([str(shared_data / "vllm-steps")])
    return (f"data.steps={steps}", "execution.workers=2", "execution.threads_per_fold=1")


@pytest.fixture(scope="module")
def result(overrides: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> gpucv.Result:
    return gpucv.run(load_study(EXAMPLE, overrides), out=tmp_path_factory.mktemp("h2") / "run")


@pytest.fixture(scope="module")
def recorded(shared_data: Path) -> pd.DataFrame:
    path = shared_data / "published" / "h2_experiment_summary.csv"
    return pd.read_csv(path).set_index("experiment_id").loc[[LLAMA, CODELLAMA]]


def errors(result: gpucv.Result, predictor: str) -> dict[str, float]:
    folds = result.folds.query("predictor == @predictor")
    assert set(folds["status"]) == {"ok"}
    return dict(zip(folds["holdout"], folds["test_mape"], strict=True))


def chosen(result: gpucv.Result, predictor: str) -> dict[str, dict[str, Any]]:
    """What each fold chose in its one group, by the recording tested."""
    found = {}
    for path in sorted((result.path / "folds").glob("*/result.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["predictor"] == predictor:
            (found[record["holdout"]],) = record["chosen"]["by_group"].values()
    return found


def study_script(overrides: tuple[str, ...]) -> dict[str, tuple[dict[str, Any], float]]:
    """The study's own loop (train_xgboost.py) over XGBoost's own regressor."""
    table = prepare(load_study(EXAMPLE, overrides)).table
    X, y = table.X[:, table.view("")], table.y
    labels = table.keys["experiment_id"]
    found = {}
    for code, name in enumerate(labels.names):
        rows = np.flatnonzero(labels.codes == code)
        n_fit, n_valid = round(len(rows) * 0.6), round(len(rows) * 0.2)
        fit, valid, test = np.split(rows, [n_fit, n_fit + n_valid])
        best: tuple[dict[str, Any], float] = ({}, np.inf)
        least = np.inf
        for depth, trees, rate in product([4, 6, 8], [100, 300], [0.05, 0.1]):
            params = {"max_depth": depth, "n_estimators": trees, "learning_rate": rate}
            model = xgboost.XGBRegressor(
                **params,
                min_child_weight=5,
                subsample=0.8,
                colsample_bytree=0.8,
                random_state=42,
                n_jobs=1,
            )
            model.fit(X[fit], y[fit])
            watched, tested = (
                float(np.mean(np.abs(model.predict(X[part]) - y[part]) / y[part]) * 100)
                for part in (valid, test)
            )
            if watched < least:
                least, best = watched, (params, tested)
        found[name] = best
    return found


def test_the_split_is_the_published_one(result: gpucv.Result, recorded: pd.DataFrame) -> None:
    table = result.folds.query("predictor == 'xgboost'").set_index("holdout")
    assert table["n_test"].to_dict() == recorded["n_test"].to_dict()
    # A fold knows the beginnings of all recordings; each predictor is fitted to its own.
    assert set(table["n_train"] - table["n_valid"]) == {recorded["n_train"].sum()}


def test_blackbox_by_least_squares_scores_what_was_recorded(result: gpucv.Result) -> None:
    assert errors(result, "blackbox, least squares") == pytest.approx(BLACKBOX, rel=1e-9)


def test_blis_accepts_the_other_blackbox(result: gpucv.Result) -> None:
    free = chosen(result, "blackbox, least squares")
    bound = chosen(result, "blackbox")
    assert all(each["coefficients"]["beta0"] < 0 for each in free.values())
    assert all(min(each["coefficients"].values()) >= 0 for each in bound.values())


def test_ridge_scores_what_was_recorded(result: gpucv.Result) -> None:
    assert errors(result, "ridge") == pytest.approx(RIDGE, rel=1e-6)


def test_xgboost_chooses_and_scores_as_the_studys_script_does_here(
    result: gpucv.Result, overrides: tuple[str, ...]
) -> None:
    ours, choices = errors(result, "xgboost"), chosen(result, "xgboost")
    script = study_script(overrides)
    assert set(script) == set(ours) == {LLAMA, CODELLAMA}
    for name, (params, mape) in script.items():
        assert {key: choices[name][key] for key in params} == params
        assert ours[name] == pytest.approx(mape, rel=1e-6)


def test_xgboost_scores_what_was_recorded_but_for_the_draw_of_rows_and_features(
    result: gpucv.Result, recorded: pd.DataFrame
) -> None:
    # The study ran on macOS, where the same seed need not draw the same rows and features.
    # Its script on Linux gives 55.107 and 119.206, with its own XGBoost 2.1.4 as with 3.2.0.
    # With fifteen other seeds the recorded candidates score 54.9 to 55.9 and 120.1 to 122.7,
    # about the 55.446 and 121.478 recorded.
    ours = errors(result, "xgboost")
    assert ours == pytest.approx(recorded["test_mape"].to_dict(), rel=0.025)
    for name, row in recorded.iterrows():
        kept = ["max_depth", "n_estimators", "learning_rate"]
        theirs = {key: row[f"best_{key}"] for key in kept}
        here = chosen(result, "xgboost")[str(name)]
        scores = {tuple(each[key] for key in kept): each["mape"] for each in here["candidates"]}
        assert len(scores) == 12
        # What won there is first here, or a tenth of a point behind.
        assert scores[tuple(theirs.values())] == pytest.approx(min(scores.values()), abs=0.1)
        assert scores[tuple(theirs.values())] == pytest.approx(row["valid_mape"], rel=0.005)


def test_the_order_of_the_predictors_is_the_published_one(result: gpucv.Result) -> None:
    for name in (LLAMA, CODELLAMA):
        trees, ridge, linear = (
            errors(result, each)[name] for each in ("xgboost", "ridge", "blackbox, least squares")
        )
        assert trees < ridge < linear
