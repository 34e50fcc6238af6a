"""Who ran a fold, when, and what its GPU did meanwhile: nothing that decides a result."""

from __future__ import annotations

import os
import platform
import time
from functools import cache
from typing import TYPE_CHECKING, Any, Self

from gpucv.machine import shared_watch, visible_gpus

if TYPE_CHECKING:
    from gpucv.machine import Device, Gpu

__all__ = ["Witness"]


class Witness:
    """Looks on while a fold runs, as a context.

    Parameters
    ----------
    device : {"cpu", "cuda"}
    """

    def __init__(self, device: Device) -> None:
        self._gpu = _first_gpu() if device == "cuda" else None
        self._began = self._lasted = 0.0

    def __enter__(self) -> Self:
        """Begin to look on."""
        if self._gpu is not None:
            shared_watch().start()
        # When it began is a label; how long it took is no difference of labels, which somebody
        # may set back meanwhile.
        self._began, self._lasted = time.time(), -time.perf_counter()
        return self

    def __exit__(self, *exception: object) -> None:
        """Look away."""
        self._lasted += time.perf_counter()
        if self._gpu is not None:
            shared_watch().stop()

    def account(self) -> dict[str, Any]:
        """Return the fields `worker`, `times` and `gpu` of a `FoldRecord`.

        A GPU is known by its UUID: every process of a cluster counts its own from 0.
        """
        gpu, ended = self._gpu, self._began + self._lasted
        return {
            "worker": {
                "host": platform.node(),
                "pid": os.getpid(),
                "gpu": gpu.uuid if gpu else None,
                "gpu_name": gpu.name if gpu else None,
            },
            "times": {"began": self._began, "ended": ended},
            "gpu": shared_watch().between(self._began, ended) if gpu else {},
        }


@cache
def _first_gpu() -> Gpu | None:
    """Return the GPU of this process, as CUDA found it when it was first asked."""
    return next(iter(visible_gpus()), None)
