"""Let the N-th call that changes the disk fail: nothing half-written is ever believed.

N goes up in steps, so that the calls of every kind of file are met and the suite stays fast;
GPUCV_EVERY_WRITE=1 takes every N.
"""

from __future__ import annotations

import json
import os
import shutil
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

import gpucv
import gpucv.report
from gpucv import injection
from gpucv.cli import report as report_command
from gpucv.errors import EnvironmentFaultError, GpucvError, RunError
from gpucv.runs import FoldStore, find_damage
from gpucv.workflow import execution

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Results = Callable[[Path], dict[str, bytes]]


@pytest.fixture
def study(study: dict[str, Any]) -> dict[str, Any]:
    """Two folds that learn from one column."""
    short = {"features": {"columns": ["batch.decode_tokens"]}}
    return {**study, **short, "predictors": [{"params": {"n_estimators": 2}}]}


class Disk:
    """A disk that refuses the calls it was told to refuse."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._patch = monkeypatch
        monkeypatch.setenv("GPUCV_TESTING", "1")
        # The page is written like any other file; making it takes most of a short run's time.
        for owner in (execution, gpucv.report):
            monkeypatch.setattr(owner, "render_page", lambda _: "<!doctype html>")
            monkeypatch.setattr(owner, "render_findings", lambda _: "# Findings")
        # What is on the disk when the machine stops is not tested: no need to wait for it.
        monkeypatch.setattr(os, "fsync", lambda _: None)

    def refuses(self, which: str) -> None:
        """Count calls from 1 again, and refuse those of ``eio:write=17+`` or the like."""
        self._patch.setenv("GPUCV_FAULTS", which)
        injection.count_anew()

    def works(self) -> None:
        """Refuse no more."""
        self._patch.setenv("GPUCV_FAULTS", "")


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


@pytest.fixture(params=["enospc:write={}", "eio:write={}+"], ids=["one fails", "all later fail"])
def fault(request: pytest.FixtureRequest) -> str:
    """How calls fail from the n-th one on."""
    return str(request.param)


def calls(step: int) -> Iterator[int]:
    return count(1, 1 if os.environ.get("GPUCV_EVERY_WRITE") == "1" else step)


def refused(disk: Disk, fault: str, act: Callable[[], object]) -> bool:
    """Act on a disk that fails; return whether that was noticed, as a fault of the machine."""
    disk.refuses(fault)
    try:
        act()
    except EnvironmentFaultError:
        return True
    finally:
        disk.works()
    return False


def finished(root: Path) -> bool:
    manifest = json.loads((root / "manifest.json").read_text(encoding="utf-8"))
    return bool(manifest["status"] == "finished")


@pytest.mark.fault(15)
def test_whichever_write_of_a_run_fails_it_resumes_to_the_same_results(
    fault: str,
    disk: Disk,
    study: dict[str, Any],
    tmp_path: Path,
    assert_heals: Callable[[Path], None],
) -> None:
    n_resumed = n_unharmed = 0
    for nth in calls(17):
        root = tmp_path / f"{nth}"
        noticed = refused(disk, fault.format(nth), lambda root=root: gpucv.run(study, out=root))
        n_unharmed += not noticed
        if not (root / "manifest.json").exists():
            gpucv.run(study, out=root)  # it had not begun
        elif noticed and not finished(root):
            n_resumed += 1
            with pytest.raises(RunError, match="not finished; run: gpucv resume"):
                gpucv.Result.load(root)
        assert_heals(root)
        if not noticed and nth > 100:
            break
    assert n_resumed > 5
    # A few only help, such as the note of who holds the lock; and the last was not reached.
    assert n_unharmed <= 6


@pytest.mark.fault(15)
def test_whichever_write_of_a_resumed_run_fails_it_resumes_again(
    fault: str,
    disk: Disk,
    study: dict[str, Any],
    tmp_path: Path,
    assert_heals: Callable[[Path], None],
) -> None:
    half = tmp_path / "half"
    assert refused(disk, "eio:write=50+", lambda: gpucv.run(study, out=half))
    assert list(half.glob("folds/*/DONE"))
    for nth in calls(19):
        root = shutil.copytree(half, tmp_path / f"{nth}")
        noticed = refused(disk, fault.format(nth), lambda root=root: gpucv.resume(root))
        assert_heals(root)
        if not noticed and nth > 60:
            break


@pytest.mark.fault(15, 18)
def test_a_mark_that_could_not_be_taken_away_is_gone_when_the_run_ends(
    disk: Disk, study: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk.works()
    monkeypatch.setattr(FoldStore, "_unmark", lambda store, fold_id: None)
    assert find_damage(gpucv.run(study, out=tmp_path / "run").path) == []


@pytest.mark.fault(17)
def test_a_run_that_another_process_was_faster_to_begin_is_left_alone(
    disk: Disk, study: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk.works()
    root = gpucv.run(study, out=tmp_path / "run").path
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    # It was empty when this process looked, before the other one took the lock.
    monkeypatch.setattr(execution, "new_run_folder", lambda name, out: out)
    with pytest.raises(EnvironmentFaultError, match="is a run by now; choose another --out"):
        gpucv.run(study, out=root)
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before


@pytest.mark.fault(15, 46)
def test_whichever_write_of_a_report_fails_the_run_stays_sound(
    fault: str,
    disk: Disk,
    study: dict[str, Any],
    tmp_path: Path,
    undisturbed: dict[str, bytes],
    results_of: Results,
) -> None:
    before = gpucv.run(study, out=tmp_path / "before").path
    report = report_command.load_report_input(before)
    for nth in count(1):
        root = shutil.copytree(before, tmp_path / f"{nth}")
        noticed = refused(
            disk,
            fault.format(nth),
            lambda root=root: report_command.write_report(report, root, None),
        )
        damage = find_damage(root)
        assert all(each.endswith("was left over by the run") for each in damage)
        report_command.write_report(report, root, None)
        assert results_of(root) == undisturbed
        if not noticed and nth > 10:
            break


@pytest.mark.fault(14)
def test_a_full_disk_ends_a_run_with_code_4(
    disk: Disk, study: dict[str, Any], tmp_path: Path
) -> None:
    disk.refuses("enospc:write=30+")
    with pytest.raises(GpucvError, match=r"cannot write .*No space left on device") as caught:
        gpucv.run(study, out=tmp_path / "run")
    assert caught.value.exit_code == 4


@pytest.mark.fault(14)
def test_a_disk_full_under_a_worker_process_ends_the_run_and_it_resumes(
    monkeypatch: pytest.MonkeyPatch,
    study: dict[str, Any],
    tmp_path: Path,
    assert_heals: Callable[[Path], None],
) -> None:
    root = tmp_path / "run"
    monkeypatch.setenv("GPUCV_TESTING", "1")
    for _ in range(5):
        injection.inject_write()  # this process is past the call that a worker will meet
    monkeypatch.setenv("GPUCV_FAULTS", "enospc:write=5")
    with pytest.raises(EnvironmentFaultError, match=r"cannot write .*No space left on device"):
        gpucv.run({**study, "execution": {"backend": "dask", "workers": 1}}, out=root)
    monkeypatch.setenv("GPUCV_FAULTS", "")
    assert_heals(root)
