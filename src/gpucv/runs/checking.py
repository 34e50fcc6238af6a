"""Is a run folder sound? What a run promises of its files, checked file by file."""

from __future__ import annotations

import csv
import re
import tomllib
from typing import TYPE_CHECKING, Any

from gpucv.errors import RunError
from gpucv.runs.layout import RunLayout, read_json, sha256_of
from gpucv.runs.manifest import read_manifest
from gpucv.runs.store import DONE, read_fold

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["find_damage"]

_LEFTOVER = re.compile(r"\..+\.[0-9a-f]{8}\.tmp|\.\d{4,}\.\d+\.begun")


def find_damage(root: Path) -> list[str]:
    """Return everything that is wrong with a run folder nobody is writing; [] if it is sound.

    A run that was cut off is sound if what it finished is: a later `gpucv resume` sweeps
    the rest. Of a finished run, every file has to be the one that was written, and nothing
    half-written may be left.

    Parameters
    ----------
    root : Path
        A run folder.
    """
    layout = RunLayout(root)
    try:
        manifest = read_manifest(layout)
        planned = _plan(layout)
    except RunError as error:
        return [str(error)]
    finished = str(manifest["status"]).startswith("finished")
    return [
        *_in_study(layout),
        *_in_folds(layout, planned, finished=finished),
        *(_in_outputs(layout, manifest["outputs"]) if finished else ()),
        *(_left_over(layout) if finished else ()),
    ]


def _plan(layout: RunLayout) -> dict[str, str]:
    """Return the key of every fold planned, by the name of its folder."""
    try:
        with layout.plan.open(encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file, strict=True)
            return {layout.fold(int(row["fold_id"])).name: row["key"] for row in rows}
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        msg = f"cannot read {layout.plan}: {getattr(error, 'strerror', None) or error}"
        raise RunError(msg) from error


def _in_study(layout: RunLayout) -> Iterator[str]:
    try:
        tomllib.loads(layout.study.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        yield f"cannot read {layout.study}: {getattr(error, 'strerror', None) or error}"


def _in_folds(layout: RunLayout, planned: dict[str, str], *, finished: bool) -> Iterator[str]:
    there = {path.name: path for path in sorted(layout.folds.glob("*"))}
    for name, folder in there.items():
        if name not in planned:
            if not _LEFTOVER.fullmatch(name):
                yield f"{folder} is no fold of {layout.plan.name}"
            continue
        try:
            read_fold(folder, planned[name])
            listed = set(read_json(folder / DONE)["sha256"]) | {DONE}
            for path in sorted(folder.iterdir()):
                if path.name not in listed:
                    yield f"{path} is not among the files that {DONE} lists"
        except RunError as error:
            yield str(error)
    if finished:
        yield from (f"{layout.folds / name} is missing" for name in planned.keys() - there.keys())


def _in_outputs(layout: RunLayout, outputs: dict[str, Any]) -> Iterator[str]:
    for path in (layout.study, layout.plan, layout.folds_csv, layout.verdict):
        if path.name not in outputs:
            yield f"{layout.manifest} does not vouch for {path.name}"
    known = {path.name for path in layout.outputs()}
    for name, said in outputs.items():
        path = layout.root / name
        if name not in known:
            yield f"{layout.manifest} vouches for {name[:60]!r}, which is not there"
        elif {"bytes": path.stat().st_size, "sha256": sha256_of(path)} != said:
            yield f"{path} is not what the run wrote (its size or SHA-256 differs)"


def _left_over(layout: RunLayout) -> Iterator[str]:
    half_written = [
        path
        for folder in (layout.root, layout.folds)
        for path in sorted(folder.glob(".*"))
        if _LEFTOVER.fullmatch(path.name)
    ]
    for path in (*half_written, *(each for each in (layout.table,) if each.exists())):
        yield f"{path} was left over by the run"
