"""With ``--json``, stdout is one JSON object and nothing else."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Outcome

    Command = Callable[..., Outcome]


def parsed(outcome: Outcome) -> dict[str, Any]:
    assert outcome.code == 0, outcome.err
    value = json.loads(outcome.out)
    assert isinstance(value, dict)
    return value


def test_run_prints_verdicts_folds_and_the_place(gpucv: Command, study: Path) -> None:
    told = parsed(gpucv("run", study, "--out", "run", "--json"))
    assert told["run"] == "run"
    assert told["verdicts"][0]["label"] == "not supported"
    assert told["device"]["used"] == "cpu"
    folds = pd.read_csv("run/folds.csv")
    assert [fold["test_mape"] for fold in told["folds"]] == folds["test_mape"].tolist()
    assert told["folds"][0]["best_iteration"] is None
    assert type(told["folds"][0]["n_train"]) is int
    again = parsed(gpucv("resume", "run", "--json", "--device", "cpu", "--scheduler", ""))
    assert again == told


def test_validate_and_a_dry_run_print_the_same_plan(
    gpucv: Command, study: Path, tmp_path: Path
) -> None:
    plan = parsed(gpucv("validate", study, "--json"))
    again = parsed(gpucv("run", study, "--dry-run", "--json"))
    for told in (plan, again):  # what memory is free differs from moment to moment
        assert told["placement"].pop("memory_bytes") > 0
        assert told["placement"].pop("why")
    assert plan == again
    assert [fold["holdout"] for fold in plan["folds"]] == [
        *("codellama-34b", "llama-2-7b", "codegen", "general")
    ]
    assert plan["device"] == "cpu"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["steps.parquet", "study.toml"]
    gpucv("run", study, "--out", "run")
    assert [fold["key"] for fold in plan["folds"]] == pd.read_csv("run/plan.csv")["key"].tolist()


def test_features_prints_what_it_wrote(gpucv: Command, study: Path) -> None:
    told = parsed(gpucv("features", study, "--out", "f.parquet", "--limit", 7, "--json"))
    table = pd.read_parquet("f.parquet")
    assert (told["out"], told["rows"]) == ("f.parquet", 28) == ("f.parquet", len(table))
    assert set(told["features"]) <= set(table.columns)


def test_doctor_prints_the_machine(gpucv: Command) -> None:
    told = parsed(gpucv("doctor", "--json"))
    assert told["device"]["auto"] in ("cpu", "cuda")
    assert told["cores"] >= 1
    assert told["versions"]["gpucv"]


def test_notes_and_progress_stay_on_stderr(gpucv: Command, study: Path) -> None:
    outcome = gpucv("run", study, "--out", "run", "--json", "--limit", 30)
    assert json.loads(outcome.out)["notes"][-1]["code"] == "limited"
    assert "warning: trial run on 120 of 160 rows" in outcome.err
    assert "[4/4]" in outcome.err


@pytest.mark.parametrize("words", [("validate",), ("run", "--out", "run"), ("run", "--dry-run")])
def test_quiet_says_nothing_beside_the_result(
    words: tuple[str, ...], gpucv: Command, study: Path
) -> None:
    outcome = gpucv(words[0], study, *words[1:], "-q", "--limit", 30)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out


def test_a_failed_command_prints_nothing_on_stdout(gpucv: Command, study: Path) -> None:
    outcome = gpucv("run", study, "--json", "--set", "data.target=step.duration")
    assert (outcome.code, outcome.out) == (3, "")
    assert outcome.err.startswith("gpucv: error: ")
