"""Errors by round, against what an evaluation set sees while trees grow."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost

from gpucv.folds import run_fold
from gpucv.folds.sharing import shared_table
from gpucv.metrics import mape
from gpucv.runs import FoldRecord
from gpucv.splits import make_split, split_validation
from gpucv.study import load_study
from gpucv.workflow import prepare

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "h3-generalization.toml"
ROUNDS = 40


def outcome(*overrides: str, rounds: int = ROUNDS) -> tuple[Any, Any, FoldRecord]:
    """Run one fold of a sample of the embedded study; return its rows as well."""
    asked = (
        "data.audit=off",
        "validation.evaluate=curve",
        f"predictors.0.params.n_estimators={rounds}",
    )
    study = prepare(load_study(EXAMPLE, (*asked, *overrides)), limit=150)
    task, table = study.tasks[2], study.table
    with shared_table(table):
        record, arrays = run_fold(task)
    assert record.status == "ok", record.error
    split = make_split(task.scheme, table.keys, task.index, n_rows=len(table), seed=task.seed)
    fit, valid = split_validation(
        split, task.validation, table.keys, experiment=task.experiment, seed=task.seed
    )
    return table, (fit, valid, split.test, arrays), record


def test_rmse_by_round_is_what_xgboost_logs_of_an_evaluation_set() -> None:
    table, (fit, valid, test, _), record = outcome()
    X, y = table.X, table.y
    matrices = [xgboost.QuantileDMatrix(X[fit], label=y[fit], nthread=1)]
    matrices += [
        xgboost.QuantileDMatrix(X[rows], label=y[rows], ref=matrices[0], nthread=1)
        for rows in (valid, test)
    ]
    logged: dict[str, Any] = {}
    params = {"max_depth": 6, "learning_rate": 0.05, "min_child_weight": 5, "nthread": 1}
    xgboost.train(
        params | {"subsample": 0.8, "colsample_bytree": 0.8, "tree_method": "hist", "seed": 42},
        matrices[0],
        ROUNDS,
        evals=[(matrices[1], "valid"), (matrices[2], "test")],
        evals_result=logged,
        verbose_eval=False,
    )
    curve = record.learning_curve
    assert curve["round"] == list(range(1, ROUNDS + 1))
    # Its metric squares in float32; over the whole study the two differ by 3e-9.
    np.testing.assert_allclose(curve["valid_rmse"], logged["valid"]["rmse"], rtol=2e-7)
    np.testing.assert_allclose(curve["test_rmse"], logged["test"]["rmse"], rtol=2e-7)


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("predictors.0.transform=log", "predictors.0.smearing=true", "predictors.0.floor=0.1"),
        ("predictors.0.params.objective=reg:gamma",),
        ("predictors.0.transform=auto",),
    ],
    ids=["raw", "log", "gamma", "chosen"],
)
def test_the_last_round_is_the_fold_itself(overrides: tuple[str, ...]) -> None:
    table, (_, _, test, arrays), record = outcome(*overrides)
    curve = record.learning_curve
    assert curve["round"][-1] == ROUNDS
    assert curve["test_mape"][-1] == pytest.approx(mape(table.y[test], arrays.predicted), rel=1e-6)
    assert curve["test_mape"][-1] == pytest.approx(record.scores["test_mape"], rel=1e-6)
    assert curve["valid_mape"][-1] == pytest.approx(record.scores["valid_mape"], rel=1e-6)


def test_a_long_curve_has_a_hundred_points_up_to_the_last_round() -> None:
    *_, record = outcome(rounds=250)
    rounds = record.learning_curve["round"]
    assert (len(rounds), rounds[0], rounds[-1]) == (100, 1, 250)
    assert max(np.diff(rounds)) <= 3


def test_blocks_of_rows_add_up_to_the_same_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    *_, whole = outcome()
    module = sys.modules["gpucv.pipelines.learning_curve"]  # the package names its function so
    monkeypatch.setattr(module, "_ROWS", 64)
    *_, pieces = outcome()
    for name, values in whole.learning_curve.items():
        np.testing.assert_allclose(pieces.learning_curve[name], values, rtol=1e-12)


def test_without_validation_rows_their_errors_are_unknown() -> None:
    *_, record = outcome("validation.fraction=0.0")
    assert np.isnan(record.learning_curve["valid_mape"]).all()
    assert np.isfinite(record.learning_curve["test_mape"]).all()


@pytest.mark.parametrize("name", ["ridge", "random-forest"])
def test_what_is_not_made_in_rounds_has_no_curve(name: str) -> None:
    table, (_, _, _, _), record = outcome(
        f'predictors=[{{name="{name}"}}]'
        if name == "ridge"
        else 'predictors=[{name="random-forest", params={n_estimators=3}}]'
    )
    assert len(table)
    assert record.learning_curve == {}


def test_a_record_read_back_has_the_curve_written() -> None:
    *_, record = outcome("validation.fraction=0.0")
    again = FoldRecord.from_json_object(record.to_json_object())
    for name, values in record.learning_curve.items():
        np.testing.assert_array_equal(again.learning_curve[name], values)
