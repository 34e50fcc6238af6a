"""What runs inside a Dask worker."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpucv.folds.blas import limit_blas
from gpucv.folds.exchange import Deposit, Exchange, can_read
from gpucv.folds.resources import free_disk_bytes
from gpucv.folds.runner import stamped
from gpucv.folds.task import run_fold
from gpucv.machine import Sample, free_memory_bytes, process_facts, shared_watch
from gpucv.predictors.distributed import WHOLE
from gpucv.runs import FoldRecord, FoldStore

if TYPE_CHECKING:
    from gpucv.folds.task import FoldTask
    from gpucv.predictors.distributed import Share

__all__ = ["Delivery", "facts_here", "run_on_worker", "samples_here"]


@dataclass(frozen=True, slots=True)
class Delivery:
    """Where a worker leaves its results, and when the run handed its folds out.

    Attributes
    ----------
    root : str
        The run folder, where workers share it.
    exchange : Exchange or None
        Where they do not.
    queued : float
        Seconds since the epoch.
    """

    root: str
    exchange: Exchange | None
    queued: float


def facts_here(table: str = "") -> dict[str, Any]:
    """Return what this worker has, and as ``reads`` whether it can read `table`.

    What goes wrong is ``fault``: an exception would say no more than that it came.
    """
    try:
        free = {"free_bytes": free_memory_bytes() or 0, "disk_bytes": free_disk_bytes()}
        return {**process_facts(), **free, "reads": not table or can_read(table)}
    except Exception as error:
        return {"fault": f"{type(error).__name__}: {error}".splitlines()[0]}


def samples_here() -> list[Sample]:
    """Return what this worker saw of its GPU while it ran folds."""
    return shared_watch().samples()


def run_on_worker(
    task: FoldTask, attempts: int, delivery: Delivery, share: Share = WHOLE
) -> FoldRecord | Deposit:
    """Run one fold, or a share of it, and leave its files where `delivery` says.

    Of workers that train one fold together the first leaves files, if the fold succeeded:
    why it failed only the sum of them tells. The worker's BLAS keeps to one thread from then
    on.
    """
    from distributed import get_worker

    limit_blas()
    record, arrays = run_fold(task, share)
    record = stamped(record, attempts, delivery.queued, str(get_worker().name))
    if share.parts > 1:
        record = replace(record, worker={**record.worker, "parts": share.parts})
        if share.part or record.status == "failed":
            return record
    if delivery.exchange is not None:
        return delivery.exchange.deposit(record, arrays)
    store = FoldStore(Path(delivery.root))
    if not store.expects(task.fold_id, task.key):
        return record  # this worker outlived its run, and another has its folder, or nobody
    return store.publish(record, arrays)
