"""Checks of driver, GPUs and CUDA; without an NVIDIA GPU there is little to check."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from gpucv.errors import EnvironmentFaultError
from gpucv.machine.checks.check import Check, fault, ok, warn
from gpucv.machine.checks.packages import cuda_extra
from gpucv.machine.gpus import read_driver, visible_gpus
from gpucv.machine.packages import CUPY, RAPIDS, cuda_majors, installed, require_xgboost
from gpucv.machine.probing import Probe, probe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpucv.machine.gpus import Driver, Gpu

__all__ = ["gpu_checks"]

_GIB = 2**30


def gpu_checks() -> Iterator[Check]:
    """Look at the driver and the GPUs, and try them and XGBoost in a process of its own."""
    driver, gpus = read_driver(), visible_gpus()
    yield _driver(driver)
    if driver.boards:
        yield from _gpus(driver, gpus)
    try:
        wheel = require_xgboost()
    except EnvironmentFaultError:
        return  # told by the check of packages; there is nothing to try
    for_cuda = bool(gpus) and wheel != "xgboost-cpu"
    tried = probe("cuda" if for_cuda else "cpu")
    if "xgboost" in tried.steps:
        yield _build(tried.steps["xgboost"], driver)
    if gpus and not for_cuda:
        told = "not tried: xgboost-cpu is built without CUDA, so runs take the CPU"
        yield warn("training", told, "install gpucv[cuda12] or gpucv[cuda13] to use the GPUs")
    else:
        yield _training(tried)
    if for_cuda and "driver" in tried.steps:
        yield from _order(tried, gpus)


def _driver(driver: Driver) -> Check:
    meant = cuda_extra()
    if driver.version:
        newest = ".".join(map(str, driver.cuda))
        built = max(cuda_majors(installed((*RAPIDS, *CUPY))).values(), default=0)
        if built > driver.cuda[0]:
            told = f"{driver.version} takes CUDA up to {newest}; RAPIDS here is for {built}"
            mend = f"update the driver, or install gpucv[cuda{driver.cuda[0]}]"
            return fault("driver", told, mend)
        return ok("driver", f"{driver.version}, takes CUDA up to {newest}")
    if driver.absent and not meant:
        return ok("driver", "no NVIDIA driver: runs take the CPU")
    if driver.absent:
        told = "no NVIDIA driver, though packages for GPUs are installed"
        return fault("driver", told, driver.mend + ", or install gpucv[cpu] for CPUs alone")
    return Check("driver", "fault" if meant else "warn", driver.fault, driver.mend)


def _gpus(driver: Driver, gpus: tuple[Gpu, ...]) -> Iterator[Check]:
    shown = os.environ.get("CUDA_VISIBLE_DEVICES")
    if not gpus:
        told = f"CUDA_VISIBLE_DEVICES={shown!r} hides all {driver.boards}"
        yield warn("gpus", told, "unset it, or name those to use")
    for gpu in gpus:
        told = f"{gpu.name}, {_memory(gpu)} ({gpu.uuid})"
        yield ok(f"gpu {gpu.index}", told)
    if any(gpu.mig for gpu in gpus):
        told = "on: each instance counts as a GPU, and one fold cannot be shared out over several"
        mend = "nothing, if folds fit one instance (NCCL does not work over MIG instances)"
        yield warn("mig", told, mend)


def _memory(gpu: Gpu) -> str:
    if not gpu.memory_bytes:
        return "memory unknown"
    return f"{gpu.memory_bytes / _GIB:.1f} GiB, {gpu.free_bytes / _GIB:.1f} GiB free"


def _build(found: dict[str, Any], driver: Driver) -> Check:
    """Say what XGBoost was built for, and whether the driver takes it."""
    built = found["cuda"]
    if not built:
        return ok("build", f"XGBoost {found['version']}, built without CUDA")
    told = f"XGBoost {found['version']}, built for CUDA {built[0]}.{built[1]}"
    if driver.version and built[0] > driver.cuda[0]:
        newest = ".".join(map(str, driver.cuda))
        mend = f"update the driver, or install gpucv[cuda{driver.cuda[0]}]"
        return fault("build", f"{told}; the driver takes up to {newest}", mend)
    return ok("build", told)


def _training(tried: Probe) -> Check:
    if tried.fault:
        return fault("training", tried.fault, tried.mend)
    told = tried.steps.get("train-cuda") or tried.steps["train-cpu"]
    return ok("training", f"XGBoost trained two rows on {told['device']}")


def _order(tried: Probe, gpus: tuple[Gpu, ...]) -> Iterator[Check]:
    """CUDA counts unlike boards fastest first; numbers then mean another GPU than here."""
    listed = [device["uuid"] for device in tried.steps["driver"]["devices"]]
    if listed != [gpu.uuid.partition("-")[2] for gpu in gpus]:
        told = f"CUDA lists {len(listed)} GPUs in another order, or others, than nvidia-smi"
        yield warn("order", told, "set CUDA_DEVICE_ORDER=PCI_BUS_ID")
