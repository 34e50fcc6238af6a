"""The optimism gap and the rows left out, in every rendering."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import pytest
from rich.cells import cell_len
from rich.console import Console

from gpucv.analysis import SchemeMeaning, judge
from gpucv.report import (
    ReportInput,
    render_findings,
    render_json,
    render_page,
    render_terminal,
)
from gpucv.report.overview import gap_table

if TYPE_CHECKING:
    from collections.abc import Callable

    Report = Callable[..., ReportInput]

OF_MODEL = SchemeMeaning(("model",), control=False)
SHAPED = SchemeMeaning(("model",), control=False, disjoint=("k", "n"))
RANDOM = SchemeMeaning((), control=True, random=True)


def on_terminal(report: ReportInput, width: int = 400) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    console.print(render_terminal(report, width=width))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def everywhere(report: ReportInput) -> list[str]:
    findings = render_findings(report).replace("\\", "")
    return [findings, on_terminal(report), render_page(report)]


def rejudged(report: ReportInput, schemes: dict[str, SchemeMeaning]) -> ReportInput:
    return ReportInput(
        name=report.name,
        tables=report.tables,
        verdicts=tuple(judge(report.tables.folds, schemes=schemes)),
        predictions=report.predictions,
    )


@pytest.fixture
def beside_random(report_of: Report) -> ReportInput:
    """Two schemes of the same folds, the control's errors a tenth of the other's."""
    schemes = {"lomo": OF_MODEL, "random": RANDOM}
    report = report_of(schemes=schemes)
    folds = report.tables.folds
    folds.loc[folds["scheme"] == "random", "test_mape"] /= 10
    return rejudged(report, schemes)


def test_every_rendering_tells_the_gap(beside_random: ReportInput) -> None:
    average = (9908.0 + 78.9 + 18.2) / 3
    sentence = (
        f"lomo: {average:.1f}% on a model it has never seen (n = 3 of 3 folds) against "
        f"{average / 10:.1f}% on a random split (random, n = 3 of 3 folds): "
        f"an optimism gap of {0.9 * average:.1f} points (10.0x)."
    )
    for text in everywhere(beside_random):
        assert sentence in text
        assert "Optimism gap" in text
        assert "says little about configurations never seen" in text
        assert f"+{0.9 * average:.1f}" in text


def test_the_findings_set_the_gap_as_a_section_before_the_folds(
    beside_random: ReportInput,
) -> None:
    text = render_findings(beside_random)
    assert text.index("## Optimism gap") < text.index("## Folds")


def test_without_a_control_no_rendering_speaks_of_optimism(report: ReportInput) -> None:
    assert gap_table(report.verdicts) is None
    for text in everywhere(report):
        assert "ptimism" not in text


def test_the_table_has_a_row_for_every_predictor_scheme_and_control(report_of: Report) -> None:
    schemes = {"lomo": OF_MODEL, "lowo": OF_MODEL, "random": RANDOM, "cv": RANDOM}
    report = report_of(formulations=(("xgboost", "raw"), ("xgboost", "log")), schemes=schemes)
    table = gap_table(report.verdicts)
    assert table is not None
    assert [row[:3] for row in table.rows] == [
        (predictor, scheme, control)
        for predictor in ("xgboost", "xgboost on log")
        for scheme in ("lomo", "lowo")
        for control in ("random", "cv")
    ]
    assert {row[-2:] for row in table.rows} == {("+0.0", "1.0")}


def test_failed_folds_of_the_control_stand_below_the_table(report_of: Report) -> None:
    schemes = {"lomo": OF_MODEL, "random": RANDOM}
    report = report_of(schemes=schemes)
    folds = report.tables.folds
    folds.loc[folds.index[-1], ["status", "test_mape"]] = ["failed", float("nan")]
    for text in everywhere(rejudged(report, schemes)):
        assert "random: 1 of 3 folds did not finish." in text
        assert "1 of the control's folds did not finish" in text.replace("&#39;", "'")


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_gap_fits_a_terminal(beside_random: ReportInput, width: int) -> None:
    text = on_terminal(beside_random, width)
    assert max(map(cell_len, text.splitlines())) <= width
    assert "gap, points" in text
    assert "control MAPE %" in text


def test_hostile_names_in_the_gap_are_only_text(
    report_of: Report, hostile_names: tuple[str, ...]
) -> None:
    schemes = {name: RANDOM if index % 2 else OF_MODEL for index, name in enumerate(hostile_names)}
    report = report_of(models=("a", "b"), schemes=schemes)
    findings, terminal, page = everywhere(report)
    assert not {"\x1b", "\x07", "\u202e"} & set(findings + terminal + page)
    assert "<script>" not in page
    json.dumps(render_json(report), allow_nan=False)


# Rows left out -------------------------------------------------------------------------


def with_left_out(report_of: Report, *counts: int) -> ReportInput:
    report = report_of(schemes={"lomo": SHAPED})
    report.tables.folds["n_left_out"] = list(counts)
    return rejudged(report, {"lomo": SHAPED})


@pytest.mark.parametrize(
    ("counts", "told"),
    [
        (
            (1000, 200, 34),
            "1,234 training rows of the same shape (k x n) as a test row were left out, counted "
            "fold by fold.",
        ),
        (
            (0, 1, 0),
            "1 training row of the same shape (k x n) as a test row was left out, counted fold "
            "by fold.",
        ),
        ((0, 0, 0), "No training row has the shape (k x n) of a test row."),
    ],
)
def test_every_rendering_tells_how_many_training_rows_were_left_out(
    counts: tuple[int, ...], told: str, report_of: Report
) -> None:
    for text in everywhere(with_left_out(report_of, *counts)):
        assert told in text
        assert "lomo: leave one model out, no k x n shared" in text


def test_the_fold_table_shows_the_rows_left_out_beside_those_trained_on(
    report_of: Report,
) -> None:
    text = render_findings(with_left_out(report_of, 1000, 200, 34))
    header = next(line for line in text.splitlines() if line.startswith("| held out"))
    assert [cell.strip() for cell in header.split("|")][-3:-1] == ["n train", "n left out"]
    assert [fold["n_left_out"] for fold in _folds(report_of)] == [1000, 200, 34]


def _folds(report_of: Report) -> list[dict[str, object]]:
    content = json.loads(json.dumps(render_json(with_left_out(report_of, 1000, 200, 34))))
    folds: list[dict[str, object]] = content["folds"]
    return folds


def test_a_scheme_beside_one_that_leaves_rows_out_says_nothing_of_it(report_of: Report) -> None:
    schemes = {"lomo": SHAPED, "plain": OF_MODEL}
    report = report_of(schemes=schemes)
    report.tables.folds["n_left_out"] = [5, 6, 7, 0, 0, 0]
    text = render_findings(rejudged(report, schemes))
    headers = [line for line in text.splitlines() if line.startswith("| held out")]
    assert ["n left out" in header for header in headers[:2]] == [True, False]
    assert text.count("were left out") == 1


def test_without_shapes_nothing_is_said_of_rows_left_out(report: ReportInput) -> None:
    for text in everywhere(report):
        assert "left out" not in text


def test_advice_on_a_gpu_speaks_of_rows_on_it(report_of: Report) -> None:
    for text in everywhere(report_of(schemes={"mine": SchemeMeaning(("gpu",), control=False)})):
        assert "mine: leave one GPU out" in text
        assert "hold on a GPU it has never seen?" in text
        assert "Record some rows on a GPU and train on them" in text
