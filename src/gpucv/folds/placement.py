"""How folds are laid out over what there is, and why."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from gpucv.errors import EnvironmentFaultError
from gpucv.folds.capacity import (
    PROCESS,
    gpu_need,
    host_need,
    paged_host_need,
    told,
)
from gpucv.folds.plan import worker_count
from gpucv.folds.room import counted, room_for
from gpucv.folds.training import USABLE, choose_training

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpucv.folds.capacity import TableShape
    from gpucv.folds.resources import Resources
    from gpucv.folds.task import FoldTask
    from gpucv.folds.training import Way
    from gpucv.machine import ResolvedDevice
    from gpucv.study import ExecutionSpec, Training

__all__ = ["Placement", "place"]

_log = logging.getLogger("gpucv.folds")

_LAUNCHES = ((300_000, 4), (3_000_000, 2))
"""Folds at once on a GPU for folds of fewer rows than this: small ones spend their time on
launches, and overlap. From the source and others' timings; not yet measured on a GPU."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where folds run, how many at once, and in how much memory.

    Attributes
    ----------
    backend : {"threads", "dask"}
    device : {"cpu", "cuda"}
    processes : int
        Worker processes; 1 for threads, those a running cluster has.
    folds_per_process : int
        Folds at once in each.
    threads_per_fold : int
    training : Training
    fold_bytes : int
        Estimated peak memory of the largest fold, of the GPU on "cuda", else of the host.
        Where all processes train it together, of each.
    table_bytes : int
        Of the table, held once per process, in the same memory.
    memory_bytes : int
        What one process may use of that memory; 0 where unknown.
    why : tuple of str
        One sentence per decision, with its numbers.
    at_once_bytes : int
        Estimated peak of one process: the table and as many of the largest folds as run at
        once there.
    """

    backend: Literal["threads", "dask"]
    device: Literal["cpu", "cuda"]
    processes: int
    folds_per_process: int
    threads_per_fold: int
    training: Training
    fold_bytes: int
    table_bytes: int
    memory_bytes: int
    why: tuple[str, ...]
    at_once_bytes: int = 0

    @property
    def at_once(self) -> int:
        """Folds at once, over all processes; one where these train it together."""
        return 1 if self.training == "distributed" else self.processes * self.folds_per_process

    def to_json(self) -> dict[str, Any]:
        """Return the placement as plain data."""
        return {**asdict(self), "at_once": self.at_once, "why": list(self.why)}


def place(
    tasks: Sequence[FoldTask],
    shape: TableShape,
    execution: ExecutionSpec,
    resources: Resources,
    device: ResolvedDevice,
) -> Placement:
    """Lay folds out: which processes, how each is trained, how many at once.

    A pure function, so that a plan for eight GPUs can be looked at on a laptop.

    Parameters
    ----------
    tasks : sequence of FoldTask
        All folds of the study, at least one.
    shape : TableShape
    execution : ExecutionSpec
    resources : Resources
        What was free before the data was read.
    device : ResolvedDevice

    Raises
    ------
    StudyError
        If the training asked for does not suit a predictor.
    EnvironmentFaultError
        If a fold fits in no way, or not in the one asked for; with the arithmetic.
    """
    together = room_for(tasks, execution, resources, device, together=True)
    apart = room_for(tasks, execution, resources, device)
    way = choose_training(tasks, shape, execution, apart, together)
    room = way.room
    shares = _at_once(tasks, shape, execution, resources, way)
    processes, at_once = shares.processes, shares.folds
    cores = room.cores * room.processes // processes
    threads = execution.threads_per_fold or max(1, cores // at_once)
    everywhere = room.cores * room.processes if resources.scheduler else resources.cores
    _warn_of_too_many_threads(threads, processes * at_once, everywhere, execution)
    return Placement(
        backend=room.backend,
        device=room.device,
        processes=processes,
        folds_per_process=at_once,
        threads_per_fold=threads,
        training=way.training,
        fold_bytes=way.fold_bytes,
        table_bytes=way.table_bytes,
        memory_bytes=int(USABLE * (shares.free or 0)),
        why=(room.why, way.told, shares.why),
        at_once_bytes=shares.needed,
    )


def _warn_of_too_many_threads(
    threads: int, folds: int, cores: int, execution: ExecutionSpec
) -> None:
    asked = [
        f"{name} = {given}"
        for name in ("workers", "folds_per_gpu", "threads_per_fold")
        if (given := getattr(execution, name))
    ]
    if asked and threads * folds > cores:
        _log.warning(
            "%s of %s each are asked for on %s, and will wait for each other; lower execution.%s",
            *(counted(folds, "fold"), counted(threads, "thread"), counted(cores, "core")),
            ", execution.".join(asked),
        )


@dataclass(frozen=True, slots=True)
class _Shares:
    """How many processes take folds, how many each, and what that takes of what is free."""

    processes: int
    folds: int
    needed: int
    free: int | None
    why: str


def _at_once(
    tasks: Sequence[FoldTask],
    shape: TableShape,
    execution: ExecutionSpec,
    resources: Resources,
    way: Way,
) -> _Shares:
    room = way.room
    if way.training == "distributed":
        why = "one fold at a time, in all processes together"
        free = room.gpu_bytes if room.device == "cuda" else room.host_bytes
        return _Shares(room.processes, 1, way.fold_bytes + way.table_bytes, free, why)
    if room.device == "cuda":
        return _on_gpu(tasks, shape, execution, way)
    cores, cluster = room.cores * room.processes, bool(resources.scheduler)
    if cluster:
        most, of = min(room.slots, -(-len(tasks) // room.processes)), "each worker"
    else:
        most, of = worker_count(execution, tasks, cores), "this machine"
    needs = _needs(tasks, shape, way, threads=max(1, room.cores // most))
    each = PROCESS if room.backend == "dask" else 0
    if room.backend == "dask" and not cluster:
        # Every process has a table of its own, beside that of this one.
        own, free = way.table_bytes + each, room.host_bytes
        held = _held([need + own for need in needs], way.table_bytes, free, most)
        share = None if free is None else free // held
        return _Shares(held, 1, own + needs[0], share, _told_at_once(held, most, of))
    free = room.host_bytes
    held = _held(needs, way.table_bytes + each, free, most)
    needed = way.table_bytes + each + sum(needs[:held])
    return _Shares(room.processes, held, needed, free, _told_at_once(held, most, of))


def _needs(tasks: Sequence[FoldTask], shape: TableShape, way: Way, threads: int) -> list[int]:
    need = paged_host_need if way.training == "external-memory" else host_need
    return sorted((need(replace(task, threads=threads), shape) for task in tasks), reverse=True)


def _held(needs: Sequence[int], beside: int, free: int | None, most: int) -> int:
    """Return how many of the largest folds memory holds at once, from 1 to `most`."""
    if free is None:
        return most
    held = 1
    while held < most and beside + sum(needs[: held + 1]) <= USABLE * free:
        held += 1
    return held


def _told_at_once(held: int, most: int, of: str) -> str:
    if held == most:
        return f"{counted(held, 'fold')} at once on {of}, as cores and folds allow"
    return f"{counted(held, 'fold')} at once on {of}: memory holds no more, cores allow {most}"


def _on_gpu(
    tasks: Sequence[FoldTask], shape: TableShape, execution: ExecutionSpec, way: Way
) -> _Shares:
    """Return how many folds share a GPU; binning, which needs more, they do in turn."""
    room, asked = way.room, execution.folds_per_gpu
    if way.training == "external-memory":
        why = "one fold at a time on each GPU, as each takes the bus to the host's memory"
        return _Shares(room.processes, 1, way.fold_bytes, room.gpu_bytes, why)
    needs = [gpu_need(task, shape) for task in tasks]
    kept = sorted((need.kept for need in needs), reverse=True)
    beside = way.table_bytes + max(need.building for need in needs)
    share = -(-len(tasks) // room.processes)
    if asked:
        at_once = min(asked, share, room.slots or asked)
        needed = beside + sum(kept[:at_once])
        if needed > room.gpu_bytes:
            msg = (
                f"execution.folds_per_gpu = {asked} takes {told(needed)} of a GPU "
                f"({told(way.table_bytes)} table, {told(kept[0])} a fold, "
                f"{told(beside - way.table_bytes)} to bin one), and {told(room.gpu_bytes)} are "
                "free; lower it, or leave it to the planner"
            )
            raise EnvironmentFaultError(msg)
        why = f"{counted(at_once, 'fold')} at once on each GPU; {asked} were asked for"
        return _Shares(room.processes, at_once, needed, room.gpu_bytes, why)
    rows = max(task.n_train for task in tasks)
    by_launches = next((folds for below, folds in _LAUNCHES if rows < below), 1)
    most = max(1, min(by_launches, share, room.cores, room.slots or by_launches))
    at_once = _held(kept, beside, room.gpu_bytes, most)
    because = (
        f"{counted(at_once, 'fold')} at once on each GPU: folds of {rows:,} rows overlap by "
        f"{by_launches} (a rule not yet measured on a GPU), there are {counted(share, 'fold')} "
        f"and {counted(room.cores, 'core')} for each"
    )
    if room.slots:
        because += f", its worker runs {room.slots} at once"
    if at_once < most:
        because += f", and memory holds {at_once}"
    needed = beside + sum(kept[:at_once])
    return _Shares(room.processes, at_once, needed, room.gpu_bytes, because)
