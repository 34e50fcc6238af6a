"""Intervals and coverage in words, tables and figures, on every kind of page."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from gpucv.analysis import coverage_table, error_by_score, interval_table
from gpucv.report import render_findings, render_page, render_terminal
from gpucv.report.uncertainty import UNCERTAINTY_HEADING, uncertainty_stories
from gpucv.report.uncertainty_figures import coverage_figure, interval_figure, score_figure

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpucv.report import ReportInput
    from gpucv.report.uncertainty import SchemeUncertainty

MODELS = ("llama-2-7b", "mixtral-8x7b-v0-1", "codellama-34b", "yi-34b")
SPREADS = (0.05, 0.05, 0.05, 0.4)


def with_noise(report: ReportInput) -> ReportInput:
    """Predictions that are off by chance, one group's far more, with both tables made of them."""
    assert report.predictions is not None
    holdouts = list(dict.fromkeys(report.predictions["holdout"]))
    spread = report.predictions["holdout"].map(
        dict(zip(holdouts, [*SPREADS, *[0.1] * len(holdouts)], strict=False))
    )
    noise = np.exp(spread * np.random.default_rng(0).normal(size=len(spread)))
    predictions = report.predictions.assign(predicted=report.predictions["actual"] * noise)
    tables = replace(
        report.tables,
        intervals=interval_table(report.tables.folds, predictions),
        coverage=coverage_table(predictions),
    )
    return replace(report, tables=tables, predictions=predictions)


@pytest.fixture
def sure(report_of: Callable[..., ReportInput]) -> ReportInput:
    return with_noise(report_of(models=MODELS))


def story(report: ReportInput) -> SchemeUncertainty:
    (told,) = uncertainty_stories(report, report.verdicts[0])
    return told


def printed(report: ReportInput, width: int = 80, *, full: bool = True) -> str:
    out = StringIO()
    Console(file=out, width=width).print(render_terminal(report, width=width, full=full))
    return out.getvalue()


def texts(figure: Any) -> list[str]:
    return [each.text or "" for each in ElementTree.fromstring(str(figure)).iter("text")]


def test_every_error_stands_beside_its_interval(sure: ReportInput) -> None:
    table = story(sure).intervals
    assert table is not None
    assert sure.tables.intervals is not None
    first, average = sure.tables.intervals.iloc[0], sure.tables.intervals.iloc[-1]
    mape = [column.title for column in table.columns].index("MAPE %")
    for row, cells in ((first, table.rows[0]), (average, table.rows[-1])):
        low, high = row["test_mape_low"], row["test_mape_high"]
        assert cells[mape] == f"{row['test_mape']:.1f} [{low:.1f}, {high:.1f}]"
    assert table.rows[-1][0] == "average, n = 4 of 4"
    assert table.n_summary == 1


def test_the_shortfall_is_said_with_the_group_that_carries_it(sure: ReportInput) -> None:
    (sentence,) = story(sure).sentences
    assert "meant to hold 90% of the rows of a model it has never seen hold" in sentence
    assert " points short, which 4 folds do not tell from none; least " in sentence
    assert "(yi-34b)" in sentence
    assert "From 3 other folds, no more than 75% can be promised for a new group" in sentence


def test_what_the_folds_can_tell_is_not_called_chance(sure: ReportInput) -> None:
    assert sure.tables.coverage is not None
    short = sure.tables.coverage.assign(coverage=[0.3, 0.4, 0.5] * 4)
    report = replace(sure, tables=replace(sure.tables, coverage=short))
    (sentence,) = story(report).sentences
    assert "hold 40.0% [40.0, 40.0] on average over 4 folds, 50.0 points short; least" in sentence


def test_two_folds_have_no_interval_of_the_average_and_it_is_said(
    report_of: Callable[..., ReportInput],
) -> None:
    report = with_noise(report_of(models=MODELS[:2]))
    table = story(report).intervals
    assert table is not None
    assert "[" not in table.rows[-1][2]
    assert table.note == "Fewer than 3 folds: the average has no interval."
    assert "The averages have no interval" in render_findings(report)


def test_the_average_has_its_interval_a_line_below_the_folds(sure: ReportInput) -> None:
    (summary,) = sure.verdicts[0].schemes
    low, high = summary.intervals["test_mape"]
    below = f"95% intervals of the averages, folds drawn again: MAPE [{low:.1f}, {high:.1f}], MSPE"
    assert below in " ".join(printed(sure, 200).split())
    assert f"MAPE \\[{low:.1f}, {high:.1f}\\]" in render_findings(sure)
    assert f"95% interval [{low:.1f}, {high:.1f}]" in render_page(sure)


@pytest.mark.parametrize("width", [60, 80])
def test_the_terminal_keeps_to_its_width(sure: ReportInput, width: int) -> None:
    lines = printed(sure, width).splitlines()
    assert max(map(len, lines)) <= width
    assert any("[" in line and line.startswith("yi-34b") for line in lines)


def test_a_short_print_has_the_sentence_and_not_the_tables(sure: ReportInput) -> None:
    short = printed(sure, full=False)
    assert "prediction intervals meant to hold" in short
    assert "Errors with 95% intervals" not in short


def test_the_findings_and_the_page_have_the_section(sure: ReportInput) -> None:
    assert f"### {UNCERTAINTY_HEADING}" in render_findings(sure).replace("\n## ", "\n### ")
    page = render_page(sure)
    assert page.count(UNCERTAINTY_HEADING) == 1
    assert "diamond" in page
    assert ">meant 95%<" in page


def test_results_of_earlier_versions_have_no_section(
    report_of: Callable[..., ReportInput],
) -> None:
    report = report_of(models=MODELS)
    assert uncertainty_stories(report, report.verdicts[0]) == ()
    assert UNCERTAINTY_HEADING not in render_findings(report)
    assert UNCERTAINTY_HEADING not in render_page(report)


def test_the_interval_figure_has_a_whisker_per_fold_and_a_diamond(sure: ReportInput) -> None:
    told = story(sure)
    figure = interval_figure(told.rows, 25.0, told.title)
    drawn = ElementTree.fromstring(str(figure))
    css = [each.get("class") for each in drawn.iter() if each.get("class")]
    assert css.count("whisker") == len(MODELS)
    assert (css.count("whisker average"), css.count("diamond"), css.count("limit")) == (1, 1, 1)
    assert "average of 4 folds" in texts(figure)
    average = told.rows.iloc[-1]
    assert f"average of 4 folds {average['test_mape']:.1f}% [" in str(drawn.get("aria-label"))


def test_the_coverage_figure_has_a_dot_per_fold_and_level(sure: ReportInput) -> None:
    told = story(sure)
    drawn = ElementTree.fromstring(str(coverage_figure(told.covered, told.title)))
    dots = [each for each in drawn.iter("circle") if "covered" in str(each.get("class"))]
    assert len(dots) == 3 * len(MODELS)
    by_share = told.covered.sort_values("coverage")["coverage"].to_numpy()
    places = sorted(float(str(dot.get("cx"))) for dot in dots)
    assert places == pytest.approx(list(126 + 218 * by_share), abs=0.06)


def test_of_many_folds_the_worst_are_drawn(sure: ReportInput) -> None:
    told = story(sure)
    assert len(told.rows) == 5
    many = pd.concat(
        [told.rows.iloc[[0]].assign(holdout=f"g{i}", test_mape=10.0 + i) for i in range(60)],
        ignore_index=True,
    )
    shown = texts(interval_figure(many, 25.0, ""))
    assert "g59" in shown
    assert "g36" in shown
    assert "g35" not in shown


def test_errors_by_score_have_a_table_and_a_figure_where_scores_are_known(
    sure: ReportInput,
) -> None:
    assert sure.predictions is not None
    predictions = sure.predictions.drop(columns="outside", errors="ignore")
    assert story(replace(sure, predictions=predictions)).scores is None
    outside = predictions["holdout"].eq("yi-34b") * 0.5
    scored = replace(sure, predictions=predictions.assign(outside=outside))
    told = story(scored)
    assert told.scores is not None
    inside, beyond = told.scores.rows
    assert (inside[:2], beyond[:2]) == (("0", "600"), ("0.5", "200"))
    assert float(beyond[2]) > 3 * float(inside[2])
    figure = score_figure(told.bins, told.title)
    assert {"0", "0.5", "600", "200"} <= set(texts(figure))
    assert str(figure) in render_page(scored)


def test_errors_that_a_logarithm_cannot_show_are_not_drawn() -> None:
    zero, endless = np.zeros(30), np.full(30, np.inf)
    assert score_figure(error_by_score(np.arange(30.0), zero), "") is None
    assert score_figure(error_by_score(np.arange(30.0), endless), "") is None
    rest = np.append(endless[:15], np.ones(15))
    assert score_figure(error_by_score(np.arange(30.0), rest, bins=2), "") is not None


def test_hostile_names_are_only_text(hostile_report: ReportInput) -> None:
    report = with_noise(hostile_report)
    page = render_page(report)
    assert UNCERTAINTY_HEADING in page
    assert "<script>" not in page
    assert "onerror=1>" not in page
    assert "\x1b" not in page + render_findings(report) + printed(report)
    told = story(report)
    for figure in (
        interval_figure(told.rows, 25.0, told.title),
        coverage_figure(told.covered, told.title),
    ):
        ElementTree.fromstring(str(figure))


def test_an_average_without_an_interval_says_so_on_the_first_screen(
    report_of: Callable[..., ReportInput],
) -> None:
    said = "no interval: that takes 3 finished folds with finite errors"
    assert said in render_page(report_of(models=("llama-2-7b", "mixtral-8x7b-v0-1")))
    assert said not in render_page(report_of())
