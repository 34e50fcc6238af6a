"""Try the driver, the GPUs and XGBoost: a program that prints one JSON line per step.

It runs as a process of its own (`gpucv.machine.probing` starts it): CUDA contexts, and the
crash of a broken driver or wheel, end with it. So it imports nothing of gpucv. A step that
fails does not stop the next ones; the order of ``STEPS`` is that of causes.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import sys
import uuid
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["STEPS", "main"]

_BYTES = 1024
_ORIGIN = re.compile(r"^\[[\d:]+\] WARNING: \S+: ")  # time and source line of XGBoost's log


class _CudaError(Exception):
    """A call of the CUDA driver failed."""

    def __init__(self, code: int, function: str) -> None:
        self.code = code
        super().__init__(f"{function} failed with error {code}")


def _driver() -> Any:
    """Return the CUDA driver's library, started."""
    library = ctypes.CDLL("libcuda.so.1")
    _call(library, "cuInit", 0)
    return library


def _call(library: Any, function: str, *arguments: Any) -> None:
    code = getattr(library, function)(*arguments)
    if code:
        name = ctypes.c_char_p()
        library.cuGetErrorName(code, ctypes.byref(name))
        error = _CudaError(code, function)
        if name.value:
            error.args = (f"{function} says {name.value.decode()}",)
        raise error


def _devices(library: Any) -> list[ctypes.c_int]:
    count = ctypes.c_int()
    _call(library, "cuDeviceGetCount", ctypes.byref(count))
    devices = [ctypes.c_int() for _ in range(count.value)]
    for number, device in enumerate(devices):
        _call(library, "cuDeviceGet", ctypes.byref(device), number)
    return devices


def list_devices() -> dict[str, Any]:
    """Return the CUDA version and the GPUs the driver lists, in CUDA's order."""
    library = _driver()
    version = ctypes.c_int()
    _call(library, "cuDriverGetVersion", ctypes.byref(version))
    devices = []
    for device in _devices(library):
        name = ctypes.create_string_buffer(256)
        identity, size = (ctypes.c_ubyte * 16)(), ctypes.c_size_t()
        _call(library, "cuDeviceGetName", name, 256, device)
        _call(library, "cuDeviceGetUuid_v2", ctypes.byref(identity), device)
        _call(library, "cuDeviceTotalMem_v2", ctypes.byref(size), device)
        devices.append(
            {
                "name": name.value.decode(errors="replace"),
                "uuid": str(uuid.UUID(bytes=bytes(identity))),
                "memory_bytes": size.value,
            }
        )
    if not devices:
        raise _CudaError(100, "cuDeviceGetCount")
    return {"cuda": [version.value // 1000, version.value % 1000 // 10], "devices": devices}


def take_memory() -> dict[str, Any]:
    """Make a context on every GPU and take a few bytes of its memory."""
    library = _driver()
    for number, device in enumerate(_devices(library)):
        try:
            _take_from(library, device)
        except _CudaError as error:
            error.args = (f"{error} on GPU {number}",)
            raise
    return {}


def _take_from(library: Any, device: ctypes.c_int) -> None:
    context, address = ctypes.c_void_p(), ctypes.c_ulonglong()
    _call(library, "cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
    _call(library, "cuCtxSetCurrent", context)
    _call(library, "cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(_BYTES))
    _call(library, "cuMemFree_v2", address)
    _call(library, "cuDevicePrimaryCtxRelease_v2", device)


def load_xgboost() -> dict[str, Any]:
    """Import XGBoost and return how it was built."""
    import xgboost

    build = xgboost.build_info()
    return {
        "version": xgboost.__version__,
        "cuda": list(build.get("CUDA_VERSION", [])) if build.get("USE_CUDA") else [],
        "nccl": bool(build.get("USE_NCCL")),
    }


def _train(device: str) -> dict[str, Any]:
    """Train one tree on two rows; XGBoost warns and takes the CPU where it finds no GPU."""
    import xgboost

    rows = xgboost.DMatrix([[0.0], [1.0]], label=[0.0, 1.0], nthread=1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        booster = xgboost.train({"device": device, "nthread": 1}, rows, num_boost_round=1)
    config = json.loads(booster.save_config())
    return {
        "device": config["learner"]["generic_param"]["device"],
        "warned": [_ORIGIN.sub("", str(warning.message)) for warning in caught],
    }


def train_on_gpu() -> dict[str, Any]:
    """Train on the GPU, and say where XGBoost did it."""
    return _train("cuda")


def train_on_cpu() -> dict[str, Any]:
    """Train on the CPU."""
    return _train("cpu")


STEPS: dict[str, Callable[[], dict[str, Any]]] = {
    "driver": list_devices,
    "memory": take_memory,
    "xgboost": load_xgboost,
    "train-cuda": train_on_gpu,
    "train-cpu": train_on_cpu,
}


def main(steps: list[str]) -> None:
    """Take the steps named, each with its line of JSON on stdout."""
    # Libraries print where they like; what they print must not mix with the lines.
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as lines:
        os.dup2(2, 1)
        for step in steps:
            try:
                found = STEPS[step]()
            except Exception as error:
                told = " ".join(str(error).split()) or type(error).__name__
                found = {"error": told, "code": getattr(error, "code", None)}
            print(json.dumps({"step": step, **found}), file=lines, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
