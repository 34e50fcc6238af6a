"""A fold that fails is a row with a reason: the others finish, and the run says so."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

import gpucv.folds.task as task_module

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Outcome

    Command = Callable[..., Outcome]


@pytest.fixture
def break_folds(monkeypatch: pytest.MonkeyPatch) -> Callable[[set[str]], None]:
    """Let the folds with these holdouts raise while they train."""
    train = task_module._train_and_score

    def let(holdouts: set[str]) -> None:
        def raise_for_some(task: Any, *more: Any) -> Any:
            if task.holdout in holdouts:
                raise RuntimeError("the trees | fell <over>\nand more")
            return train(task, *more)

        monkeypatch.setattr(task_module, "_train_and_score", raise_for_some)

    return let


def test_the_other_folds_finish(
    break_folds: Callable[[set[str]], None], gpucv: Command, study: Path
) -> None:
    break_folds({"llama-2-7b"})
    outcome = gpucv("run", study, "--out", "run")
    root = study.parent / "run"
    assert outcome.code == 1
    assert "lomo llama-2-7b xgboost: failed: RuntimeError: the trees" in outcome.err
    folds = pd.read_csv(root / "folds.csv").set_index("holdout")
    assert folds["status"].to_dict() == {
        "codellama-34b": "ok",
        "llama-2-7b": "failed",
        "codegen": "ok",
        "general": "ok",
    }
    assert folds.loc["llama-2-7b", ["test_mape", "test_r", "fit_s"]].isna().all()
    record = json.loads((root / "folds" / "0001" / "result.json").read_text(encoding="utf-8"))
    assert record["error"] == "RuntimeError: the trees | fell <over>"
    assert "raise_for_some" in record["traceback"]
    manifest = json.loads((root / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["status"] == "finished with failed folds"
    findings = (root / "FINDINGS.md").read_text(encoding="utf-8")
    assert "1 of 2" in findings
    assert "the trees" in findings
    assert "fell &lt;over&gt;" in (root / "report.html").read_text(encoding="utf-8")


def test_a_failed_fold_is_tried_again_when_asked(
    break_folds: Callable[[set[str]], None], gpucv: Command, study: Path
) -> None:
    break_folds({"llama-2-7b"})
    assert gpucv("run", study, "--out", "run", "-q").code == 1
    break_folds(set())
    assert gpucv("resume", "run", "-q").code == 1
    assert gpucv("resume", "run", "--retry-failed", "-q").code == 0


def test_a_run_whose_folds_all_failed_still_reports(
    break_folds: Callable[[set[str]], None], gpucv: Command, study: Path
) -> None:
    break_folds({"llama-2-7b", "codellama-34b", "codegen", "general"})
    outcome = gpucv("run", study, "--out", "run", "--json")
    assert outcome.code == 1
    told = json.loads(outcome.out)
    assert told["verdicts"][0]["label"] == "undecided"
    assert {fold["status"] for fold in told["folds"]} == {"failed"}
    root = study.parent / "run"
    assert not (root / "predictions.parquet").exists()
    findings = (root / "FINDINGS.md").read_text(encoding="utf-8")
    assert "the trees" in findings
    assert gpucv("report", "run").code == 0
