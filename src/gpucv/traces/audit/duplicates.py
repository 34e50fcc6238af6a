"""Rows that stand more than once: in full, by their key, or copied between files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gpucv.schema import SOURCE_FILE
from gpucv.traces.audit.groupwise import starts_of
from gpucv.traces.audit.result import Finding

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gpucv.traces.audit.subject import Subject

__all__ = ["copied_files", "repeated_rows"]

FEWEST_POINTS = 20
"""Rows two files must share to count as copied."""
COPIED_SHARE = 0.5
"""Share of the smaller file's rows that must stand in the other, to the last bit.

Two measurements of one shape agree to the last bit now and then, as clocks tick in
steps; half of a file does not.
"""
MOST_FILES_OF_A_ROW = 16
"""Files compared that hold one and the same row."""


def repeated_rows(subject: Subject) -> list[Finding]:
    """Find rows equal in every column, and keys that stand more than once."""
    found = []
    names = tuple(str(name) for name in subject.frame.columns)
    times_seen = _counts(subject.marks(names))
    extra = subject.rows - len(times_seen)
    if extra:
        rows = int(times_seen[times_seen > 1].sum())
        message = (
            f"{rows:,} rows equal another in every column read, {extra:,} of them beyond the "
            "first: drop repeats, or every random split shows the test its answers"
        )
        found.append(Finding("duplicate_rows", "warning", message, {"rows": rows, "extra": extra}))
    return found + _repeated_keys(subject)


def _repeated_keys(subject: Subject) -> list[Finding]:
    scope = subject.scope
    if subject.is_steps:
        key: tuple[str, ...] = (scope.experiment, scope.order_by)
        if not all(name in subject for name in key):
            return []
    else:
        key = subject.point
    if not key:
        return []
    counts = _counts(subject.marks(key))
    repeated = counts[counts > 1]
    if not len(repeated):
        return []
    figures = {"keys": len(repeated), "rows": int(repeated.sum()), "by": list(key)}
    if subject.is_steps:
        message = (
            f"{len(repeated):,} keys ({' + '.join(key)}) stand on {figures['rows']:,} rows: "
            "a step is recorded once; look for a file that was read twice"
        )
        return [Finding("duplicate_keys", "warning", message, figures)]
    message = (
        f"{len(repeated):,} points were measured more than once ({figures['rows']:,} of "
        f"{subject.rows:,} rows): keep their repeats on one side of a split, or take medians"
    )
    return [Finding("repeated_points", "info", message, figures)]


def copied_files(subject: Subject, target: str) -> list[Finding]:
    """Find pairs of files that share rows to the last bit: shape, operator, format and time."""
    if SOURCE_FILE not in subject or len(subject.codes(SOURCE_FILE)[1]) < 2:
        return []
    labels = tuple(
        name
        for name in subject.labels
        # What each file says once, such as its machine, may have been renamed with the copy.
        if name not in subject.groups and not subject.is_settled(SOURCE_FILE, name)
    )
    marks = subject.marks((*labels, *subject.shapes, target))
    codes, files = subject.codes(SOURCE_FILE)
    usable = np.isfinite(subject.times(target)) & (codes >= 0)
    marks, file = marks[usable], codes[usable].astype(np.int64)
    order = np.lexsort((file, marks))
    marks, file = marks[order], file[order]
    once = np.flatnonzero(
        np.concatenate([[True], (marks[1:] != marks[:-1]) | (file[1:] != file[:-1])])
    )
    marks, file = marks[once], file[once]
    size = np.bincount(file, minlength=len(files))
    shared = np.zeros((len(files), len(files)), dtype=np.int64)
    for distance in range(1, min(len(files), MOST_FILES_OF_A_ROW)):
        same = np.flatnonzero(marks[distance:] == marks[:-distance])
        if not len(same):
            break
        np.add.at(shared, (file[same], file[same + distance]), 1)
    found = []
    for a, b in np.argwhere(shared >= FEWEST_POINTS).tolist():
        rows, smaller = int(shared[a, b]), int(min(size[a], size[b]))
        if rows >= COPIED_SHARE * smaller:
            names = (subject.shown(files[a]), subject.shown(files[b]))
            found.append(_copy(names, rows, smaller, target))
    return found


def _copy(names: tuple[str, str], rows: int, smaller: int, target: str) -> Finding:
    message = (
        f"{names[0]} and {names[1]} share {rows:,} of {smaller:,} rows to the last bit of "
        f"{target}: one is a copy; drop it, or hold both out together"
    )
    figures: dict[str, Any] = {"files": list(names), "rows": rows, "rows_of_the_smaller": smaller}
    return Finding("copied_file", "warning", message, figures)


def _counts(keys: NDArray[Any]) -> NDArray[np.int64]:
    """Return how often each distinct key stands."""
    ordered = np.sort(keys)
    return np.diff(np.append(starts_of(ordered), len(ordered)))
