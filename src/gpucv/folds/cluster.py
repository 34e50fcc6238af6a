"""Folds on Dask worker processes, here or on an existing cluster.

The only importer of dask. A task travels as a few hundred bytes: workers read the
feature table themselves and publish their results into the run folder, which must
lie on a disk they share. Scheduler and workers of a local cluster listen on the
loopback address only, on ports the system picks.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from concurrent.futures import CancelledError, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from gpucv.errors import EnvironmentFaultError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gpucv.folds.task import FoldTask
    from gpucv.runs import FoldRecord

__all__ = ["run_on_dask"]

_CONNECT_SECONDS = 30


def run_on_dask(
    work: Callable[[FoldTask], FoldRecord],
    tasks: Sequence[FoldTask],
    workers: int,
    scheduler: str = "",
) -> Iterator[FoldRecord | tuple[FoldTask, BaseException]]:
    """Yield each fold's record as it finishes, or the task with what killed it.

    Parameters
    ----------
    work : callable
        Must be importable on the workers.
    tasks : sequence of FoldTask
        In the order of their priority.
    workers : int
        Processes of the local cluster; unused with `scheduler`.
    scheduler : str
        Address of a running scheduler.

    Raises
    ------
    EnvironmentFaultError
        If the scheduler cannot be reached or is lost, or no cluster started here.
    """
    from distributed import as_completed

    with _client(workers, scheduler) as client:
        # Two runs of one study may share a scheduler, which runs equal keys once.
        run = secrets.token_hex(8)
        futures: dict[Any, FoldTask] = {}
        for rank, task in enumerate(tasks):
            future = client.submit(
                work, task, key=f"fold-{run}-{task.fold_id}", pure=False, priority=-rank
            )
            futures[future] = task
        try:
            for future in as_completed(futures):
                try:
                    error = future.exception()
                    outcome = (futures[future], error) if error else future.result()
                except CancelledError as lost:
                    msg = "the Dask scheduler was lost; finished folds are kept: resume the run"
                    raise EnvironmentFaultError(msg) from lost
                yield outcome
        finally:
            client.cancel(list(futures))


@contextlib.contextmanager
def _client(workers: int, scheduler: str) -> Iterator[Any]:
    from distributed import Client

    if scheduler:
        _must_answer(scheduler)
        with Client(scheduler, timeout=_CONNECT_SECONDS) as client:
            yield client
        return
    with _local_cluster(workers) as cluster, Client(cluster) as client:
        yield client


def _must_answer(scheduler: str) -> None:
    """Connect once, before a client is made.

    A client that finds no scheduler cannot be closed, and may later block another
    one of this process while Python collects it.
    """
    from distributed import Security
    from distributed.comm.core import connect

    async def knock() -> None:
        arguments = Security().get_connection_args("client")
        comm = await connect(scheduler, timeout=_CONNECT_SECONDS, **arguments)
        await comm.close()

    try:
        with ThreadPoolExecutor(max_workers=1) as apart:  # notebooks run a loop in this thread
            apart.submit(asyncio.run, knock()).result()
    except (OSError, TimeoutError, ValueError) as error:
        msg = f"no Dask scheduler answers at {scheduler!r}: {error}; check the address"
        raise EnvironmentFaultError(msg) from error


def _local_cluster(workers: int) -> Any:
    from distributed import LocalCluster

    try:
        return LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            # None would mean port 8787, which another run may hold.
            dashboard_address="127.0.0.1:0",
            worker_dashboard_address="127.0.0.1:0",
            silence_logs=logging.ERROR,  # its warnings tell of every stop as of a mishap
        )
    except (OSError, RuntimeError) as error:
        msg = f'cannot start {workers} Dask workers here: {error}; use backend = "threads"'
        raise EnvironmentFaultError(msg) from error
