"""Workers that die, freeze or never end, and folds that find no memory there."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import dask
import distributed
import pytest

from gpucv.folds import run_folds
from gpucv.folds.cluster import heartbeats, open_cluster, run_on_cluster
from gpucv.runs import FoldStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from gpucv.features import FeatureTable
    from gpucv.folds import FoldTask

SAMPLE = r"with [\d.]+ [MG]iB of [\d.]+ [MG]iB of memory in use \(its last memory sample\)"


@pytest.fixture
def store(tmp_path: Path) -> FoldStore:
    return FoldStore(tmp_path / "of-marks")


@pytest.fixture
def crew(start_cluster: Any, loaded: Any, placement: Any) -> Callable[..., Any]:
    """Return a context of a scheduler with one worker, and of our view of it."""

    @contextlib.contextmanager
    def start(slots: int = 1, fold_timeout_s: float = 0) -> Iterator[tuple[Any, Any]]:
        with start_cluster("", nthreads=slots) as running:
            settings = {"scheduler": running.scheduler_address, "fold_timeout_s": fold_timeout_s}
            execution = loaded(execution=settings).study.execution
            with open_cluster(execution, placement(folds_per_process=slots), "") as cluster:
                yield running, cluster

    return start


def allow_losses(number: int) -> Any:
    """Return a context in which a fold may lose so many workers."""
    assert distributed.config is not None  # its defaults are laid before anything over them
    return dask.config.set({"distributed.scheduler.allowed-failures": number})


def told(caplog: pytest.LogCaptureFixture) -> str:
    return "\n".join(r.getMessage() for r in caplog.records if r.name == "gpucv.folds")


@pytest.mark.fault(1)
def test_a_fold_whose_worker_is_killed_runs_elsewhere_to_the_same_bits(
    run_as_on_threads: Any, caplog: pytest.LogCaptureFixture
) -> None:
    records = run_as_on_threads("dask", "kill:fold=2:once", backend="dask")
    assert [record.attempts for record in records] == [1, 1, 2, 1, 1]
    assert "was lost under fold 2, which is begun again" in told(caplog)


@pytest.mark.parametrize("how", ["kill", pytest.param("abort", marks=pytest.mark.fault(9))])
@pytest.mark.fault(2)
def test_a_fold_that_always_kills_its_worker_fails_and_is_retried_when_asked(
    how: str, request_for: Any, table: FeatureTable, progress: Any, make_faults: Any
) -> None:
    request, again = request_for(backend="dask"), request_for(retry_failed=True)
    make_faults(f"{how}:fold=1")
    with allow_losses(1):
        records = run_folds(request, table, progress)
    assert [record.status for record in records] == ["ok", "failed", "ok", "ok", "ok"]
    assert records[1].attempts == 2
    error = rf"RuntimeError: 2 workers were lost under it, the last {SAMPLE}"
    assert re.fullmatch(error, records[1].error)
    make_faults("")
    assert run_folds(request, table, progress)[1] == records[1]
    assert run_folds(again, table, progress)[1].status == "ok"


@pytest.mark.fault(2)
def test_folds_that_shared_a_worker_with_one_that_kills_it_are_not_taken_down_again(
    crew: Any,
    tasks: tuple[FoldTask, ...],
    store: FoldStore,
    tmp_path: Path,
) -> None:
    def work(task: FoldTask, attempts: int) -> tuple[int, int]:
        began = time.time()
        (tmp_path / f"{task.fold_id}.{attempts}").touch()
        while attempts == 1 and task.fold_id < 2 and len(list(tmp_path.glob("[01].1"))) < 2:
            time.sleep(0.02)  # the first two meet
            assert time.time() < began + 30
        if task.fold_id == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        if attempts == 1 and task.fold_id == 0:
            time.sleep(30)
        return task.fold_id, attempts

    with (
        allow_losses(1),
        crew(slots=2) as (_, cluster),
    ):
        outcomes = list(run_on_cluster(cluster, work, tasks[:4], store))
    lost = [outcome for outcome in outcomes if isinstance(outcome[1], BaseException)]
    assert [task.fold_id for task, _ in lost] == [1]
    assert store.begun(1) == 2
    assert {outcome for outcome in outcomes if outcome not in lost} == {(0, 2), (2, 1), (3, 1)}


@pytest.mark.fault(6)
def test_a_frozen_worker_is_given_up_and_its_fold_runs_elsewhere_to_the_same_bits(
    run_as_on_threads: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(heartbeats, "SILENT_SECONDS", 4)
    records = run_as_on_threads("dask", "freeze:fold=1:once", backend="dask")
    assert records[1].attempts >= 2
    assert "has not been heard from for 4 s: it is ended" in told(caplog)


@pytest.fixture
def bare_worker(tmp_path: Path) -> Iterator[Callable[[str], None]]:
    """Return how to start a worker process that nothing starts again."""
    (tmp_path / "bare").mkdir()
    begun: list[subprocess.Popen[bytes]] = []

    def start(address: str) -> None:
        command = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--name=bare"]
        command += ["--nthreads=1", "--no-nanny", "--no-dashboard", "--host=127.0.0.1"]
        command += ["--death-timeout=30", f"--local-directory={tmp_path / 'bare'}"]
        quiet = subprocess.DEVNULL
        begun.append(subprocess.Popen(command, cwd=tmp_path / "bare", stdout=quiet, stderr=quiet))

    yield start
    for worker in begun:
        worker.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            worker.wait(20)


@pytest.mark.fault(6)
def test_a_frozen_worker_that_nobody_restarts_is_struck_off_with_a_warning(
    crew: Any,
    bare_worker: Any,
    tasks: tuple[FoldTask, ...],
    store: FoldStore,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def work(task: FoldTask, attempts: int) -> int:
        from distributed import get_worker

        if get_worker().name == "bare":
            os.kill(os.getpid(), signal.SIGSTOP)
        return task.fold_id

    monkeypatch.setattr(heartbeats, "SILENT_SECONDS", 4)
    with crew() as (running, cluster):
        bare_worker(running.scheduler_address)
        cluster.client.wait_for_workers(2, timeout=60)
        assert sorted(run_on_cluster(cluster, work, tasks[:3], store)) == [0, 1, 2]
        assert len(cluster.seats()) == 1
    assert "worker bare has not been heard from for 4 s: it is ended" in told(caplog)
    assert "takes no more folds, and nothing here starts it again" in told(caplog)


@pytest.mark.fault(6)
def test_a_fold_that_never_ends_costs_its_worker_and_no_other_fold(
    crew: Any,
    tasks: tuple[FoldTask, ...],
    store: FoldStore,
) -> None:
    def work(task: FoldTask, attempts: int) -> tuple[int, int]:
        if task.fold_id == 0:
            time.sleep(600)
        # Begun when the fold before it has ended: not as old, when fold 0 has run out of time.
        time.sleep({1: 3, 2: 600 if attempts == 1 else 0}[task.fold_id])
        return task.fold_id, attempts

    with (
        allow_losses(0),
        crew(slots=2, fold_timeout_s=5) as (_, cluster),
    ):
        outcomes = list(run_on_cluster(cluster, work, tasks[:3], store))
    ((task, error),) = [each for each in outcomes if isinstance(each[1], BaseException)]
    assert task.fold_id == 0
    assert str(error) == (
        "1 worker was lost under it, the last ended as the fold took more than 5 s "
        "(execution.fold_timeout_s)"
    )
    # It lost a worker as well, and none is allowed: that it was not to blame is known.
    assert {each for each in outcomes if each[1] is not error} == {(1, 1), (2, 2)}


@pytest.mark.fault(6)
def test_a_fold_that_took_too_long_once_is_begun_again(
    crew: Any, tasks: tuple[FoldTask, ...], store: FoldStore
) -> None:
    def work(task: FoldTask, attempts: int) -> tuple[int, int]:
        time.sleep(600 if attempts == 1 else 0)
        return task.fold_id, attempts

    with crew(fold_timeout_s=2) as (_, cluster):
        assert list(run_on_cluster(cluster, work, tasks[:1], store)) == [(0, 2)]


@pytest.mark.fault(8)
def test_a_fold_that_found_no_memory_is_tried_again_alone_in_a_new_process(
    run_as_on_threads: Any, caplog: pytest.LogCaptureFixture
) -> None:
    records = run_as_on_threads("dask", "oom:fold=2:once", backend="dask")
    assert [record.attempts for record in records] == [1, 1, 2, 1, 1]
    again, others = records[2], [record for record in records if record.fold_id != 2]
    before = [r for r in others if r.times["ended"] <= again.times["began"]]
    assert before
    assert again.worker["pid"] not in {record.worker["pid"] for record in before}
    assert "memory ran out under fold 2, which is tried once more" in told(caplog)


@pytest.mark.fault(8)
def test_a_fold_that_found_no_memory_has_no_other_beside_it_the_next_time(
    crew: Any,
    tasks: tuple[FoldTask, ...],
    store: FoldStore,
    tmp_path: Path,
) -> None:
    def work(task: FoldTask, attempts: int) -> int:
        began = time.time()
        if (task.fold_id, attempts) == (0, 1):
            raise MemoryError
        time.sleep(0.5)
        told = f"{os.getpid()} {began} {time.time()}"
        (tmp_path / f"{task.fold_id}.span").write_text(told)
        return task.fold_id

    with (
        crew(slots=2) as (_, cluster),
    ):
        assert sorted(run_on_cluster(cluster, work, tasks, store)) == [0, 1, 2, 3, 4]
    spans = {path.stem: path.read_text().split() for path in tmp_path.glob("*.span")}
    _, began, ended = spans.pop("0")
    assert all(other[2] < began or other[1] > ended for other in spans.values())


@pytest.mark.fault(8)
def test_a_fold_that_finds_no_memory_twice_has_failed_and_the_others_finish(
    request_for: Any, table: FeatureTable, progress: Any, make_faults: Any
) -> None:
    make_faults("oom:fold=3")
    records = run_folds(request_for(backend="dask"), table, progress)
    assert [record.status for record in records] == ["ok", "ok", "ok", "failed", "ok"]
    assert records[3].attempts == 2
    assert records[3].error.startswith("MemoryError: memory of the host ran out (std::bad_alloc:")
    assert "; tried again alone on worker t" in records[3].error  # tls://, tcp://
