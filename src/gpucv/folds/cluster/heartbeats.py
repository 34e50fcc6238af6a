"""What a worker's heartbeats tell: that it lives, and how much memory it had.

A frozen process (SIGSTOP, a hung driver, a node that swaps) keeps its connections, so its
scheduler thinks it alive. Dask gives a silent worker up after ``distributed.scheduler.worker-ttl``,
5 minutes unless it is set up otherwise, looks only that often, and is somebody else's where
the scheduler is; so this process looks itself.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from gpucv.folds.capacity import told

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gpucv.machine import Device

__all__ = ["Heartbeats", "MemorySample"]

SILENT_SECONDS = 60
"""How long a worker may send no heartbeat. It sends one or two a second, from a thread that
goes on while a fold trains."""
_LOOK_SECONDS = 5
"""What counts at most of the time between two looks: whoever does not look hears nothing."""
_FULL = 0.8
"""From this share of the memory on it may well be what a worker died of: a sample is up to
a second old, and Dask ends its workers at 95 %."""


@dataclass(frozen=True, slots=True)
class MemorySample:
    """Memory in use, as a worker said last.

    Attributes
    ----------
    used, limit : int
        Bytes; a limit of 0 is unknown.
    of_gpu : bool
        All that is used of its GPU, by whomever; else what the process has of the host.
    """

    used: int
    limit: int
    of_gpu: bool = False

    @classmethod
    def of(cls, worker: Mapping[str, Any], device: Device) -> Self:
        """Return what the scheduler knows of a worker's memory, on "cuda" of its GPU if it can."""
        metrics = worker["metrics"]
        used = (metrics.get("gpu") or {}).get("memory-used")
        if device == "cuda" and used is not None:
            return cls(used, (worker.get("gpu") or {}).get("memory-total") or 0, of_gpu=True)
        return cls(metrics.get("memory", 0), worker["memory_limit"] or 0)

    @property
    def nearly_full(self) -> bool:
        """Whether so much was in use that its end may well come from there."""
        return 0 < _FULL * self.limit <= self.used

    def __str__(self) -> str:
        limit = f" of {told(self.limit)}" if self.limit else ""
        guess = ", so probably out of memory" if self.nearly_full else ""
        where = "GPU memory" if self.of_gpu else "memory"
        return f"{told(self.used)}{limit} of {where} in use (its last memory sample){guess}"


class Heartbeats:
    """How long each worker process has been silent, by this process's clock."""

    def __init__(self) -> None:
        self._last: dict[str, float] = {}
        self._silent: dict[str, float] = {}
        self._looked = time.monotonic()

    def silent(self, beats: Mapping[str, float]) -> set[str]:
        """Return the processes that have been silent for more than `SILENT_SECONDS`.

        Parameters
        ----------
        beats : mapping of str to float
            When each process was last heard from, by the scheduler's clock: only whether that
            changes counts.
        """
        now = time.monotonic()
        passed, self._looked = min(now - self._looked, _LOOK_SECONDS), now
        self._silent = {
            process: self._silent.get(process, 0) + passed if self._last.get(process) == at else 0
            for process, at in beats.items()
        }
        self._last = dict(beats)
        return {process for process, seconds in self._silent.items() if seconds > SILENT_SECONDS}
