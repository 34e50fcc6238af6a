from __future__ import annotations

import errno
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import gpucv.folds.task as task_module
from gpucv.errors import EnvironmentFaultError
from gpucv.folds import plan_folds, run_fold
from gpucv.folds.sharing import TableRef, shared_table
from gpucv.pipelines import single

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gpucv.features import FeatureTable
    from gpucv.folds import FoldTask
    from gpucv.runs import FoldArrays, FoldRecord
    from gpucv.study import LoadedStudy

    Run = Callable[..., tuple[FoldRecord, FoldArrays | None]]


@pytest.fixture
def run_first(
    loaded: Callable[..., LoadedStudy], table_of: Callable[[LoadedStudy], FeatureTable]
) -> Run:
    """Return a function that runs fold 0 of the study with sections laid over it."""

    def run(**sections: Any) -> tuple[FoldRecord, FoldArrays | None]:
        study = loaded(**sections)
        table = table_of(study)
        with shared_table(table):
            return run_fold(plan_folds(study.study, table)[0])

    return run


@pytest.fixture
def shared(table: FeatureTable) -> Iterator[FeatureTable]:
    with shared_table(table):
        yield table


def test_a_constant_predictor_scores_as_computed_by_hand(run_first: Run, frame: Any) -> None:
    record, arrays = run_first(predictors=[{"name": "constant"}])
    ordered = frame.sort_values(["experiment_id", "step.id"])
    kept, held = (ordered[(ordered["model"] == "a") == out] for out in (False, True))
    fitted, watched = kept["time_us"].iloc[:60], kept["time_us"].iloc[60:]
    constant = float(np.median(fitted))
    assert arrays is not None
    np.testing.assert_array_equal(arrays.predicted, np.full(40, constant))
    np.testing.assert_array_equal(arrays.actual, held["time_us"])
    assert (record.status, record.n_train, record.n_valid, record.n_test) == ("ok", 80, 20, 40)
    off = 100 * (constant - held["time_us"]) / held["time_us"]
    assert record.scores["test_mape"] == pytest.approx(off.abs().mean())
    assert record.scores["test_mspe"] == pytest.approx(off.mean())
    assert np.isnan(record.scores["test_r"])
    by_hand = (100 * (constant - watched) / watched).abs().mean()
    assert record.scores["valid_mape"] == pytest.approx(by_hand)


def test_every_held_out_experiment_is_scored_on_its_own(run_first: Run, frame: Any) -> None:
    record, arrays = run_first()
    assert arrays is not None
    assert [row["experiment_id"] for row in record.experiments] == ["a-chat", "a-code"]
    for row in record.experiments:
        assert (row["model"], row["workload"]) == ("a", row["experiment_id"][2:])
        codes, names = arrays.experiment
        here = np.array([names[code] for code in codes]) == row["experiment_id"]
        off = np.abs(arrays.predicted[here] / arrays.actual[here] - 1)
        assert row["n_test"] == here.sum() == 20
        assert row["test_mape"] == pytest.approx(100 * off.mean())
        assert "test_p99_ape" not in row


def test_importance_is_the_share_of_every_feature(run_first: Run) -> None:
    record, _ = run_first()
    assert list(record.importance) == ["tokens", "depth"]
    assert sum(record.importance.values()) == pytest.approx(1)
    assert run_first(predictors=[{"name": "constant"}])[0].importance == {}


def test_a_fold_is_a_pure_function_of_its_task(
    tasks: tuple[FoldTask, ...], shared: FeatureTable
) -> None:
    assert len(shared) == 120
    first, second = run_fold(tasks[1]), run_fold(tasks[1])
    assert first[1] is not None
    assert second[1] is not None
    assert first[1].model == second[1].model
    np.testing.assert_array_equal(first[1].predicted, second[1].predicted)
    assert replace(first[0], seconds={}, times={}) == replace(second[0], seconds={}, times={})


def test_a_log_transform_gives_predictions_in_the_targets_unit(run_first: Run) -> None:
    raw = run_first()[0]
    record, arrays = run_first(
        predictors=[{"transform": "log", "params": {"n_estimators": 100, "min_child_weight": 1}}]
    )
    assert arrays is not None
    assert record.scores["test_mape"] < 30
    assert record.scores["test_mape"] < raw.scores["test_mape"] * 2
    assert arrays.predicted.min() > 20


def test_early_stopping_keeps_the_best_round(run_first: Run) -> None:
    record, _ = run_first(
        validation={"early_stopping_rounds": 3, "order": "time"},
        predictors=[{"params": {"n_estimators": 200, "learning_rate": 0.9}}],
    )
    assert record.best_iteration is not None
    assert record.best_iteration < 150
    assert run_first()[0].best_iteration is None


@pytest.mark.fault(34)
def test_a_fold_that_cannot_be_split_is_skipped_with_the_reason(
    tasks: tuple[FoldTask, ...], shared: FeatureTable
) -> None:
    early = tasks[0].validation.model_copy(update={"early_stopping_rounds": 3, "fraction": 0.001})
    record, arrays = run_fold(replace(tasks[0], validation=early))
    assert len(shared) == 120
    assert (record.status, arrays) == ("skipped", None)
    assert "early stopping has nothing to watch" in record.error


def test_a_fold_without_validation_rows_has_no_validation_score(run_first: Run) -> None:
    record, _ = run_first(validation={"fraction": 0.0})
    assert (record.status, record.n_valid) == ("ok", 0)
    assert np.isnan(record.scores["valid_mape"])


def test_a_predictor_that_breaks_fails_its_fold_with_a_traceback(
    tasks: tuple[FoldTask, ...], shared: FeatureTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(*_: Any) -> None:
        raise ZeroDivisionError("in round 3\nof 5")

    monkeypatch.setattr(single, "make_predictor", break_down)
    record, arrays = run_fold(tasks[0])
    assert len(shared) == 120
    assert (record.status, arrays) == ("failed", None)
    assert record.error == "ZeroDivisionError: in round 3"
    assert "break_down" in record.traceback
    assert (record.n_train, record.n_test) == (80, 40)


def test_a_fold_that_holds_nothing_out_is_skipped(
    tasks: tuple[FoldTask, ...], shared: FeatureTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = task_module.make_split(
        tasks[0].scheme, shared.keys, tasks[0].index, n_rows=len(shared), seed=1
    )
    empty = replace(whole, test=whole.test[:0])
    monkeypatch.setattr(task_module, "make_split", lambda *_, **__: empty)
    record, arrays = run_fold(tasks[0])
    assert (record.status, record.error, arrays) == ("skipped", "no rows held out", None)


def test_a_fault_of_the_machine_is_no_outcome_of_a_fold(
    tasks: tuple[FoldTask, ...], shared: FeatureTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_gpu(*_: Any) -> None:
        raise EnvironmentFaultError("no such GPU")

    monkeypatch.setattr(single, "make_predictor", no_gpu)
    assert len(shared) == 120
    with pytest.raises(EnvironmentFaultError, match="no such GPU"):
        run_fold(tasks[0])


def test_a_fold_without_its_table_is_a_fault_of_the_machine(tasks: tuple[FoldTask, ...]) -> None:
    with pytest.raises(EnvironmentFaultError, match="is not shared in this process"):
        run_fold(replace(tasks[0], table=TableRef("0" * 64)))


def test_a_missing_library_gives_no_result(
    tasks: tuple[FoldTask, ...], table: FeatureTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lack(*_: object) -> None:
        raise ImportError("No module named 'xgboost'")

    monkeypatch.setattr("gpucv.pipelines.single.make_predictor", lack)
    told = r"fold 0 \(.*\): cannot load: No module named 'xgboost'; see gpucv doctor"
    with shared_table(table), pytest.raises(EnvironmentFaultError, match=told):
        run_fold(tasks[0])


@pytest.mark.fault(8)
@pytest.mark.parametrize(
    "error",
    [
        MemoryError("std::bad_alloc: out_of_memory: CUDA error at: cuda_async.hpp"),
        MemoryError(),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        RuntimeError("cudaErrorMemoryAllocation: out of memory"),
    ],
    ids=["rmm", "python", "the system", "the CUDA runtime"],
)
def test_memory_that_runs_out_is_no_outcome_and_says_what_was_needed_and_what_there_was(
    error: Exception,
    tasks: tuple[FoldTask, ...],
    table: FeatureTable,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: object) -> None:
        raise error

    monkeypatch.setattr("gpucv.pipelines.single.make_predictor", full)
    with shared_table(table), pytest.raises(MemoryError) as short:
        run_fold(tasks[0])
    told = str(short.value)
    said = r" \(.*(memory|alloc).*\)" if str(error) else ""
    assert re.fullmatch(
        rf"memory of the host ran out{said}: 80 training rows x 2 features take an estimated "
        r"\d+ MiB beside 0 MiB of table; [\d.]+ [MG]iB were free afterwards on \S+",
        told,
    )
    # Or what the first try held would be in the way of the second.
    assert short.value.__context__ is None


@pytest.mark.fault(8)
def test_a_table_that_does_not_fit_is_memory_that_ran_out(
    tasks: tuple[FoldTask, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(task_module, "open_table", full)
    with pytest.raises(MemoryError, match=r"of the host ran out: 80 training rows; .* were free"):
        run_fold(tasks[0])


def test_a_record_says_what_its_model_was_made_with(
    tasks: tuple[FoldTask, ...], table: FeatureTable
) -> None:
    with shared_table(table):
        record, _ = run_fold(tasks[0])
    assert record.seed == tasks[0].seed
    assert record.params["n_estimators"] == 5
    assert record.params["max_depth"] == 6
