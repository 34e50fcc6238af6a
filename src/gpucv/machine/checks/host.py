"""Checks of the host: memory, disk, open files, ports, a folder to write to."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import socket
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from gpucv.machine.checks.check import fault, ok, warn
from gpucv.machine.host import cpu_count, cpu_name, expanded, free_memory_bytes, memory_bytes
from gpucv.machine.packages import CUPY, installed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpucv.machine.checks.check import Check

__all__ = ["host_checks"]

_GIB = 2**30
_LITTLE_MEMORY = _GIB  # Python, XGBoost and a small study take about 0.3 GiB
_LITTLE_DISK = _GIB
_FEW_FILES = 1024  # a Dask scheduler keeps several connections to every worker
_PORTS = {8786: "the Dask scheduler", 8787: "the Dask dashboard"}


def host_checks() -> Iterator[Check]:
    """Look at the host."""
    yield ok("cpu", f"{cpu_name()}, {cpu_count()} cores usable")
    yield _memory()
    yield from _disk()
    yield _open_files()
    yield _ports()
    if not sys.getfilesystemencoding().lower().startswith("utf"):
        told = f"file names are {sys.getfilesystemencoding()}, not UTF-8"
        yield warn("text", told, "set LC_ALL=C.UTF-8")
    home = Path(os.environ.get("CUPY_CACHE_DIR") or expanded("~"))
    if installed(CUPY) and not os.access(home, os.W_OK):
        mend = "set CUPY_CACHE_DIR to a folder of yours"
        yield warn("home", f"CuPy cannot keep compiled kernels: {home} is not writable", mend)


def _memory() -> Check:
    usable, free = memory_bytes(), free_memory_bytes()
    if usable is None or free is None:
        return ok("memory", "unknown")
    told = f"{usable / _GIB:.1f} GiB usable, {free / _GIB:.1f} GiB free"
    if free < _LITTLE_MEMORY:
        return warn("memory", told, "end other programs, or raise the job's memory limit")
    return ok("memory", told)


def _disk() -> Iterator[Check]:
    folders = {}
    try:
        folders["folder"] = Path.cwd()
    except FileNotFoundError:
        yield fault("folder", "the current folder was removed", "go to another folder")
    try:
        folders["temp"] = Path(tempfile.gettempdir())
    except FileNotFoundError:
        yield fault("temp", "no folder for temporary files can be written", "set TMPDIR")
    for name, folder in folders.items():
        free = shutil.disk_usage(folder).free
        told = f"{folder}, {free / _GIB:.1f} GiB free"
        if not os.access(folder, os.W_OK):
            yield warn(name, f"{folder} is not writable", "run elsewhere, or name --out")
        elif free < _LITTLE_DISK:
            yield warn(name, told, "free some space, or set TMPDIR or --out to another disk")
        else:
            yield ok(name, told)


def _open_files() -> Check:
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if allowed == resource.RLIM_INFINITY or allowed >= _FEW_FILES:
        return ok("files", "no limit" if allowed < 0 else f"{allowed} may be open at once")
    told = f"only {allowed} may be open at once"
    return warn("files", told, "run `ulimit -n 65536` before a scheduler of many workers")


def _ports() -> Check:
    taken = [f"{port} ({what})" for port, what in _PORTS.items() if not _is_free(port)]
    if not taken:
        return ok("ports", f"{' and '.join(map(str, _PORTS))} are free")
    told = f"{' and '.join(taken)} taken: a Dask scheduler may be running here"
    return warn("ports", told, "start another one with --port 0 --dashboard-address 127.0.0.1:0")


def _is_free(port: int) -> bool:
    """Return whether a server could listen; nothing is connected to."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("", port))
        except OSError as error:
            return error.errno != errno.EADDRINUSE
    return True
