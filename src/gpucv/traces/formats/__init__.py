"""Formats of the systems people use: one module each, registered here."""

from __future__ import annotations

import fnmatch
from typing import TYPE_CHECKING

from gpucv.errors import EnvironmentFaultError, StudyError, nearest
from gpucv.traces.formats.aiconfigurator import AICONFIGURATOR
from gpucv.traces.formats.base import Format, OneTable, OpenFile, Reading, Repeats, table_of
from gpucv.traces.formats.blis import BLIS
from gpucv.traces.formats.fpm import FPM
from gpucv.traces.formats.llmd import LLMD
from gpucv.traces.formats.otel import OTEL, OTEL_BATCHES, OTEL_REQUESTS
from gpucv.traces.formats.splitwise import SPLITWISE
from gpucv.traces.formats.vidur import VIDUR

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = [
    "FORMATS",
    "Format",
    "OneTable",
    "OpenFile",
    "Reading",
    "Repeats",
    "alike",
    "fits",
    "format_named",
    "recognise",
    "refuse_repeats_kept",
    "table_of",
]

FORMATS: dict[str, Format] = {
    each.name: each
    for each in (
        OTEL,
        OTEL_BATCHES,
        OTEL_REQUESTS,
        VIDUR,
        SPLITWISE,
        AICONFIGURATOR,
        BLIS,
        LLMD,
        FPM,
    )
}
"""Every format by name, in the order files are tried."""


def format_named(name: str) -> Format:
    """Return the format called `name`.

    Raises
    ------
    StudyError
        If there is none of that name.
    """
    if name not in FORMATS:
        known = ", ".join(FORMATS)
        msg = f"no format is called {name!r}{nearest(name, FORMATS)}; there are {known}"
        raise StudyError(msg)
    return FORMATS[name]


def recognise(path: Path) -> Format | None:
    """Return the format of a file by its name and first bytes, or None for a plain table."""
    for each in FORMATS.values():
        if fits(each, path.name) and each.recognises(path):
            return each
    return None


def alike(path: Path) -> Format | None:
    """Return the format whose files hold what this one does, whatever it is called."""
    try:
        return next((each for each in FORMATS.values() if each.recognises(path)), None)
    except EnvironmentFaultError:  # reading it will say so
        return None


def refuse_repeats_kept(kinds: Iterable[str], repeats: Repeats) -> None:
    """Raise StudyError if repeats are to be joined in files whose reader keeps them.

    Rows measured again would otherwise stay on both sides of a split without a word.
    """
    if repeats == "keep":
        return
    joining = [each.name for each in FORMATS.values() if each.joins_repeats]
    for kind in kinds:
        if kind not in joining:
            msg = (
                f"repeats = {repeats!r}: files of format {' and '.join(joining)} have their "
                f"repeats joined while they are read, {kind} keeps every row; leave it out"
            )
            raise StudyError(msg)


def fits(each: Format, name: str) -> bool:
    """Whether a file's name is one that format has."""
    return any(fnmatch.fnmatch(name, pattern) for pattern in each.files)
