"""The launch scripts, run for real with what they call (srun, ssh) stood in for."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parents[2]
LAUNCH = ROOT / "scripts" / "launch"
STUDY = "examples/h3-generalization.toml"
SCRIPTS = ["one-node.sh", "slurm.sbatch", "ssh.sh"]
BIN = Path(sys.executable).parent
COMMANDS = {
    # As many workers as the job has nodes, all of them here; ends them as SLURM ends a step.
    "srun": """
echo "$@" >>"$CALLS"
while [[ $1 == --* ]]; do shift; done
trap 'kill $(jobs -p)' TERM
for ((node = 0; node < SLURM_JOB_NUM_NODES; node++)); do "$@" & done
wait
wait
""",
    # Runs what the host would; the connection is lost as soon as its stdin ends.
    "ssh": """
while [[ $1 != -- ]]; do shift; done
echo "$2" >>"$CALLS"
exec bash -c "${*:3}"
""",
}

pytestmark = pytest.mark.skipif(not shutil.which("bash"), reason="bash is missing")


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a launch script from the checkout; whatever it leaves running is ended."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name, body in COMMANDS.items():
        (tools / name).write_text(f"#!/usr/bin/env bash\n{body}", encoding="utf-8")
        (tools / name).chmod(0o755)
    begun: list[subprocess.Popen[str]] = []

    def start(script: str, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        environment = {
            **{"PATH": f"{tools}:{os.environ['PATH']}", "HOME": str(tmp_path)},
            **{"CALLS": str(tmp_path / "calls"), "BIN": str(BIN), "TMPDIR": str(tmp_path)},
            **{"DEVICE": "cpu", "OUT": str(tmp_path / "run"), "HOST": "127.0.0.1"},
        }
        process = subprocess.Popen(
            ["bash", str(LAUNCH / script), *arguments],
            cwd=ROOT,
            env=environment | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        begun.append(process)
        return process

    yield start
    for process in begun:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
        process.communicate()


def ended(process: subprocess.Popen[str]) -> str:
    """Everything a script printed; it has to have ended well."""
    told, _ = process.communicate(timeout=200)
    assert process.returncode == 0, told
    return told


def running(process: subprocess.Popen[str]) -> list[str]:
    """What a script has started and is not yet ended, the script included."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):  # a bare machine has no ps
        try:
            # After the name, which may hold anything, in brackets: state, parent, group.
            state, _, group = (folder / "stat").read_text().rpartition(")")[2].split()[:3]
            command = (folder / "cmdline").read_bytes()
        except OSError:
            continue  # ended meanwhile
        if group == str(process.pid) and state != "Z":
            found.append(command.replace(b"\0", b" ").decode(errors="replace"))
    return found


def wait_until(true: Callable[[], bool]) -> None:
    while not true():  # the test's own time limit ends a wait in vain
        time.sleep(0.1)


def free_port() -> str:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return str(one.getsockname()[1])


def manifest(run: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    return found


SLURM = {"SLURM_JOB_NAME": "gpucv", "SLURM_JOB_ID": "7", "SLURM_JOB_NUM_NODES": "2"}
SLURM |= {"SLURM_CPUS_PER_TASK": "1"}


@pytest.mark.parametrize("script", SCRIPTS)
def test_bash_can_read_it_and_it_can_be_called(script: str) -> None:
    path = LAUNCH / script
    assert os.access(path, os.X_OK) or script.endswith(".sbatch")
    assert subprocess.run(["bash", "-n", str(path)], check=False).returncode == 0
    assert "set -euo pipefail" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("script", SCRIPTS)
def test_shellcheck_finds_nothing(script: str) -> None:
    if not shutil.which("shellcheck"):
        pytest.skip("shellcheck is not installed")
    command = ["shellcheck", "--shell=bash", str(LAUNCH / script)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.stdout == ""


@pytest.mark.parametrize("script", SCRIPTS)
def test_without_a_study_it_says_how_it_is_called(
    script: str, launch: Callable[..., subprocess.Popen[str]]
) -> None:
    process = launch(script)
    told, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert re.search(r"usage: .*STUDY", told)


@pytest.mark.parametrize("script", ["slurm.sbatch", "ssh.sh"])
def test_a_study_that_is_not_there_is_missed_before_anything_is_started(
    script: str, launch: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    process = launch(script, "none.toml", "node1", **SLURM)
    told, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "cannot read the study 'none.toml'" in told
    assert [path.name for path in tmp_path.iterdir()] == ["tools"]


def test_a_slurm_script_outside_a_job_says_how_it_is_submitted(
    launch: Callable[..., subprocess.Popen[str]],
) -> None:
    process = launch("slurm.sbatch", STUDY)
    told, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "no SLURM job; usage: sbatch" in told


def test_one_node_asks_the_doctor_and_runs_the_study(
    launch: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    told = ended(launch("one-node.sh", STUDY, "--limit", "20", "--out", str(tmp_path / "run")))
    assert "device cpu" in told
    assert manifest(tmp_path / "run")["status"] == "finished"


def test_one_node_stops_where_the_doctor_finds_a_fault(
    launch: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    sick = tmp_path / "sick"
    sick.mkdir()
    (sick / "gpucv").write_text(
        '#!/bin/sh\n[ "$1" = doctor ] && exit 4\ntouch "$HOME/ran"\n', encoding="utf-8"
    )
    (sick / "gpucv").chmod(0o755)
    process = launch("one-node.sh", STUDY, BIN=str(sick))
    process.communicate(timeout=60)
    assert process.returncode == 4
    assert not (tmp_path / "ran").exists()


def test_a_slurm_job_runs_on_its_nodes_and_leaves_only_the_run(
    launch: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    job = launch("slurm.sbatch", STUDY, "--limit", "20", **SLURM)
    told = ended(job)
    run = tmp_path / "run"
    assert manifest(run)["status"] == "finished"
    folds = pd.read_csv(run / "timeline.csv")
    assert (folds["status"] == "ok").all()
    assert folds["worker"].nunique() == 2, told
    assert folds["worker"].str.startswith("tls://").all()
    (call,) = (tmp_path / "calls").read_text(encoding="utf-8").splitlines()
    assert "--ntasks=2 --ntasks-per-node=1 --cpus-per-task=1" in call
    assert not Path(f"{run}.cluster").exists(), "the key is gone"
    wait_until(lambda: not running(job))


def test_a_slurm_job_that_is_warned_keeps_its_folds_and_goes_on_when_submitted_again(
    launch: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    job = launch("slurm.sbatch", STUDY, "--limit", "150", **SLURM)
    wait_until(lambda: any(run.glob("folds/*/DONE")))
    os.kill(job.pid, signal.SIGTERM)
    told, _ = job.communicate(timeout=120)
    assert job.returncode == 143, told
    assert f"submit again with OUT={run}" in told
    assert manifest(run)["status"] == "interrupted"
    wait_until(lambda: not running(job))
    kept = {path: path.stat().st_mtime_ns for path in run.glob("folds/*/DONE")}

    ended(launch("slurm.sbatch", STUDY, "--limit", "150", **SLURM))
    assert manifest(run)["status"] == "finished"
    assert len(list(run.glob("folds/*/DONE"))) == 8
    assert {path: path.stat().st_mtime_ns for path in kept} == kept, "none was trained twice"


def test_hosts_over_ssh_run_the_study_and_nothing_of_it_stays(
    launch: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    (tmp_path / "hosts").write_text("# the rack\nnode1\n\nnode2\n", encoding="utf-8")
    hosts = ["--hosts", str(tmp_path / "hosts")]
    before = {path.name for path in tmp_path.iterdir()}
    script = launch("ssh.sh", *hosts, STUDY, "--", "--limit", "20", PORT=free_port())
    told = ended(script)
    assert manifest(tmp_path / "run")["status"] == "finished"
    folds = pd.read_csv(tmp_path / "run" / "timeline.csv")
    assert folds["worker"].nunique() == 2, told
    calls = (tmp_path / "calls").read_text(encoding="utf-8").split()
    assert sorted(calls) == ["node1", "node2"]
    wait_until(lambda: not running(script))
    assert {path.name for path in tmp_path.iterdir()} - before <= {
        "run",
        "calls",
        "dask-scratch-space",
    }


def test_workers_over_ssh_end_even_if_the_script_is_killed(
    launch: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    script = launch("ssh.sh", STUDY, "node1", "--", "--limit", "150", PORT=free_port())
    wait_until((run / "manifest.json").exists)
    script.kill()
    script.wait()
    wait_until(lambda: not [args for args in running(script) if "dask worker" in args])


def test_a_dry_run_over_ssh_prints_everything_and_starts_nothing(
    launch: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    told = ended(
        launch("ssh.sh", "--dry-run", STUDY, "n1", "n2", "--", "--limit", "5", DEVICE="cuda")
    )
    for part in (
        "gpucv certificate ",
        "dask scheduler --host 127.0.0.1 --port 8786 --protocol tls",
        "ssh -o BatchMode=yes -- n1:",
        "ssh -o BatchMode=yes -- n2:",
        "dask cuda worker --nthreads 4",
        f"gpucv run {STUDY} --out {tmp_path / 'run'} --limit 5 --scheduler tls://127.0.0.1:8786",
    ):
        assert part in told
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "calls").exists()


def test_a_scheduler_without_the_key_lets_nobody_in(
    launch: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    from distributed import Client

    port = free_port()
    launch("ssh.sh", STUDY, "node1", "--", "--limit", "150", PORT=port)
    wait_until((tmp_path / "run" / "manifest.json").exists)
    for address in (f"tcp://127.0.0.1:{port}", f"tls://127.0.0.1:{port}"):
        with pytest.raises((OSError, TypeError, RuntimeError)):
            Client(address, timeout=3)
