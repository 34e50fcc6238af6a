"""One GPU for this process: ``CUDA_VISIBLE_DEVICES``, set before CUDA reads it."""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpucv.errors import DeviceUnavailableError, EnvironmentFaultError
from gpucv.machine.gpus import visible_gpus

if TYPE_CHECKING:
    from gpucv.machine.gpus import Gpu

__all__ = ["cuda_started", "pin_gpu", "unpin_gpu"]

_SHOWN = "CUDA_VISIBLE_DEVICES"
_NOT_INITIALIZED = 3  # CUDA_ERROR_NOT_INITIALIZED


@dataclass(slots=True)
class _Pin:
    """What this process was pinned to, and what its environment said before."""

    uuid: str = ""
    before: str | None = None

    def holds(self) -> bool:
        return bool(self.uuid) and os.environ.get(_SHOWN) == self.uuid


_pin = _Pin()


def pin_gpu(number: int) -> Gpu:
    """Show this process GPU `number` alone, for as long as it lives; return the GPU.

    Numbers count the GPUs that were visible before any were pinned, so that a second run in
    one process means the same GPU by the same number.

    Raises
    ------
    DeviceUnavailableError
        If there is no such GPU.
    EnvironmentFaultError
        If this process has begun to use CUDA, with another GPU or with several.
    """
    before = _pin.before if _pin.holds() else os.environ.get(_SHOWN)
    gpus = visible_gpus({} if before is None else {_SHOWN: before})
    if number >= len(gpus):
        there = "no NVIDIA GPU is" if not gpus else f"only cuda:0 to cuda:{len(gpus) - 1} are"
        there = "only cuda:0 is" if len(gpus) == 1 else there
        msg = (
            f"device 'cuda:{number}' was asked for, but {there} visible to this process; "
            "`gpucv doctor` says what there is, and device 'cpu' or 'auto' does without"
        )
        raise DeviceUnavailableError(msg)
    gpu = gpus[number]
    alone = [seen.uuid for seen in visible_gpus()] == [gpu.uuid]
    if cuda_started() and not alone:
        msg = (
            f"device 'cuda:{number}' was asked for, but this process already uses CUDA and "
            f"would keep its GPUs; start a new process, with {_SHOWN}={gpu.uuid} if need be"
        )
        raise EnvironmentFaultError(msg)
    _pin.uuid, _pin.before = gpu.uuid, before
    os.environ[_SHOWN] = gpu.uuid
    return gpu


def unpin_gpu() -> None:
    """Show this process the GPUs it saw before `pin_gpu`."""
    if _pin.holds():
        if _pin.before is None:
            del os.environ[_SHOWN]
        else:
            os.environ[_SHOWN] = _pin.before
    _pin.uuid = ""


def cuda_started() -> bool:
    """Return whether this process has begun to use CUDA.

    The driver reads ``CUDA_VISIBLE_DEVICES`` once, when it is first started, whether or not a
    context follows. Asking starts nothing: the library is only looked up among those loaded.
    """
    try:
        cuda = ctypes.CDLL("libcuda.so.1", mode=os.RTLD_NOLOAD)
    except OSError:
        return False
    count = ctypes.c_int()
    return bool(cuda.cuDeviceGetCount(ctypes.byref(count)) != _NOT_INITIALIZED)
