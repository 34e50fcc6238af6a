"""The runs under a folder, each in a line's worth of facts; nothing in them is touched."""

from __future__ import annotations

import contextlib
import csv
import shlex
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from gpucv.errors import RunError, StudyError
from gpucv.report.cells import clean
from gpucv.runs import RunLayout, lock_holder, read_json, read_manifest

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["ListedRun", "list_runs"]


@dataclass(frozen=True, slots=True)
class ListedRun:
    """One run folder.

    Attributes
    ----------
    path : str
    name : str
        The study's.
    started : str
        UTC, ISO 8601.
    status : str
        "finished", "running", "interrupted" (also where its process was killed), "stopped"
        (by a fault), or "damaged".
    holder : str
        Who is writing it, where somebody is.
    n_done, n_planned, n_failed : int
        Folds that ended, folds planned, and of the finished runs those that failed.
    verdict : str
        On the study's first predictor; "" where there is none yet.
    device : str
    synthetic : bool
    size_bytes : int
        Of all its files.
    fault : str
        What is wrong with a damaged one.
    finish : str
        The command that finishes it; "" where nothing is left to do, or cannot be.
    """

    path: str
    name: str = ""
    started: str = ""
    status: str = "damaged"
    holder: str = ""
    n_done: int = 0
    n_planned: int = 0
    n_failed: int = 0
    verdict: str = ""
    device: str = ""
    synthetic: bool = False
    size_bytes: int = 0
    fault: str = ""
    finish: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the run as plain data."""
        return asdict(self)


def list_runs(folder: Path) -> list[ListedRun]:
    """Return the runs directly under `folder`, or `folder` itself if it is one, newest first.

    Folders that are no runs are passed over; damaged runs come last, with their fault.

    Raises
    ------
    StudyError
        If there is no such folder, or it cannot be read.
    """
    try:
        inside = sorted(path for path in folder.iterdir() if path.is_dir())
    except OSError as error:
        msg = f"cannot list {folder}: {error.strerror or error}; name the folder that holds runs"
        raise StudyError(msg) from error
    found = [_listed(path) for path in ([folder] if _is_run(folder) else inside) if _is_run(path)]
    return sorted(found, key=lambda run: run.started, reverse=True)


def _is_run(path: Path) -> bool:
    """Return whether a folder is a run, or what is left of one."""
    layout = RunLayout(path)
    return layout.manifest.exists() or (layout.plan.exists() and layout.folds.exists())


def _listed(path: Path) -> ListedRun:
    layout, size = RunLayout(path), _size_of(path)
    try:
        manifest = read_manifest(layout)
        n_planned = len(_rows(layout.plan))
        n_done = sum(1 for _ in layout.folds.glob("[0-9]*/DONE"))
        ended = _rows(layout.folds_csv) if layout.folds_csv.exists() else []
        failed = sum(row.get("status") == "failed" for row in ended)
        verdict = _verdict(layout)
    except RunError as error:
        return ListedRun(str(path), fault=str(error), size_bytes=size)
    holder = lock_holder(path)
    status = _status(str(manifest["status"]), holder)
    return ListedRun(
        path=str(path),
        name=str(manifest["name"]),
        started=str(manifest.get("started", "")),
        status=status,
        holder=holder,
        n_done=n_done,
        n_planned=n_planned,
        n_failed=failed if status == "finished" else 0,
        verdict=verdict if status == "finished" else "",
        device=str(manifest["device"].get("used", "")),
        synthetic=bool(manifest["synthetic"]),
        size_bytes=size,
        finish=_finish(path, status, failed),
    )


def _status(written: str, holder: str) -> str:
    """Return the status as it is now: a process that was killed could not write it."""
    if written == "running":
        return "running" if holder else "interrupted"
    return "finished" if written.startswith("finished") else written


def _finish(path: Path, status: str, failed: int) -> str:
    if status in ("interrupted", "stopped"):
        return f"gpucv resume {shlex.quote(str(path))}"
    return f"gpucv resume {shlex.quote(str(path))} --retry-failed" if failed else ""


def _rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table as text, whichever version wrote it."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error) as error:
        msg = f"cannot read {path}: {getattr(error, 'strerror', None) or error}"
        raise RunError(msg) from error


def _verdict(layout: RunLayout) -> str:
    if not layout.verdict.exists():
        return ""
    try:
        return clean(read_json(layout.verdict)["verdicts"][0]["label"])
    except (KeyError, IndexError, TypeError) as error:
        msg = f"{layout.verdict} is damaged: it holds no verdict"
        raise RunError(msg) from error


def _size_of(path: Path) -> int:
    """Return the bytes of all files; of a run under way some may vanish meanwhile."""
    size = 0
    for file in path.rglob("*"):
        with contextlib.suppress(OSError):
            size += file.lstat().st_size if file.is_file() else 0
    return size
