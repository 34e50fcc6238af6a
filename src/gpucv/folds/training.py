"""How one booster is trained: the first way that fits the memory there is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gpucv.errors import EnvironmentFaultError, StudyError
from gpucv.folds.capacity import (
    PROCESS,
    gpu_need,
    host_need,
    page_bytes,
    paged_gpu_need,
    paged_host_need,
    spread_gpu_need,
    table_bytes,
    told,
)
from gpucv.folds.refusals import must_suit_training
from gpucv.folds.room import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gpucv.folds.capacity import TableShape
    from gpucv.folds.room import Room
    from gpucv.folds.task import FoldTask
    from gpucv.study import ExecutionSpec, Training

__all__ = ["USABLE", "Way", "choose_training"]

USABLE = 0.9
"""Share of the free memory that is planned for: estimates are off by up to 15 %, mostly less."""


@dataclass(frozen=True, slots=True)
class Way:
    """One way of training the largest fold, and whether it fits.

    Attributes
    ----------
    training : Training
    room : Room
    fits : bool
    fold_bytes, table_bytes : int
        Of each process, in the memory where folds train.
    told : str
        The arithmetic.
    """

    training: Training
    room: Room
    fits: bool
    fold_bytes: int
    table_bytes: int
    told: str


def _largest(tasks: Sequence[FoldTask], shape: TableShape, room: Room) -> FoldTask:
    """Return the fold that takes the most memory where folds train."""
    if room.device == "cuda":
        return max(tasks, key=lambda task: gpu_need(task, shape).peak)
    return max(tasks, key=lambda task: host_need(task, shape))


def choose_training(
    tasks: Sequence[FoldTask],
    shape: TableShape,
    execution: ExecutionSpec,
    apart: Room,
    together: Room,
) -> Way:
    """Return how boosters are trained: as asked for, or the first way that fits.

    In memory where the largest fold fits beside the table. Otherwise on GPUs all of them
    together, if they hold it, since a GPU reads pages of the host's memory four to five times
    slower than its own; else from pages of the host's memory. On CPUs from pages on disk.

    Parameters
    ----------
    tasks : sequence of FoldTask
    shape : TableShape
    execution : ExecutionSpec
    apart, together : Room
        Where folds run beside each other, and where all processes train one fold.

    Raises
    ------
    StudyError
        If the training asked for does not suit a predictor.
    EnvironmentFaultError
        If it does not fit, or none does that suits the study.
    """
    task, asked = _largest(tasks, shape, apart), execution.training
    rooms = {"distributed": together}
    if asked != "auto":
        for each in tasks:
            must_suit_training(each.predictor, each.scheme, asked)
        # Who asks may know better than an estimate, so no share is kept back.
        way = _WAYS[asked](task, shape, rooms.get(asked, apart), 1.0)
        if not way.fits:
            msg = (
                f"training {asked!r}, asked for or begun with, is not possible here: {way.told}; "
                "use a larger machine or cluster, or in a new run training = 'auto'"
            )
            raise EnvironmentFaultError(msg)
        return replace(way, told=f"{way.told}; asked for")
    refused: list[str] = []
    for name in _IN_TURN[apart.device]:
        if against := _unsuited(tasks, name):
            refused.append(against)
            continue
        way = _WAYS[name](task, shape, rooms.get(name, apart), USABLE)
        if way.fits:
            return replace(way, told="; ".join([*refused, way.told]))
        refused.append(way.told)
    msg = (
        f"the largest fold ({task.scheme.name} {task.holdout}, {task.predictor.title}) fits in "
        f"no way: {'; '.join(refused)}; a tenth of what is free is kept back, so use fewer rows "
        "or features, or a larger machine"
    )
    raise EnvironmentFaultError(msg)


def _unsuited(tasks: Sequence[FoldTask], training: Training) -> str:
    """Return who cannot be trained so, by name; "" if all can."""
    names = []
    for task in tasks:
        try:
            must_suit_training(task.predictor, task.scheme, training)
        except StudyError:
            names.append(task.predictor.title)
    return f"{training} does not suit {', '.join(dict.fromkeys(names))}" if names else ""


def _in_memory(task: FoldTask, shape: TableShape, room: Room, usable: float) -> Way:
    table, base = table_bytes(shape, room.device), _process(room)
    free: int | None
    if room.device == "cuda":
        fold, free, where = gpu_need(task, shape).peak, room.gpu_bytes, "a GPU"
    else:
        fold, free, where = host_need(task, shape), room.host_bytes, "memory"
    fits = _within(fold + table + base, free, usable)
    words = (
        f"in memory the largest fold takes {told(fold)} of {where} beside "
        f"{told(table + base)} of {_beside(room)}, {_free_told(free, fits)}"
    )
    return Way("in-memory", room, fits, fold, table, words)


def _distributed(task: FoldTask, shape: TableShape, room: Room, usable: float) -> Way:
    """Train one fold at a time in all processes, each of which has the table on the host."""
    parts, table = room.processes, table_bytes(shape)
    if room.backend != "dask":
        what = "one GPU"
        if room.device == "cpu":
            what = "no Dask worker (execution.scheduler names some, backend = 'dask' starts some)"
        words = f"distributed it takes several workers, and here is {what}"
        return Way("distributed", room, False, 0, table, words)
    if room.against_together:
        words = f"distributed it cannot be: {room.against_together}"
        return Way("distributed", room, False, 0, table, words)
    if room.device == "cuda":
        part, on_host = spread_gpu_need(task, shape, parts), table + PROCESS
        on_gpu_fits = _within(part, room.gpu_bytes, usable)
        on_host_fits = _within(on_host, room.host_bytes, usable)
        words = (
            f"distributed it takes {told(part)} of each of {counted(parts, 'GPU')}, "
            f"{_free_told(room.gpu_bytes, on_gpu_fits)}, and {told(on_host)} of the host each, "
            f"{_free_told(room.host_bytes, on_host_fits)}"
        )
        return Way("distributed", room, on_gpu_fits and on_host_fits, part, 0, words)
    part = host_need(task, shape) // parts
    fits = _within(part + table + PROCESS, room.host_bytes, usable)
    words = (
        f"distributed it takes {told(part)} of each of {counted(parts, 'worker')} beside "
        f"{told(table + PROCESS)} of {_beside(room)}, {_free_told(room.host_bytes, fits)}"
    )
    return Way("distributed", room, fits, part, table, words)


def _external_memory(task: FoldTask, shape: TableShape, room: Room, usable: float) -> Way:
    """Page X in: on a GPU from the host's memory, on a CPU from disk; the table stays."""
    pages, table, base = page_bytes(task, shape, room.device), table_bytes(shape), _process(room)
    if room.device == "cuda":
        kept, paged, free = paged_gpu_need(task, shape), table + base + pages, room.host_bytes
        kept_fits = _within(kept, room.gpu_bytes, usable)
        where, beside = "a GPU", "the host's memory with the table"
        kept_free: int | None = room.gpu_bytes
    else:
        kept, paged, free = paged_host_need(task, shape), pages, room.disk_bytes
        kept_fits = _within(kept + table + base, room.host_bytes, usable)
        where, beside = f"memory beside {told(table + base)} of {_beside(room)}", "disk"
        kept_free = room.host_bytes
    paged_fits = _within(paged, free, usable)
    words = (
        f"in pages it takes {told(kept)} of {where}, {_free_told(kept_free, kept_fits)}, and "
        f"{told(paged)} of {beside}, {_free_told(free, paged_fits)}"
    )
    held = 0 if room.device == "cuda" else table
    return Way("external-memory", room, kept_fits and paged_fits, kept, held, words)


def _process(room: Room) -> int:
    """Return what a process takes that is not there yet."""
    return PROCESS if room.backend == "dask" else 0


def _beside(room: Room) -> str:
    return "table and process" if room.backend == "dask" and room.device == "cpu" else "table"


def _within(needed: int, free: int | None, usable: float) -> bool:
    return free is None or needed <= usable * free


def _free_told(free: int | None, fits: bool) -> str:
    if free is None:
        return "and what is free is unknown"
    return f"and {told(free)} are free" if fits else f"but only {told(free)} are free"


_WAYS: dict[str, Callable[[FoldTask, TableShape, Room, float], Way]] = {
    "in-memory": _in_memory,
    "distributed": _distributed,
    "external-memory": _external_memory,
}
_IN_TURN: dict[str, tuple[Training, ...]] = {
    "cpu": ("in-memory", "external-memory"),
    "cuda": ("in-memory", "distributed", "external-memory"),
}
