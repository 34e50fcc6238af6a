from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pandas as pd
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


def test_a_terminal_shows_a_bar_and_no_name_can_speak_to_it(
    study: Path, few_steps: pd.DataFrame
) -> None:
    hostile = few_steps.assign(workload=few_steps["workload"].replace("codegen", "\x1b]0;own\x07"))
    hostile.to_parquet(study.parent / "steps.parquet")
    code, out, shown = on_a_terminal(["run", str(study), "--out", "run"], study.parent)
    assert code == 0, shown
    assert "folds 4/4" in shown
    assert "rows/s" in shown
    assert "lomo llama-2-7b xgboost: MAPE" in shown
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")  # the cursor is back
    assert "\x1b" not in out
    assert "folds 4/4" not in out
    assert "\x1b]0;own" not in shown
    assert r"lowo \x1b]0;own\x07 xgboost" in shown
