"""The command as batch systems, pipes and containers run it."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import tomli_w

import gpucv

if TYPE_CHECKING:
    from pathlib import Path

COMMAND = [sys.executable, "-c", "from gpucv.cli.main import main; main()"]


def test_a_run_needs_no_home_no_locale_and_few_files(study: dict[str, Any], tmp_path: Path) -> None:
    folder = tmp_path / "mémoire de thèse"
    folder.mkdir()
    (folder / "study.toml").write_text(tomli_w.dumps(study), encoding="utf-8")
    done = subprocess.run(
        [*COMMAND, "run", "study.toml", "--out", "a run"],
        cwd=folder,
        env={"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)),
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()
    assert "Traceback" not in done.stderr.decode()
    assert "Warning" not in done.stderr.decode()
    assert len(gpucv.Result.load(folder / "a run").folds) == 4


def test_a_reader_who_leaves_early_ends_a_command_quietly() -> None:
    ours, theirs = os.pipe()
    process = subprocess.Popen([*COMMAND, "doctor"], stdout=theirs, stderr=subprocess.PIPE)
    os.close(theirs)
    os.close(ours)
    assert process.communicate()[1] == b""
    assert process.returncode == 0


@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["at the end", "line by line"])
def test_output_that_cannot_be_written_is_code_4(unbuffered: str) -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123 - a device, no path of ours
        done = subprocess.run(
            [*COMMAND, "doctor"],
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
            text=True,
        )
    assert done.returncode == 4
    assert done.stderr.startswith("gpucv: error: cannot ")
    assert done.stderr.endswith("No space left on device\n")
    assert done.stderr.count("\n") == 1


def test_closed_streams_are_no_fault() -> None:
    for closed in (">&-", "2>&-", ">&- 2>&-"):
        script = f'exec "$0" "$@" {closed}'
        done = subprocess.run(
            ["/bin/sh", "-c", script, *COMMAND, "doctor", "--json"],
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0
        assert b"Traceback" not in done.stdout + done.stderr
