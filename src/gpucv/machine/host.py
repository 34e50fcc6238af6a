"""Cores and memory of the host, as far as this process may use them.

A batch system or container limits a process through its control groups: the limits of
each group from the process's own up to the root hold, so the smallest counts.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["cpu_count", "cpu_name", "expanded", "free_memory_bytes", "memory_bytes"]

_CGROUP = Path("/sys/fs/cgroup")
_OWN_GROUPS = Path("/proc/self/cgroup")
_MEMINFO = Path("/proc/meminfo")


def expanded(path: str | Path) -> Path:
    """Return a path with its ``~`` written out, or as it stands where no such home is known.

    Containers run as users without an entry or a ``HOME``; pathlib raises there.
    """
    return Path(os.path.expanduser(path))  # noqa: PTH111


def cpu_count() -> int:
    """Return the cores this process may run on, container limits included."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    limits = [max(1, int(cores)) for cores in map(_cores, _groups("cpu")) if cores]
    return min([allowed or 1, *limits])


def cpu_name() -> str:
    """Return what the processor calls itself."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def memory_bytes() -> int | None:
    """Return the memory this process may use, container limits included; None if unknown."""
    try:
        installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None
    return min([installed, *(limit for limit, _ in _memory_limits())])


def free_memory_bytes() -> int | None:
    """Return the memory this process could still take; None if unknown.

    Pages that only cache files count as free: the kernel gives them back when asked.
    """
    available = _number(_MEMINFO, "MemAvailable:")
    if available is None:
        return None
    return max(0, min([available * 1024, *(limit - used for limit, used in _memory_limits())]))


def _groups(controller: str) -> Iterator[Path]:
    """Folders of this process's control groups, of version 2 and of version 1."""
    try:
        lines = _OWN_GROUPS.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    own = {Path(line.split(":", 2)[2].lstrip("/")) for line in lines if line.count(":") >= 2}
    inside = {Path(), *own, *(parent for path in own for parent in path.parents)}
    for base in (_CGROUP, _CGROUP / controller):
        yield from (base / path for path in sorted(inside) if ".." not in path.parts)


def _cores(group: Path) -> float | None:
    """Return the cores a group may use; None without a limit."""
    try:
        if (group / "cpu.max").exists():  # version 2; "max" stands for no limit
            limit, period = (group / "cpu.max").read_text(encoding="ascii").split()
        else:  # version 1; -1 stands for no limit
            limit = (group / "cpu.cfs_quota_us").read_text(encoding="ascii")
            period = (group / "cpu.cfs_period_us").read_text(encoding="ascii")
        cores = int(limit) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None
    return cores if cores > 0 else None


def _memory_limits() -> Iterator[tuple[int, int]]:
    """Limit and use of every group that has a limit, in bytes."""
    for group in _groups("memory"):
        for limit, use in (
            ("memory.max", "memory.current"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        ):
            allowed, used = _number(group / limit), _number(group / use)
            if allowed is not None:
                cached = _number(group / "memory.stat", "inactive_file") or 0
                yield allowed, max(0, (used or 0) - cached)


def _number(path: Path, name: str = "") -> int | None:
    """Return the number after `name` in a file of the kernel; None if there is none."""
    try:
        for line in path.read_text(encoding="ascii").splitlines():
            words = line.split()
            if (words[0] == name) if name else words:
                return int(words[1 if name else 0])
    except (OSError, ValueError, IndexError):
        pass
    return None
