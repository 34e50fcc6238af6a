"""Memory and utilisation of this process's GPU over time, sampled through NVML."""

from __future__ import annotations

import math
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple, Self

from gpucv.machine.gpus import first_device
from gpucv.machine.nvml import NvmlError, open_nvml

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["GpuWatch", "Sample", "shared_watch"]

_CAPACITY = 36_000  # an hour of samples at 0.1 s; about 5 MB


class Sample(NamedTuple):
    """One look at the GPU.

    `time` is in seconds since the epoch, `memory_bytes` what all processes hold of it,
    `utilisation` the percentage of time some kernel ran, by the driver's own averaging over
    up to a second; NaN where it does not tell (a MIG instance).
    """

    time: float
    memory_bytes: int
    utilisation: float


class GpuWatch:
    """Samples of the first GPU this process sees, taken by one thread while anyone wants them.

    Without NVML or a GPU it takes none and every answer is empty. When `capacity` samples
    are held, neighbours are merged (highest memory, mean utilisation) and the interval is
    doubled, so memory is bounded and the whole time is kept.

    Parameters
    ----------
    interval_s : float
    capacity : int
        Even, at least 2.
    reader : callable, optional
        Returns bytes held and percent used; an OSError ends the sampling. NVML if left out.
    """

    def __init__(
        self,
        interval_s: float = 0.1,
        capacity: int = _CAPACITY,
        reader: Callable[[], tuple[int, float]] | None = None,
    ) -> None:
        self._interval = interval_s
        self._capacity = capacity
        self._reader = reader
        self._samples: list[Sample] = []
        self._users = 0
        self._lock = threading.Lock()
        self._ended = threading.Event()

    def start(self) -> None:
        """Begin to sample, or go on for one more user."""
        with self._lock:
            self._users += 1
            if self._users > 1:
                return
            # Its own event: a thread told to end must not be revived by the next start.
            self._ended = threading.Event()
            thread = threading.Thread(
                target=self._run, args=(self._ended,), name="gpucv-gpu-watch", daemon=True
            )
            thread.start()

    def stop(self) -> None:
        """Leave; the last user to do so ends the sampling. The samples stay."""
        with self._lock:
            self._users = max(0, self._users - 1)
            if not self._users:
                self._ended.set()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def samples(self) -> list[Sample]:
        """Return all samples, oldest first."""
        with self._lock:
            return list(self._samples)

    def between(self, began: float, ended: float) -> dict[str, float]:
        """Return what was seen from `began` to `ended`, both seconds since the epoch.

        Returns
        -------
        dict
            ``memory_peak_bytes``, and ``utilisation_mean`` (percent) where the driver tells;
            empty if no sample fell into that time.
        """
        within = [each for each in self.samples() if began <= each.time <= ended]
        if not within:
            return {}
        found: dict[str, float] = {"memory_peak_bytes": max(each.memory_bytes for each in within)}
        mean = _mean([each.utilisation for each in within])
        return found if math.isnan(mean) else found | {"utilisation_mean": mean}

    def _run(self, ended: threading.Event) -> None:
        with ExitStack() as opened:
            try:
                read = self._reader or opened.enter_context(_NvmlReader())
                while True:
                    self._keep(Sample(time.time(), *read()), ended)
                    if ended.wait(self._interval):
                        return
            except (NvmlError, OSError):
                return  # no GPU, or one that is lost: there is nothing more to see

    def _keep(self, sample: Sample, ended: threading.Event) -> None:
        with self._lock:
            if ended.is_set():
                return
            self._samples.append(sample)
            if len(self._samples) >= self._capacity:
                pairs = zip(self._samples[::2], self._samples[1::2], strict=False)
                self._samples = [_merged(*pair) for pair in pairs]
                self._interval *= 2


class _NvmlReader:
    """NVML held open, asked about the first GPU of this process."""

    def __enter__(self) -> Self:
        self._opened = ExitStack()
        self._nvml = self._opened.enter_context(open_nvml())
        device = first_device(self._nvml)
        if device is None:
            self._opened.close()
            msg = "no GPU is visible"
            raise OSError(msg)
        self._device = device
        return self

    def __exit__(self, *exception: object) -> None:
        self._opened.close()

    def __call__(self) -> tuple[int, float]:
        used = self._nvml.memory(self._device)[2]
        try:
            return used, float(self._nvml.utilisation(self._device))
        except NvmlError:
            return used, math.nan


_SHARED = GpuWatch()


def shared_watch() -> GpuWatch:
    """Return the one watch of this process, which folds side by side start and stop."""
    return _SHARED


def _merged(first: Sample, second: Sample) -> Sample:
    return Sample(
        second.time,
        max(first.memory_bytes, second.memory_bytes),
        _mean([first.utilisation, second.utilisation]),
    )


def _mean(values: list[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan
