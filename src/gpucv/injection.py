"""Faults made on purpose, at the places where they hurt, so that tests meet the real code.

Two environment variables say which: ``GPUCV_FAULTS`` is read where ``GPUCV_TESTING`` is "1", and
nowhere else does it have a meaning. Worker processes inherit both. ::

    GPUCV_FAULTS="kill:fold=2:once,oom:fold=3,enospc:write=17,slow:fold=1:5s"

Each fault is ``ACTION:PLACE=NUMBER``. Places are ``fold`` (its number in the plan, met as a fold
begins) and ``write`` (the n-th call of this process that changes the run folder; ``17+`` means
that one and all that follow). Actions:

=========== ===================================================================
``kill``    this process gets SIGKILL, as from the kernel when memory is short
``abort``   this process aborts, as CUDA's libraries do when they give up
``freeze``  this process gets SIGSTOP, as if its node hung
``hang``    the calling thread never returns
``slow``    the calling thread sleeps first: ``slow:fold=1:5s``
``oom``     `MemoryError`, in the words of a GPU's allocator
``enospc``  `OSError`: no space left on device
``eio``     `OSError`: input/output error
=========== ===================================================================

``:once`` is once for all processes that share the folder ``GPUCV_FAULTS_SEEN``, and without
one once for each process. Where ``GPUCV_FAULTS_LOG`` names a file, every fold that begins adds
a line to it: its number, the process, and seconds since the epoch.
"""

from __future__ import annotations

import errno
import itertools
import os
import re
import signal
import threading
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

__all__ = ["Fault", "count_anew", "inject", "inject_write", "parse_faults"]

_SYNTAX = re.compile(
    r"(?P<action>kill|abort|freeze|hang|slow|oom|enospc|eio)"
    r":(?P<place>fold|write)=(?P<number>\d+)(?P<after>\+?)(?P<once>:once)?(:(?P<seconds>[\d.]+)s)?"
)
_writes = itertools.count(1)
_here: set[str] = set()
_only_one = threading.Lock()


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault, where it happens and how often.

    Attributes
    ----------
    text : str
        As it was given.
    action, place : str
    number : int
    after : bool
        At every later number of the place, too.
    once : bool
    seconds : float
        How long ``slow`` sleeps.
    """

    text: str
    action: str
    place: str
    number: int
    after: bool = False
    once: bool = False
    seconds: float = 1.0


def parse_faults(text: str) -> tuple[Fault, ...]:
    """Return the faults a text lists.

    Raises
    ------
    ValueError
        If one of them is none.
    """
    faults = []
    for each in filter(None, (part.strip() for part in text.split(","))):
        found = _SYNTAX.fullmatch(each)
        if found is None:
            msg = f"GPUCV_FAULTS: {each!r} is no fault; write ACTION:PLACE=NUMBER[:once][:5s]"
            raise ValueError(msg)
        faults.append(
            Fault(
                text=each,
                action=found["action"],
                place=found["place"],
                number=int(found["number"]),
                after=bool(found["after"]),
                once=bool(found["once"]),
                seconds=float(found["seconds"] or 1),
            )
        )
    return tuple(faults)


def inject(place: str, number: int) -> None:
    """Do what was asked for at this place; without ``GPUCV_TESTING`` nothing, and fast."""
    if os.environ.get("GPUCV_TESTING") != "1":
        return
    if place == "fold" and (log := os.environ.get("GPUCV_FAULTS_LOG")):
        with Path(log).open("a", encoding="utf-8") as file:  # one write, which appends whole
            file.write(f"{number} {os.getpid()} {time.time()}\n")
    for fault in _asked_for(os.environ.get("GPUCV_FAULTS", "")):
        here = number == fault.number or (fault.after and number > fault.number)
        if fault.place == place and here and _due(fault):
            _happen(fault)


def inject_write() -> None:
    """Count one call that changes the run folder, and let it fail if it was asked to."""
    if os.environ.get("GPUCV_TESTING") == "1":
        inject("write", next(_writes))


def count_anew() -> None:
    """Take the next call that changes the run folder for the first one."""
    global _writes  # noqa: PLW0603  (the counter of this process)
    _writes = itertools.count(1)


_asked_for = lru_cache(parse_faults)


def _due(fault: Fault) -> bool:
    if not fault.once:
        return True
    if folder := os.environ.get("GPUCV_FAULTS_SEEN"):
        try:
            (Path(folder) / fault.text.replace(":", "-")).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True
    with _only_one:
        first = fault.text not in _here
        _here.add(fault.text)
    return first


def _happen(fault: Fault) -> None:
    match fault.action:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "abort":
            os.abort()
        case "freeze":
            os.kill(os.getpid(), signal.SIGSTOP)
        case "hang":
            while True:
                time.sleep(3600)
        case "slow":
            time.sleep(fault.seconds)
        case "oom":
            msg = "std::bad_alloc: out_of_memory: CUDA error (injected)"
            raise MemoryError(msg)
        case _:
            number = errno.ENOSPC if fault.action == "enospc" else errno.EIO
            raise OSError(number, os.strerror(number))
