"""Memory that runs out under a fold: what it needed, what there was, and what may help.

Such a fold is tried once more, alone and where no fold has left anything behind; if memory
runs out again it has failed. It is never trained another way instead: how a booster is trained
is part of what a fold is, and another device or external memory may give other trees.
"""

from __future__ import annotations

import gc
import platform
from typing import TYPE_CHECKING

from gpucv.errors import StudyError
from gpucv.features import device_library
from gpucv.folds.capacity import (
    TableShape,
    gpu_need,
    host_need,
    paged_gpu_need,
    paged_host_need,
    table_bytes,
    told,
)
from gpucv.folds.refusals import must_suit_training
from gpucv.machine import free_memory_bytes, visible_gpus

if TYPE_CHECKING:
    from gpucv.features import FeatureTable
    from gpucv.folds.task import FoldTask
    from gpucv.machine import Device

__all__ = ["clear_away", "given_up", "shortage"]


def shortage(task: FoldTask, table: FeatureTable | None, why: str) -> MemoryError:
    """Return the error of a fold that found too little memory, with the sizes.

    Parameters
    ----------
    task : FoldTask
    table : FeatureTable or None
        None where already the table did not fit.
    why : str
        What the error met said, in one line; may be empty.
    """
    where = "of the GPU" if task.device == "cuda" else "of the host"
    wanted = f"{task.n_train:,} training rows"
    if table is not None:
        shape = TableShape(len(table), len(table.feature_names), read_by=_widths(table))
        wanted += (
            f" x {shape.features} features take an estimated {told(_need(task, shape))} beside "
            f"{told(table_bytes(shape, task.device))} of table"
        )
    free = _free_bytes(task.device)
    left = "" if free is None else f"; {told(free)} were free afterwards on {platform.node()}"
    said = f" ({why})" if why else ""
    msg = f"memory {where} ran out{said}: {wanted}{left}"
    return MemoryError(msg)


def given_up(task: FoldTask, error: BaseException, worker: str) -> MemoryError:
    """Return the error of a fold that found too little memory twice, and what may help.

    Parameters
    ----------
    task : FoldTask
    error : BaseException
        Of the second try, which it had for itself.
    worker : str
        Where that was.
    """
    msg = f"{error}; tried again alone on {worker}; {_way_out(task)}"
    return MemoryError(msg)


def clear_away(device: Device) -> None:
    """Give back what folds that have ended left behind in this process.

    XGBoost's caching allocator keeps a GPU's memory for its thread and lets go of it when that
    ends (v3.2.0), so no thread that ran folds may be left.
    """
    gc.collect()  # an error's frames may hold each other, and rows
    if device == "cuda" and device_library():
        from gpucv.frames import gpu

        gpu.give_back()


def _need(task: FoldTask, shape: TableShape) -> int:
    paged = task.training == "external-memory"
    if task.device == "cuda":
        return paged_gpu_need(task, shape) if paged else gpu_need(task, shape).peak
    return paged_host_need(task, shape) if paged else host_need(task, shape)


def _widths(table: FeatureTable) -> dict[str, int]:
    return {name: len(columns) for name, columns in table.views.items()}


def _free_bytes(device: Device) -> int | None:
    if device == "cpu":
        return free_memory_bytes()
    return next((gpu.free_bytes for gpu in visible_gpus()), None)


def _way_out(task: FoldTask) -> str:
    fewer = "folds_per_gpu" if task.device == "cuda" else "workers"
    ways = [f"use fewer rows, or fewer folds at once (execution.{fewer})"]
    if task.training == "in-memory" and _suits_pages(task):
        ways.append("or start a new run with --set execution.training=external-memory")
    return ", ".join(ways)


def _suits_pages(task: FoldTask) -> bool:
    try:
        must_suit_training(task.predictor, task.scheme, "external-memory")
    except StudyError:
        return False
    return True
