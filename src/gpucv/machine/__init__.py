"""What this machine has, and which device a run may use.

Nothing here creates a CUDA context or imports a library of the GPU: the driver is asked
through NVML, versions come from package metadata, and what has to be tried is tried in a
process of its own.
"""

from gpucv.machine.checks import Check, examine
from gpucv.machine.describe import describe_machine, process_facts
from gpucv.machine.device import Device, ResolvedDevice, resolve_device
from gpucv.machine.faults import gpu_fault, memory_fault
from gpucv.machine.gpus import Driver, Gpu, count_gpus, read_driver, visible_gpus
from gpucv.machine.host import cpu_count, expanded, free_memory_bytes, memory_bytes
from gpucv.machine.packages import (
    frame_library,
    package_versions,
    require_xgboost,
    xgboost_distributions,
)
from gpucv.machine.watch import GpuWatch, Sample, shared_watch

__all__ = [
    "Check",
    "Device",
    "Driver",
    "Gpu",
    "GpuWatch",
    "ResolvedDevice",
    "Sample",
    "count_gpus",
    "cpu_count",
    "describe_machine",
    "examine",
    "expanded",
    "frame_library",
    "free_memory_bytes",
    "gpu_fault",
    "memory_bytes",
    "memory_fault",
    "package_versions",
    "process_facts",
    "read_driver",
    "require_xgboost",
    "resolve_device",
    "shared_watch",
    "visible_gpus",
    "xgboost_distributions",
]
