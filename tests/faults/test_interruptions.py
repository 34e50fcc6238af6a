"""Processes killed or interrupted in the middle of a fold."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
import tomli_w

import gpucv
from gpucv.errors import RunLockedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# The real command, except that the third fold never ends, and that SIGINT counts even
# where the tests run in the background of a shell, which ignores it for its children.
COMMAND = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
from gpucv.folds import runner
run = runner.run_fold
runner.run_fold = lambda task: time.sleep(600) if task.fold_id == 2 else run(task)
from gpucv.cli.main import main
main(sys.argv[1:])
"""


def inodes(root: Path) -> dict[str, tuple[int, int]]:
    found = {path.parent.name: path.stat() for path in sorted(root.glob("folds/[0-9]*/DONE"))}
    return {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in found.items()}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "my run"


@pytest.fixture
def stuck(study: dict[str, Any], tmp_path: Path, root: Path) -> Iterator[subprocess.Popen[str]]:
    """A run in a process of its own, two folds finished and stuck in the third."""
    same = [{"name": "xgboost", "label": "b", "params": {"n_estimators": 5}}]
    (tmp_path / "study.toml").write_text(
        tomli_w.dumps({**study, "predictors": [*study["predictors"][1:], *same]}), encoding="utf-8"
    )
    words = [sys.executable, "-c", COMMAND, "run", "study.toml", "--out", "my run"]
    process = subprocess.Popen(
        words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        deadline = time.monotonic() + 120
        while len(inodes(root)) < 2:
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < deadline, "no fold finished"
            time.sleep(0.01)
        yield process
        process.kill()


def finish(
    root: Path, before: dict[str, tuple[int, int]], results_of: Callable[[Path], dict[str, bytes]]
) -> None:
    """Resume, and compare with a run that nobody disturbed."""
    result = gpucv.resume(root)
    assert result.manifest["status"] == "finished"
    after = inodes(root)
    assert len(after) == 4
    assert {name: after[name] for name in before} == before
    whole = gpucv.run(root / "study.toml", out=root.with_name("undisturbed"))
    assert results_of(root) == results_of(whole.path)


def test_a_killed_run_resumes_where_it_stood(
    stuck: subprocess.Popen[str], root: Path, results_of: Callable[[Path], dict[str, bytes]]
) -> None:
    with pytest.raises(RunLockedError, match=f"written by process {stuck.pid} on"):
        gpucv.resume(root)
    stuck.send_signal(signal.SIGKILL)
    stuck.wait()
    manifest = json.loads((root / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["status"] == "running"
    finish(root, inodes(root), results_of)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["SIGTERM", "SIGINT"]
)
def test_an_interrupted_run_says_how_to_go_on(
    number: signal.Signals,
    code: int,
    stuck: subprocess.Popen[str],
    root: Path,
    results_of: Callable[[Path], dict[str, bytes]],
) -> None:
    stuck.send_signal(number)
    out, err = stuck.communicate(timeout=60)
    assert (stuck.returncode, out) == (code, "")
    assert "to finish this run: gpucv resume 'my run'\n" in err
    assert err.endswith("gpucv: error: interrupted; finished folds are kept\n")
    assert "Traceback" not in err
    manifest = json.loads((root / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["status"] == "interrupted"
    assert manifest["ended"]
    finish(root, inodes(root), results_of)
