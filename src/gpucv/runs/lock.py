"""One writer at a time for each run folder, and who that is."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING

from gpucv.errors import EnvironmentFaultError, RunLockedError, clipped
from gpucv.runs.disk import remove_file, write_file
from gpucv.runs.guards import warn_if_others_can_change
from gpucv.runs.layout import RunLayout

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["lock_holder", "network_file_system", "run_lock"]

_log = logging.getLogger("gpucv.runs")

_MOUNTS = Path("/proc/self/mounts")
_NETWORK = {"nfs", "nfs4", "cifs", "smb3", "9p", "lustre", "beegfs", "fuse.sshfs"}
"""File systems that, as they are mounted, may keep locks to the machine that took them."""


@contextlib.contextmanager
def run_lock(root: Path) -> Iterator[None]:
    """Hold the one right to write a run folder; the system frees it when the process ends.

    A folder on a network file system is warned of, since its locks may bind one machine alone.

    Raises
    ------
    RunLockedError
        At once, if another process holds it.
    EnvironmentFaultError
        If the folder cannot be locked.
    """
    from filelock import FileLock, Timeout

    layout = RunLayout(root)
    lock = FileLock(layout.lock)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        holder = lock_holder(root) or "another process"
        msg = f"{root} is being written by {holder}; wait for it or stop it first"
        raise RunLockedError(msg) from error
    except OSError as error:
        msg = f"cannot lock {root}: {error.strerror or error}"
        raise EnvironmentFaultError(msg) from error
    try:
        warn_if_others_can_change(root)
        _warn_of_network(root, lock_holder(root))
        with contextlib.suppress(OSError):  # a full disk says so where it matters
            me = {"pid": os.getpid(), "host": platform.node()}
            write_file(layout.lock_holder, json.dumps(me))
        yield
    finally:
        with contextlib.suppress(OSError):
            remove_file(layout.lock_holder)
        lock.release()


def lock_holder(root: Path) -> str:
    """Return who says to be writing the folder, "" where nobody does.

    A process of this machine that is gone does not count; of another machine that cannot be
    known. The lock itself is left alone: to try it is to hold it, and a run that begins in that
    moment would be refused.
    """
    said = _read_holder(RunLayout(root).lock_holder)
    if said is None or (said[1] == platform.node() and not _is_alive(said[0])):
        return ""
    return f"process {said[0]} on {said[1]}"


def network_file_system(path: Path) -> str:
    """Return the kind of network file system `path` lies on, "" where its locks hold."""
    try:
        mounts = _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
        place = path.resolve()
    except OSError:
        return ""
    found, deepest = "", -1
    for _, where, kind, *_ in (line.split(" ") for line in mounts if line.count(" ") > 2):
        at = Path(where.replace(r"\040", " "))
        if place.is_relative_to(at) and len(at.parts) >= deepest:  # the last mount covers others
            found, deepest = kind, len(at.parts)
    return found if found in _NETWORK else ""


def _warn_of_network(root: Path, last: str) -> None:
    if not (kind := network_file_system(root)):
        return
    told = f", and {last} has not said that it is done" if last else ""
    _log.warning(
        "%s is on a network file system (%s), where a lock may bind this machine alone%s; "
        "never write one run from two machines",
        *(root, kind, told),
    )


def _read_holder(path: Path) -> tuple[int, str] | None:
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        return int(said["pid"]), clipped(str(said["host"]))
    except (OSError, ValueError, KeyError, TypeError, RecursionError, OverflowError):
        return None


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True  # somebody else's
    except (OSError, OverflowError):
        return False
    return True
