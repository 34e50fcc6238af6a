"""Turn the files, folders and globs a study names into a list of sources."""

from __future__ import annotations

import glob
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gpucv.errors import StudyError, nearest
from gpucv.traces.piece import one_line
from gpucv.traces.provenance import Kind, Note

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["TRACE_FILE", "Source", "find_sources"]

TRACE_FILE = "traces.json"
"""The file that makes a folder a recording."""

_SUFFIXES: dict[str, Kind] = {".parquet": "parquet", ".csv": "csv"}


@dataclass(frozen=True, slots=True)
class Source:
    """One file to read: a table, or the trace file of a recording."""

    path: Path
    name: str
    kind: Kind


def find_sources(
    patterns: Sequence[str], base: Path
) -> tuple[tuple[Source, ...], tuple[Note, ...]]:
    """Return every source the patterns name, in their order and then by name.

    Parameters
    ----------
    patterns : sequence of str
        Files, folders (searched all the way down) and globs, relative to `base`.
        A name that exists is taken literally, even with ``[`` or ``*`` in it.
    base : Path
        Folder that relative patterns start from.

    Returns
    -------
    sources : tuple of Source
    notes : tuple of Note
        Files of other kinds that a folder or glob held and that were skipped.

    Raises
    ------
    StudyError
        If a pattern names nothing readable, or two name the same file.
    """
    if not patterns:
        msg = "no step tables named; give [data] steps at least one file, folder or glob"
        raise StudyError(msg)
    found: dict[Path, tuple[Source, str]] = {}
    notes: list[Note] = []
    for pattern in patterns:
        sources, skipped = _expand(pattern, base)
        for source in sources:
            real = source.path.resolve()
            if real in found:
                other = found[real][1]
                named = repr(pattern) if other == pattern else f"{other!r} and {pattern!r}"
                msg = f"{source.name} is named twice, by {named}; name each file once"
                raise StudyError(msg)
            found[real] = (source, pattern)
        if skipped:
            message = f"{pattern}: skipped {len(skipped)} other files ({_few(skipped)})"
            notes.append(Note("skipped_files", message, len(skipped), "info"))
    return tuple(source for source, _ in found.values()), tuple(notes)


def _expand(pattern: str, base: Path) -> tuple[list[Source], list[str]]:
    """Return the sources of one pattern, and the names of the files passed over."""
    paths, is_glob = _match(pattern, base)
    sources: list[Source] = []
    skipped: list[str] = []
    for path, name in paths:
        if path.is_dir():
            inside, passed = _walk(path, name)
            sources += inside
            skipped += passed
        elif (source := _file(path, name)) is not None:
            sources.append(source)
        elif is_glob:
            skipped.append(path.name)
        else:
            msg = (
                f"{name} is no parquet file, CSV file or recording: unknown suffix {path.suffix!r}"
            )
            raise StudyError(msg)
    if not sources:
        held = f"; it holds {_few(skipped)}" if skipped else ""
        msg = f"{pattern!r} holds no .parquet or .csv file and no recording ({TRACE_FILE}){held}"
        raise StudyError(msg)
    return sources, skipped


def _match(pattern: str, base: Path) -> tuple[list[tuple[Path, str]], bool]:
    """Return (path, name) of each match, and whether a glob found them."""
    if not pattern.strip():
        msg = "an empty name stands among the step tables; name a file, folder or glob"
        raise StudyError(msg)
    expanded = str(Path(pattern).expanduser()) if pattern.startswith("~") else pattern
    path = base / expanded
    if os.path.lexists(path):
        return [(path, pattern)], False
    if glob.has_magic(expanded):
        # pathlib's own glob refuses absolute patterns and keeps no order.
        names = sorted(glob.glob(expanded, root_dir=base, recursive=True))  # noqa: PTH207
        if names:
            return [(base / name, name) for name in names], True
        msg = f"{pattern!r} matches nothing in {base}"
        raise StudyError(msg)
    siblings = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    msg = f"no such file or folder: {pattern!r} (in {base}){nearest(path.name, siblings)}"
    raise StudyError(msg)


def _file(path: Path, name: str) -> Source | None:
    """Return the source at a path that is not a folder, or None for other kinds of file."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        msg = f"cannot read {name}: {error.strerror}"
        raise StudyError(msg) from error
    kind = "otel" if path.name == TRACE_FILE else _SUFFIXES.get(path.suffix.lower())
    if kind is None:
        return None
    if not stat.S_ISREG(mode):
        msg = f"{name} is not a regular file; name a file, folder or glob"
        raise StudyError(msg)
    return Source(path, name, kind)


def _walk(folder: Path, name: str) -> tuple[list[Source], list[str]]:
    """Return the sources below a folder in name order; a recording is one source."""
    sources: list[Source] = []
    skipped: list[str] = []
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(entry for entry in folders if not _hidden(entry))
        if TRACE_FILE in files:
            folders[:] = []
        entries = [TRACE_FILE] if TRACE_FILE in files else files
        for entry in sorted(entry for entry in entries if not _hidden(entry)):
            path = Path(root) / entry
            source = _file(path, str(Path(name) / path.relative_to(folder)))
            if source is None:
                skipped.append(entry)
            else:
                sources.append(source)
    return sources, skipped


def _hidden(entry: str) -> bool:
    """Whether a name marks a file that is not data (``.git``, ``_SUCCESS``)."""
    return entry.startswith((".", "_"))


def _few(names: Sequence[str]) -> str:
    shown = ", ".join(one_line(name, 60) for name in names[:3])
    return shown + (", …" if len(names) > 3 else "")
