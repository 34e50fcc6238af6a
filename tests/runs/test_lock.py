from __future__ import annotations

import json
import platform
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from gpucv.errors import EnvironmentFaultError, RunLockedError
from gpucv.runs import lock, lock_holder, run_lock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOLD = """
import sys, time
from pathlib import Path
from gpucv.runs import run_lock
with run_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock of `tmp_path`."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


@pytest.mark.fault(17)
def test_one_process_at_a_time_writes_a_run(holder: subprocess.Popen[str], tmp_path: Path) -> None:
    with pytest.raises(RunLockedError, match=f"written by process {holder.pid} on"):
        run_lock(tmp_path).__enter__()


@pytest.mark.fault(17)
def test_a_killed_writer_holds_no_lock(holder: subprocess.Popen[str], tmp_path: Path) -> None:
    holder.kill()
    holder.wait()
    with run_lock(tmp_path):
        assert (tmp_path / ".lock-holder").exists()
    assert not (tmp_path / ".lock-holder").exists()


def test_two_runs_of_one_process_exclude_each_other_too(tmp_path: Path) -> None:
    with run_lock(tmp_path), pytest.raises(RunLockedError):
        run_lock(tmp_path).__enter__()


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"pid": 1}'])
def test_a_damaged_note_of_the_holder_does_not_hide_the_lock(content: str, tmp_path: Path) -> None:
    with run_lock(tmp_path):
        (tmp_path / ".lock-holder").write_text(content, encoding="utf-8")
        with pytest.raises(RunLockedError, match="another process"):
            run_lock(tmp_path).__enter__()


def test_a_place_that_cannot_be_locked_is_a_fault_of_the_machine(tmp_path: Path) -> None:
    (tmp_path / ".lock").mkdir()
    with pytest.raises(EnvironmentFaultError, match="cannot lock"):
        run_lock(tmp_path).__enter__()


def test_the_holder_is_known_while_it_lives(holder: subprocess.Popen[str], tmp_path: Path) -> None:
    assert lock_holder(tmp_path) == f"process {holder.pid} on {platform.node()}"
    holder.kill()
    holder.wait()
    assert (tmp_path / ".lock-holder").exists()
    assert lock_holder(tmp_path) == ""
    elsewhere = {"pid": holder.pid, "host": "another"}
    (tmp_path / ".lock-holder").write_text(json.dumps(elsewhere), encoding="utf-8")
    assert lock_holder(tmp_path) == f"process {holder.pid} on another"


@pytest.fixture
def mounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the system says is mounted where."""
    table = tmp_path / "mounts"
    monkeypatch.setattr(lock, "_MOUNTS", table)
    return table


@pytest.mark.fault(17)
@pytest.mark.parametrize(
    ("mounted", "kind"),
    [
        ("/dev/vda / ext4 rw 0 0", ""),
        ("nas:/x / nfs4 rw,vers=4.2 0 0", "nfs4"),
        ("/dev/vda / ext4 rw 0 0\nnas:/x {place} nfs rw 0 0", "nfs"),
        ("nas:/x {place} nfs rw 0 0\n/dev/vda / ext4 rw 0 0", "nfs"),
        ("nas:/x {place} nfs rw 0 0\ntmpfs {place} tmpfs rw 0 0", ""),
        ("nas:/x {place}-other nfs rw 0 0", ""),
        ("o2ib:/x {place} lustre rw 0 0", "lustre"),
        ("damaged", ""),
    ],
)
def test_a_network_file_system_is_known_by_the_mount_that_holds_the_folder(
    mounted: str, kind: str, mounts: Path, tmp_path: Path
) -> None:
    place = tmp_path / "my runs"
    mounts.write_text(mounted.format(place=str(place).replace(" ", r"\040")), encoding="utf-8")
    assert lock.network_file_system(place / "run") == kind


def test_where_nothing_is_known_of_mounts_nothing_is_said(mounts: Path, tmp_path: Path) -> None:
    assert not mounts.exists()
    assert lock.network_file_system(tmp_path) == ""


@pytest.mark.fault(17)
def test_a_run_on_a_network_file_system_is_warned_of_once(
    mounts: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mounts.write_text("nas:/x / nfs4 rw 0 0\n", encoding="utf-8")
    with run_lock(tmp_path):
        pass
    (told,) = [record.getMessage() for record in caplog.records]
    assert "on a network file system (nfs4), where a lock may bind this machine alone; " in told
    assert "never write one run from two machines" in told
    caplog.clear()
    holder = json.dumps({"pid": 7, "host": "another"})
    (tmp_path / ".lock-holder").write_text(holder, encoding="utf-8")
    with run_lock(tmp_path):
        pass
    assert "process 7 on another has not said that it is done" in caplog.text
