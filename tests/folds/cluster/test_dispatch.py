"""Who gets which fold, and what happens to folds whose worker is lost."""

from __future__ import annotations

import itertools
import logging
import os
import signal
import time
from typing import TYPE_CHECKING, Any

import dask
import pytest

from gpucv.errors import DeviceUnavailableError, EnvironmentFaultError
from gpucv.folds.cluster import connection, open_cluster, run_on_cluster, seats, survey
from gpucv.runs import FoldStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gpucv.folds import FoldTask


@pytest.fixture
def store(tmp_path: Path) -> FoldStore:
    return FoldStore(tmp_path / "of-marks")


@pytest.fixture
def open_at(loaded: Any, placement: Any) -> Callable[..., Any]:
    """Return a context that opens a running cluster for folds of a placement."""

    def open_it(cluster: Any, table: str = "", **placed: Any) -> Any:
        execution = loaded(execution={"scheduler": cluster.scheduler_address}).study.execution
        return open_cluster(execution, placement(**placed), table)

    return open_it


def spans(folder: Path) -> dict[str, list[tuple[float, float]]]:
    """When each worker ran something, by its process id."""
    found: dict[str, list[tuple[float, float]]] = {}
    for path in folder.glob("*.span"):
        pid, began, ended = path.read_text().split()
        found.setdefault(pid, []).append((float(began), float(ended)))
    return found


def most_at_once(ran: list[tuple[float, float]]) -> int:
    return max(sum(began <= at < ended for began, ended in ran) for at, _ in ran)


def test_each_gpu_worker_takes_no_more_folds_at_once_than_fit_and_others_take_none(
    start_cluster: Any,
    preloads: Any,
    open_at: Any,
    tasks: tuple[FoldTask, ...],
    store: FoldStore,
    tmp_path: Path,
) -> None:
    def work(task: FoldTask, attempts: int) -> int:  # local, so that it travels whole
        began = time.time()
        (tmp_path / f"{task.fold_id}.begun").touch()
        # Two workers with room for two each: the first four folds must meet.
        until = began + 30
        while len(list(tmp_path.glob("*.begun"))) < 4 and time.time() < until:
            time.sleep(0.02)
        time.sleep(0.1)
        told = f"{os.getpid()} {began} {time.time()}"
        (tmp_path / f"{task.fold_id}.span").write_text(told)
        return task.fold_id

    with (
        start_cluster(preloads.gpu, preloads.plain, preloads.gpu, nthreads=4) as running,
        open_at(running, device="cuda", folds_per_process=2) as cluster,
    ):
        begun: list[tuple[int, str]] = []
        told = run_on_cluster(
            cluster, work, tasks, store, lambda task, worker: begun.append((task.fold_id, worker))
        )
        assert sorted(told) == [0, 1, 2, 3, 4]
        assert sorted(fold_id for fold_id, _ in begun) == [0, 1, 2, 3, 4]
        assert len({worker for _, worker in begun}) == 2  # the two that have a GPU
    ran = spans(tmp_path)
    assert len(ran) == 2
    assert {most_at_once(each) for each in ran.values()} == {2}
    assert most_at_once(list(itertools.chain(*ran.values()))) == 4


def test_no_worker_takes_more_folds_at_once_than_it_has_threads(
    start_cluster: Any, preloads: Any, open_at: Any
) -> None:
    with (
        start_cluster(preloads.plain, nthreads=2) as running,
        open_at(running, folds_per_process=64) as cluster,
    ):
        assert [seat.slots for seat in cluster.seats().values()] == [2]


def test_cuda_without_a_gpu_worker_is_refused(
    start_cluster: Any, preloads: Any, open_at: Any
) -> None:
    with (
        start_cluster(preloads.plain) as running,
        pytest.raises(DeviceUnavailableError, match="none of the 1 workers has a GPU"),
        open_at(running, device="cuda"),
    ):
        pass


@pytest.mark.fault(13)
def test_a_worker_that_joins_later_takes_folds_if_it_computes_the_same(
    start_cluster: Any,
    preloads: Any,
    worker_spec: Any,
    open_at: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with start_cluster(preloads.plain) as running, open_at(running) as cluster:
        assert len(cluster.seats()) == 1
        for workers, code in ((2, preloads.plain), (3, preloads.with_version("numpy", "1.0"))):
            running.new_spec = worker_spec(code)
            running.scale(workers)
            running.wait_for_workers(workers, timeout=60)
            assert len(cluster.seats()) == 2
    (told,) = [each.getMessage() for each in caplog.records if each.name == "gpucv.folds"]
    assert "joined and takes no fold" in told
    assert "1.0 on" in told


@pytest.mark.fault(47)
def test_a_worker_that_cannot_say_what_it_has_is_not_taken_for_a_lost_scheduler(
    start_cluster: Any,
    preloads: Any,
    worker_spec: Any,
    open_at: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with start_cluster(preloads.plain) as running, open_at(running) as cluster:
        assert len(cluster.seats()) == 1
        monkeypatch.setattr(survey, "_ANSWER_SECONDS", 10)
        running.new_spec = worker_spec(preloads.stalled)
        running.scale(2)
        running.wait_for_workers(2, timeout=60)
        assert len(cluster.seats()) == 1
        began = time.monotonic()
        assert len(cluster.seats()) == 1
        assert time.monotonic() - began < 5  # it is asked once
    (told,) = [each.getMessage() for each in caplog.records if each.name == "gpucv.folds"]
    assert "joined and takes no fold" in told
    assert "gave no answer within 10 s" in told


@pytest.mark.fault(1)
def test_a_worker_killed_in_a_fold_changes_nothing_but_the_attempts(
    start_cluster: Any,
    preloads: Any,
    run_as_on_threads: Any,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    deadly = preloads.killed_in(2, tmp_path / "killed")
    with start_cluster(deadly, deadly) as running:
        records = run_as_on_threads("remote", scheduler=running.scheduler_address)
    assert (tmp_path / "killed").exists()
    assert [record.attempts for record in records] == [1, 1, 2, 1, 1]
    told = [each.getMessage() for each in caplog.records if each.name == "gpucv.folds"]
    assert any("was lost under fold 2, which is begun again" in each for each in told)
    assert {record.worker["name"] for record in records} <= {"w0", "w1"}
    assert all(r.times["queued"] == records[0].times["queued"] > 0 for r in records)


@pytest.mark.parametrize("allowed", [0, 1])
@pytest.mark.fault(2)
def test_a_fold_that_kills_every_worker_fails_and_the_others_finish(
    allowed: int,
    start_cluster: Any,
    preloads: Any,
    open_at: Any,
    tasks: tuple[FoldTask, ...],
    store: FoldStore,
) -> None:
    def work(task: FoldTask, attempts: int) -> int:
        if task.fold_id == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return task.fold_id

    with (
        dask.config.set({"distributed.scheduler.allowed-failures": allowed}),
        start_cluster(preloads.plain, preloads.plain) as running,
        open_at(running) as cluster,
    ):
        outcomes = list(run_on_cluster(cluster, work, tasks[:3], store))
    lost = [outcome for outcome in outcomes if isinstance(outcome, tuple)]
    assert sorted(each for each in outcomes if isinstance(each, int)) == [0, 2]
    assert [task.fold_id for task, _ in lost] == [1]
    assert store.begun(1) == allowed + 1


@pytest.mark.fault(7)
def test_a_run_without_workers_ends_in_time(
    start_cluster: Any,
    open_at: Any,
    tasks: tuple[FoldTask, ...],
    store: FoldStore,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def work(task: FoldTask, attempts: int) -> int:
        time.sleep(60 if task.fold_id else 0)
        return task.fold_id

    caplog.set_level(logging.WARNING, "gpucv.folds")
    monkeypatch.setattr(seats, "NO_WORKER_SECONDS", 1)
    with start_cluster("") as running, open_at(running) as cluster:
        outcomes = run_on_cluster(cluster, work, tasks[:2], store)
        assert next(outcomes) == 0
        running.scale(0)
        with pytest.raises(EnvironmentFaultError, match=r"no worker .* for 1 s.*resume the run"):
            list(outcomes)
    told = [each.getMessage() for each in caplog.records if each.name == "gpucv.folds"]
    assert told.count("no worker fit to run folds is left: waiting up to 1 s for one") == 1


@pytest.mark.fault(7)
def test_a_scheduler_lost_in_the_middle_is_a_fault_of_the_machine(
    start_cluster: Any,
    preloads: Any,
    open_at: Any,
    tasks: tuple[FoldTask, ...],
    store: FoldStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def work(task: FoldTask, attempts: int) -> int:
        time.sleep(60 if task.fold_id else 0)
        return task.fold_id

    monkeypatch.setattr(connection, "_CONNECT_SECONDS", 2)
    with start_cluster(preloads.plain) as running, open_at(running) as cluster:
        outcomes = run_on_cluster(cluster, work, tasks[:2], store)
        assert next(outcomes) == 0
        running.close()
        with pytest.raises(EnvironmentFaultError, match="the Dask scheduler was lost"):
            list(outcomes)
