"""Folds on threads of this process: XGBoost releases the GIL, so they overlap."""

from __future__ import annotations

import logging
import time
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from math import inf
from typing import TYPE_CHECKING

from gpucv.errors import EnvironmentFaultError
from gpucv.folds.blas import limit_blas, one_blas_thread
from gpucv.folds.memory import clear_away, given_up

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gpucv.folds.task import FoldTask
    from gpucv.runs import FoldRecord

    Work = Callable[[FoldTask], FoldRecord]

__all__ = ["run_on_threads"]

_POLL_SECONDS = 0.5

_log = logging.getLogger("gpucv.folds")


def run_on_threads(
    work: Work, tasks: Sequence[FoldTask], workers: int, timeout_s: float = 0
) -> Iterator[FoldRecord | tuple[FoldTask, BaseException]]:
    """Yield each fold's record as it finishes, `workers` folds at a time.

    One thread takes a fold from build to predict, so XGBoost's thread-local random
    stream is the same whatever runs beside it. If the caller stops early, folds
    not yet begun are dropped; those under way are not waited for.

    A fold that finds too little memory is tried once more after all others, alone and in a
    thread of its own; if memory runs out again, the fold is yielded with the error.

    Parameters
    ----------
    work : callable
    tasks : sequence of FoldTask
    workers : int
    timeout_s : float
        How long a fold may take; 0 for as long as it likes.

    Raises
    ------
    EnvironmentFaultError
        If a fold takes longer: a thread cannot be stopped.
    """
    short: list[FoldTask] = []
    with one_blas_thread():
        for task, outcome in _outcomes(work, tasks, workers, timeout_s):
            if not isinstance(outcome, MemoryError):
                yield outcome
                continue
            told = "memory ran out under fold %d, which is tried once more after the others, alone"
            _log.warning(told, task.fold_id)
            short.append(task)
        for task in short:
            clear_away(task.device)
            for _, outcome in _outcomes(work, [task], 1, timeout_s):
                if isinstance(outcome, MemoryError):
                    yield task, given_up(task, outcome, "a thread of its own")
                else:
                    yield outcome


def _outcomes(
    work: Work, tasks: Sequence[FoldTask], workers: int, timeout_s: float
) -> Iterator[tuple[FoldTask, FoldRecord | MemoryError]]:
    """Yield each fold with its record, or with the error if memory ran out.

    When it is exhausted, no thread is left that ran folds.
    """
    began: dict[int, float] = {}

    def timed(number: int, task: FoldTask) -> FoldRecord:
        began[number] = time.monotonic()
        return work(task)

    pool = ThreadPoolExecutor(
        max_workers=workers, thread_name_prefix="gpucv-fold", initializer=limit_blas
    )
    try:
        waiting = {
            pool.submit(timed, number, tasks[number]): number for number in range(len(tasks))
        }
        while waiting:
            poll = _POLL_SECONDS if timeout_s else None
            for future in wait(waiting, poll, return_when=FIRST_COMPLETED).done:
                number = waiting.pop(future)
                error = future.exception()
                if error is not None and not isinstance(error, MemoryError):
                    raise error
                yield tasks[number], error or future.result()
            for future, number in waiting.items():
                if not future.done():  # whoever took the last outcome may have taken long
                    _must_end(tasks[number], time.monotonic() - began.get(number, inf), timeout_s)
        pool.shutdown(wait=True)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _must_end(task: FoldTask, took: float, timeout_s: float) -> None:
    """Refuse to wait any longer for a fold that takes too long."""
    if timeout_s and took > timeout_s:
        msg = (
            f"{task.named} has not ended after {took:.0f} s (execution.fold_timeout_s = "
            f"{timeout_s:g}), and a thread cannot be stopped; finished folds are kept: resume the "
            "run with a longer limit, or with --set execution.backend=dask, whose workers are "
            "restarted"
        )
        raise EnvironmentFaultError(msg)
