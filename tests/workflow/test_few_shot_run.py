"""Donors and few-shot curves from a study to its files and back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

import gpucv
from gpucv.folds import task as folds_task
from gpucv.workflow import Result

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[..., gpucv.Result]

TREES = {"n_estimators": 5, "min_child_weight": 1.0}
FEW = {"k": [0, 1, 5, 10_000], "repeats": 1, "draw": ["random", "spread"]}
SCHEMES = [{"name": "lomo", "hold_out": "model", "few_shot": FEW}]
PREDICTORS: list[dict[str, Any]] = [
    {"params": TREES, "transform": "log"},
    {"params": TREES, "label": "per-table", "per": ["model", "workload"]},
    {"name": "constant"},
]


@pytest.fixture
def result(run: Run) -> gpucv.Result:
    return run(schemes=SCHEMES, predictors=PREDICTORS)


def test_every_table_is_read_back_as_it_was_written(result: gpucv.Result) -> None:
    loaded = Result.load(result.path)
    for name in ("donors", "few_shot", "next_rows"):
        written = getattr(result, name)
        assert len(written)
        pd.testing.assert_frame_equal(getattr(loaded, name), written)
    manifest = json.loads((result.path / "manifest.json").read_text(encoding="utf-8"))
    assert {"donors.csv", "few_shot.csv", "next_rows.csv"} <= set(manifest["outputs"])


def test_the_donor_by_rule_is_what_the_fold_scored(result: gpucv.Result) -> None:
    donors = result.donors
    assert donors is not None
    assert set(donors["predictor"]) == {"per-table"}
    for (holdout, group), rows in donors.groupby(["holdout", "group"]):
        assert str(group).startswith(f"{holdout} x ")
        assert rows["by_rule"].sum() == 1
        assert not rows["donor"].str.startswith(f"{holdout} x ").any()
    ruled = donors[donors["by_rule"]]
    folds = result.folds.query("predictor == 'per-table'").set_index("holdout")
    for holdout, rows in ruled.groupby("holdout"):
        weighted = np.average(rows["test_mape"], weights=rows["n_test"])
        assert weighted == pytest.approx(folds.loc[str(holdout), "test_mape"])


def test_the_curve_has_every_point_of_every_fold(result: gpucv.Result) -> None:
    points = result.few_shot
    assert points is not None
    # k = 0 belongs to warm starts alone.
    assert len(points) == len(result.folds) * 2 * (4 + 3)
    beyond = points["k"] == 10_000
    assert points.loc[beyond, "test_mape"].isna().all()
    assert points.loc[beyond, "reason"].str.fullmatch(r"only [\d,]+ rows can be drawn").all()
    assert np.isfinite(points.loc[~beyond, "test_mape"]).all()
    told = result.next_rows
    assert told is not None
    assert "constant" not in set(told["predictor"])
    assert set(told.groupby(["holdout", "predictor"])["rank"].min()) == {1}


def test_the_findings_and_the_page_tell_both(result: gpucv.Result) -> None:
    for name in ("FINDINGS.md", "report.html"):
        text = (result.path / name).read_text(encoding="utf-8")
        assert "Borrowed predictors" in text
        assert "Measuring a few rows of a new group" in text
        assert "rows can be drawn" in text


def test_a_resumed_run_tells_the_same(result: gpucv.Result) -> None:
    before = {
        name: (result.path / name).read_bytes()
        for name in ("donors.csv", "few_shot.csv", "next_rows.csv")
    }
    gpucv.resume(result.path)
    assert {name: (result.path / name).read_bytes() for name in before} == before


def test_a_study_without_either_has_none_of_the_files(run: Run) -> None:
    plain = run()
    assert (plain.donors, plain.few_shot, plain.next_rows) == (None, None, None)
    names = {path.name for path in plain.path.iterdir()}
    assert not names & {"donors.csv", "few_shot.csv", "next_rows.csv"}
    assert Result.load(plain.path).donors is None


def test_a_changed_table_is_refused(result: gpucv.Result) -> None:
    path = result.path / "few_shot.csv"
    path.write_text(path.read_text(encoding="utf-8").replace("warm", "cold"), encoding="utf-8")
    with pytest.raises(gpucv.errors.RunError, match=r"few_shot\.csv was changed"):
        Result.load(result.path)


def test_the_time_of_a_fit_leaves_the_curve_out(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    clock = [0.0]
    curve = folds_task.few_shot_curve

    def slow_curve(*words: Any) -> Any:
        clock[0] += 1000.0
        return curve(*words)

    monkeypatch.setattr(folds_task, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(folds_task, "few_shot_curve", slow_curve)
    one = {"workers": 1, "threads_per_fold": 1}
    timed = run(schemes=SCHEMES, predictors=PREDICTORS[:1], execution=one)
    assert clock[0] >= 1000.0
    assert set(timed.folds["fit_s"]) == set(timed.folds["predict_s"]) == {0.0}


def test_a_fold_whose_predictor_cannot_learn_from_few_rows_is_finished(run: Run) -> None:
    # Fewer rows than inputs leave a least-squares fit undetermined.
    blackbox = run(schemes=SCHEMES, predictors=[{"name": "blackbox"}])
    assert set(blackbox.folds["status"]) == {"ok"}
    points = blackbox.few_shot
    assert points is not None
    assert np.isfinite(points.query("k == 0")["test_mape"]).all()
    assert (points["reason"].eq("") == points["test_mape"].notna()).all()
