from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gpucv.errors import DataError, SplitError, StudyError
from gpucv.folds import plan_folds
from gpucv.folds.plan import assign, worker_count
from gpucv.splits import make_split, make_splits
from gpucv.study import ExecutionSpec

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpucv.features import FeatureTable
    from gpucv.folds import FoldTask
    from gpucv.study import LoadedStudy


def test_a_plan_lists_schemes_in_study_order_and_holdouts_in_name_order(
    tasks: tuple[FoldTask, ...],
) -> None:
    assert [(task.fold_id, task.scheme.name, task.holdout) for task in tasks] == [
        (0, "lomo", "a"),
        (1, "lomo", "b"),
        (2, "lomo", "c"),
        (3, "lowo", "chat"),
        (4, "lowo", "code"),
    ]
    assert [(task.n_train, task.n_test) for task in tasks] == [(80, 40)] * 3 + [(60, 60)] * 2


def test_a_scheme_holds_every_row_out_exactly_once(
    tasks: tuple[FoldTask, ...], table: FeatureTable
) -> None:
    for scheme in ("lomo", "lowo"):
        times = np.zeros(len(table), dtype=int)
        for task in tasks:
            if task.scheme.name == scheme:
                split = make_split(task.scheme, table.keys, task.index, n_rows=len(table), seed=1)
                assert not set(split.train) & set(split.test)
                times[split.test] += 1
        assert set(times) == {1}


def test_every_predictor_gets_every_fold(
    loaded: Callable[..., LoadedStudy], table: FeatureTable
) -> None:
    study = loaded(predictors=[{"name": "constant"}, {"transform": "log", "label": "trees"}]).study
    plan = plan_folds(study, table)
    assert [task.fold_id for task in plan] == list(range(10))
    assert [task.predictor.title for task in plan[:4]] == ["constant", "trees"] * 2


def keys(plan: list[FoldTask]) -> list[str]:
    return [task.key for task in plan]


@pytest.mark.parametrize(
    "sections",
    [
        {"name": "another name"},
        {"execution": {"workers": 3, "threads_per_fold": 2, "device": "cpu"}},
        {"verdict": {"mape_max": 50.0}},
        {"predictors": [{"label": "trees", "params": {"n_estimators": 5, "min_child_weight": 1}}]},
        {
            "predictors": [
                {"params": {"n_estimators": 5, "min_child_weight": 1.0, "max_depth": 6}},
            ]
        },
        {
            "schemes": [
                {"name": "by model", "hold_out": "model"},
                {"name": "by workload", "hold_out": "workload"},
            ]
        },
    ],
)
def test_what_cannot_change_a_result_keeps_the_keys(
    sections: dict[str, Any], loaded: Callable[..., LoadedStudy], table: FeatureTable
) -> None:
    before = plan_folds(loaded().study, table)
    assert keys(plan_folds(loaded(**sections).study, table)) == keys(before)


@pytest.mark.parametrize(
    ("one", "same"),
    [
        ({"per": "model"}, {"per": ["model"]}),
        ({"transform": "auto"}, {"transform": "auto", "choose": {}}),
        ({}, {"seed": 42}),
    ],
)
def test_two_ways_of_saying_one_thing_have_the_same_keys(
    one: dict[str, Any], same: dict[str, Any], loaded: Callable[..., LoadedStudy], table_of: Any
) -> None:
    plans = []
    for said in (one, same):
        study = loaded(predictors=[{"name": "constant", **said}], validation={"fraction": 0})
        plans.append(keys(plan_folds(study.study, table_of(study))))
    assert plans[0] == plans[1]


@pytest.mark.parametrize(
    "sections",
    [
        {"seed": 43},
        {"predictors": [{"seed": 43, "params": {"n_estimators": 5, "min_child_weight": 1}}]},
        {"predictors": [{"params": {"n_estimators": 6, "min_child_weight": 1}}]},
        {"predictors": [{"name": "constant"}]},
        {
            "predictors": [
                {"transform": "log", "params": {"n_estimators": 5, "min_child_weight": 1}}
            ]
        },
        {"validation": {"fraction": 0.5}},
        {"data": {"target": "step.id"}},
        {"features": {"columns": ["tokens"]}},
    ],
)
def test_what_can_change_a_result_changes_every_key(
    sections: dict[str, Any],
    loaded: Callable[..., LoadedStudy],
    table_of: Callable[[LoadedStudy], FeatureTable],
) -> None:
    study, other = loaded(), loaded(**sections)
    before = keys(plan_folds(study.study, table_of(study)))
    after = keys(plan_folds(other.study, table_of(other)))
    assert len(set(before)) == len(before) == len(after)
    assert not set(before) & set(after)


def test_one_changed_value_in_the_data_changes_every_key(
    loaded: Callable[..., LoadedStudy],
    table_of: Callable[[LoadedStudy], FeatureTable],
    frame: Any,
) -> None:
    before = keys(plan_folds(loaded().study, table_of(loaded())))
    frame.loc[5, "tokens"] += 1
    after = keys(plan_folds(loaded().study, table_of(loaded())))
    assert not set(before) & set(after)


def test_threads_are_given_out_without_touching_the_keys(
    tasks: tuple[FoldTask, ...],
) -> None:
    placed = assign(tasks, ExecutionSpec(threads_per_fold=3), cores=4)
    assert {(task.device, task.threads) for task in placed} == {("cpu", 3)}
    assert {task.key for task in placed} == {task.key for task in tasks}


def test_long_folds_start_first(tasks: tuple[FoldTask, ...]) -> None:
    longer = tasks[0].predictor.model_copy(update={"params": {"n_estimators": 50}})
    mixed = [tasks[3], tasks[0], replace(tasks[4], predictor=longer)]
    placed = assign(mixed, ExecutionSpec(), cores=4)
    assert [task.fold_id for task in placed] == [4, 0, 3]


@pytest.mark.parametrize(
    ("workers", "folds", "cores", "expected"),
    [(0, 8, 4, 4), (0, 2, 16, 2), (3, 8, 4, 3), (64, 8, 4, 8), (0, 1, 1, 1)],
)
def test_folds_at_once_are_bounded_by_cores_and_folds(
    workers: int, folds: int, cores: int, expected: int, tasks: tuple[FoldTask, ...]
) -> None:
    assert worker_count(ExecutionSpec(workers=workers), [tasks[0]] * folds, cores) == expected


def test_without_a_look_at_memory_a_gpu_takes_one_fold_or_what_is_asked(
    tasks: tuple[FoldTask, ...],
) -> None:
    on_gpu = [replace(tasks[0], device="cuda")] * 16
    assert worker_count(ExecutionSpec(workers=8), on_gpu, 32) == 1
    assert worker_count(ExecutionSpec(folds_per_gpu=3), on_gpu, 32) == 3


def test_another_device_gives_other_keys(
    loaded: Callable[..., LoadedStudy], table: FeatureTable
) -> None:
    on_cpu, on_gpu = (plan_folds(loaded().study, table, device) for device in ("cpu", "cuda"))
    assert not set(keys(on_cpu)) & set(keys(on_gpu))


@pytest.mark.parametrize(
    ("folds", "cores", "threads"), [(8, 4, 1), (2, 16, 8), (3, 16, 5), (1, 4, 4)]
)
def test_cores_are_shared_out_by_folds_first(
    folds: int, cores: int, threads: int, tasks: tuple[FoldTask, ...]
) -> None:
    placed = assign([tasks[0]] * folds, ExecutionSpec(), cores)
    assert {task.threads for task in placed} == {threads}


def test_faults_of_the_study_show_before_anything_is_trained(
    loaded: Callable[..., LoadedStudy], table: FeatureTable
) -> None:
    with pytest.raises(StudyError, match="unknown predictor 'xgbost'; did you mean 'xgboost'"):
        plan_folds(loaded(predictors=[{"name": "xgbost"}]).study, table)
    with pytest.raises(StudyError, match="unknown parameter 'max_deph'; did you mean"):
        plan_folds(loaded(predictors=[{"params": {"max_deph": 3}}]).study, table)
    with pytest.raises(SplitError, match="leaving 3 groups out needs at least 4"):
        plan_folds(loaded(schemes=[{"name": "s", "hold_out": "model", "p": 3}]).study, table)


def test_targets_and_validation_are_checked_before_anything_is_trained(
    loaded: Callable[..., LoadedStudy],
    table_of: Callable[[LoadedStudy], FeatureTable],
    frame: Any,
) -> None:
    early = loaded(validation={"early_stopping_rounds": 3, "fraction": 0.001})
    with pytest.raises(SplitError, match="early stopping has nothing to watch"):
        plan_folds(early.study, table_of(early))
    frame.loc[frame["model"] == "b", "time_us"] = 0.0
    on_log = loaded(predictors=[{"name": "constant"}, {"transform": "log"}])
    with pytest.raises(DataError, match="needs positive targets, and 40 of 120"):
        plan_folds(on_log.study, table_of(on_log))


def test_a_scheme_that_leaves_nothing_to_train_on_is_refused(
    loaded: Callable[..., LoadedStudy], table: FeatureTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gpucv.folds import plan

    def everything_held_out(*words: Any) -> Any:
        for split in make_splits(*words):
            yield replace(split, train=split.train[:0])

    monkeypatch.setattr(plan, "make_splits", everything_held_out)
    with pytest.raises(SplitError, match="holding 'a' out leaves no row to train on"):
        plan_folds(loaded().study, table)
