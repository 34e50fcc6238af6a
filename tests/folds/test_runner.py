from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from gpucv.errors import EnvironmentFaultError
from gpucv.folds import finished_folds, run_folds, runner
from gpucv.folds.threads import run_on_threads
from gpucv.pipelines import single
from gpucv.runs import FoldStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gpucv.features import FeatureTable
    from gpucv.folds import FoldTask, RunRequest

    Requests = Callable[..., RunRequest]


def bits(root: Path) -> dict[str, bytes]:
    """Everything a fold computes."""
    return {
        f"{path.parent.name}/{path.name}": path.read_bytes()
        for path in sorted((root / "folds").glob("*/*"))
        if path.name in {"model.ubj", "predictions.parquet"}
    }


@pytest.mark.fault(43)
def test_the_same_bits_on_any_number_of_threads_and_folds_at_once(
    request_for: Requests, table: FeatureTable, progress: Any
) -> None:
    found = []
    for workers in (1, 2, 4):
        for threads in (1, 2):
            request = request_for(f"{workers}x{threads}", workers=workers, threads_per_fold=threads)
            records = run_folds(request, table, progress)
            assert [record.status for record in records] == ["ok"] * 5
            found.append(bits(request.root))
    assert len(found[0]) == 10
    assert all(each == found[0] for each in found)


def test_records_come_in_the_order_of_the_plan(
    request_for: Requests, table: FeatureTable, progress: Any
) -> None:
    records = run_folds(request_for(), table, progress)
    assert [record.fold_id for record in records] == [0, 1, 2, 3, 4]
    assert progress.started == (5, 0, 5 * 120)
    assert sorted(progress.ended) == [0, 1, 2, 3, 4]
    assert progress.stopped == 1


def test_only_missing_folds_run(request_for: Requests, table: FeatureTable, progress: Any) -> None:
    request = request_for()
    run_folds(request, table, progress)
    before = bits(request.root)
    FoldStore(request.root).forget(3)
    progress.ended.clear()
    progress.begun.clear()
    run_folds(request, table, progress)
    assert progress.started == (5, 4, 120)
    assert progress.ended == [3]
    assert progress.begun == [(3, "gpucv-fold_0")]
    assert bits(request.root) == before
    assert sorted(finished_folds(request)) == [0, 1, 2, 3, 4]


def test_a_failed_fold_runs_again_only_when_asked(
    request_for: Requests, table: FeatureTable, progress: Any
) -> None:
    request = request_for()
    run_folds(request, table, progress)
    store = FoldStore(request.root)
    store.forget(2)
    failed = replace(request.tasks[2].blank_record(), error="ValueError: once")
    store.publish(failed, None)
    assert run_folds(request, table, progress)[2] == failed
    progress.ended.clear()
    records = run_folds(replace(request, retry_failed=True), table, progress)
    assert records[2].status == "ok"
    assert progress.ended == [2]
    assert store.read(2, request.tasks[2].key) is not None


def test_a_failing_fold_stops_no_other(
    request_for: Requests, table: FeatureTable, progress: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = single.make_predictor
    lock, made = threading.Lock(), iter(range(5))

    def break_the_second(*words: Any) -> Any:
        with lock:
            if next(made) == 1:
                raise RuntimeError("no luck")
        return make(*words)

    monkeypatch.setattr(single, "make_predictor", break_the_second)
    records = run_folds(request_for(), table, progress)
    assert sorted(record.status for record in records) == ["failed"] + ["ok"] * 4


def test_a_fault_of_the_machine_ends_the_run_and_keeps_what_is_finished(
    request_for: Requests, table: FeatureTable, progress: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, calls = runner.run_fold, iter(range(5))

    def third_fails(task: FoldTask) -> Any:
        if next(calls) == 2:
            raise EnvironmentFaultError("the disk is full")
        return run(task)

    monkeypatch.setattr(runner, "run_fold", third_fails)
    request = request_for(workers=1)
    with pytest.raises(EnvironmentFaultError, match="the disk is full"):
        run_folds(request, table, progress)
    assert len(finished_folds(request)) == 2
    assert progress.stopped == 1


def test_a_fold_begun_by_an_earlier_run_counts_as_an_attempt(
    request_for: Requests, table: FeatureTable, progress: Any
) -> None:
    request = request_for()
    FoldStore(request.root).begin(3)  # and killed
    records = run_folds(request, table, progress)
    assert [record.attempts for record in records] == [1, 1, 1, 2, 1]
    assert all(record.worker["name"] == "" for record in records)
    assert all(r.times["queued"] <= r.times["began"] for r in records)
    assert not list((request.root / "folds").glob(".*"))


def test_folds_not_begun_are_dropped_when_the_caller_stops(tasks: tuple[FoldTask, ...]) -> None:
    begun, stopped = [], threading.Event()

    def work(task: FoldTask) -> Any:
        begun.append(task.fold_id)
        if len(begun) > 1:
            stopped.wait(timeout=60)
        return task.blank_record()

    outcomes = run_on_threads(work, tasks, workers=1)
    next(outcomes)
    outcomes.close()
    stopped.set()
    for thread in threading.enumerate():
        if thread.name.startswith("gpucv-fold"):
            thread.join(timeout=60)
    assert len(begun) <= 2


def test_as_many_folds_run_at_once_as_there_are_workers(tasks: tuple[FoldTask, ...]) -> None:
    together = threading.Barrier(3, timeout=60)

    def work(task: FoldTask) -> Any:
        together.wait()
        return task.blank_record()

    assert len(list(run_on_threads(work, tasks[:3], workers=3))) == 3


def test_a_fold_that_ended_in_time_is_not_overdue_where_its_outcome_was_fetched_late(
    tasks: tuple[FoldTask, ...],
) -> None:
    def work(task: FoldTask) -> Any:
        time.sleep(0.3 if task.fold_id else 0)
        return task.blank_record()

    outcomes = run_on_threads(work, tasks[:2], workers=2, timeout_s=1)
    next(outcomes)
    time.sleep(1.5)  # whoever shows it has stopped for a while
    assert len(list(outcomes)) == 1
