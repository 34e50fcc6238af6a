"""Turn the files, folders and globs a study names into a list of sources."""

from __future__ import annotations

import glob
import os
import stat
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from gpucv.errors import EnvironmentFaultError, StudyError, nearest
from gpucv.machine import expanded
from gpucv.traces.piece import one_line
from gpucv.traces.provenance import Note

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["AUTO", "TABLE", "TRACE_FILE", "Source", "find_sources"]

TRACE_FILE = "traces.json"
"""The file that makes a folder a recording."""

_TABLES = {".parquet": "parquet", ".csv": "csv"}
AUTO = "auto"
"""Format to ask for where each file's own is to be found out."""
TABLE = "table"
"""Format to ask for where every parquet and CSV file is to be read as it stands."""


@dataclass(frozen=True, slots=True)
class Source:
    """One file to read: a plain table, or a file of a format.

    Attributes
    ----------
    path : Path
    name : str
        As messages and manifests call it.
    kind : str
        ``parquet`` or ``csv`` for a plain table, else the name of the format.
    label : str
        As rows name it (``source_file``): the path below the folder that was named, with
        as many folders before it as tell it from the others. It does not change when the
        data moves. By default the name.
    """

    path: Path
    name: str
    kind: str
    label: str = ""

    def __post_init__(self) -> None:
        """Fall back on the name; spell bytes of it that are no text as JSON does."""
        for field, value in (("name", self.name), ("label", self.label or self.name)):
            text = value.encode("utf-8", "backslashreplace").decode("utf-8")
            object.__setattr__(self, field, text)

    @property
    def is_table(self) -> bool:
        """Whether the file is read as it stands."""
        return self.kind in _TABLES.values()


def find_sources(
    patterns: Sequence[str], base: Path, wanted: str = AUTO
) -> tuple[tuple[Source, ...], tuple[Note, ...]]:
    """Return every source the patterns name, in their order and then by name.

    Parameters
    ----------
    patterns : sequence of str
        Files, folders (searched all the way down) and globs, relative to `base`.
        A name that exists is taken literally, even with ``[`` or ``*`` in it.
    base : Path
        Folder that relative patterns start from.
    wanted : str
        The format of every file; ``"auto"`` finds out each file's own, ``"table"``
        reads parquet and CSV files as they stand.

    Returns
    -------
    sources : tuple of Source
        Of one format, or plain tables and recordings of steps in any mix.
    notes : tuple of Note
        Files of other kinds that a folder or glob held and that were skipped.

    Raises
    ------
    StudyError
        If a pattern names nothing readable, two name the same file, or files of
        different formats are named together.
    EnvironmentFaultError
        If a folder cannot be listed.
    """
    if not patterns:
        msg = "no step tables named; give [data] steps at least one file, folder or glob"
        raise StudyError(msg)
    found: dict[Path, tuple[Source, str]] = {}
    notes: list[Note] = []
    for pattern in patterns:
        sources, skipped = _Search(wanted).expand(pattern, base)
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
    every = _labelled([source for source, _ in found.values()])
    _refuse_mixture(every)
    if wanted == AUTO:
        notes += _misnamed(every)
    return every, tuple(notes)


def _misnamed(sources: Sequence[Source]) -> list[Note]:
    """Return a note if the first plain table holds what the files of a format do."""
    from gpucv.traces.formats import alike

    first = next((source for source in sources if source.is_table), None)
    found = alike(first.path) if first is not None else None
    if first is None or found is None:
        return []
    message = f"{first.name} is read as a plain table; it {_looks(found.name)}"
    return [Note("looks_like", message, 1, "warning")]


def _looks(name: str) -> str:
    return f"looks like {name}: if it is, name that format (--format, or data.format)"


def _labelled(sources: list[Source]) -> tuple[Source, ...]:
    """Lengthen all labels, folder by folder, until no two are the same."""
    depths = [len(Path(source.label).parts) for source in sources]
    parts = [Path(os.path.abspath(source.path)).parts for source in sources]  # noqa: PTH100
    for more in range(max(map(len, parts), default=0)):
        labels = [
            "/".join(each[-depth - more :]) for each, depth in zip(parts, depths, strict=True)
        ]
        if len(set(labels)) == len(labels):
            break
    return tuple(
        replace(source, label=label) for source, label in zip(sources, labels, strict=True)
    )


def _refuse_mixture(sources: Sequence[Source]) -> None:
    """Raise StudyError if rows of different meaning would be read into one table."""
    first: dict[str, Source] = {}
    for source in sources:
        kind = "steps" if _holds_steps(source) else source.kind
        first.setdefault(kind, source)
    if len(first) > 1:
        (kind, one), (other_kind, other) = list(first.items())[:2]
        msg = (
            f"{one.name} holds {kind}, {other.name} holds {other_kind}: rows of different kinds "
            "make no table; name one kind, or one format"
        )
        raise StudyError(msg)


def _holds_steps(source: Source) -> bool:
    """Whether a source may be joined with others: a plain table, or steps of a recording."""
    from gpucv.traces.formats import FORMATS

    return source.is_table or FORMATS[source.kind].kind == "steps"


class _Search:
    """One pattern being expanded."""

    def __init__(self, wanted: str) -> None:
        self._wanted = wanted

    def expand(self, pattern: str, base: Path) -> tuple[list[Source], list[str]]:
        """Return the sources of one pattern, and the names of the files passed over."""
        paths, is_glob = _match(pattern, base)
        sources: list[Source] = []
        skipped: list[str] = []
        for path, name in paths:
            if path.is_dir():
                inside, passed = self._walk(path, name)
                sources += inside
                skipped += passed
            elif (source := self._file(path, name, named=not is_glob)) is not None:
                sources.append(source)
            elif is_glob:
                skipped.append(path.name)
            else:
                raise StudyError(self._refusal(path, name))
        sources, passed = _prefer_formats(sources)
        skipped += passed
        if not sources:
            held = f"; it holds {_few(skipped)}" if skipped else ""
            msg = f"{pattern!r} holds {self._looked_for()}{held}"
            raise StudyError(msg)
        return sources, skipped

    def _refusal(self, path: Path, name: str) -> str:
        from gpucv.traces.formats import FORMATS, alike

        found = alike(path) if path.is_file() else None
        hint = "" if found is None else f"; it {_looks(found.name)}"
        if self._wanted in FORMATS:
            files = " or ".join(FORMATS[self._wanted].files)
            return f"{name} is no file of format {self._wanted} ({files}){hint}"
        suffix = f"unknown suffix {path.suffix!r}"
        return f"{name} is no parquet file, CSV file or recording: {suffix}{hint}"

    def _looked_for(self) -> str:
        from gpucv.traces.formats import FORMATS

        if self._wanted in FORMATS:
            return f"no file of format {self._wanted} ({', '.join(FORMATS[self._wanted].files)})"
        return f"no .parquet or .csv file and no recording ({TRACE_FILE})"

    def _file(
        self, path: Path, name: str, *, named: bool = False, below: str = ""
    ) -> Source | None:
        """Return the source at a path that is not a folder, or None for other kinds of file.

        A file the user names may be called anything that its content makes up for; `below`
        is the path below the folder that was searched.
        """
        try:
            mode = path.stat().st_mode
        except OSError as error:
            msg = f"cannot read {name}: {error.strerror}"
            raise StudyError(msg) from error
        regular = stat.S_ISREG(mode)
        kind = self._kind(path, named=named, regular=regular)
        if kind is None:
            return None
        if not regular:
            msg = f"{name} is not a regular file; name a file, folder or glob"
            raise StudyError(msg)
        return Source(path, name, kind, below or path.name)

    def _kind(self, path: Path, *, named: bool, regular: bool) -> str | None:
        from gpucv.traces.formats import FORMATS, fits, recognise

        table = _TABLES.get(path.suffix.lower())
        if self._wanted == TABLE:
            return table
        if self._wanted != AUTO:
            one = FORMATS[self._wanted]
            ours = fits(one, path.name) or (named and regular and one.recognises(path))
            return one.name if ours else None
        recognised = recognise(path) if regular else None
        return table if recognised is None else recognised.name

    def _walk(self, folder: Path, name: str) -> tuple[list[Source], list[str]]:
        """Return the sources below a folder in name order; a recording is one source."""
        sources: list[Source] = []
        skipped: list[str] = []
        for root, folders, files in os.walk(folder, onerror=_refuse_unreadable):
            folders[:] = sorted(entry for entry in folders if not _hidden(entry))
            if TRACE_FILE in files:
                folders[:] = []
            entries = [TRACE_FILE] if TRACE_FILE in files else files
            for entry in sorted(entry for entry in entries if not _hidden(entry)):
                path = Path(root) / entry
                below = path.relative_to(folder)
                source = self._file(path, str(Path(name) / below), below=str(below))
                if source is None:
                    skipped.append(entry)
                else:
                    sources.append(source)
        return sources, skipped


def _refuse_unreadable(error: OSError) -> NoReturn:
    """Raise EnvironmentFaultError for a folder, whose files would be missing without a word."""
    msg = f"cannot read folder {error.filename}: {error.strerror}"
    raise EnvironmentFaultError(msg) from error


def _prefer_formats(sources: list[Source]) -> tuple[list[Source], list[str]]:
    """Pass over plain tables that lie beside another system's measurements."""
    if all(map(_holds_steps, sources)):
        return sources, []
    kept = [source for source in sources if not source.is_table]
    return kept, [source.path.name for source in sources if source.is_table]


def _match(pattern: str, base: Path) -> tuple[list[tuple[Path, str]], bool]:
    """Return (path, name) of each match, and whether a glob found them."""
    if not pattern.strip():
        msg = "an empty name stands among the step tables; name a file, folder or glob"
        raise StudyError(msg)
    named = str(expanded(pattern)) if pattern.startswith("~") else pattern
    path = base / named
    if os.path.lexists(path):
        return [(path, pattern)], False
    if glob.has_magic(named):
        # pathlib's own glob refuses absolute patterns and keeps no order.
        names = sorted(glob.glob(named, root_dir=base, recursive=True))  # noqa: PTH207
        if names:
            return [(base / name, name) for name in names], True
        msg = f"{pattern!r} matches nothing in {base}"
        raise StudyError(msg)
    siblings = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    msg = f"no such file or folder: {pattern!r} (in {base}){nearest(path.name, siblings)}"
    raise StudyError(msg)


def _hidden(entry: str) -> bool:
    """Whether a name marks a file that is not data (``.git``, ``_SUCCESS``)."""
    return entry.startswith((".", "_"))


def _few(names: Sequence[str]) -> str:
    shown = ", ".join(one_line(name, 60) for name in names[:3])
    return shown + (", …" if len(names) > 3 else "")
