from __future__ import annotations

import json
import os
import platform
import re
from pathlib import Path

import pytest

from gpucv.errors import EnvironmentFaultError, RunLockedError
from gpucv.runs import new_run_folder


@pytest.mark.fault(42)
def test_a_run_folder_is_named_after_its_time_and_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first, second = new_run_folder("h3", None), new_run_folder("h3", None)
    assert re.fullmatch(r"runs/\d{8}T\d{6}Z-h3-[0-9a-f]{8}", str(first))
    assert first != second
    assert not first.exists()


@pytest.mark.parametrize("name", ["../../etc", "a/b", "\x1b]0;x\x07", "..", "\0", "é" * 400])
def test_no_study_name_leads_out_of_the_runs_folder(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = new_run_folder(name, None)
    assert folder.parent == Path("runs")
    assert re.fullmatch(r"[0-9A-Za-z-]{1,80}", folder.name)


def test_an_empty_folder_may_be_filled(tmp_path: Path) -> None:
    assert new_run_folder("h3", tmp_path) == tmp_path
    assert new_run_folder("h3", tmp_path / "a" / "b") == tmp_path / "a" / "b"


def test_a_folder_in_use_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(EnvironmentFaultError, match="not an empty folder") as caught:
        new_run_folder("h3", tmp_path)
    assert "resume" not in str(caught.value)


def test_an_unfinished_run_there_can_be_resumed(tmp_path: Path) -> None:
    folder = tmp_path / "my run"
    folder.mkdir()
    (folder / "manifest.json").touch()
    with pytest.raises(EnvironmentFaultError, match=re.escape(f"gpucv resume '{folder}'")):
        new_run_folder("h3", folder)


@pytest.mark.parametrize("place", ["file", "file/below", "x" * 300])
def test_a_place_that_cannot_hold_a_folder_is_refused(place: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EnvironmentFaultError, match="choose another --out"):
        new_run_folder("h3", tmp_path / place)


@pytest.fixture
def never_begun(tmp_path: Path) -> Path:
    """What a run leaves that is killed before its manifest is written."""
    folder = tmp_path / "run"
    (folder / "folds").mkdir(parents=True)
    for name in (".lock", ".lock-holder", "study.toml", ".plan.csv.0a1b2c3d.tmp"):
        (folder / name).touch()
    return folder


@pytest.mark.fault(3)
def test_what_a_run_left_that_never_began_is_as_good_as_nothing(never_begun: Path) -> None:
    assert new_run_folder("h3", never_begun) == never_begun


@pytest.mark.parametrize(
    "more", ["manifest.json", "folds/.0000.1.begun", "notes.txt", "folds.csv", ".notes.tmp"]
)
def test_anything_more_than_that_is_kept(more: str, never_begun: Path) -> None:
    (never_begun / more).touch()
    with pytest.raises(EnvironmentFaultError, match="not an empty folder"):
        new_run_folder("h3", never_begun)


def test_a_study_file_beside_no_lock_is_somebodys_own(never_begun: Path) -> None:
    (never_begun / ".lock").unlink()
    with pytest.raises(EnvironmentFaultError, match="not an empty folder"):
        new_run_folder("h3", never_begun)


@pytest.mark.fault(17)
def test_a_folder_that_is_being_written_is_refused_naming_who_does(never_begun: Path) -> None:
    (never_begun / "manifest.json").touch()
    holder = {"pid": os.getpid(), "host": platform.node()}
    (never_begun / ".lock-holder").write_text(json.dumps(holder), encoding="utf-8")
    told = f"is being written by process {os.getpid()} on {platform.node()}; wait for it"
    with pytest.raises(RunLockedError, match=re.escape(told)) as caught:
        new_run_folder("h3", never_begun)
    assert caught.value.exit_code == 4


@pytest.mark.fault(16)
def test_a_missing_folder_is_no_fault_and_a_read_only_one_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert new_run_folder("h3", tmp_path / "not" / "yet") == tmp_path / "not" / "yet"
    # As for a user without the right to write; root, who may run these tests, has every right.
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(EnvironmentFaultError, match="is not a writable folder; choose") as caught:
        new_run_folder("h3", tmp_path / "run")
    assert caught.value.exit_code == 4
