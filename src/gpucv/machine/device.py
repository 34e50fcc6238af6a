"""Which device a run may use, decided once and before any data is read.

XGBoost only warns when ``device="cuda"`` finds no GPU, and trains on the CPU. So a GPU
counts as there only after a process of its own has trained on it (`gpucv.machine.probing`);
this process never makes a CUDA context here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from gpucv.errors import DeviceUnavailableError, StudyError, nearest
from gpucv.machine.gpus import Gpu, read_driver, visible_gpus
from gpucv.machine.packages import require_xgboost
from gpucv.machine.pinning import pin_gpu, unpin_gpu
from gpucv.machine.probing import probe

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Device", "ResolvedDevice", "resolve_device"]

Device = Literal["cpu", "cuda"]

_REQUESTS = ("auto", "cpu", "cuda")
_NUMBERED = re.compile(r"cuda:(\d{1,3})")


@dataclass(frozen=True, slots=True)
class ResolvedDevice:
    """The device a run uses, and why.

    Attributes
    ----------
    device : {"cpu", "cuda"}
    reason : str
    gpus : tuple of Gpu
        Those the run may use, in CUDA's order; none on "cpu".
    """

    device: Device
    reason: str
    gpus: tuple[Gpu, ...] = ()


def resolve_device(requested: str, gpus: Sequence[Gpu] | None = None) -> ResolvedDevice:
    """Decide the device of a run.

    Parameters
    ----------
    requested : str
        ``auto``, ``cpu``, ``cuda``, or ``cuda:N``: the GPU of that number alone. The last
        sets ``CUDA_VISIBLE_DEVICES`` of this process to it.
    gpus : sequence of Gpu, optional
        Those of a running cluster's workers. Then nothing is tried here, and XGBoost here
        need not be built for CUDA; else this machine is asked, and its GPUs are tried.

    Raises
    ------
    DeviceUnavailableError
        If a GPU is asked for and there is none, or it or XGBoost does not work.
    EnvironmentFaultError
        If XGBoost is missing or installed twice, or ``cuda:N`` comes too late.
    StudyError
        If `requested` is no device, or a number where a cluster has the GPUs.
    """
    numbered = _NUMBERED.fullmatch(requested)
    if requested not in _REQUESTS and not numbered:
        hint = nearest(requested, _REQUESTS)
        msg = f"unknown device {requested!r}{hint}; use auto, cpu, cuda or cuda:<number>"
        raise StudyError(msg)
    wheel = require_xgboost()
    if requested == "cpu":
        return ResolvedDevice("cpu", "asked for")
    if gpus is not None:
        return _of_cluster(requested, tuple(gpus))
    if not numbered:
        return _of_machine(requested, wheel)
    gpu = pin_gpu(int(numbered[1]))
    try:
        found = _of_machine(requested, wheel)
    except DeviceUnavailableError:
        unpin_gpu()
        raise
    return replace(found, reason=f"asked for: {gpu.name}, {gpu.uuid}")


def _of_cluster(requested: str, gpus: tuple[Gpu, ...]) -> ResolvedDevice:
    if requested not in _REQUESTS:
        msg = (
            f"device {requested!r} names one GPU of this machine, but folds run on the workers "
            "of a cluster; use 'cuda' or 'auto'"
        )
        raise StudyError(msg)
    if gpus:
        return ResolvedDevice("cuda", f"{_counted(gpus)} on the cluster's workers", gpus)
    return _without_gpu(requested, "no worker of the cluster sees an NVIDIA GPU", "")


def _of_machine(requested: str, wheel: str) -> ResolvedDevice:
    seen = visible_gpus()
    if not seen:
        return _without_gpu(requested, *_nothing_visible())
    if wheel == "xgboost-cpu":
        missing = "xgboost-cpu is built without CUDA"
        return _without_gpu(requested, missing, "install gpucv[cuda12] or gpucv[cuda13]")
    tried = probe("cuda")
    if tried.fault:
        return _without_gpu(requested, tried.fault, tried.mend)
    gpus = _as_cuda_lists(seen, tried.steps["driver"]["devices"])
    return ResolvedDevice("cuda", f"{_counted(gpus)} found, and XGBoost trains there", gpus)


def _without_gpu(requested: str, missing: str, mend: str) -> ResolvedDevice:
    told = f"{missing}; {mend}" if mend else missing
    if requested == "auto":
        return ResolvedDevice("cpu", told)
    way_out = f"{told}, or" if mend else f"{told};"
    msg = f"device {requested!r} was asked for, but {way_out} use device 'cpu' or 'auto'"
    raise DeviceUnavailableError(msg)


def _nothing_visible() -> tuple[str, str]:
    """Return why no GPU is seen, and what to do; without a driver there is nothing to do."""
    driver = read_driver()
    if driver.absent or not (driver.fault or driver.boards):
        return "no NVIDIA GPU found on this machine", ""
    if driver.fault:
        return f"no NVIDIA GPU found: {driver.fault}", driver.mend
    return (
        f"no NVIDIA GPU found: CUDA_VISIBLE_DEVICES hides the {driver.boards} of this machine",
        "unset it or name those to use",
    )


def _as_cuda_lists(seen: tuple[Gpu, ...], devices: list[dict[str, Any]]) -> tuple[Gpu, ...]:
    """Return the GPUs in the order of CUDA, which knows best; NVML adds what is free."""
    by_uuid = {gpu.uuid.partition("-")[2]: gpu for gpu in seen}
    listed = []
    for index, device in enumerate(devices):
        uuid, size = device["uuid"], device["memory_bytes"]
        known = by_uuid.get(uuid) or Gpu(index, f"GPU-{uuid}", device["name"], size, size)
        listed.append(replace(known, index=index))
    return tuple(listed)


def _counted(gpus: tuple[Gpu, ...]) -> str:
    return f"{len(gpus)} GPU{'s' if len(gpus) > 1 else ''}"
