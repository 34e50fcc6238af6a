"""What is printed fits the terminal, and is coloured only where that is wanted."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from rich.cells import cell_len

from gpucv.cli.main import _COMMANDS
from gpucv.cli.progress import Lines, Live, choose_progress
from gpucv.workflow.execution import Silent

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Outcome

    Command = Callable[..., Outcome]


def too_wide(text: str, width: int) -> list[str]:
    """Lines wider than the terminal, but for those that hold a path or command to be copied."""
    copied = ("findings  ", "report    ", "tables    ", "tuned     ", "  gpucv ")
    lines = [line for line in text.splitlines() if not line.startswith(copied)]
    return [line for line in lines if cell_len(line.rstrip()) > width]


@pytest.mark.parametrize("width", [80, 60])
def test_tables_fit_the_terminal(
    width: int, gpucv: Command, study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    run = gpucv("run", study, "-q", "--set", "name=a-study-of-a-name-that-takes-much-room")
    folder = next((study.parent / "runs").iterdir())
    for outcome in (run, gpucv("report", folder, "-q"), gpucv("ls")):
        assert outcome.code == 0, outcome.err
        assert outcome.out
        assert too_wide(outcome.out, width) == []
    assert "not" in gpucv("ls").out  # the verdict stays, whatever is left out


@pytest.mark.parametrize("name", _COMMANDS)
def test_help_fits_and_ends_with_examples(
    name: str, gpucv: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    shown = gpucv(name, "-h").out
    assert too_wide(shown, 80) == []
    examples = shown.partition("\nExamples:\n")[2].partition("\n\n")[0].splitlines()
    assert examples
    assert all(line.startswith(f"  gpucv {name}") for line in examples)
    assert shown == gpucv(name, "--help").out


def test_an_option_misspelt_is_answered_with_the_nearest(gpucv: Command, study: Path) -> None:
    assert "Did you mean --device?" in gpucv("run", study, "--devise", "cpu").err
    assert 'Did you mean "resume"?' in gpucv("resum").err


@pytest.mark.parametrize(
    ("settings", "on_terminal", "coloured"),
    [
        ({}, False, False),
        ({}, True, True),
        ({"NO_COLOR": "1"}, True, False),
        ({"FORCE_COLOR": "1"}, False, True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False, False),
        ({"TERM": "dumb"}, True, False),
    ],
)
def test_colour_is_for_terminals_that_want_it(
    settings: dict[str, str], on_terminal: bool, coloured: bool
) -> None:
    program = (
        "from gpucv.report.terminal import plain_text\n"
        "from rich.console import Console\n"
        "Console(highlight=False).print(plain_text('held', 'bold red'))"
    )
    plain = {"FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "COLORTERM"}
    env = {key: value for key, value in os.environ.items() if key not in plain}
    env |= {"TERM": "xterm-256color", **settings}
    ours, theirs = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-c", program],
        stdout=theirs if on_terminal else subprocess.PIPE,
        env=env,
        check=True,
    )
    os.close(theirs)
    shown = os.read(ours, 1000).decode() if on_terminal else done.stdout.decode()
    os.close(ours)
    assert "held" in shown
    assert ("31m" in shown) is coloured  # red, with or without bold


@pytest.mark.parametrize(
    ("terminal", "term", "expected"),
    [(True, "xterm", Live), (True, "dumb", Lines), (False, "xterm", Lines)],
)
def test_progress_moves_the_cursor_only_where_one_can(
    terminal: bool, term: str, expected: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", term)
    monkeypatch.setenv("FORCE_COLOR", "1")  # of colour alone
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal, raising=False)
    assert type(choose_progress(quiet=False)) is expected
    assert type(choose_progress(quiet=True)) is Silent
