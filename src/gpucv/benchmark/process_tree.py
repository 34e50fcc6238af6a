"""Memory of a process and all its descendants over time, read from ``/proc``.

Summing resident sizes counts shared pages once per process, so workers that share a library
or a mapped table look dearer than they are. The proportional set size (PSS) divides each
shared page among those who hold it, so its sum over the tree is what the tree takes.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Literal, Self

__all__ = ["MemoryKind", "TreeWatch", "tree_memory", "tree_of"]

MemoryKind = Literal["pss", "rss", ""]

_PROC = Path("/proc")
_INTERVAL_S = 0.05
_LEAST_PAUSE = 19.0
"""Pause after a look, in times of what the look took: at most 5 % of one core."""
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def tree_of(pid: int) -> list[int]:
    """Return a process and its descendants; those that end meanwhile may be missing."""
    found, waiting = [], [pid]
    while waiting:
        each = waiting.pop()
        found.append(each)
        waiting += _children(each)
    return found


def _children(pid: int) -> list[int]:
    try:
        tasks = list((_PROC / str(pid) / "task").iterdir())
    except OSError:
        return []
    found: list[int] = []
    for task in tasks:
        try:
            found += map(int, (task / "children").read_text(encoding="ascii").split())
        except OSError:  # the thread has ended
            continue
    return found


def tree_memory(pid: int) -> tuple[int, MemoryKind]:
    """Return what a process and its descendants hold now.

    Returns
    -------
    bytes : int
        0 where nothing can be read.
    kind : {"pss", "rss", ""}
        "rss" where the kernel keeps the PSS of any of them to itself; shared pages then count
        once per process.
    """
    total = 0
    kind: MemoryKind = ""
    for each in tree_of(pid):
        held = _pss(each)
        if held is None:
            held = _rss(each)
            if held is None:
                continue
            kind = "rss"
        total += held
        kind = kind or "pss"
    return total, kind


def _pss(pid: int) -> int | None:
    try:
        text = (_PROC / str(pid) / "smaps_rollup").read_text(encoding="ascii")
    except OSError:
        return None
    for line in text.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return None


def _rss(pid: int) -> int | None:
    try:
        text = (_PROC / str(pid) / "statm").read_text(encoding="ascii")
        return int(text.split()[1]) * _PAGE_BYTES
    except (OSError, IndexError):
        return None


class TreeWatch:
    """Looks at a process tree every 50 ms from a thread of its own, and keeps the peak.

    A look walks the page tables of every process. Where that takes long (tens of GiB), looks
    are spaced out, so that they never take more than a twentieth of one core. What a tree
    held for a shorter time than between two looks may be missed.

    Parameters
    ----------
    pid : int
        The root of the tree.

    Attributes
    ----------
    peak_bytes : int
        The most the tree was seen to hold.
    kind : {"pss", "rss", ""}
        As in `tree_memory`; "rss" if any look had to use it.
    """

    def __init__(self, pid: int) -> None:
        self.peak_bytes = 0
        self.kind: MemoryKind = ""
        self._pid = pid
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gpucv-tree-watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        self._thread.join()

    def look(self) -> None:
        """Look once, now."""
        held, kind = tree_memory(self._pid)
        self.peak_bytes = max(self.peak_bytes, held)
        self.kind = "rss" if "rss" in (kind, self.kind) else kind or self.kind

    def _run(self) -> None:
        while True:
            # This thread's own time: what it waits for the interpreter is no work of it.
            began = time.thread_time()
            self.look()
            took = time.thread_time() - began
            if self._ended.wait(max(_INTERVAL_S, _LEAST_PAUSE * took)):
                return
