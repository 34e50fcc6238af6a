"""Where rows came from, and what the user should know about them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Note", "SourceFile", "gathered", "no_rows"]


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file that rows were read from.

    Attributes
    ----------
    path : str
        As the study names it: relative to the study where the study does so.
    bytes : int
        Size on disk.
    sha256 : str
        Digest of the whole file, 64 hex digits.
    rows : int
        Rows read from it.
    kind : str
        ``parquet`` or ``csv`` for a plain table, else the name of the format.
    """

    path: str
    bytes: int
    sha256: str
    rows: int
    kind: str


@dataclass(frozen=True, slots=True)
class Note:
    """Something the reader noticed: a warning is data, so that reports can print it.

    Attributes
    ----------
    code : str
        Stable name of the kind of note, such as ``overload``.
    message : str
        One line for people.
    count : int
        How many rows, files or names it is about.
    level : {"info", "warning"}
        Whether it may change what a result means.
    """

    code: str
    message: str
    count: int
    level: Literal["info", "warning"]


_TOLD_APART = 3
"""Notes of one kind that are told one by one: more would bury what matters."""

_TOLD_EACH = {"overload"}
"""Kinds whose every note names a recording that matters by itself."""


def gathered(notes: Iterable[Note]) -> tuple[Note, ...]:
    """Return the notes, many of one kind as one: the first, and how many more there are."""
    kinds: dict[tuple[str, str], list[Note]] = {}
    for note in notes:
        kinds.setdefault((note.code, note.level), []).append(note)
    told: list[Note] = []
    for (code, _), same in kinds.items():
        if len(same) <= _TOLD_APART or code in _TOLD_EACH:
            told += same
            continue
        count = sum(note.count for note in same)
        in_all = f", {count:,} in all" if count else ""
        message = f"{same[0].message} (and {len(same) - 1} more like it{in_all})"
        told.append(Note(same[0].code, message, count, same[0].level))
    return tuple(told)


def no_rows(files: Sequence[str], notes: Sequence[Note]) -> str:
    """Return the message for files without a row, and what their readers left out, if any."""
    more = f" and {len(files) - 1} more" if len(files) > 1 else ""
    why = next((f"; {note.message}" for note in notes if "left out" in note.message), "")
    return f"no rows in {files[0]}{more}{why}"
