"""Where rows came from, and what the user should know about them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Kind", "Note", "SourceFile"]

Kind = Literal["parquet", "csv", "otel"]


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
        ``parquet``, ``csv`` or ``otel``.
    """

    path: str
    bytes: int
    sha256: str
    rows: int
    kind: Kind


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
