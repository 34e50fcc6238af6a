"""Run what is planned and not yet finished, and publish every fold as it ends."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from gpucv.errors import EnvironmentFaultError
from gpucv.folds.exchange import Deposit, Exchange
from gpucv.folds.placement import Placement
from gpucv.folds.plan import assign, worker_count
from gpucv.folds.sharing import save_table, shared_table
from gpucv.folds.task import FoldTask, run_fold
from gpucv.folds.threads import run_on_threads
from gpucv.machine import cpu_count, shared_watch
from gpucv.runs import FoldRecord, FoldStore, RunLayout, must_be_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gpucv.features import FeatureTable
    from gpucv.machine import Sample
    from gpucv.study import ExecutionSpec

    Begun = Callable[[FoldTask, str], None]

__all__ = ["Progress", "RunRequest", "finished_folds", "run_folds"]


class Progress(Protocol):
    """Told of every fold that begins or ends; shows it however it likes."""

    def start(self, planned: int, finished: int, rows: int) -> None:
        """`planned` folds, `finished` of them already there; `rows` still to train and predict."""

    def begin(self, task: FoldTask, worker: str) -> None:
        """Tell that `worker` has `task` now, perhaps for one that was lost; from any thread."""

    def advance(self, record: FoldRecord) -> None:
        """One more fold has ended."""

    def stop(self) -> None:
        """No more folds will end: all have, or the run was stopped."""


@dataclass(frozen=True, slots=True)
class RunRequest:
    """Folds to run, and where to put them.

    Attributes
    ----------
    root : Path
        The run folder.
    tasks : tuple of FoldTask
    execution : ExecutionSpec
    retry_failed : bool
        Run failed folds again, too.
    placement : Placement or None
        How they are laid out; None shares out the cores, without a look at memory.
    """

    root: Path
    tasks: tuple[FoldTask, ...]
    execution: ExecutionSpec
    retry_failed: bool = False
    placement: Placement | None = None


def finished_folds(request: RunRequest) -> dict[int, FoldRecord]:
    """Return the records already in the run folder that belong to this plan."""
    store = FoldStore(request.root)
    found = {task.fold_id: store.read(task.fold_id, task.key) for task in request.tasks}
    return {
        fold_id: record
        for fold_id, record in found.items()
        if record and not (request.retry_failed and record.status == "failed")
    }


def run_folds(
    request: RunRequest,
    table: FeatureTable,
    progress: Progress,
    watched: dict[str, list[Sample]] | None = None,
) -> list[FoldRecord]:
    """Run the folds that are missing; return all records in the order of the plan.

    Parameters
    ----------
    request : RunRequest
    table : FeatureTable
    progress : Progress
        Told of every fold that begins or ends.
    watched : dict, optional
        Filled with what each worker, by its name, saw of its GPU.

    Raises
    ------
    EnvironmentFaultError
        If a device, a disk or the cluster fails; finished folds stay.
    KeyboardInterrupt
        As it came; finished folds stay.
    """
    records = finished_folds(request)
    missing = [task for task in request.tasks if task.fold_id not in records]
    rows = sum(task.n_train + task.n_test for task in missing)
    progress.start(len(request.tasks), len(records), rows)
    store = FoldStore(request.root)
    for task in missing:
        store.forget(task.fold_id)
    try:
        seen: dict[str, list[Sample]] = {} if watched is None else watched
        for record in _outcomes(request, missing, table, progress, seen) if missing else ():
            records[record.fold_id] = record
            progress.advance(record)
    finally:
        progress.stop()
    return [records[task.fold_id] for task in request.tasks]


def run_and_publish(
    task: FoldTask, root: str, queued: float, begun: Begun, stopped: Callable[[], bool]
) -> FoldRecord:
    """Run one fold in this process and put its files into the run folder at `root`.

    A fold that ends after its run was stopped is not published: the folder may be
    another run's by then.
    """
    store = FoldStore(Path(root))
    attempts = store.begin(task.fold_id)
    begun(task, threading.current_thread().name)
    record, arrays = run_fold(task)
    record = stamped(record, attempts, queued)
    return record if stopped() else store.publish(record, arrays)


def stamped(record: FoldRecord, attempts: int, queued: float, worker: str = "") -> FoldRecord:
    """Return the record with what only those who handed its fold out know.

    Parameters
    ----------
    record : FoldRecord
    attempts : int
        How often the fold was begun.
    queued : float
        When it was handed out, in seconds since the epoch.
    worker : str
        Who ran it, as its cluster calls it; "" is this process.
    """
    return replace(
        record,
        attempts=attempts,
        worker={**record.worker, "name": worker},
        times={**record.times, "queued": queued},
    )


def _outcomes(
    request: RunRequest,
    missing: Sequence[FoldTask],
    table: FeatureTable,
    progress: Progress,
    watched: dict[str, list[Sample]],
) -> Iterator[FoldRecord]:
    tasks = assign(missing, request.execution, cpu_count())
    placement = request.placement or _as_asked(request.execution, tasks)
    # Fewer folds than were planned, of a resumed run, have the cores of this process for them.
    here = tasks[0].threads if placement.backend == "threads" else 0
    threads = max(placement.threads_per_fold, here)
    tasks = [replace(task, threads=threads) for task in tasks]
    if placement.backend == "dask":
        yield from _on_dask(request, placement, tasks, table, progress, watched)
        return
    stop = threading.Event()
    work = partial(
        run_and_publish,
        root=str(request.root),
        queued=time.time(),
        begun=progress.begin,
        stopped=stop.is_set,
    )
    try:
        with shared_table(table):
            at_once, limit = min(placement.at_once, len(tasks)), request.execution.fold_timeout_s
            for outcome in run_on_threads(work, tasks, at_once, limit):
                if isinstance(outcome, FoldRecord):
                    yield outcome
                else:
                    yield _failed(FoldStore(request.root), *outcome)
    finally:
        stop.set()
        watched[""] = shared_watch().samples()


def _as_asked(execution: ExecutionSpec, tasks: Sequence[FoldTask]) -> Placement:
    """Return the placement of a request that has none: no estimate, all cores."""
    at_once = worker_count(execution, tasks, cpu_count())
    on_dask = execution.backend == "dask" or bool(execution.scheduler)
    return Placement(
        backend="dask" if on_dask else "threads",
        device=tasks[0].device,
        processes=at_once if on_dask else 1,
        folds_per_process=1 if on_dask and not execution.scheduler else at_once,
        threads_per_fold=tasks[0].threads,
        training=tasks[0].training,
        fold_bytes=0,
        table_bytes=0,
        memory_bytes=0,
        why=(),
    )


def _on_dask(
    request: RunRequest,
    placement: Placement,
    tasks: Sequence[FoldTask],
    table: FeatureTable,
    progress: Progress,
    watched: dict[str, list[Sample]],
) -> Iterator[FoldRecord]:
    from gpucv.folds.cluster import (
        Delivery,
        open_cluster,
        run_on_cluster,
        run_on_worker,
        run_together,
    )

    root, where = request.root.absolute(), request.execution.exchange
    must_be_text(root)
    store, exchange = FoldStore(root), Exchange.of_run(where, root) if where else None
    delivery = Delivery(str(root), exchange, time.time())
    try:
        if exchange:
            exchange.prepare()
        ref = save_table(table, exchange.table if exchange else RunLayout(root).table)
        tasks = [replace(task, table=ref) for task in tasks]
        with open_cluster(request.execution, placement, str(ref.path)) as cluster:
            work = partial(run_on_worker, delivery=delivery)
            run = run_together if placement.training == "distributed" else run_on_cluster
            for outcome in run(cluster, work, tasks, store, progress.begin):
                if isinstance(outcome, Deposit):
                    yield outcome.fetch(store)
                elif isinstance(outcome, FoldRecord):
                    yield outcome
                else:
                    yield _failed(store, *outcome)
            watched |= cluster.watched()
    finally:
        RunLayout(root).table.unlink(missing_ok=True)
        if exchange:
            exchange.clear()


def _failed(store: FoldStore, task: FoldTask, error: BaseException) -> FoldRecord:
    """Publish a fold that something kept from ending; raise what is a fault of the machine."""
    if isinstance(error, EnvironmentFaultError):
        raise error
    told = f"{type(error).__name__}: {error}".splitlines()[0]
    record = replace(
        task.blank_record(),
        error=told,
        traceback=repr(error),
        attempts=max(1, store.begun(task.fold_id)),
    )
    return store.publish(record, None)
