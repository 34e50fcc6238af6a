from __future__ import annotations

import errno
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from gpucv import injection
from gpucv.injection import Fault, count_anew, inject, inject_write, parse_faults

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Tests that ask for faults; once-only ones of other tests are forgotten."""
    monkeypatch.setenv("GPUCV_TESTING", "1")
    monkeypatch.setattr(injection, "_here", set())
    count_anew()
    return monkeypatch


def test_the_text_says_action_place_number_and_how_often() -> None:
    text = "kill:fold=2:once, oom:fold=3,enospc:write=17+,slow:fold=1:2.5s"
    assert parse_faults(text) == (
        Fault("kill:fold=2:once", "kill", "fold", 2, once=True),
        Fault("oom:fold=3", "oom", "fold", 3),
        Fault("enospc:write=17+", "enospc", "write", 17, after=True),
        Fault("slow:fold=1:2.5s", "slow", "fold", 1, seconds=2.5),
    )
    assert parse_faults("") == ()


@pytest.mark.parametrize("text", ["kill", "kill:fold", "burn:fold=1", "kill:fold=x", "kill:run=1"])
def test_what_is_no_fault_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=f"'{text}' is no fault; write ACTION:PLACE=NUMBER"):
        parse_faults(f"oom:fold=1,{text}")


def test_without_the_testing_variable_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GPUCV_TESTING", raising=False)
    monkeypatch.setenv("GPUCV_FAULTS", "oom:fold=0+,eio:write=0+")
    inject("fold", 1)
    inject_write()


def test_a_fault_happens_at_its_number_alone(faults: pytest.MonkeyPatch) -> None:
    faults.setenv("GPUCV_FAULTS", "oom:fold=2")
    inject("fold", 1)
    inject("fold", 3)
    inject("write", 2)
    with pytest.raises(MemoryError, match="out_of_memory"):
        inject("fold", 2)


@pytest.mark.parametrize(("action", "number"), [("enospc", errno.ENOSPC), ("eio", errno.EIO)])
def test_the_nth_write_fails_and_with_a_plus_all_later_ones(
    action: str, number: int, faults: pytest.MonkeyPatch
) -> None:
    faults.setenv("GPUCV_FAULTS", f"{action}:write=3")
    inject_write()
    inject_write()
    with pytest.raises(OSError, match=r"\[Errno \d+\] [A-Z]") as caught:
        inject_write()
    assert caught.value.errno == number
    inject_write()
    faults.setenv("GPUCV_FAULTS", f"{action}:write=2+")
    count_anew()
    inject_write()
    for _ in range(3):
        with pytest.raises(OSError, match="Errno"):
            inject_write()


def test_a_once_only_fault_happens_once_in_a_process(faults: pytest.MonkeyPatch) -> None:
    faults.setenv("GPUCV_FAULTS", "oom:fold=2:once")
    with pytest.raises(MemoryError):
        inject("fold", 2)
    inject("fold", 2)


def test_a_once_only_fault_happens_once_in_all_processes_that_share_a_folder(
    faults: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    faults.setenv("GPUCV_FAULTS", "kill:fold=2:once")
    faults.setenv("GPUCV_FAULTS_SEEN", str(tmp_path))
    words = [sys.executable, "-c", "from gpucv.injection import inject; inject('fold', 2)"]
    codes = [subprocess.run(words, check=False).returncode for _ in range(3)]
    assert codes == [-9, 0, 0]


def test_a_slow_fold_sleeps_and_a_hanging_one_does_so_for_ever(
    faults: pytest.MonkeyPatch,
) -> None:
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) > 3:
            raise KeyboardInterrupt

    faults.setattr(injection.time, "sleep", sleep)
    faults.setenv("GPUCV_FAULTS", "slow:fold=1:2.5s,hang:fold=2")
    inject("fold", 1)
    assert slept == [2.5]
    with pytest.raises(KeyboardInterrupt):
        inject("fold", 2)


def test_every_fold_that_begins_is_logged_with_its_process(
    faults: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    faults.setenv("GPUCV_FAULTS_LOG", str(tmp_path / "log"))
    inject("fold", 7)
    inject("fold", 8)
    inject_write()
    lines = [line.split() for line in (tmp_path / "log").read_text(encoding="utf-8").splitlines()]
    assert [line[0] for line in lines] == ["7", "8"]
    assert lines[0][1].isdigit()
    assert float(lines[0][2]) <= float(lines[1][2])
