"""A cluster of worker processes on this machine, for as long as folds run.

Scheduler, workers and their dashboards listen on the loopback address only, on ports the
system picks.
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
from typing import TYPE_CHECKING, Any

from gpucv.errors import EnvironmentFaultError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpucv.folds.placement import Placement

__all__ = ["local_client"]

_HOST = "127.0.0.1"
_DASHBOARD = "127.0.0.1:0"
"""None would mean port 8787, which another run may hold."""
_QUIET = logging.CRITICAL
"""Every stop is logged as a mishap, and a fold that fails says so itself."""


_RESTART_SECONDS = 300


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

    on_gpus = placement.device == "cuda" and placement.processes > 1
    start = _gpu_cluster if on_gpus else _cpu_cluster
    try:
        cluster = start(placement)
    except (OSError, RuntimeError, ValueError) as error:
        hint = 'execution.device = "cuda:0"' if on_gpus else 'backend = "threads"'
        msg = f"cannot start {placement.processes} Dask workers here: {error}; use {hint}"
        raise EnvironmentFaultError(msg) from error
    # A lost worker's successor loads CUDA before it answers; after this long it is given up.
    patient = {"distributed.deploy.lost-worker-timeout": _RESTART_SECONDS}
    with dask.config.set(patient), cluster, Client(cluster) as client:
        yield client


def _cpu_cluster(placement: Placement) -> Any:
    from distributed import LocalCluster

    return LocalCluster(
        n_workers=placement.processes,
        threads_per_worker=placement.folds_per_process,
        processes=True,
        host=_HOST,
        dashboard_address=_DASHBOARD,
        worker_dashboard_address=_DASHBOARD,
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
        silence_logs=_QUIET,
    )
