"""A budget for the rows held in memory, so that a small file cannot ask for all of it.

Compressed tables may be thousands of times larger once read. Sizes are taken from
the file's own metadata and charged before the bytes are read.
"""

from __future__ import annotations

from pathlib import Path

from gpucv.errors import TraceError

__all__ = ["MemoryBudget", "available_bytes", "give_arrow_memory_back"]

_SHARE = 0.6
"""Share of the available memory that step tables may take: features and folds need the rest."""


def available_bytes() -> int | None:
    """Return the bytes of memory this process could still take, or None where unknown.

    Source: ``MemAvailable`` of ``/proc/meminfo``, and the control group's own limit
    where it is tighter.
    """
    found = [size for size in (_meminfo(), _control_group()) if size is not None]
    return min(found, default=None)


def _meminfo() -> int | None:
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii")
    except OSError:
        return None
    for line in text.splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _control_group() -> int | None:
    folder = Path("/sys/fs/cgroup")
    try:
        limit = (folder / "memory.max").read_text(encoding="ascii").strip()
        used = (folder / "memory.current").read_text(encoding="ascii").strip()
    except OSError:
        return None
    return max(int(limit) - int(used), 0) if limit.isdigit() and used.isdigit() else None


def give_arrow_memory_back() -> None:
    """Hand back the memory that Arrow keeps after freeing it: else twice what rows take."""
    import pyarrow as pa

    pa.default_memory_pool().release_unused()


class MemoryBudget:
    """Bytes that may be held at once by the tables of one read.

    Parameters
    ----------
    limit : int, optional
        Bytes; by default 60 % of the memory available now, or no limit where that
        cannot be told.
    """

    def __init__(self, limit: int | None = None) -> None:
        if limit is None:
            available = available_bytes()
            limit = None if available is None else int(available * _SHARE)
        self._limit = limit
        self._held = 0

    def require(self, size: int, name: str) -> None:
        """Refuse to read `name` if `size` more bytes would pass the limit.

        Raises
        ------
        TraceError
            Naming the file, the size and the limit.
        """
        if self._limit is not None and self._held + size > self._limit:
            msg = (
                f"{name}: needs {_gib(size)} in memory on top of {_gib(self._held)}, more than "
                f"the {_gib(self._limit)} this machine can spare; name fewer files or columns"
            )
            raise TraceError(msg)

    def hold(self, size: int, name: str) -> None:
        """Charge `size` bytes for `name`, refusing as `require` does."""
        self.require(size, name)
        self._held += size


def _gib(size: int) -> str:
    return f"{size / 2**30:,.2f} GiB"
