"""``gpucv tune``: the study's own folds, with each predictor beside its tuned self."""

from __future__ import annotations

import json
import os
import re
import tomllib
from statistics import median
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
import tomli_w

import gpucv.folds.task as task_module
from gpucv.cli import progress

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Outcome

    Command = Callable[..., Outcome]

SPACE = ("--space", "max_depth=1,4", "--space", "learning_rate=0.05,1.0,log")


@pytest.fixture
def one_scheme(study: Path) -> Path:
    """Two folds, of a predictor that learns quickly, and one that is not tuned."""
    raw = tomllib.loads(study.read_text(encoding="utf-8"))
    raw["schemes"] = [{"name": "lowo", "hold_out": "workload"}]
    raw["predictors"] = [
        {"label": "trees", "params": {"n_estimators": 5, "min_child_weight": 1}},
        {"name": "constant"},
    ]
    study.write_text(tomli_w.dumps(raw), encoding="utf-8")
    return study


def told(outcome: Outcome) -> dict[str, Any]:
    assert outcome.code == 0, outcome.err
    value: dict[str, Any] = json.loads(outcome.out)
    return value


def test_each_fold_is_told_with_and_without_tuning(gpucv: Command, one_scheme: Path) -> None:
    found = told(gpucv("tune", one_scheme, "--trials", 4, *SPACE, "--out", "run", "--json"))
    folds = pd.read_csv("run/folds.csv")
    assert folds["predictor"].tolist() == ["trees", "trees tuned"] * 2
    tuned = folds[folds["predictor"] == "trees tuned"].set_index("holdout")["test_mape"]
    default = folds[folds["predictor"] == "trees"].set_index("holdout")["test_mape"]
    for number, row in enumerate(found["tuning"]):
        assert (row["scheme"], row["predictor"], row["transform"]) == ("lowo", "trees", "raw")
        assert row["default_mape"] == default[row["holdout"]]
        assert row["tuned_mape"] == tuned[row["holdout"]]
        record = json.loads(
            (one_scheme.parent / f"run/folds/{2 * number + 1:04d}/result.json").read_text()
        )
        scores = [candidate["mape"] for candidate in record["chosen"]["candidates"]]
        assert len(scores) == 1 + 4  # the parameters as they stand, and those drawn
        assert row["inner_mape"] == min(scores)
        assert row["chosen"] == {name: record["chosen"][name] for name in row["chosen"]}
        assert list(row["chosen"]) == ["max_depth", "learning_rate"]
        # One workload is left, so that recordings are held out inside the fold.
        assert row["by"] == "groups of experiment_id, 2 inner folds"
    assert found["run"] == "run"
    assert [fold["test_mape"] for fold in found["folds"]] == folds["test_mape"].tolist()


def test_the_untuned_folds_are_those_of_the_study_itself(gpucv: Command, one_scheme: Path) -> None:
    gpucv("tune", one_scheme, "--trials", 1, *SPACE, "--out", "tuned", "-q")
    gpucv("run", one_scheme, "--out", "run", "-q")
    by_command = [
        pd.read_csv(f"{name}/folds.csv").query("predictor == 'trees'")["test_mape"].tolist()
        for name in ("tuned", "run")
    ]
    assert by_command[0] == by_command[1]


def test_the_consensus_is_the_median_and_can_be_pasted_into_the_study(
    gpucv: Command, one_scheme: Path
) -> None:
    outcome = gpucv("tune", one_scheme, "--trials", 3, *SPACE, "--out", "run", "-q")
    assert outcome.code == 0, outcome.err
    assert outcome.err == ""
    root = one_scheme.parent / "run"
    written = (root / "tuned.toml").read_text(encoding="utf-8")
    assert written in outcome.out
    manifest = json.loads((root / "manifest.json").read_text())
    assert "tuned.toml" in manifest["outputs"]
    [agreed] = tomllib.loads(written)["predictors"]
    chosen = [
        json.loads((root / f"folds/{at:04d}/result.json").read_text())["chosen"] for at in (1, 3)
    ]
    assert agreed["params"] == {
        "n_estimators": 5,
        "min_child_weight": 1,
        "max_depth": round(median(each["max_depth"] for each in chosen)),
        "learning_rate": pytest.approx(median(each["learning_rate"] for each in chosen), rel=1e-3),
    }
    assert (agreed["label"], agreed["transform"]) == ("trees tuned consensus", "raw")
    rest = tomllib.loads(one_scheme.read_text(encoding="utf-8"))
    rest["predictors"].append(agreed)
    one_scheme.write_text(tomli_w.dumps(rest), encoding="utf-8")
    assert gpucv("run", one_scheme, "--out", "again", "-q").code == 0
    assert "trees tuned consensus" in set(pd.read_csv("again/folds.csv")["predictor"])


def test_the_tables_show_the_folds_their_average_and_the_choice(
    gpucv: Command, one_scheme: Path
) -> None:
    outcome = gpucv("tune", one_scheme, "--trials", 2, *SPACE, "--out", "run")
    assert outcome.code == 0, outcome.err
    folds = pd.read_csv("run/folds.csv").groupby("predictor")["test_mape"]
    assert "lowo: trees" in outcome.out
    mean = folds.mean()
    expected = rf"average, n = 2 of 2 +{mean['trees']:.1f} +{mean['trees tuned']:.1f}"
    assert re.search(expected, outcome.out)
    assert re.search(r"codegen .* max_depth \d, learning_rate 0?\.?\d", outcome.out)
    assert "chosen by groups of experiment_id, 2 inner folds" in outcome.out
    assert "about 36 fits" not in outcome.out
    # 2 folds x (1 + (2 drawn + 1 as it stands) x 5 inner folds + 1), told beside the progress.
    assert "about 34 fits" in outcome.err
    assert "[4/4]" in outcome.err


def test_a_dry_run_prints_the_plan_and_writes_nothing(gpucv: Command, one_scheme: Path) -> None:
    outcome = gpucv("tune", one_scheme, "--dry-run", "--json", "--limit", 5)
    plan = told(outcome)["folds"]
    assert [fold["predictor"] for fold in plan] == ["trees", "trees tuned"] * 2
    assert plan[0]["n_test"] == 10
    assert sorted(path.name for path in one_scheme.parent.iterdir()) == [
        "steps.parquet",
        "study.toml",
    ]


def test_transforms_are_chosen_where_asked_for_and_shared_tuned_selves_run_once(
    gpucv: Command, one_scheme: Path
) -> None:
    raw = tomllib.loads(one_scheme.read_text(encoding="utf-8"))
    trees = raw["predictors"][0]
    raw["predictors"] = [trees, {**trees, "transform": "log"}]
    one_scheme.write_text(tomli_w.dumps(raw), encoding="utf-8")
    words = ("--trials", 2, "--space", "max_depth=1,3", "--transforms", "--out", "run")
    found = told(gpucv("tune", one_scheme, *words, "--json"))
    folds = pd.read_csv("run/folds.csv")
    assert folds["predictor"].tolist() == ["trees", "trees tuned", "trees"] * 2
    assert folds["transform"].tolist() == ["raw", "auto", "log"] * 2
    assert [(row["transform"], row["holdout"]) for row in found["tuning"]] == [
        ("raw", "codegen"),
        ("raw", "general"),
        ("log", "codegen"),
        ("log", "general"),
    ]
    assert {row["chosen"]["transform"] for row in found["tuning"]} <= {"raw", "log", "utilisation"}
    assert found["tuning"][0]["tuned_mape"] == found["tuning"][2]["tuned_mape"]
    [agreed] = tomllib.loads(found["consensus"])["predictors"]
    assert agreed["transform"] in ("raw", "log", "utilisation")


def test_another_predictor_is_tuned_by_its_label_and_a_space(
    gpucv: Command, one_scheme: Path
) -> None:
    override = 'predictors.1={name="xgboost", label="other trees"}'
    words = ("--predictor", "other trees", *SPACE, "--dry-run", "--json")
    plan = told(gpucv("tune", one_scheme, "--set", override, *words))["folds"]
    assert {fold["predictor"] for fold in plan} == {"other trees", "other trees tuned"}


def test_an_interrupted_tuning_resumes_and_keeps_its_consensus(
    gpucv: Command, one_scheme: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = told(gpucv("tune", one_scheme, "--trials", 2, *SPACE, "--out", "whole", "--json"))

    def interrupted(*words: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(progress.Lines, "advance", interrupted)
        patch.setattr(os, "_exit", lambda code: None)  # it would end the tests, too
        outcome = gpucv("tune", one_scheme, "--trials", 2, *SPACE, "--out", "part")
    assert outcome.code == 130
    assert "to finish this run: gpucv resume part" in outcome.err
    assert not (one_scheme.parent / "part" / "tuned.toml").exists()
    assert gpucv("resume", "part", "-q").code == 0
    assert (one_scheme.parent / "part" / "tuned.toml").read_text() == whole["consensus"]


def test_a_fold_that_fails_is_told_and_the_exit_code_says_so(
    gpucv: Command, one_scheme: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = task_module._train_and_score

    def failing(task: Any, *more: Any) -> Any:
        if task.fold_id == 1:
            raise RuntimeError("no trees")
        return train(task, *more)

    monkeypatch.setattr(task_module, "_train_and_score", failing)
    outcome = gpucv("tune", one_scheme, "--trials", 2, *SPACE, "--out", "run", "--json")
    assert outcome.code == 1
    first, second = json.loads(outcome.out)["tuning"]
    assert first["default_mape"] > 0
    assert (first["tuned_mape"], first["inner_mape"], first["chosen"]) == (None, None, {})
    assert second["tuned_mape"] > 0
    outcome = gpucv("tune", one_scheme, "--trials", 2, *SPACE, "--out", "shown", "-q")
    assert outcome.code == 1
    assert "average, n = 1 of 2" in outcome.out


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (("--trials", 0), "--trials 0: draw at least 1 candidate"),
        (("--predictor", "tree"), "'tree' is none of the study's; did you mean 'trees'?; it has"),
        (("--predictor", "constant"), "what to tune of 'constant' is not known; say it with --sp"),
        (("--space", "max_depth"), "--space 'max_depth' is not of the form key=low,high or key"),
        (("--space", "max_depth=2"), "is not of the form key=low,high"),
        (("--space", "max_depth=2,x"), "is not of the form key=low,high"),
        (("--space", "max_depth=2,inf"), "is not of the form key=low,high"),
        (("--space", "max_depth=2,9,lin"), "is not of the form key=low,high"),
        (("--space", "=2,9"), "is not of the form key=low,high"),
        (("--space", "a=1,2", "--space", "a=1,3"), "a has a range already; name it once"),
        (("--space", "max_depth=9,2"), "predictors.1.choose: space.max_depth must rise"),
        (("--space", "max_deph=2,9"), "choose.space: unknown parameter 'max_deph'; did you mean"),
        (("--space", "max_depth=2,99"), "choose.space: max_depth: input should be less than or"),
        (("--set", "predictors.0.name=constant"), "no xgboost predictor to tune; name another"),
        (
            ("--set", "predictors.0.choose={grid={max_depth=[2, 3]}}", "--predictor", "trees"),
            "predictor 'trees' chooses its parameters already: use gpucv run",
        ),
    ],
)
def test_what_cannot_be_tuned_is_refused_before_anything_runs(
    words: tuple[Any, ...], fault: str, gpucv: Command, one_scheme: Path
) -> None:
    outcome = gpucv("tune", one_scheme, *words, "--out", "run")
    assert outcome.code == 2
    assert outcome.out == ""
    assert fault in outcome.err
    assert not (one_scheme.parent / "run").exists()


def test_dask_workers_choose_what_threads_choose(gpucv: Command, one_scheme: Path) -> None:
    words = ("--trials", 3, *SPACE, "--transforms", "--json", "-q")
    here = told(gpucv("tune", one_scheme, *words, "--out", "threads"))
    there = told(
        gpucv("tune", one_scheme, *words, "--out", "dask", "--set", "execution.backend=dask")
    )
    assert there["tuning"] == here["tuning"]
    assert there["consensus"] == here["consensus"]
