"""Run what is planned and not yet finished, and publish every fold as it ends."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from gpucv.errors import EnvironmentFaultError
from gpucv.folds.blas import limit_blas
from gpucv.folds.plan import assign, worker_count
from gpucv.folds.sharing import save_table, shared_table
from gpucv.folds.task import FoldTask, run_fold
from gpucv.folds.threads import run_on_threads
from gpucv.machine import cpu_count
from gpucv.runs import FoldRecord, FoldStore, RunLayout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gpucv.features import FeatureTable
    from gpucv.study import ExecutionSpec

__all__ = ["Progress", "RunRequest", "finished_folds", "run_folds"]


class Progress(Protocol):
    """Told of every fold that ends; shows it however it likes."""

    def start(self, planned: int, finished: int, rows: int) -> None:
        """`planned` folds, `finished` of them already there; `rows` still to train and predict."""

    def advance(self, record: FoldRecord) -> None:
        """One more fold has ended."""

    def stop(self) -> None:
        """No more folds will end: all have, or the run was stopped."""


@dataclass(frozen=True, slots=True)
class RunRequest:
    """Folds to run, and where to put them."""

    root: Path
    tasks: tuple[FoldTask, ...]
    execution: ExecutionSpec
    retry_failed: bool = False


def finished_folds(request: RunRequest) -> dict[int, FoldRecord]:
    """Return the records already in the run folder that belong to this plan."""
    store = FoldStore(request.root)
    found = {task.fold_id: store.read(task.fold_id, task.key) for task in request.tasks}
    return {
        fold_id: record
        for fold_id, record in found.items()
        if record and not (request.retry_failed and record.status == "failed")
    }


def run_folds(request: RunRequest, table: FeatureTable, progress: Progress) -> list[FoldRecord]:
    """Run the folds that are missing; return all records in the order of the plan.

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
        for record in _outcomes(request, missing, table) if missing else ():
            records[record.fold_id] = record
            progress.advance(record)
    finally:
        progress.stop()
    return [records[task.fold_id] for task in request.tasks]


def run_and_publish(
    task: FoldTask, root: str, stopped: Callable[[], bool] | None = None
) -> FoldRecord:
    """Run one fold and put its files into the run folder at `root`.

    A fold that ends after its run was stopped is not published: the folder may be
    another run's by then.
    """
    record, arrays = run_fold(task)
    if stopped is not None and stopped():
        return record
    return FoldStore(Path(root)).publish(record, arrays)


def run_on_worker(task: FoldTask, root: str) -> FoldRecord:
    """Run and publish one fold in a Dask worker, whose BLAS keeps to one thread from then on."""
    limit_blas()
    return run_and_publish(task, root)


def _outcomes(
    request: RunRequest, missing: Sequence[FoldTask], table: FeatureTable
) -> Iterator[FoldRecord]:
    execution, cores = request.execution, cpu_count()
    tasks = assign(missing, execution, cores)
    workers = worker_count(execution, tasks, cores)
    if execution.backend == "threads" and not execution.scheduler:
        stop = threading.Event()
        work = partial(run_and_publish, root=str(request.root), stopped=stop.is_set)
        try:
            with shared_table(table):
                yield from run_on_threads(work, tasks, workers)
        finally:
            stop.set()
        return
    yield from _on_dask(request, tasks, table, workers)


def _on_dask(
    request: RunRequest, tasks: Sequence[FoldTask], table: FeatureTable, workers: int
) -> Iterator[FoldRecord]:
    from gpucv.folds.cluster import run_on_dask

    root = request.root.absolute()
    place = RunLayout(root).table
    ref = save_table(table, place)
    work = partial(run_on_worker, root=str(root))
    try:
        for outcome in run_on_dask(
            work, [replace(task, table=ref) for task in tasks], workers, request.execution.scheduler
        ):
            if isinstance(outcome, FoldRecord):
                yield outcome
                continue
            task, error = outcome
            if isinstance(error, EnvironmentFaultError):
                raise error
            told = f"{type(error).__name__}: {error}".splitlines()[0]
            record = replace(task.blank_record(), error=told, traceback=repr(error))
            yield FoldStore(root).publish(record, None)
    finally:
        place.unlink(missing_ok=True)
