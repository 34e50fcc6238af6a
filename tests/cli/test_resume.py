from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest
    from tests.cli.conftest import Outcome

    Command = Callable[..., Outcome]


def test_a_run_is_resumed_with_other_workers_and_nothing_else_may_change(
    gpucv: Command, study: Path, tmp_path: Path
) -> None:
    assert gpucv("run", study, "--out", "run", "-q").code == 0
    before = (tmp_path / "run" / "predictions.parquet").read_bytes()
    (tmp_path / "run" / "folds" / "0001" / "DONE").unlink()
    asked = ("--set", "execution.workers=1", "--set", "verdict.mape_max=1e9")
    assert gpucv("resume", "run", *asked, "-q").code == 0
    assert (tmp_path / "run" / "predictions.parquet").read_bytes() == before
    placement = json.loads((tmp_path / "run" / "manifest.json").read_text())["placement"]
    assert placement["folds_per_process"] == 1
    refused = gpucv("resume", "run", "--set", "seed=7")
    assert refused.code == 3
    assert "the study is not the one this run began with" in refused.err


def test_what_is_logged_while_folds_run_is_told_like_other_warnings(
    gpucv: Command, study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gpucv.folds import runner

    run_fold = runner.run_fold

    def losing(task: runner.FoldTask) -> object:
        logging.getLogger("gpucv.folds").warning("worker %s\nwas lost", "w0")
        return run_fold(task)

    monkeypatch.setattr(runner, "run_fold", losing)
    told = gpucv("run", study, "--out", "run", "-q").err
    assert told.splitlines() == [r"warning: worker w0\nwas lost"] * told.count("lost")
    assert told
