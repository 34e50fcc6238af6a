"""One thing `gpucv doctor` looks at, and how it was found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Check", "Level", "fault", "ok", "warn"]

Level = Literal["ok", "warn", "fault"]
"""A "fault" keeps runs from starting, or from the GPU; a "warn" is worth knowing."""


@dataclass(frozen=True, slots=True)
class Check:
    """What was looked at, how it is, and what to do.

    Attributes
    ----------
    name : str
        One word.
    level : {"ok", "warn", "fault"}
    told : str
        What was found.
    mend : str
        What to do; "" where nothing is.
    """

    name: str
    level: Level
    told: str
    mend: str = ""


def ok(name: str, told: str) -> Check:
    """Return a check with nothing wrong."""
    return Check(name, "ok", told)


def warn(name: str, told: str, mend: str) -> Check:
    """Return a check whose finding is worth knowing."""
    return Check(name, "warn", told, mend)


def fault(name: str, told: str, mend: str) -> Check:
    """Return a check whose finding has to be mended."""
    return Check(name, "fault", told, mend)
