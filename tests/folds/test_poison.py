"""What is held out decides nothing: poison its times, and every prediction stays.

Whatever a study asks of a fold (transforms, choices, donors, corrections), the times of the
rows held out may be read for scores alone. They are multiplied by random factors here;
predictions, models, choices and donors must be the same to the bit.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gpucv.folds import plan_folds, run_fold
from gpucv.folds.sharing import shared_table
from gpucv.pipelines import warm
from gpucv.splits import make_split, split_pool

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from gpucv.features import FeatureTable
    from gpucv.folds import FoldTask
    from gpucv.runs import FoldArrays, FoldRecord
    from gpucv.study import LoadedStudy

    Load = Callable[..., LoadedStudy]
    Build = Callable[[LoadedStudy], FeatureTable]
    Outcome = tuple[FoldRecord, FoldArrays]
    Planned = Callable[..., tuple[FoldTask, FeatureTable]]
    CurveOf = Callable[..., tuple[FoldRecord, FoldArrays, list[bytes]]]

TREES = {"n_estimators": 3, "min_child_weight": 1, "learning_rate": 0.5}
SMALL: dict[str, Any] = {"params": TREES}
GRID = {"grid": {"max_depth": [1, 3]}}
SPACE = {"space": {"max_depth": [1, 6], "learning_rate": [0.05, 0.5, "log"]}, "trials": 2}
PREDICTORS: dict[str, dict[str, Any]] = {
    "raw": SMALL,
    "log": {**SMALL, "transform": "log"},
    "utilisation": {**SMALL, "transform": "utilisation"},
    "ratio": {**SMALL, "transform": "ratio", "baseline": "constant"},
    "ratio over trees": {"name": "constant", "transform": "ratio", "baseline": "xgboost"},
    "auto": {**SMALL, "transform": "auto"},
    "auto, smeared": {**SMALL, "transform": "auto", "smearing": True, "floor": 0.1},
    "auto by validation": {**SMALL, "transform": "auto", "choose": {"by": "validation"}},
    "grid": {**SMALL, "choose": GRID},
    "grid by workload": {**SMALL, "choose": {**GRID, "group": "workload"}},
    "grid by validation": {**SMALL, "choose": {**GRID, "by": "validation"}},
    "space": {**SMALL, "choose": SPACE},
    "space and transforms": {**SMALL, "transform": "auto", "choose": SPACE},
    "per model": {**SMALL, "per": "model"},
    "per model, nearest": {**SMALL, "per": "model", "donor": "nearest"},
    "per both, chosen": {
        **SMALL,
        "per": ["model", "workload"],
        "choose": {**GRID, "by": "validation"},
    },
    "floor": {**SMALL, "floor": 0.3},
    "smearing": {**SMALL, "transform": "log", "smearing": True},
    "monotone": {**SMALL, "transform": "log", "monotone": True, "features": "transfer"},
    "own seed": {**SMALL, "seed": 5},
}
SCHEMES: dict[str, dict[str, Any]] = {
    "two models": {"hold_out": "model", "p": 2},
    "random": {"splitter": "KFold", "params": {"n_splits": 3, "shuffle": True}},
    "within": {"splitter": "KFold", "within": "model", "params": {"n_splits": 4}},
    "temporal": {"hold_out": "experiment_id", "temporal": [0.6, 0.2]},
}
FEW = {"k": [0, 1, 12], "draw": ["random", "spread"], "repeats": 1, "test_fraction": 0.4}


@pytest.fixture
def frame(frame: pd.DataFrame) -> pd.DataFrame:
    """The table as one of operators, whose speed of light is known."""
    size = frame["model"].map({"a": 1.0, "b": 2.0, "c": 3.0})
    frame["flops"], frame["bytes"] = frame["tokens"] * size * 1e9, frame["depth"] * size * 1e6
    frame["peak_flops"], frame["memory_bandwidth"], frame["gpu"] = 1e15, 3e12, "H100"
    frame["sol_us"] = np.maximum(frame["flops"] / 1e15, frame["bytes"] / 3e12) * 1e6
    frame["time_us"] *= size
    return frame


@pytest.fixture
def planned(loaded: Load, table_of: Build) -> Planned:
    """Return the first fold of a predictor under a scheme, and its table."""

    def plan(
        predictor: dict[str, Any], scheme: dict[str, Any], **sections: Any
    ) -> tuple[FoldTask, FeatureTable]:
        study = loaded(
            predictors=[predictor],
            schemes=[{"name": "s", **scheme}],
            validation={"order": "time", "fraction": 0.25},
            **sections,
        )
        table = table_of(study)
        return plan_folds(study.study, table)[0], table

    return plan


def poisoned(table: FeatureTable, rows: np.ndarray) -> FeatureTable:
    y = table.y.copy()
    y[rows] *= np.random.default_rng(0).lognormal(0.0, 2.0, len(rows))
    return replace(table, y=y)


def outcome(task: FoldTask, table: FeatureTable) -> Outcome:
    with shared_table(table):
        record, arrays = run_fold(task)
    assert record.status == "ok", record.error
    assert arrays is not None
    return record, arrays


def held_out(task: FoldTask, table: FeatureTable) -> np.ndarray:
    return make_split(task.scheme, table.keys, task.index, n_rows=len(table), seed=task.seed).test


def donors_of(record: FoldRecord) -> list[tuple[Any, ...]]:
    return [(row["group"], row["donor"], row["by_rule"], row["n_test"]) for row in record.donors]


@pytest.mark.parametrize("predictor", PREDICTORS)
def test_no_time_held_out_decides_a_prediction(predictor: str, planned: Planned) -> None:
    assert_nothing_changes(*planned(PREDICTORS[predictor], {"hold_out": "model"}))


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("predictor", ["utilisation", "grid", "per model"])
def test_no_time_held_out_decides_a_prediction_however_it_is_held_out(
    predictor: str, scheme: str, planned: Planned
) -> None:
    assert_nothing_changes(*planned(PREDICTORS[predictor], SCHEMES[scheme]))


def assert_nothing_changes(task: FoldTask, table: FeatureTable) -> None:
    (clean, before), (dirty, after) = (
        outcome(task, each) for each in (table, poisoned(table, held_out(task, table)))
    )
    assert before.predicted.tobytes() == after.predicted.tobytes()
    assert before.model == after.model
    assert clean.chosen == dirty.chosen
    assert clean.importance == dirty.importance
    assert clean.best_iteration == dirty.best_iteration
    assert clean.scores["valid_mape"] == pytest.approx(dirty.scores["valid_mape"], nan_ok=True)
    assert donors_of(clean) == donors_of(dirty)
    # The poison took: what is scored is the only thing to change.
    assert clean.scores["test_mape"] != dirty.scores["test_mape"]
    assert not np.array_equal(before.actual, after.actual)


@pytest.mark.parametrize("predictor", ["raw", "utilisation", "auto"])
def test_no_time_held_out_decides_when_training_stops(
    predictor: str, loaded: Load, table_of: Build
) -> None:
    study = loaded(
        predictors=[
            {**PREDICTORS[predictor], "params": {"n_estimators": 60, "learning_rate": 0.9}}
        ],
        schemes=[{"name": "lomo", "hold_out": "model"}],
        validation={"order": "time", "early_stopping_rounds": 3},
    )
    table = table_of(study)
    task = plan_folds(study.study, table)[0]
    (clean, before), (dirty, after) = (
        outcome(task, each) for each in (table, poisoned(table, held_out(task, table)))
    )
    assert clean.best_iteration is not None
    assert clean.best_iteration == dirty.best_iteration
    assert before.predicted.tobytes() == after.predicted.tobytes()


@pytest.fixture
def curve_of(
    monkeypatch: pytest.MonkeyPatch,
) -> CurveOf:
    """Return a fold's outcome and what every point of its curve predicted."""
    score = warm.mape

    def run(task: FoldTask, table: FeatureTable) -> tuple[FoldRecord, FoldArrays, list[bytes]]:
        seen: list[bytes] = []

        def spied(actual: np.ndarray, predicted: np.ndarray) -> float:
            seen.append(predicted.tobytes())
            return score(actual, predicted)

        with monkeypatch.context() as patched:
            patched.setattr(warm, "mape", spied)
            record, arrays = outcome(task, table)
        return record, arrays, seen

    return run


@pytest.mark.parametrize(
    "predictor",
    ["raw", "utilisation", "ratio", "auto, smeared", "grid by validation", "per model", "monotone"],
)
def test_no_time_tested_decides_a_point_of_a_few_shot_curve(
    predictor: str, planned: Planned, curve_of: CurveOf
) -> None:
    task, table = planned(PREDICTORS[predictor], {"hold_out": "model", "few_shot": FEW})
    rows = held_out(task, table)
    _, tested = split_pool(len(rows), FEW["test_fraction"], task.seed, 0)
    clean, before, points = curve_of(task, table)
    dirty, after, poisoned_points = curve_of(task, poisoned(table, rows[tested]))
    assert len(points) == len([point for point in clean.curve if not point["reason"]]) == 10
    assert points == poisoned_points
    assert before.predicted.tobytes() == after.predicted.tobytes()
    assert str(clean.next_rows) == str(dirty.next_rows)
    for one, other in zip(clean.curve, dirty.curve, strict=True):
        assert one["test_mape"] != other["test_mape"]


def test_times_that_may_be_drawn_do_change_the_curve_and_neither_the_fold_nor_what_to_draw(
    planned: Planned, curve_of: CurveOf
) -> None:
    task, table = planned(SMALL, {"hold_out": "model", "few_shot": FEW})
    rows = held_out(task, table)
    pool, _ = split_pool(len(rows), FEW["test_fraction"], task.seed, 0)
    clean, before, points = curve_of(task, table)
    wild, after, other_points = curve_of(task, poisoned(table, rows[pool]))
    changed = [one != other for one, other in zip(points, other_points, strict=True)]
    assert changed == [point["k"] > 0 for point in clean.curve]
    assert after.predicted.tobytes() == before.predicted.tobytes()
    assert str(wild.next_rows) == str(clean.next_rows)


def test_the_rows_a_curve_tests_are_the_same_for_every_number_of_measurements(
    planned: Planned, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = {**FEW, "repeats": 3}
    task, table = planned(SMALL, {"hold_out": "model", "few_shot": few})
    actual: list[bytes] = []
    score = warm.mape
    monkeypatch.setattr(
        warm, "mape", lambda y, p: actual.append(np.asarray(y).tobytes()) or score(y, p)
    )
    record, _ = outcome(task, table)
    by_repeat: dict[int, set[bytes]] = {}
    for point, tested in zip(record.curve, actual, strict=True):
        by_repeat.setdefault(point["repeat"], set()).add(tested)
    assert [len(found) for found in by_repeat.values()] == [1, 1, 1]
    assert len(set.union(*by_repeat.values())) == 3
