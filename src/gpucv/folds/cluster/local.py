"""A cluster of worker processes on this machine, for as long as folds run.

Scheduler, workers and their dashboards listen on the loopback address only, on ports the
system picks. Other users of the machine reach that address too, so scheduler and workers ask
for a certificate, which is made for this cluster and kept in memory.
"""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import signal
import tempfile
from typing import TYPE_CHECKING, Any

from gpucv.errors import EnvironmentFaultError
from gpucv.folds.cluster.certificates import temporary_security

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpucv.folds.placement import Placement

__all__ = ["local_client"]

_HOST = "127.0.0.1"
_DASHBOARD = "127.0.0.1:0"
"""None would mean port 8787, which another run may hold."""
_QUIET = logging.CRITICAL
"""Every stop is logged as a mishap, and a fold that fails says so itself."""


_FILES, _FILES_PER_WORKER = 40, 12
"""Open in this process: measured 21, and 10 for each worker, before a fold's files."""
_SEMAPHORES = "/dev/shm"
_SEMAPHORE_BYTES = 1 << 15
"""Six semaphores for each worker were counted, of a page each."""

_SETTINGS = {
    # A lost worker's successor loads CUDA before it answers; after this long it is given up.
    "distributed.deploy.lost-worker-timeout": 300,
    # What fits is planned; a worker told to pause keeps what it has, and might wait for ever.
    "distributed.worker.memory.pause": False,
}


@contextlib.contextmanager
def local_client(placement: Placement) -> Iterator[Any]:
    """Start the worker processes of `placement`; yield a client of theirs.

    Raises
    ------
    EnvironmentFaultError
        If they do not start, or several GPUs are to be used without dask-cuda.
    """
    import dask
    from distributed import Client

    _must_have_room(placement.processes)
    on_gpus = placement.device == "cuda" and placement.processes > 1
    start = _gpu_cluster if on_gpus else _cpu_cluster
    try:
        with dask.config.set(_SETTINGS):  # which worker processes are given as they start
            cluster = start(placement)
    except (OSError, RuntimeError, ValueError) as error:
        hint = 'execution.device = "cuda:0"' if on_gpus else 'backend = "threads"'
        msg = f"cannot start {placement.processes} Dask workers here: {error}; use {hint}"
        raise EnvironmentFaultError(msg) from error
    with dask.config.set(_SETTINGS), cluster, Client(cluster) as client:
        client.register_plugin(_left_to_the_run())
        yield client


def _must_have_room(processes: int) -> None:
    """Refuse what Dask would wait for without an end: workers that lack sockets or semaphores.

    Raises
    ------
    EnvironmentFaultError
    """
    hint = 'or use execution.backend = "threads"'
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    needed = _FILES + _FILES_PER_WORKER * processes
    if files != resource.RLIM_INFINITY and files < needed:
        msg = (
            f"cannot start {processes} Dask workers here: they take some {needed} open files, and "
            f"{files} are allowed; raise that (ulimit -n {max(needed, 1024)}), {hint}"
        )
        raise EnvironmentFaultError(msg)
    with contextlib.suppress(OSError):  # a system that keeps semaphores elsewhere
        shared = os.statvfs(_SEMAPHORES)
        free = shared.f_bavail * shared.f_frsize
        if shared.f_blocks and free < _SEMAPHORE_BYTES * (processes + 1):
            msg = (
                f"cannot start {processes} Dask workers here: {_SEMAPHORES} has {free:,} bytes "
                f"free, too few for their semaphores; make it larger, {hint}"
            )
            raise EnvironmentFaultError(msg)


def _left_to_the_run() -> Any:
    """Return what makes workers ignore Ctrl-C, also those started anew.

    A terminal sends it to every process of the command. It is for the run to end its workers:
    interrupted by themselves they lose folds, and tell of it in tracebacks.
    """
    from distributed import WorkerPlugin

    class LeftToTheRun(WorkerPlugin):
        def setup(self, worker: Any) -> None:
            signal.signal(signal.SIGINT, signal.SIG_IGN)

    return LeftToTheRun()


def _cpu_cluster(placement: Placement) -> Any:
    from distributed import LocalCluster

    return LocalCluster(
        n_workers=placement.processes,
        threads_per_worker=placement.folds_per_process,
        processes=True,
        memory_limit=1 / placement.processes,  # by itself Dask would go by threads, not by folds
        host=_HOST,
        dashboard_address=_DASHBOARD,
        worker_dashboard_address=_DASHBOARD,
        security=temporary_security(),
        silence_logs=_QUIET,
    )


def _gpu_cluster(placement: Placement) -> Any:
    """Start one worker process per GPU, as many threads each as folds at once.

    What a fold needs of the GPU is planned beforehand, so nothing may be moved off it
    (`device_memory_limit`, `memory_limit`): Dask could move only what it keeps itself, and
    it keeps nothing of a fold. No pool is asked for: `gpucv.frames.gpu` makes one that leaves
    XGBoost what it does not need.
    """
    try:
        from dask_cuda import LocalCUDACluster
    except ImportError as error:
        msg = (
            f"{placement.processes} GPUs need dask-cuda ({error}): pip install "
            '"gpucv[cuda12]" or "gpucv[cuda13]", or use execution.device = "cuda:0"'
        )
        raise EnvironmentFaultError(msg) from error
    return LocalCUDACluster(
        n_workers=placement.processes,
        threads_per_worker=placement.folds_per_process,
        memory_limit=None,
        device_memory_limit=0,
        local_directory=tempfile.gettempdir(),
        host=_HOST,
        dashboard_address=_DASHBOARD,
        worker_dashboard_address=_DASHBOARD,
        security=temporary_security(),
        silence_logs=_QUIET,
    )
