from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from gpucv.cli.progress import Live
from gpucv.runs import FoldRecord

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pandas as pd
    import pytest
    from tests.cli.conftest import Outcome

    Command = Callable[..., Outcome]

COMMAND = [sys.executable, "-c", "from gpucv.cli.main import main; main()"]


def on_a_terminal(words: list[str], cwd: Path) -> tuple[int, str, str]:
    """Run a command with its stderr on a terminal of its own: exit code, stdout, stderr."""
    ours, theirs = pty.openpty()
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    process = subprocess.Popen(
        [*COMMAND, *words], cwd=cwd, stdout=subprocess.PIPE, stderr=theirs, env=env
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # the terminal ends with its last writer
            break
        shown += piece
    os.close(ours)
    assert process.stdout is not None
    with process:
        out = process.stdout.read()
    return process.returncode, out.decode(), shown.decode()


def test_every_fold_that_ends_gets_a_plain_line(gpucv: Command, study: Path) -> None:
    outcome = gpucv("run", study, "--out", "run")
    assert outcome.code == 0
    assert "few-steps: 4 folds over 160 rows x 30 features, device cpu" in outcome.err
    assert re.search(r"\[1/4\] lo[mw]o .*: MAPE [\d.]+ % on \d+ rows, fit .* s left\)", outcome.err)
    assert re.search(r"\[4/4\] .* rows/s\)\n", outcome.err)
    assert "\x1b" not in outcome.err
    again = gpucv("resume", "run").err
    assert "4 of 4 folds are finished already" in again


class Screen(io.StringIO):
    """A terminal of 60 columns and 8 lines."""

    def isatty(self) -> bool:
        return True


def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    """Put a screen in the place of stderr."""
    made = Screen()
    monkeypatch.setattr(sys, "stderr", made)
    for name, value in {"TERM": "xterm", "COLUMNS": "60", "LINES": "8"}.items():
        monkeypatch.setenv(name, value)
    return made


def task(fold_id: int, holdout: str) -> Any:
    predictor = SimpleNamespace(title="xgboost", transform="log")
    scheme = SimpleNamespace(name="lomo")
    return SimpleNamespace(fold_id=fold_id, scheme=scheme, holdout=holdout, predictor=predictor)


def record(fold_id: int, holdout: str) -> FoldRecord:
    named = {"scheme": "lomo", "holdout": holdout, "predictor": "xgboost", "transform": "log"}
    counts = {"n_train": 30, "n_valid": 0, "n_test": 10}
    return FoldRecord(
        fold_id=fold_id,
        key="",
        target="t",
        status="failed",
        device="cpu",
        error="no luck",
        **named,
        **counts,
    )


def lines_of(view: Live) -> list[str]:
    """Draw a view once, apart from its terminal."""
    from rich.console import Console

    console = Console(file=io.StringIO(), width=60, height=8)
    console.print(view._drawn())
    return [line.rstrip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]


def test_the_view_has_a_line_for_each_fold_under_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown = screen(monkeypatch)
    view = Live()
    view.start(5, 1, 160)
    view.begin(task(2, "llama"), "worker-b")
    view.begin(task(1, "mixtral\x1b[2J"), "worker-a")
    drawn = lines_of(view)
    assert re.fullmatch(r"worker-a +lomo mixtral\\x1b\[2J xgboost/log +0:00", drawn[0])
    assert re.fullmatch(r"worker-b +lomo llama xgboost/log +0:00", drawn[1])
    assert drawn[2].startswith("folds 1/5 ")
    view.begin(task(1, "mixtral"), "worker-c")  # worker-a was lost
    view.advance(record(2, "llama"))
    drawn = lines_of(view)
    assert drawn[0].startswith("worker-c  lomo mixtral")
    assert drawn[1].startswith("folds 2/5 ")
    view.stop()
    assert len(lines_of(view)) == 1
    assert "lomo llama xgboost/log: failed: no luck" in shown.getvalue()
    assert "\x1b[2J" not in shown.getvalue()


def test_folds_that_the_terminal_has_no_lines_for_are_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screen(monkeypatch)
    view = Live()
    view.start(40, 0, 1600)
    for number in range(40):
        view.begin(task(number, "a name far too long for one line of sixty columns"), f"w{number}")
    drawn = lines_of(view)
    view.stop()
    assert len(drawn) == 4 + 1 + 1  # beside the lines above and below
    assert [line.split()[0] for line in drawn[:4]] == ["w0", "w1", "w2", "w3"]
    assert all(len(line) <= 60 for line in drawn)
    assert drawn[4] == "and 36 more"


def test_a_run_with_nothing_left_draws_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown = screen(monkeypatch)
    view = Live()
    view.start(4, 4, 0)
    view.stop()
    assert shown.getvalue() == ""


def test_a_terminal_shows_a_bar_and_no_name_can_speak_to_it(
    study: Path, few_steps: pd.DataFrame
) -> None:
    hostile = few_steps.assign(workload=few_steps["workload"].replace("codegen", "\x1b]0;own\x07"))
    hostile.to_parquet(study.parent / "steps.parquet")
    code, out, shown = on_a_terminal(["run", str(study), "--out", "run"], study.parent)
    assert code == 0, shown
    assert "folds 4/4" in shown
    assert "rows/s" in shown
    plain = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", shown)
    assert re.search(r"gpucv-fold_[01]  lomo (llama-2-7b|codellama-34b) xgboost +0:0", plain)
    assert "lomo llama-2-7b xgboost: MAPE" in shown
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")  # the cursor is back
    assert "\x1b" not in out
    assert "folds 4/4" not in out
    assert "\x1b]0;own" not in shown
    assert r"lowo \x1b]0;own\x07 xgboost" in shown
