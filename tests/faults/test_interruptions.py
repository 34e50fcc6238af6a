"""Commands killed or interrupted in the middle of a fold."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import tomli_w

import gpucv
from gpucv.errors import RunLockedError
from gpucv.runs import find_damage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Results = Callable[[Path], dict[str, bytes]]

# SIGINT and SIGHUP count even where the tests run in the background of a shell or under nohup,
# which ignore them for their children; and the command has a terminal of its own, where it was
# given one.
COMMAND = """
import fcntl, os, signal, sys, termios
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
if os.isatty(0):
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from gpucv.cli.main import main
main(sys.argv[1:])
"""
RUN = ("run", "study.toml", "--out", "my run")
STUCK = {"GPUCV_TESTING": "1", "GPUCV_FAULTS": "hang:fold=2,hang:fold=3"}


def inodes(root: Path) -> dict[str, tuple[int, int]]:
    found = {path.parent.name: path.stat() for path in sorted(root.glob("folds/[0-9]*/DONE"))}
    return {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in found.items()}


def status(root: Path) -> str:
    return str(json.loads((root / "manifest.json").read_text(encoding="utf-8"))["status"])


@pytest.fixture
def root(study: dict[str, Any], tmp_path: Path) -> Path:
    """Where the study in `tmp_path` will run."""
    same = [{"name": "xgboost", "label": "b", "params": {"n_estimators": 5}}]
    (tmp_path / "study.toml").write_text(
        tomli_w.dumps({**study, "predictors": [*study["predictors"][1:], *same]}), encoding="utf-8"
    )
    return tmp_path / "my run"


def begin(root: Path, *more: str, terminal: int | None = None) -> subprocess.Popen[str]:
    """Run the study in a process of its own, until two folds are finished and two hang."""
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), terminal or subprocess.PIPE)
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, *RUN, *more],
        cwd=root.parent,
        env={**os.environ, **STUCK},
        text=True,
        start_new_session=True,
        **streams,
    )
    deadline = time.monotonic() + 120
    while len(inodes(root)) < 2 or not list(root.glob("folds/.000[23].1.begun")):
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            pytest.fail(f"no fold finished: {'' if terminal else process.communicate()[1]}")
        time.sleep(0.01)
    return process


@pytest.fixture
def stuck(root: Path) -> Iterator[subprocess.Popen[str]]:
    """A run in a process of its own, two folds finished and stuck in the third."""
    with begin(root) as process:
        yield process
        process.kill()


def finish(root: Path, before: dict[str, tuple[int, int]], results_of: Results) -> None:
    """Resume, and compare with a run that nobody disturbed."""
    assert find_damage(root) == []
    result = gpucv.resume(root)
    assert result.manifest["status"] == "finished"
    after = inodes(root)
    assert len(after) == 4
    assert {name: after[name] for name in before} == before
    whole = gpucv.run(root / "study.toml", out=root.with_name("undisturbed"))
    assert results_of(root) == results_of(whole.path)


@pytest.mark.fault(3, 17)
def test_a_killed_run_resumes_where_it_stood(
    stuck: subprocess.Popen[str], root: Path, results_of: Results
) -> None:
    with pytest.raises(RunLockedError, match=f"written by process {stuck.pid} on") as caught:
        gpucv.resume(root)
    assert caught.value.exit_code == 4
    with pytest.raises(RunLockedError, match=f"written by process {stuck.pid} on"):
        gpucv.run(root.with_name("study.toml"), out=root)
    stuck.send_signal(signal.SIGKILL)
    stuck.wait()
    assert status(root) == "running"
    finish(root, inodes(root), results_of)


@pytest.mark.fault(4, 5)
@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGINT, 130),
        (signal.SIGTERM, 143),
        (signal.SIGHUP, 143),
        (signal.SIGUSR1, 143),
        (signal.SIGUSR2, 143),
    ],
    ids=lambda value: value.name if isinstance(value, signal.Signals) else "",
)
def test_an_interrupted_run_says_how_to_go_on(
    number: signal.Signals,
    code: int,
    stuck: subprocess.Popen[str],
    root: Path,
    results_of: Results,
) -> None:
    stuck.send_signal(number)
    out, err = stuck.communicate(timeout=60)
    assert (stuck.returncode, out) == (code, "")
    assert "to finish this run: gpucv resume 'my run'\n" in err
    assert err.endswith("gpucv: error: interrupted; finished folds are kept\n")
    assert "Traceback" not in err
    assert status(root) == "interrupted"
    assert json.loads((root / "manifest.json").read_text(encoding="utf-8"))["ended"]
    if number in (signal.SIGINT, signal.SIGTERM):
        finish(root, inodes(root), results_of)


@pytest.mark.fault(4)
def test_a_run_on_worker_processes_keeps_its_state_and_leaves_none_behind(
    root: Path, results_of: Results
) -> None:
    with begin(root, "--set", "execution.backend=dask", "-q") as process:
        os.killpg(process.pid, signal.SIGTERM)  # as SLURM ends a job: every process of it
        _, err = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "to finish this run: gpucv resume 'my run'\n" in err
    assert status(root) == "interrupted"
    assert_gone(process.pid)
    finish(root, inodes(root), results_of)


def assert_gone(group: int) -> None:
    """Wait until no process of a group runs; they notice that their parent is gone."""
    deadline = time.monotonic() + 30
    while running := [each.name for each in Path("/proc").iterdir() if runs_in(each, group)]:
        assert time.monotonic() < deadline, f"{running} still run"
        time.sleep(0.05)


def runs_in(process: Path, group: int) -> bool:
    try:
        said = (process / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:  # no process, or gone by now
        return False
    state, _, of = said.rpartition(")")[2].split()[:3]
    return state != "Z" and int(of) == group


@pytest.mark.fault(5)
@pytest.mark.parametrize("backend", ["threads", "dask"])
def test_ctrl_c_keeps_the_state_and_ctrl_c_again_leaves_at_once(
    backend: str, root: Path, results_of: Results
) -> None:
    ours, terminal = pty.openpty()
    with begin(root, "--set", f"execution.backend={backend}", terminal=terminal) as process:
        os.close(terminal)
        os.write(ours, b"\x03")
        shown = until(ours, b"once more to leave at once")
        # Folds on threads are let go at once; a cluster takes seconds to close.
        os.write(ours, b"\x03")
        assert code_of(process) == 130
        shown += until(ours, b"")
    os.close(ours)
    assert b"Traceback" not in shown
    assert_gone(process.pid)
    assert status(root) in ("interrupted", "running")
    finish(root, inodes(root), results_of)


def code_of(process: subprocess.Popen[str]) -> int:
    """Wait for a process that was told to end, and end it if it does not."""
    try:
        return process.wait(timeout=30)
    finally:
        process.kill()


def until(terminal: int, words: bytes) -> bytes:
    """Read what a terminal shows until it shows some words, or until nobody writes to it."""
    shown = b""
    while not words or words not in shown:
        try:
            shown += os.read(terminal, 4096)
        except OSError:  # the last process that had it open is gone
            assert not words, shown
            break
    return shown


@pytest.mark.fault(5)
def test_a_second_signal_ends_a_command_that_is_stuck_in_its_clean_up() -> None:
    stuck_twice = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
from gpucv.cli.interrupts import interruptible
with interruptible():
    try:
        print("ready", flush=True)
        time.sleep(600)
    finally:
        print("cleaning up", flush=True)
        time.sleep(600)
"""
    for first, second, code in (("INT", "INT", 130), ("INT", "TERM", 143), ("USR1", "HUP", 143)):
        words = [sys.executable, "-c", stuck_twice]
        pipe = subprocess.PIPE
        with subprocess.Popen(words, stdout=pipe, stderr=pipe, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            process.send_signal(getattr(signal, f"SIG{first}"))
            assert process.stdout.readline() == "cleaning up\n"
            process.send_signal(getattr(signal, f"SIG{second}"))
            assert code_of(process) == code


@pytest.mark.fault(5)
def test_a_signal_that_was_ignored_for_this_process_stays_ignored() -> None:
    ignoring = """
import os, signal
from gpucv.cli.interrupts import interruptible
signal.signal(signal.SIGHUP, signal.SIG_IGN)  # nohup
before = signal.getsignal(signal.SIGTERM)
with interruptible():
    os.kill(os.getpid(), signal.SIGHUP)
    assert signal.getsignal(signal.SIGTERM) != before
assert signal.getsignal(signal.SIGTERM) == before
print("went on")
"""
    done = subprocess.run(
        [sys.executable, "-c", ignoring], capture_output=True, text=True, check=True
    )
    assert done.stdout == "went on\n"
