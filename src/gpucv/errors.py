"""Every error gpucv raises on purpose, and the exit code each one ends a command with.

::

    GpucvError                     1
    ├── StudyError                 2   the study file or the command line is wrong
    ├── DataError                  3   the data was read and rejected
    │   ├── TraceError             3   a recording or step table is damaged or not what it says
    │   ├── SplitError             3   the groups asked for cannot be held out
    │   └── UntraceableError       3   a formula needs what a simulator does not know
    ├── EnvironmentFaultError      4   this machine lacks something
    │   ├── DeviceUnavailableError 4   no such GPU, or XGBoost cannot use it
    │   └── RunLockedError         4   another process is writing this run folder
    └── RunError                   3   a run folder is damaged, or was made from something else

A message says what was wrong, the value found, and what to do; it fits one line
unless it lists several faults.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "DataError",
    "DeviceUnavailableError",
    "EnvironmentFaultError",
    "GpucvError",
    "RunError",
    "RunLockedError",
    "SplitError",
    "StudyError",
    "TraceError",
    "UntraceableError",
    "clipped",
    "nearest",
    "shown",
]


class GpucvError(Exception):
    """Base of every error gpucv raises on purpose."""

    exit_code = 1


class StudyError(GpucvError):
    """The study file, an override or the command line is wrong."""

    exit_code = 2


class DataError(GpucvError):
    """The data was read and rejected."""

    exit_code = 3


class TraceError(DataError):
    """A recording or step table is damaged, or is not what it says it is."""


class SplitError(DataError):
    """The groups a scheme asks for cannot be held out."""


class UntraceableError(DataError):
    """A formula needs more than the counts of a batch, or an operation programs lack."""


class EnvironmentFaultError(GpucvError):
    """Something this machine lacks: a package, a device, a writable folder."""

    exit_code = 4


class DeviceUnavailableError(EnvironmentFaultError):
    """The device asked for is not here, or XGBoost cannot use it."""


class RunLockedError(EnvironmentFaultError):
    """Another process is writing this run folder."""


class RunError(GpucvError):
    """A run folder is damaged, or was made from another study or other data."""

    exit_code = 3


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the known name closest to `name`, else ``""``."""
    match = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {match[0]!r}?" if match else ""


def shown(value: object) -> str:
    """Return `value` as a message shows it: on one line, and no longer than 80 characters."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no whole number of more than 4,300 digits
        text = "a number of too many digits"
    return clipped(text)


def clipped(text: str) -> str:
    """Return `text` as a message quotes it: on one line, at most 80 characters of it."""
    text = text if len(text) <= 80 else f"{text[:77]}..."
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
