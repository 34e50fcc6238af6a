"""What there is to run folds on: this process, or the workers of a cluster."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gpucv.folds.exchange import must_be_writable
from gpucv.machine import cpu_count, describe_machine, free_memory_bytes, visible_gpus

if TYPE_CHECKING:
    from gpucv.machine import Gpu
    from gpucv.study import ExecutionSpec

__all__ = ["Resources", "WorkerFacts", "free_disk_bytes", "local_resources", "survey"]


@dataclass(frozen=True, slots=True)
class WorkerFacts:
    """What one process that runs folds has.

    Attributes
    ----------
    name : str
        As its cluster calls it; "" for this process.
    host : str
    cores : int
    slots : int
        Folds its cluster lets it run at once; 0 where that is ours to say.
    memory_bytes : int
        Of the host, what the process may use.
    gpus : tuple of Gpu
        Those it sees and its XGBoost is built for; folds run on the first.
    versions : dict of str to str
        Of gpucv and what its numbers depend on.
    free_bytes, disk_bytes : int
        What of the memory, and of the disk of temporary files, nobody had taken when
        asked; 0 where unknown.
    """

    name: str
    host: str
    cores: int
    slots: int
    memory_bytes: int
    gpus: tuple[Gpu, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)
    free_bytes: int = 0
    disk_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Resources:
    """Everything a plan may use.

    Attributes
    ----------
    workers : tuple of WorkerFacts
        Of a running cluster; of this machine, one entry: this process.
    scheduler : str
        Where the cluster is; "" for this machine.
    """

    workers: tuple[WorkerFacts, ...]
    scheduler: str = ""

    @property
    def gpus(self) -> tuple[Gpu, ...]:
        """Every GPU some worker sees: on this machine each once, of a cluster one per worker."""
        if not self.scheduler:
            return self.workers[0].gpus
        return tuple(worker.gpus[0] for worker in self.workers if worker.gpus)

    @property
    def cores(self) -> int:
        """Cores of all workers."""
        return sum(worker.cores for worker in self.workers)


def survey(execution: ExecutionSpec) -> Resources:
    """Return what the study's folds may run on: its scheduler's workers, or this machine.

    Raises
    ------
    StudyError, EnvironmentFaultError
        If its exchange cannot be written to, its scheduler does not answer, or the workers there
        lack gpucv or have other libraries than this process.
    """
    if execution.exchange:
        must_be_writable(execution.exchange)
    if not execution.scheduler:
        return local_resources()
    from gpucv.folds.cluster import survey_cluster

    return survey_cluster(execution)


def local_resources() -> Resources:
    """Return what this machine has."""
    machine = describe_machine()
    here = WorkerFacts(
        name="",
        host=machine["host"],
        cores=cpu_count(),
        slots=0,
        memory_bytes=machine["memory_bytes"] or 0,
        gpus=visible_gpus(),
        versions=machine["versions"],
        free_bytes=free_memory_bytes() or 0,
        disk_bytes=free_disk_bytes(),
    )
    return Resources((here,))


def free_disk_bytes() -> int:
    """Return what is free where this process puts temporary files; 0 where unknown."""
    try:
        return shutil.disk_usage(tempfile.gettempdir()).free
    except OSError:
        return 0
