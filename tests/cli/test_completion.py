"""The scripts are tried in the shells themselves."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from gpucv.cli.main import _COMMANDS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Outcome

    Command = Callable[..., Outcome]

TRY = """
source ./script
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_gpucv_paths
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def script() -> str:
    command = [sys.executable, "-c", "from gpucv.cli.main import main; main()"]
    done = subprocess.run(
        [*command, "completion", "bash"], capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.fixture
def offered(script: str, tmp_path: Path) -> Callable[..., list[str]]:
    """Return what bash offers for the last of some words."""
    (tmp_path / "script").write_text(script)
    (tmp_path / "runs" / "a run").mkdir(parents=True)
    for name in ("study.toml", "my study.toml", "steps.parquet", "runs/nested.toml"):
        (tmp_path / name).touch()

    def offer(*words: str) -> list[str]:
        command = ["bash", "--norc", "-c", TRY, "bash", "gpucv", *words]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        assert done.stderr == ""
        return sorted(done.stdout.splitlines())

    return offer


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("",), sorted(_COMMANDS)),
        (("re",), ["report", "resume"]),
        (("run", ""), ["my study.toml", "runs", "study.toml"]),
        (("run", "runs/"), ["runs/a run", "runs/nested.toml"]),
        (("tune", "st"), ["study.toml"]),
        (("resume", ""), ["runs"]),
        (("resume", "runs/"), ["runs/a run"]),
        (("ls", "r"), ["runs"]),
        (("run", "study.toml", "--dr"), ["--dry-run"]),
        (("run", "study.toml", "--track", ""), ["mlflow"]),
        (("audit", "--format", "vi"), ["vidur"]),
        (("completion", "f"), ["fish"]),
    ],
)
def test_bash_offers(
    words: tuple[str, ...], expected: list[str], offered: Callable[..., list[str]]
) -> None:
    assert offered(*words) == expected


def test_zsh_calls_a_function_of_the_files_name_and_offers_fitting_paths(gpucv: Command) -> None:
    script = gpucv("completion", "zsh").out
    assert script.startswith("#compdef gpucv\n\n_gpucv() {")
    assert script.count('TOML file.:_files -g "*.toml"') >= 3
    assert "'1:The run folder.:_files -/'" in script
    assert "one run folder.:_files -/'" in script
    if zsh := shutil.which("zsh"):
        subprocess.run([zsh, "-n"], input=script, text=True, check=True)


def test_the_shell_is_told_by_the_one_that_asks(
    gpucv: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FISH_VERSION", "4.0")
    monkeypatch.delenv("ZSH_VERSION", raising=False)
    monkeypatch.delenv("BASH_VERSION", raising=False)
    assert gpucv("completion").out == gpucv("completion", "fish").out
    assert "complete -c gpucv" in gpucv("completion").out


def test_an_unknown_shell_is_a_usage_error(gpucv: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cyclopts.completion.detect.detect_shell", lambda: "powershell")
    outcome = gpucv("completion")
    assert (outcome.code, outcome.out) == (2, "")
    assert "cannot tell which shell this is (powershell); name bash, zsh or fish" in outcome.err
    assert gpucv("completion", "tcsh").code == 2
