from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

MODULE = Path(__file__).resolve().parents[2] / "go"


class Done(NamedTuple):
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str


def run(command: list[str], stdin: str = "", **environment: str) -> Done:
    """Run a command in the Go module's folder; nothing is downloaded, and git is not asked.

    Git refuses a checkout that another user owns, as in a container, and go would stop there.
    """
    done = subprocess.run(
        command,
        cwd=MODULE,
        env=os.environ | {"GOPROXY": "off", "GOFLAGS": "-buildvcs=false"} | environment,
        input=stdin,
        text=True,
        capture_output=True,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="session")
def go() -> Callable[..., Done]:
    """Run the go command."""
    found = shutil.which("go")
    if found is None and os.environ.get("CI") == "true":
        pytest.fail("no go on this machine, and CI must test the reader (Debian: golang-go)")
    if found is None:
        pytest.skip("no go on this machine (Debian: golang-go)")
    return lambda *words, **environment: run([found, *words], **environment)


@pytest.fixture(scope="session")
def steptime(
    go: Callable[..., Done], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Done]:
    """Run the steptime command."""
    binary = tmp_path_factory.mktemp("go") / "steptime"
    built = go("build", "-o", str(binary), "./cmd/steptime")
    assert built == (0, "", "")
    return lambda *words, stdin="": run([str(binary), *map(str, words)], stdin)
