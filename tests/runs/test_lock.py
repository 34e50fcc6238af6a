from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from gpucv.errors import EnvironmentFaultError, RunLockedError
from gpucv.runs import run_lock

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


def test_one_process_at_a_time_writes_a_run(holder: subprocess.Popen[str], tmp_path: Path) -> None:
    with pytest.raises(RunLockedError, match=f"written by process {holder.pid} on"):
        run_lock(tmp_path).__enter__()


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
