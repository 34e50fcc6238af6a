"""What a fold chooses: the candidate that transfers, from its training rows alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gpucv.errors import DataError, EnvironmentFaultError
from gpucv.folds import plan_folds
from gpucv.folds.sharing import shared_table
from gpucv.folds.task import run_fold
from gpucv.metrics import mape
from gpucv.pipelines import choice, examples_of, single
from gpucv.pipelines.choice import fit_chosen
from gpucv.pipelines.single import fit_single
from gpucv.runs import FoldRecord
from gpucv.study import ChooseSpec, PredictorSpec, study_from_dict

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpucv.features import FeatureTable
    from gpucv.folds import FoldTask
    from gpucv.pipelines import Setting

TREES = {"n_estimators": 10, "min_child_weight": 1.0, "subsample": 1.0, "colsample_bytree": 1.0}
DEPTHS = {"max_depth": (1, 3, 6)}
SPACE = {"max_depth": (1, 8), "learning_rate": (0.01, 0.9, "log")}

CHOOSERS: dict[str, dict[str, Any]] = {
    "grid": {"choose": {"grid": {"max_depth": [1, 3, 6]}}},
    "auto": {"transform": "auto"},
    "space": {"choose": {"space": {k: list(v) for k, v in SPACE.items()}, "trials": 4}},
    "validation": {"choose": {"by": "validation", "grid": {"max_depth": [1, 3, 6]}}},
    "auto and space": {
        "transform": "auto",
        "choose": {"space": {"max_depth": [1, 8]}, "trials": 3},
    },
}


def chosen_of(fitted: Any) -> dict[str, Any]:
    chosen: dict[str, Any] = fitted.report().chosen
    return chosen


def task_of(table: FeatureTable, chooser: dict[str, Any], **sections: Any) -> FoldTask:
    """The fold that holds model "d" out."""
    raw = {
        "features": {"columns": list(table.feature_names)},
        "data": {"target": "time_us"},
        "schemes": [{"name": "lomo", "hold_out": "model"}],
        "predictors": [{"params": TREES, **chooser}],
    }
    study = study_from_dict({**raw, **sections}, base=Path()).study
    return plan_folds(study, table)[-1]


# What is held out has no say.


@pytest.mark.parametrize("poison", ["other times", "nothing measured"])
@pytest.mark.parametrize("chooser", CHOOSERS.values(), ids=CHOOSERS)
def test_targets_held_out_change_neither_the_choice_nor_a_prediction(
    chooser: dict[str, Any], poison: str, table: FeatureTable
) -> None:
    task = task_of(table, chooser)
    with shared_table(table):
        record, arrays = run_fold(task)
    out = table.keys["model"].codes == 3
    factor = np.random.default_rng(5).lognormal(3, 2, int(out.sum()))
    y = table.y.copy()
    y[out] = y[out] * factor if poison == "other times" else np.nan
    with shared_table(replace(table, y=y)):
        poisoned, predicted = run_fold(task)
    assert (record.status, poisoned.status) == ("ok", "ok"), poisoned.traceback
    assert len(record.chosen["candidates"]) > 1
    assert poisoned.chosen == record.chosen
    assert arrays is not None
    assert predicted is not None
    assert np.array_equal(arrays.predicted, predicted.predicted)
    assert arrays.model == predicted.model
    assert not np.array_equal(arrays.actual, predicted.actual)  # the poison did arrive
    # A poison of one training row shows at once: the search above is not blind.
    y = table.y.copy()
    y[0] *= 100
    with shared_table(replace(table, y=y)):
        assert run_fold(task)[0].chosen["candidates"] != record.chosen["candidates"]


# Scores, against scikit-learn and XGBoost's own regressor.


def test_scores_are_those_of_leaving_each_group_out(
    table: FeatureTable, setting: Setting, held_out: Callable[..., Any]
) -> None:
    from sklearn.metrics import mean_absolute_percentage_error
    from sklearn.model_selection import LeaveOneGroupOut
    from xgboost import XGBRegressor

    train, asked, _ = held_out(table)
    spec = PredictorSpec(params=TREES, choose=ChooseSpec(grid=DEPTHS))
    fitted = fit_chosen(spec, train, None, setting)
    X, models = train.inputs.features(range(3)), train.inputs.groups(("model",)).codes
    expected = []
    for depth in DEPTHS["max_depth"]:
        errors = []
        for fit, test in LeaveOneGroupOut().split(X, train.y, models):
            trees = XGBRegressor(
                **TREES,
                max_depth=depth,
                learning_rate=0.05,
                tree_method="hist",
                random_state=3,
                n_jobs=1,
            )
            predicted = trees.fit(X[fit], train.y[fit]).predict(X[test])
            errors.append(100 * mean_absolute_percentage_error(train.y[test], predicted))
        expected.append(np.mean(errors))
    chosen = chosen_of(fitted)
    assert chosen["by"] == "groups of model, 3 inner folds"
    assert [c["mape"] for c in chosen["candidates"]] == pytest.approx(expected, rel=1e-5)
    winner = DEPTHS["max_depth"][int(np.argmin(expected))]
    assert (chosen["max_depth"], chosen["transform"]) == (winner, "raw")
    # What won is fitted anew to all training rows.
    alone = spec.model_copy(update={"params": {**TREES, "max_depth": winner}, "choose": None})
    again = fit_single(alone, train, None, setting)
    assert np.array_equal(fitted.predict(asked), again.predict(asked))


def test_choosing_by_validation_keeps_what_won_as_it_was_fitted(
    table: FeatureTable, setting: Setting, held_out: Callable[..., Any]
) -> None:
    train, asked, _ = held_out(table)
    fit, valid = train.take(np.arange(100)), train.take(np.arange(100, 150))
    spec = PredictorSpec(params=TREES, choose=ChooseSpec(by="validation", grid=DEPTHS))
    fitted = fit_chosen(spec, fit, valid, setting)
    scores, predictions = [], []
    for depth in DEPTHS["max_depth"]:
        alone = PredictorSpec(params={**TREES, "max_depth": depth})
        each = fit_single(alone, fit, valid, setting)
        scores.append(mape(valid.y, each.predict(valid.inputs)))
        predictions.append(each.predict(asked))
    chosen = chosen_of(fitted)
    assert chosen["by"] == "the validation rows"
    assert [c["mape"] for c in chosen["candidates"]] == scores
    assert np.array_equal(fitted.predict(asked), predictions[int(np.argmin(scores))])


def test_the_transform_that_transfers_is_chosen(
    table: FeatureTable, setting: Setting, held_out: Callable[..., Any]
) -> None:
    train, asked, actual = held_out(table)
    spec = PredictorSpec(params=TREES, transform="auto")
    fitted = fit_chosen(spec, train, None, setting)
    tried = [candidate["transform"] for candidate in chosen_of(fitted)["candidates"]]
    assert tried == ["raw", "log", "utilisation"]
    assert chosen_of(fitted)["transform"] == "utilisation"  # time is light times a constant
    raw = fit_single(PredictorSpec(params=TREES), train, None, setting)
    assert mape(actual, fitted.predict(asked)) < mape(actual, raw.predict(asked)) / 2


def test_equal_scores_go_to_the_first(
    table: FeatureTable, setting: Setting, held_out: Callable[..., Any]
) -> None:
    train, _, _ = held_out(table)
    # Neither bound is ever reached, so all candidates are one and the same.
    for by in ("groups", "validation"):
        for bins in ((300, 400, 500), (500, 400, 300)):
            spec = PredictorSpec(params=TREES, choose=ChooseSpec(by=by, grid={"max_bin": bins}))
            valid = train.take(np.arange(50, 100))
            chosen = chosen_of(fit_chosen(spec, train.take(np.arange(50)), valid, setting))
            assert len({candidate["mape"] for candidate in chosen["candidates"]}) == 1
            assert chosen["max_bin"] == bins[0]


# Candidates that fail.


def broken(monkeypatch: pytest.MonkeyPatch, fault: BaseException, *depths: int) -> None:
    """Let trees of these depths raise when they are made."""
    make = single.make_predictor

    def breaking(name: str, params: Any, context: Any) -> Any:
        if params["max_depth"] in depths:
            raise fault
        return make(name, params, context)

    monkeypatch.setattr(single, "make_predictor", breaking)


class Overflowing:
    """Trees whose predictions are spoilt."""

    def __init__(self, trees: Any, spoil: float) -> None:
        self.trees, self.spoil = trees, spoil

    def __getattr__(self, name: str) -> Any:
        return getattr(self.trees, name)

    def predict(self, X: Any) -> Any:
        return self.trees.predict(X) + self.spoil


@pytest.mark.parametrize("by", ["groups", "validation"])
def test_a_candidate_that_raises_loses_and_says_why(
    by: Any,
    table: FeatureTable,
    setting: Setting,
    held_out: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train, asked, _ = held_out(table)
    broken(monkeypatch, RuntimeError("fell over\nand more"), 1, 6)
    spec = PredictorSpec(params=TREES, choose=ChooseSpec(by=by, grid=DEPTHS))
    fitted = fit_chosen(spec, train, train.take(np.arange(50)), setting)
    chosen = chosen_of(fitted)
    assert chosen["max_depth"] == 3
    reasons = [c.get("error") for c in chosen["candidates"]]
    assert reasons == ["RuntimeError: fell over", None, "RuntimeError: fell over"]
    assert [c["mape"] is None for c in chosen["candidates"]] == [True, False, True]
    assert np.isfinite(fitted.predict(asked)).all()


def test_an_error_that_is_no_number_is_no_score(
    table: FeatureTable,
    setting: Setting,
    held_out: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make = single.make_predictor

    def spoiling(name: str, params: Any, context: Any) -> Any:
        return Overflowing(
            make(name, params, context), {1: np.nan, 3: np.inf, 6: 0.0}[params["max_depth"]]
        )

    monkeypatch.setattr(single, "make_predictor", spoiling)
    train, _, _ = held_out(table)
    for by in ("groups", "validation"):
        spec = PredictorSpec(params=TREES, choose=ChooseSpec(by=by, grid=DEPTHS))
        chosen = chosen_of(fit_chosen(spec, train, train, setting))
        assert chosen["max_depth"] == 6
        told = [c.get("error") for c in chosen["candidates"]]
        assert told == [*["its error on the rows it did not see is not finite"] * 2, None]


def test_where_all_candidates_fail_the_fold_fails_with_the_first_reason(
    table: FeatureTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken(monkeypatch, ValueError("no trees today"), 1, 3, 6)
    with shared_table(table):
        record, _ = run_fold(task_of(table, CHOOSERS["grid"]))
    assert record.status == "failed"
    assert record.error == (
        "DataError: predictor 'xgboost': none of its 3 candidates could be fitted and scored; "
        "the first, on 'raw': ValueError: no trees today"
    )


@pytest.mark.parametrize("fault", [MemoryError(), ImportError("x"), EnvironmentFaultError("gone")])
def test_a_fault_of_the_machine_is_nobodys_score(
    fault: Exception, table: FeatureTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken(monkeypatch, fault, 3)
    with shared_table(table), pytest.raises((EnvironmentFaultError, MemoryError)):
        run_fold(task_of(table, CHOOSERS["grid"]))


@pytest.mark.parametrize("light", [None, "absent of a row held out"])
def test_utilisation_without_a_speed_of_light_loses_and_says_why(
    light: str | None, table: FeatureTable, setting_of: Callable[..., Setting]
) -> None:
    assert table.sol_us is not None
    dark = None if light is None else np.where(np.arange(200) == 199, np.nan, table.sol_us)
    table = replace(table, sol_us=dark)
    train = examples_of(table, np.arange(150))
    named = ChooseSpec(transform=("utilisation", "log"))
    spec = PredictorSpec(params=TREES, transform="auto", choose=named)
    chosen = chosen_of(fit_chosen(spec, train, None, setting_of(table)))
    assert chosen["transform"] == "log"
    assert "needs a speed of light" in chosen["candidates"][0]["error"]
    # And is no candidate where none is named.
    spec = PredictorSpec(params=TREES, transform="auto")
    chosen = chosen_of(fit_chosen(spec, train, None, setting_of(table)))
    assert [c["transform"] for c in chosen["candidates"]] == ["raw", "log"]


def test_a_target_of_zero_leaves_the_time_itself_as_the_only_transform(
    table: FeatureTable, setting: Setting
) -> None:
    train = examples_of(table, np.arange(150))
    train.y[3] = 0.0
    chosen = chosen_of(
        fit_chosen(PredictorSpec(transform="auto", params=TREES), train, None, setting)
    )
    assert [c["transform"] for c in chosen["candidates"]] == ["raw"]


@pytest.mark.parametrize(("rounds", "offered"), [(0, ["raw", "log", "utilisation"]), (2, ["raw"])])
def test_rows_that_early_stopping_watches_must_allow_a_transform_too(
    rounds: int, offered: list[str], table: FeatureTable, setting_of: Callable[..., Setting]
) -> None:
    train, valid = examples_of(table, np.arange(100)), examples_of(table, np.arange(100, 150))
    valid.y[3] = 0.0
    setting = setting_of(table, early_stopping_rounds=rounds)
    auto = PredictorSpec(transform="auto", params=TREES)
    chosen = chosen_of(fit_chosen(auto, train, valid, setting))
    assert [c["transform"] for c in chosen["candidates"]] == offered


def test_smearing_goes_with_logarithms_alone(
    table: FeatureTable, setting: Setting, held_out: Callable[..., Any]
) -> None:
    train, _, _ = held_out(table)
    rule = ChooseSpec(transform=("raw", "log"))
    spec = PredictorSpec(transform="auto", params=TREES, smearing=True, choose=rule)
    scores = [c["mape"] for c in chosen_of(fit_chosen(spec, train, None, setting))["candidates"]]
    bare = spec.model_copy(update={"smearing": False})
    without = [c["mape"] for c in chosen_of(fit_chosen(bare, train, None, setting))["candidates"]]
    assert scores[0] == without[0]
    assert scores[1] != without[1]


def test_a_candidate_that_only_fails_on_all_rows_fails_the_fold(
    table: FeatureTable, setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = examples_of(table, np.arange(150))
    fit = choice.fit_single

    def failing_on_all(spec: Any, rows: Any, *more: Any) -> Any:
        if len(rows) == len(train):
            raise DataError("too many rows")
        return fit(spec, rows, *more)

    monkeypatch.setattr(choice, "fit_single", failing_on_all)
    spec = PredictorSpec(params=TREES, choose=ChooseSpec(grid=DEPTHS))
    with pytest.raises(DataError, match="too many rows"):
        fit_chosen(spec, train, None, setting)


# The record.


def test_the_record_holds_the_choice_and_comes_back_from_disk(table: FeatureTable) -> None:
    with shared_table(table):
        record, _ = run_fold(task_of(table, CHOOSERS["auto and space"]))
    assert record.transform == "auto"
    assert set(record.chosen) == {"by", "transform", "max_depth", "candidates"}
    # The parameters as they stand on every transform, then what was drawn.
    tried = record.chosen["candidates"]
    assert [(c["transform"], c["max_depth"]) for c in tried[:3]] == [
        ("raw", 6),
        ("log", 6),
        ("utilisation", 6),
    ]
    assert len(tried) == 6
    best = min(tried, key=lambda candidate: candidate["mape"])
    assert {"transform": best["transform"], "max_depth": best["max_depth"]} == {
        name: record.chosen[name] for name in ("transform", "max_depth")
    }
    text = json.dumps(record.to_json_object())
    assert FoldRecord.from_json_object(json.loads(text)).chosen == record.chosen


def test_each_group_of_a_predictor_per_group_chooses_for_itself(table: FeatureTable) -> None:
    chooser = {"per": "gpu", "choose": {"grid": {"max_depth": [1, 6]}}}
    with shared_table(table):
        record, _ = run_fold(task_of(table, chooser))
    assert set(record.chosen["by_group"]) == {"g0", "g1"}
    for chosen in record.chosen["by_group"].values():
        assert chosen["by"].startswith("groups of model, ")
        assert len(chosen["candidates"]) == 2
