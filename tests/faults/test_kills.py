"""SIGKILL at every call that changes the disk: what was finished stays, what was not is redone.

Steps keep the suite fast; GPUCV_EVERY_WRITE=1 kills at every single call.
"""

from __future__ import annotations

import os
import shutil
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

import gpucv
from gpucv.runs import find_damage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.faults.conftest import Commands

    Results = Callable[[Path], dict[str, bytes]]

SIGKILL = -9


@pytest.fixture
def study(study: dict[str, Any]) -> dict[str, Any]:
    """Two folds that learn from one column."""
    short = {"features": {"columns": ["batch.decode_tokens"]}}
    return {**study, **short, "predictors": [{"params": {"n_estimators": 2}}]}


def calls(step: int) -> Iterator[int]:
    return count(1, 1 if os.environ.get("GPUCV_EVERY_WRITE") == "1" else step)


def done(root: Path) -> dict[str, tuple[int, int]]:
    found = {path.parent.name: path.stat() for path in root.glob("folds/[0-9]*/DONE")}
    return {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in found.items()}


@pytest.mark.fault(3, 18)
def test_a_run_killed_at_any_write_goes_on_from_there(
    gpucv_command: Commands, undisturbed: dict[str, bytes], results_of: Results
) -> None:
    n_swept = n_kept = 0
    for nth in calls(19):
        root = gpucv_command.folder / f"{nth}"
        code = gpucv_command.with_faults(
            f"kill:write={nth}", "run", "study.toml", "--out", root.name, "-q"
        )
        assert code in (SIGKILL, 0), gpucv_command.said
        if code == 0:
            break
        if not (root / "manifest.json").exists():
            # It had not begun its first fold, and the same command begins it anew.
            assert gpucv_command("run", "study.toml", "--out", root.name, "-q") == 0
        else:
            assert find_damage(root) == []
            n_swept += bool([*root.rglob("*.tmp"), *root.rglob("*.begun")])
            before = done(root)
            n_kept += len(before)
            assert gpucv_command("resume", root.name, "-q") == 0, gpucv_command.said
            assert before.items() <= done(root).items()
        assert results_of(root) == undisturbed, f"killed at call {nth}"
    assert nth > 100
    assert n_swept > 0
    assert n_kept > 0


@pytest.mark.fault(3, 18)
def test_a_resumed_run_killed_at_any_write_can_be_resumed_again(
    gpucv_command: Commands, undisturbed: dict[str, bytes], results_of: Results
) -> None:
    begun = gpucv_command.folder / "begun"
    words = ("run", "study.toml", "--out", "begun", "-q")
    assert gpucv_command.with_faults("kill:fold=1", *words) == SIGKILL
    for nth in calls(23):
        root = shutil.copytree(begun, gpucv_command.folder / f"{nth}")
        code = gpucv_command.with_faults(f"kill:write={nth}", "resume", root.name, "-q")
        assert find_damage(root) == []
        if code == 0:
            break
        assert code == SIGKILL, gpucv_command.said
        assert gpucv_command("resume", root.name, "-q") == 0, gpucv_command.said
        assert results_of(root) == undisturbed, f"killed at call {nth}"
    assert nth > 60


@pytest.mark.fault(46)
def test_a_report_killed_at_any_write_leaves_whole_files_and_is_written_again(
    gpucv_command: Commands, undisturbed: dict[str, bytes], results_of: Results
) -> None:
    assert gpucv_command("run", "study.toml", "--out", "finished", "-q") == 0
    finished = gpucv_command.folder / "finished"
    new = {name: (finished / name).read_bytes() for name in ("FINDINGS.md", "report.html")}
    # An earlier version wrote both of them otherwise.
    edit_outputs(finished, dict.fromkeys(new, b"of an earlier version"))
    for nth in calls(2):
        root = shutil.copytree(finished, gpucv_command.folder / f"{nth}")
        code = gpucv_command.with_faults(f"kill:write={nth}", "report", root.name, "-q")
        assert all(each.endswith("was left over by the run") for each in find_damage(root))
        for name, content in new.items():
            assert (root / name).read_bytes() in (content, b"of an earlier version")
        if code == 0:
            break
        assert code == SIGKILL, gpucv_command.said
        assert gpucv.Result.load(root).n_failed == 0
        assert gpucv_command("report", root.name, "-q") == 0
        assert {name: (root / name).read_bytes() for name in new} == new
        assert results_of(root) == undisturbed, f"killed at call {nth}"
    assert nth > 10


def edit_outputs(root: Path, contents: dict[str, bytes]) -> None:
    """Change outputs of a finished run, and what its manifest says of them."""
    from gpucv.runs import RunLayout, read_manifest, write_manifest

    for name, content in contents.items():
        (root / name).write_bytes(content)
    layout = RunLayout(root)
    write_manifest(layout, read_manifest(layout))
