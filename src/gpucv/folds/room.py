"""The processes that would run folds, and the cores and memory each of them has."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from gpucv.folds.capacity import CUDA_CONTEXT
from gpucv.folds.plan import worker_count

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gpucv.folds.resources import Resources, WorkerFacts
    from gpucv.folds.task import FoldTask
    from gpucv.machine import Gpu, ResolvedDevice
    from gpucv.study import ExecutionSpec

__all__ = ["Room", "counted", "room_for"]


@dataclass(frozen=True, slots=True)
class Room:
    """Processes alike: of those that differ, what the least of them has.

    Attributes
    ----------
    backend : {"threads", "dask"}
    device : {"cpu", "cuda"}
    processes : int
        Each with one GPU on "cuda"; 1 is this process, on "threads".
    cores : int
        Of each process.
    slots : int
        Folds at once that a running cluster lets a process run, the most of any: a worker
        with fewer takes fewer. 0 where that is ours to say.
    host_bytes : int or None
        Free on the host for each process, before the table is there; for all of them
        where they are started here and may be fewer. None where unknown.
    gpu_bytes : int
        Free on its GPU, CUDA contexts taken off; 0 without a GPU.
    disk_bytes : int or None
        Free for temporary files of each process; None where unknown.
    why : str
        In one sentence, with the numbers.
    against_together : str
        Why these processes cannot train one fold together; "" where nothing is known against it.
    """

    backend: Literal["threads", "dask"]
    device: Literal["cpu", "cuda"]
    processes: int
    cores: int
    slots: int
    host_bytes: int | None
    gpu_bytes: int
    disk_bytes: int | None
    why: str
    against_together: str = ""


def room_for(
    tasks: Sequence[FoldTask],
    execution: ExecutionSpec,
    resources: Resources,
    device: ResolvedDevice,
    together: bool = False,
) -> Room:
    """Return the processes that may run the folds, or train each of them `together`.

    Several GPUs take a process each: a process that uses two has the threads of one wait for
    the other's, and XGBoost takes no ordinal under Dask. A single one is shared by threads of
    this process, as are cores, unless ``backend = "dask"`` or a scheduler asks otherwise.
    """
    if resources.scheduler:
        return _of_cluster(resources, device)
    here = resources.workers[0]
    if device.device == "cuda":
        folds = len(device.gpus) if together else len(tasks)
        return _of_gpus(folds, execution, here, device.gpus)
    on_dask = execution.backend == "dask"
    processes = worker_count(execution, tasks, here.cores) if on_dask else 1
    why = (
        "worker processes here, one for each fold at once, as backend 'dask' asks"
        if on_dask
        else f"threads of this process, which has {counted(here.cores, 'core')}"
    )
    return Room(
        backend="dask" if on_dask else "threads",
        device="cpu",
        processes=processes,
        cores=max(1, here.cores // processes),
        slots=1 if on_dask else 0,
        host_bytes=_shared(_free(here), processes if together else 1),
        gpu_bytes=0,
        disk_bytes=_shared(here.disk_bytes, processes),
        why=why,
    )


def _of_gpus(folds: int, execution: ExecutionSpec, here: WorkerFacts, gpus: Sequence[Gpu]) -> Room:
    """Return as many of this machine's GPUs as there are folds to fill them."""
    usable = 1 if execution.backend == "threads" else len(gpus)
    used = min(usable, folds)
    if used == 1:
        why = f"threads of this process share one GPU, {gpus[0].name}"
        if len(gpus) > 1:
            asked = "backend 'threads' was asked for" if usable == 1 else "there is one fold"
            why += f"; {len(gpus) - 1} more stay idle, as {asked}"
    else:
        why = f"one worker process on each of {used} GPUs"
    on_dask = used > 1 or execution.backend == "dask"
    # Where workers have the GPUs, this process computed features on the first of them.
    contexts = 2 if on_dask else 1
    free = min((gpu.free_bytes for gpu in gpus[:used]), default=0)
    return Room(
        backend="dask" if on_dask else "threads",
        device="cuda",
        processes=used,
        cores=max(1, here.cores // used),
        slots=0,
        host_bytes=_shared(_free(here), used),
        gpu_bytes=max(0, free - contexts * CUDA_CONTEXT),
        disk_bytes=_shared(here.disk_bytes, used),
        why=why,
        against_together=_against_nccl(gpus[:used], 1),
    )


def _of_cluster(resources: Resources, device: ResolvedDevice) -> Room:
    """Return the workers of a running cluster; on "cuda" those that see a GPU."""
    on_gpu = device.device == "cuda"
    workers = [worker for worker in resources.workers if worker.gpus or not on_gpu]
    beside = Counter(worker.host for worker in resources.workers)
    # Of several workers on one host each may take the same GPU for its own.
    firsts = [(worker.host, worker.gpus[0]) for worker in workers] if on_gpu else []
    sharing = Counter((host, gpu.uuid) for host, gpu in firsts)
    free = min((gpu.free_bytes // sharing[host, gpu.uuid] for host, gpu in firsts), default=0)
    idle = len(resources.workers) - len(workers)
    why = f"{counted(len(workers), 'worker')} of {resources.scheduler}"
    why += f"; {idle} without a GPU stay idle" if idle else ""
    return Room(
        backend="dask",
        device=device.device,
        processes=len(workers),
        cores=min(max(1, worker.cores // beside[worker.host]) for worker in workers),
        slots=max(worker.slots for worker in workers),
        host_bytes=_least(workers, beside, _free),
        gpu_bytes=max(0, free - CUDA_CONTEXT),
        disk_bytes=_least(workers, beside, lambda worker: worker.disk_bytes),
        why=why,
        against_together=_against_nccl(
            [gpu for _, gpu in firsts], max(sharing.values(), default=1)
        ),
    )


def _against_nccl(gpus: Sequence[Gpu], on_one: int) -> str:
    """Return what NCCL, which adds up the sums of GPUs, has against these."""
    if any(gpu.mig for gpu in gpus):
        return "NCCL does not join parts of a GPU (MIG)"
    return f"NCCL joins no workers that share a GPU, as {on_one} do here" if on_one > 1 else ""


def _free(worker: WorkerFacts) -> int:
    return worker.free_bytes or worker.memory_bytes


def _shared(size: int, processes: int) -> int | None:
    return size // processes if size else None


def _least(
    workers: Sequence[WorkerFacts], beside: Mapping[str, int], size: Callable[[WorkerFacts], int]
) -> int | None:
    """Return the least that a worker has of what those of a host share; None if one is unknown."""
    return _shared(min(size(worker) // beside[worker.host] for worker in workers), 1)


def counted(number: int, thing: str) -> str:
    """Write a number of things: ``1 fold``, ``2 folds``."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
