"""Folds on threads of this process: XGBoost releases the GIL, so they overlap."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TYPE_CHECKING

from gpucv.folds.blas import limit_blas, one_blas_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gpucv.folds.task import FoldTask
    from gpucv.runs import FoldRecord

__all__ = ["run_on_threads"]


def run_on_threads(
    work: Callable[[FoldTask], FoldRecord], tasks: Sequence[FoldTask], workers: int
) -> Iterator[FoldRecord]:
    """Yield each fold's record as it finishes, `workers` folds at a time.

    One thread takes a fold from build to predict, so XGBoost's thread-local random
    stream is the same whatever runs beside it. If the caller stops early, folds
    not yet begun are dropped; those under way are not waited for.
    """
    pool = ThreadPoolExecutor(
        max_workers=workers, thread_name_prefix="gpucv-fold", initializer=limit_blas
    )
    try:
        with one_blas_thread():
            for future in as_completed([pool.submit(work, task) for task in tasks]):
                yield future.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
