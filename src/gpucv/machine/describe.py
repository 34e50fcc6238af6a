"""What a number needs beside it to be believed, and what a worker is asked for."""

from __future__ import annotations

import os
import platform
from dataclasses import asdict
from typing import Any

from gpucv.machine.gpus import read_driver, visible_gpus
from gpucv.machine.host import cpu_count, cpu_name, memory_bytes
from gpucv.machine.packages import frame_library, package_versions, xgboost_distributions

__all__ = ["describe_machine", "process_facts"]


def describe_machine() -> dict[str, Any]:
    """Return what a number needs beside it to be believed: host, CPU, memory, GPUs, versions."""
    driver = read_driver()
    return {
        "host": platform.node(),
        "system": platform.platform(),
        "cpu": cpu_name(),
        "cores": cpu_count(),
        "memory_bytes": memory_bytes(),
        "gpus": [
            f"{gpu.name}, {gpu.memory_bytes // 2**20} MiB, {driver.version}"
            for gpu in visible_gpus()
        ],
        "versions": package_versions(),
    }


def process_facts() -> dict[str, Any]:
    """Return what this process has to run folds with, ready for JSON.

    Returns
    -------
    dict
        ``host``, ``pid``, ``cores``, ``memory_bytes`` (0 if unknown), ``gpus`` (the fields
        of `Gpu`), ``versions``, ``xgboost_cuda`` (whether its one XGBoost wheel is of a name
        built for CUDA; what it trains on is read back in each fold) and ``frames`` ("cudf",
        "cupy" or "numpy").
    """
    wheels = xgboost_distributions()
    return {
        "host": platform.node(),
        "pid": os.getpid(),
        "cores": cpu_count(),
        "memory_bytes": memory_bytes() or 0,
        "gpus": [asdict(gpu) for gpu in visible_gpus()],
        "versions": package_versions(),
        "xgboost_cuda": len(wheels) == 1 and "xgboost-cpu" not in wheels,
        "frames": frame_library(),
    }
