"""Whole runs, by the command, whose workers or scheduler fail; then resumed."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
import tomli_w

import gpucv
from gpucv.runs import find_damage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PROGRAM = [sys.executable, "-c", "from gpucv.cli.main import main; main()"]


@pytest.fixture
def command(study: dict[str, Any], tmp_path: Path) -> Callable[..., tuple[int, str]]:
    """Return how to run the study by the command, with faults; exit code and stderr come back."""
    (tmp_path / "study.toml").write_text(tomli_w.dumps(study), encoding="utf-8")

    def run(faults: str, *words: str, **more: str) -> tuple[int, str]:
        asked = [*PROGRAM, "run", "study.toml", "--out", "my run", "-q", *words]
        made = {"GPUCV_TESTING": "1", "GPUCV_FAULTS": faults, "GPUCV_FAULTS_SEEN": str(tmp_path)}
        env = os.environ | made | more
        done = subprocess.run(
            asked, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=180, check=False
        )
        assert "Traceback" not in done.stderr
        return done.returncode, done.stderr

    return run


@pytest.mark.fault(6)
def test_a_fold_that_never_ends_on_a_thread_ends_the_run_which_can_be_resumed(
    command: Any, tmp_path: Path, assert_heals: Any
) -> None:
    code, told = command("hang:fold=1", "--set", "execution.fold_timeout_s=8")
    assert code == 4
    hint, error = told.splitlines()
    assert hint == "to finish this run: gpucv resume 'my run'"
    assert re.match(r"gpucv: error: fold 1 \(lomo codellama-34b\) has not ended after \d+ s", error)
    assert "(execution.fold_timeout_s = 8), and a thread cannot be stopped" in error
    assert_heals(tmp_path / "my run")


@pytest.mark.fault(2)
def test_a_fold_that_kills_its_workers_leaves_a_run_with_one_failed_fold(
    command: Any, tmp_path: Path, undisturbed: dict[str, bytes], results_of: Any
) -> None:
    fewer = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0"}
    code, told = command("kill:fold=3", "--set", "execution.backend=dask", **fewer)
    assert code == 1, told
    root = tmp_path / "my run"
    assert find_damage(root) == []
    records = [json.loads(path.read_text()) for path in sorted(root.glob("folds/*/result.json"))]
    assert [record["status"] for record in records] == ["ok", "ok", "ok", "failed"]
    assert "1 worker was lost under it, the last with " in records[3]["error"]
    gpucv.resume(root, retry_failed=True, overrides=("execution.backend=threads",))
    assert results_of(root) == undisturbed


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A scheduler with one worker, each in a process of its own, whose third fold hangs."""
    file = tmp_path / "scheduler.json"
    dask = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host=127.0.0.1", "--port=0"]
    worker = [sys.executable, "-m", "distributed.cli.dask_worker", "--host=127.0.0.1"]
    worker += ["--nthreads=1", "--no-nanny", "--no-dashboard", "--death-timeout=60"]
    given = {"GPUCV_TESTING": "1", "GPUCV_FAULTS": "hang:fold=2", "GPUCV_FAULTS_SEEN": ""}
    begun = []
    for words, log in (([*dask, "--no-dashboard"], "scheduler"), (worker, "worker")):
        with (tmp_path / f"{log}.log").open("wb") as out:
            begun.append(
                subprocess.Popen(
                    [*words, f"--scheduler-file={file}"],
                    cwd=tmp_path,
                    env=os.environ | given,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                )
            )
    until = time.monotonic() + 120
    while not file.exists():
        assert time.monotonic() < until, (tmp_path / "scheduler.log").read_text()
        time.sleep(0.05)
    yield begun[0], file
    for process in begun:
        process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)


@pytest.mark.fault(7)
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "silent"])
def test_a_scheduler_lost_under_a_fold_ends_the_run_which_can_be_resumed(
    how: signal.Signals,
    scheduler: tuple[subprocess.Popen[bytes], Path],
    study: dict[str, Any],
    tmp_path: Path,
    undisturbed: dict[str, bytes],
    results_of: Any,
) -> None:
    (tmp_path / "study.toml").write_text(tomli_w.dumps(study), encoding="utf-8")
    process, file = scheduler
    program = "from gpucv.folds.cluster import survey; survey._ANSWER_SECONDS = 10\n" + PROGRAM[2]
    words = [sys.executable, "-c", program, "run", "study.toml", "--out", "my run", "-q"]
    words += [f"--scheduler={file}", "--set=execution.workers=0"]
    root = tmp_path / "my run"
    with subprocess.Popen(
        words,
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "10s"},
    ) as run:
        try:
            until = time.monotonic() + 120
            while not list(root.glob("folds/.0002.1.begun")):
                assert run.poll() is None, run.communicate()[1]
                assert time.monotonic() < until, "the third fold never began"
                time.sleep(0.02)
            process.send_signal(how)
            _, told = run.communicate(timeout=120)
        finally:
            run.kill()
            process.send_signal(signal.SIGCONT)
    assert run.returncode == 4, told
    *_, hint, error = told.splitlines()
    assert hint == "to finish this run: gpucv resume 'my run'"
    assert error == (
        "gpucv: error: the Dask scheduler was lost; finished folds are kept: resume the run with "
        "--scheduler and the address of another, or '' for this machine alone"
    )
    assert "Traceback" not in told
    assert find_damage(root) == []
    gpucv.resume(root, overrides=("execution.scheduler=''",))
    assert results_of(root) == undisturbed
