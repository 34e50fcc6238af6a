"""The leaderboard in every rendering: one table per scheme, and who wins in words."""

from __future__ import annotations

import io
import json
import math
from itertools import product
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from rich.cells import cell_len
from rich.console import Console

import gpucv
from gpucv.analysis import SchemeMeaning, StudyTables, judge
from gpucv.cli.main import main
from gpucv.report import (
    ReportInput,
    render_findings,
    render_json,
    render_page,
    render_terminal,
)
from gpucv.report.leaderboard import LEADERBOARD_SAID, leaderboard_tables

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    Report = Callable[..., ReportInput]

LOMO = {"lomo": SchemeMeaning(("model",), control=False)}


def on_terminal(report: ReportInput, width: int = 400, *, full: bool = True) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    console.print(render_terminal(report, width=width, full=full))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.fixture
def compared(report_of: Report) -> Callable[..., ReportInput]:
    """Make a report of predictors with these MAPEs in every scheme; NaN is a failed fold."""

    def make(
        mapes: dict[str, Sequence[float]], schemes: dict[str, SchemeMeaning] = LOMO
    ) -> ReportInput:
        (longest,) = {len(each) for each in mapes.values()}
        models = tuple(f"model-{i}" for i in range(longest))
        named = tuple((name, "raw") for name in mapes)
        report = report_of(models=models, formulations=named, schemes=schemes)
        order = product(mapes.values(), schemes)
        scores = [mape for of, _ in order for mape in of]
        folds = report.tables.folds.assign(
            test_mape=scores, status=["failed" if math.isnan(each) else "ok" for each in scores]
        )
        tables = StudyTables(
            folds, report.tables.experiments, report.tables.importance, report.tables.stability
        )
        verdicts = tuple(judge(folds, schemes=schemes))
        return ReportInput(name="h3", tables=tables, verdicts=verdicts)

    return make


CLEAR = {"tree": [5.0, 6.0, 9.0] * 3, "mean": [50.0, 70.0, 90.0] * 3}


def test_every_rendering_has_the_table_and_the_sentence(
    compared: Callable[..., ReportInput],
) -> None:
    report = compared(CLEAR)
    sentence = "tree wins: 6.7% on average over 9 folds; every other compared is worse."
    findings = render_findings(report)
    assert f"## Leaderboard\n\n{LEADERBOARD_SAID}\n\n### lomo: leave one model out" in findings
    page = render_page(report)
    assert "<h2>Leaderboard</h2>" in page
    terminal = on_terminal(report)
    assert "Leaderboard, lomo: leave one model out" in terminal
    for text in (findings, page, terminal):
        assert sentence in text
    (row,) = [line.split() for line in terminal.splitlines() if line.startswith("mean  ")][1:2]
    assert row[:3] == ["mean", "2", "70.0"]
    assert row[3] == "+63.3"
    assert row[5:8] == ["to", row[6], "worse"]


def test_a_study_of_one_predictor_has_none(report: ReportInput) -> None:
    assert leaderboard_tables(report) == ()
    for text in (render_findings(report), render_page(report), on_terminal(report)):
        assert "Leaderboard" not in text


def test_there_is_one_table_per_scheme_and_a_control_is_called_one(
    compared: Callable[..., ReportInput],
) -> None:
    schemes = {**LOMO, "cv": SchemeMeaning((), control=True)}
    lomo, control = leaderboard_tables(compared(CLEAR, schemes))
    assert lomo.title == "lomo: leave one model out"
    assert control.title == "cv: leave rows out whatever their group (control)"
    assert control.note.endswith("A control: it moves no verdict.")
    assert "control" not in lomo.note


@pytest.mark.parametrize(
    ("mapes", "standings", "said"),
    [
        (
            {"a": [1.0, 9.0, 5.0, 2.0] * 2, "b": [9.0, 2.0, 5.0, 4.0] * 2, "c": [80.0, 60.0] * 4},
            ["best", "tied", "worse"],
            "a leads (4.2% on average over 8 folds); tied with it: b; the others are worse.",
        ),
        (
            {"a": [1.0, 9.0, 5.0, 2.0] * 2, "b": [9.0, 2.0, 5.0, 4.0] * 2},
            ["best", "tied"],
            "a leads (4.2% on average over 8 folds), but no other compared can be told apart "
            "from it.",
        ),
        (
            {"a": [1.0, 2.0], "b": [500.0, 600.0]},
            ["best", "not told apart"],
            "a has the lowest mean MAPE (1.5% on average over 2 folds); nothing here tells them "
            "apart.",
        ),
        (
            {"a": [1.0, 2.0, 3.0], "b": [5.0, 6.0, 7.0]},
            ["best", "worse"],
            "a wins: 2.0% on average over 3 folds; every other compared is worse. 3 folds are "
            "few: of predictors that are equal, one pair in four would look apart.",
        ),
        (
            {"a": [9.0] * 6, "b": [1.0] * 5 + [math.nan]},
            ["best", "not compared"],
            "a: 9.0% on average over 6 folds, with no other to compare it with. b finished 5 of 6 "
            "folds and is not compared.",
        ),
        (
            {"a": [math.nan], "b": [math.nan]},
            ["not compared", "not compared"],
            "No fold finished.",
        ),
        (
            {"a": [9.0, math.nan], "b": [math.nan, 1.0]},
            ["not compared", "not compared"],
            "No fold was finished by all: none is ranked, and each has its own figures.",
        ),
        (
            {"a": [9.0, 8.0], "b": [math.inf, 1.0]},
            ["best", "worse"],
            "a wins: 8.5% on average over 2 folds; every other compared is worse.",
        ),
    ],
)
def test_the_sentence_says_who_wins_and_what_is_tied(
    compared: Callable[..., ReportInput],
    mapes: dict[str, Sequence[float]],
    standings: list[str],
    said: str,
) -> None:
    (table,) = leaderboard_tables(compared(mapes))
    at = [column.title for column in table.columns].index("standing")
    assert [row[at] for row in table.rows] == standings
    assert table.note == said


def test_many_predictors_are_cut_short_on_a_terminal_unless_all_are_asked_for(
    compared: Callable[..., ReportInput],
) -> None:
    report = compared({f"p{i:02}": [10.0 + i, 11.0 + i, 12.0 + i] for i in range(20)})
    board = on_terminal(report, full=False).split("Leaderboard, ")[1].split("\n\n")[0]
    assert "p07" in board
    assert "p08" not in board
    assert "12 more follow, see leaderboard.csv." in board
    assert "p19" in on_terminal(report, full=True).split("Leaderboard, ")[1].split("\n\n")[0]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_line_of_it_is_wider_than_the_terminal(
    compared: Callable[..., ReportInput], width: int
) -> None:
    text = on_terminal(compared(CLEAR), width)
    assert max(map(cell_len, text.splitlines())) <= width
    assert "standing" in text


def test_names_cannot_steer_it(
    compared: Callable[..., ReportInput], hostile_names: tuple[str, ...]
) -> None:
    report = compared({name: [1.0, 2.0, 3.0] for name in hostile_names})
    texts = render_findings(report), render_page(report), on_terminal(report)
    assert not {"\x1b", "\x07", "\u202e"} & set("".join(texts))
    assert "<script>" not in texts[0].replace("\\<", "")
    assert "<script>" not in texts[1]


def test_the_json_holds_both_tables(compared: Callable[..., ReportInput]) -> None:
    content = json.loads(json.dumps(render_json(compared(CLEAR)), allow_nan=False))
    assert [row["predictor"] for row in content["leaderboard"]] == ["tree", "mean"]
    assert [row["tied_with_best"] for row in content["leaderboard"]] == [True, False]
    (pair,) = content["differences"]
    assert (pair["better"], pair["worse"], pair["tie"]) == ("tree", "mean", False)


@pytest.fixture
def finished(tmp_path: Path) -> gpucv.Result:
    """A real run of two predictors over three groups, and a control."""
    rows = pd.DataFrame({"x": range(60), "time_us": [float(10 + i % 7 + i) for i in range(60)]})
    rows["model"] = [f"m{i % 3}" for i in range(60)]
    rows["experiment_id"], rows["step.id"] = rows["model"], range(60)
    rows.to_csv(tmp_path / "rows.csv", index=False)
    study = {
        "schema": 1,
        "name": "two",
        "data": {"steps": [str(tmp_path / "rows.csv")], "target": "time_us", "audit": "off"},
        "features": {"columns": ["x"]},
        "validation": {"fraction": 0},
        "schemes": [
            {"name": "lomo", "hold_out": "model"},
            {"name": "in-sample", "splitter": "Resubstitution"},
        ],
        "predictors": [{"name": "constant"}, {"name": "xgboost", "params": {"n_estimators": 40}}],
        "execution": {"device": "cpu"},
    }
    return gpucv.run(study, out=tmp_path / "run")


def test_a_run_keeps_both_tables_and_loads_them_again(finished: gpucv.Result) -> None:
    board = finished.leaderboard
    assert board[["scheme", "predictor", "rank", "control"]].to_numpy().tolist() == [
        ["lomo", "xgboost", 1, False],
        ["lomo", "constant", 2, False],
        ["in-sample", "xgboost", 1, True],
        ["in-sample", "constant", 2, True],
    ]
    assert finished.differences["n_groups"].tolist() == [3, 1]
    folds = finished.folds[finished.folds["scheme"] == "lomo"]
    means = folds.groupby("predictor")["test_mape"].mean().sort_values()
    assert board["mean_mape"].tolist()[:2] == pytest.approx(means.tolist())
    written = pd.read_csv(finished.path / "leaderboard.csv")
    pd.testing.assert_frame_equal(written, board, check_dtype=False)
    assert "true" in (finished.path / "differences.csv").read_text()
    outputs = json.loads((finished.path / "manifest.json").read_text())["outputs"]
    assert {"leaderboard.csv", "differences.csv"} <= set(outputs)
    again = gpucv.Result.load(finished.path)
    pd.testing.assert_frame_equal(again.leaderboard, board)
    pd.testing.assert_frame_equal(again.differences, finished.differences)


def test_the_error_of_the_total_time_is_that_of_the_predictions(finished: gpucv.Result) -> None:
    assert list(finished.folds)[-1] == "test_time_error"
    assert "test_time_error" not in finished.experiments
    for _, fold in finished.folds.iterrows():
        rows = finished.predictions
        rows = rows[(rows["predictor"] == fold["predictor"]) & (rows["scheme"] == fold["scheme"])]
        rows = rows[rows["holdout"] == fold["holdout"]]
        off = abs(rows["predicted"].sum() - rows["actual"].sum()) / rows["actual"].sum()
        assert fold["test_time_error"] == pytest.approx(100 * off)


def test_a_run_of_an_earlier_version_is_read_and_reported(
    finished: gpucv.Result, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its folds.csv and its records know no error of the total time."""
    path, manifest = finished.path / "folds.csv", finished.path / "manifest.json"
    pd.read_csv(path).drop(columns="test_time_error").to_csv(path, index=False)
    content = json.loads(manifest.read_text())
    del content["outputs"]["folds.csv"]
    for meaning in content["schemes"].values():
        for name in ("temporal", "within", "in_sample"):
            del meaning[name]
    manifest.write_text(json.dumps(content))
    loaded = gpucv.Result.load(finished.path)
    assert list(loaded.folds) == list(finished.folds)
    assert loaded.folds["test_time_error"].isna().all()
    assert loaded.leaderboard["mean_time_error"].isna().all()
    with pytest.raises(SystemExit) as ended:
        main(["report", str(finished.path), "--quiet"])
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert "Leaderboard, lomo: leave one model out" in printed
    assert "xgboost wins" in printed
