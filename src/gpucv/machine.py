"""What this machine has, and which device a run may use.

Nothing here creates a CUDA context: GPUs are counted through NVML, versions read
from package metadata. XGBoost only warns when ``device="cuda"`` finds no GPU and
trains on the CPU; so the device is resolved once, here, and the trainer reads the
effective one back.
"""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from gpucv._version import __version__
from gpucv.errors import DeviceUnavailableError, EnvironmentFaultError, StudyError, nearest

__all__ = [
    "Device",
    "ResolvedDevice",
    "count_gpus",
    "cpu_count",
    "describe_machine",
    "package_versions",
    "require_xgboost",
    "resolve_device",
    "xgboost_distributions",
]

Device = Literal["cpu", "cuda"]

_CGROUP = Path("/sys/fs/cgroup")

_PACKAGES = (
    "numpy",
    "pandas",
    "pyarrow",
    "scikit-learn",
    "scipy",
    "optuna",
    "dask",
    "distributed",
    "cudf-cu12",
    "cudf-cu13",
    "dask-cuda",
)
_REQUESTS = ("auto", "cpu", "cuda")
_XGBOOST = ("xgboost-cpu", "xgboost", "xgboost-cu12", "xgboost-cu13")
_INSTALL = 'pip install "gpucv[cpu]" (or gpucv[cuda12], gpucv[cuda13])'


@dataclass(frozen=True, slots=True)
class ResolvedDevice:
    """The device a run uses, and why."""

    device: Device
    reason: str


def resolve_device(requested: str) -> ResolvedDevice:
    """Decide the device of a run.

    Parameters
    ----------
    requested : {"auto", "cpu", "cuda"}

    Raises
    ------
    DeviceUnavailableError
        If "cuda" is asked for and no GPU, or no XGBoost built for CUDA, is here.
    EnvironmentFaultError
        If XGBoost is missing or installed twice.
    StudyError
        If `requested` is none of the three.
    """
    if requested not in _REQUESTS:
        msg = f"unknown device {requested!r}{nearest(requested, _REQUESTS)}; use auto, cpu or cuda"
        raise StudyError(msg)
    wheel = require_xgboost()
    if requested == "cpu":
        return ResolvedDevice("cpu", "asked for")
    gpus = count_gpus()
    built_for_cuda = wheel != "xgboost-cpu"
    if gpus and built_for_cuda:
        return ResolvedDevice("cuda", f"{gpus} GPU{'s' if gpus > 1 else ''} found")
    missing = (
        f"{wheel} is built without CUDA; install gpucv[cuda12] or gpucv[cuda13]"
        if gpus
        else "no NVIDIA GPU found on this machine"
    )
    if requested == "cuda":
        msg = f"device 'cuda' was asked for, but {missing}; use device 'cpu' or 'auto'"
        raise DeviceUnavailableError(msg)
    return ResolvedDevice("cpu", missing)


def count_gpus() -> int:
    """Return how many NVIDIA GPUs CUDA would find: those NVML sees and the environment shows."""
    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return 0
    if nvml.nvmlInit_v2() != 0:
        return 0
    number = ctypes.c_uint(0)
    found = int(number.value) if nvml.nvmlDeviceGetCount_v2(ctypes.byref(number)) == 0 else 0
    nvml.nvmlShutdown()
    return _visible(found, os.environ.get("CUDA_VISIBLE_DEVICES"))


def _visible(found: int, shown: str | None) -> int:
    """Count the GPUs of `found` that ``CUDA_VISIBLE_DEVICES`` shows.

    CUDA reads the list up to the first entry that names no device, so ``-1`` and
    ``NoDevFiles`` hide all.
    """
    if shown is None or not found:
        return found
    named: set[str] = set()
    for entry in map(str.strip, shown.split(",")):
        is_index = entry.isdecimal() and int(entry) < found
        if not is_index and not entry.startswith(("GPU-", "MIG-")):
            break
        named.add(entry)
    return len(named)


def cpu_count() -> int:
    """Return the cores this process may run on, container limits included."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    cores = allowed or 1
    return min(cores, _cgroup_cores() or cores)


def _cgroup_cores() -> int | None:
    """Return the whole cores a container may use, at least 1; None without a limit."""
    try:
        if (_CGROUP / "cpu.max").exists():  # version 2; "max" stands for no limit
            limit, period = (_CGROUP / "cpu.max").read_text(encoding="ascii").split()
        else:  # version 1; -1 stands for no limit
            limit = (_CGROUP / "cpu/cpu.cfs_quota_us").read_text(encoding="ascii")
            period = (_CGROUP / "cpu/cpu.cfs_period_us").read_text(encoding="ascii")
        cores = int(limit) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None
    return max(1, int(cores)) if cores > 0 else None


def xgboost_distributions() -> dict[str, str]:
    """Return the XGBoost wheels installed, by distribution name, with their versions."""
    found = {}
    for name in _XGBOOST:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def require_xgboost() -> str:
    """Return the name of the one XGBoost distribution installed.

    Raises
    ------
    EnvironmentFaultError
        If there is none, or two that overwrite each other's files.
    """
    found = xgboost_distributions()
    if not found:
        msg = f"XGBoost is missing: {_INSTALL}"
        raise EnvironmentFaultError(msg)
    if len(found) > 1:
        both = " and ".join(f"{name} {version}" for name, version in found.items())
        msg = (
            f"{both} are both installed and share one folder; run "
            f"pip uninstall -y {' '.join(found)}, then {_INSTALL}"
        )
        raise EnvironmentFaultError(msg)
    return next(iter(found))


def package_versions() -> dict[str, str]:
    """Return the versions of gpucv and of what its numbers depend on."""
    versions = {"python": platform.python_version(), "gpucv": __version__}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions | xgboost_distributions()


def describe_machine() -> dict[str, Any]:
    """Return what a number needs beside it to be believed: host, CPU, memory, GPUs, versions."""
    return {
        "host": platform.node(),
        "system": platform.platform(),
        "cpu": _cpu_name(),
        "cores": cpu_count(),
        "memory_bytes": _memory_bytes(),
        "gpus": _gpu_names(),
        "versions": package_versions(),
    }


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None


def _gpu_names() -> list[str]:
    if not count_gpus() or shutil.which("nvidia-smi") is None:
        return []
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return done.stdout.strip().splitlines()
