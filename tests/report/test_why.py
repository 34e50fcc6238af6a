"""Why a predictor fails: its words, tables and figures, in every rendering."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from gpucv.analysis import error_table
from gpucv.report import render_findings, render_json, render_page
from gpucv.report.failure_figures import bias_bar, fold_slopes, measure_slopes, slope_chart
from gpucv.report.failure_story import failure_stories, why_heading

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpucv.report import ReportInput


def test_an_error_of_scale_alone_is_told_as_one(report: ReportInput) -> None:
    (story,) = failure_stories(report, report.verdicts[0])
    assert story.sentences[0] == (
        "One factor for each fold would take the average MAPE of 3335.0% (n = 3 folds) to 0.0%: "
        "in these folds most of the error (100%) is scale, the rest is shape."
    )
    assert story.scale is not None
    assert story.scale.rows[0] == ("llama-2-7b", "200", "9908.0", "0.0", "0.010")
    assert story.scale.rows[-1] == ("average, n = 3", "600", "3335.0", "0.0", "")


def test_rows_outside_are_counted_where_they_are_known(report: ReportInput) -> None:
    assert report.predictions is not None
    errors = error_table(report.predictions.assign(outside=0.5))
    (story,) = failure_stories(replace(report, errors=errors), report.verdicts[0])
    assert story.scale is not None
    assert [row[-1] for row in story.scale.rows] == ["100.0"] * 4
    assert "Outside: rows with at least one feature" in story.scale.note


def test_an_error_of_shape_is_not_blamed_on_scale(report: ReportInput) -> None:
    assert report.predictions is not None
    off = np.where(np.arange(len(report.predictions)) % 2, 4.0, 0.25)
    shaped = report.predictions.assign(predicted=report.predictions["actual"] * off)
    changed = replace(report, predictions=shaped, errors=error_table(shaped))
    (story,) = failure_stories(changed, changed.verdicts[0])
    assert "They are errors of shape" in story.sentences[0]


def test_folds_that_the_factor_makes_worse_are_counted(report: ReportInput) -> None:
    assert report.errors is not None
    errors = report.errors.copy()
    of_fold = (errors["by"] == "all") & (errors["holdout"] == "llama-2-7b")
    errors.loc[~of_fold & (errors["by"] == "all"), "scaled_mape"] = 900.0
    (story,) = failure_stories(replace(report, errors=errors), report.verdicts[0])
    assert story.sentences[0].endswith("In 2 of 3 folds the factor makes the MAPE larger.")


def test_features_that_leave_their_range_are_named(report: ReportInput) -> None:
    (story,) = failure_stories(report, report.verdicts[0])
    assert story.sentences[1] == (
        "12 of 12 features leave their training range, in 3 of 3 folds; f_00 most: in 25.0% of "
        "the rows of llama-2-7b."
    )
    assert story.outside is not None
    assert story.outside.rows[0] == ("f_00", "3 of 3", "25.0", "2.00", "llama-2-7b")
    assert "2 features with fewer rows outside not listed" in story.outside.note


def test_features_inside_their_range_are_no_explanation(report: ReportInput) -> None:
    assert report.tables.outside is not None
    inside = report.tables.outside.assign(share=0.0, farthest=0.0)
    changed = replace(report, tables=replace(report.tables, outside=inside))
    (story,) = failure_stories(changed, changed.verdicts[0])
    assert story.outside is None
    assert story.sentences[1].startswith("All 12 features of the held-out rows stay inside")


def test_results_that_know_neither_say_nothing(report: ReportInput) -> None:
    bare = replace(report, errors=None, tables=replace(report.tables, outside=None))
    assert failure_stories(bare, bare.verdicts[0]) == ()
    assert "Why it fails" not in render_page(bare)
    assert "Why it fails" not in render_findings(bare)


def test_a_predictor_that_holds_does_not_fail(report_of: Callable[..., ReportInput]) -> None:
    held = report_of(models=("codellama-34b",))
    assert why_heading(held.verdicts[0]) == "Where the errors are"
    assert why_heading(report_of().verdicts[0]) == "Why it fails"


def test_page_findings_and_json_tell_the_same(report: ReportInput) -> None:
    page, findings, record = render_page(report), render_findings(report), render_json(report)
    for part in ("Why it fails", "Scale or shape", "Errors by phase", "Bias by measured time"):
        assert part in page
        assert part in findings
    assert "in these folds most of the error (100%) is scale" in page
    assert "in these folds most of the error (100%) is scale" in findings
    assert "SHAP share" in page
    assert "SHAP share" in findings
    assert {"errors", "outside", "explanations"} <= set(record)


def test_a_bias_bar_points_to_its_side_and_grows_with_it() -> None:
    bars = [bias_bar(mspe) for mspe in (-90.0, 50.0, 5000.0)]
    ends = [float(re.findall(r"M60 3H([\d.]+)", bar)[0]) for bar in bars]
    assert ends[0] < 60 < ends[1] < ends[2] <= 118
    assert 'class="under"' in bars[0]
    assert 'class="over"' in bars[1]
    assert "predicted 90.0% too low on average" in bars[0]
    assert bias_bar(float("inf")) == bias_bar(float("nan")) == ""


def test_a_slope_passes_through_the_rank_of_each_column() -> None:
    chart = slope_chart("t", ["A", "B", "C"], {"x": [1, 3, 2], "y": [2, 1, float("nan")]})
    ElementTree.fromstring(chart)
    x, y = re.findall(r'class="curve c\d" d="([^"]+)"', chart)
    heights = [float(point.split()[1]) for point in re.split("[ML]", x)[1:]]
    assert heights == [22.0, 200.0, 111.0]  # rank 1 at the top, rank 3 at the bottom
    assert len(re.split("[ML]", y)[1:]) == 2


def test_labels_never_lie_upon_each_other_nor_outside() -> None:
    ranks = {f"feature {index}": [1.0, 30.0 - index / 100] for index in range(8)}
    chart = slope_chart("t", ["A", "B"], ranks)
    labels = re.findall(r'class="start" x="[\d.]+" y="([\d.]+)"', chart)
    heights = sorted(map(float, labels))
    assert len(heights) == 8
    assert all(after - before >= 11 for before, after in pairwise(heights))
    assert heights[-1] < 214


def test_slopes_are_bounded_whatever_the_number_of_folds(
    report_of: Callable[..., ReportInput],
) -> None:
    report = report_of(models=tuple(f"model-{index:02}" for index in range(40)))
    folds = fold_slopes(report.tables, report.verdicts[0], "lomo")
    assert folds is not None
    assert folds.figure.count("<circle") == 8 * 12
    assert "28 more folds not drawn" in folds.note
    measures = measure_slopes(report.tables, report.verdicts[0], "lomo")
    assert measures is not None
    assert [name for name in ("gain", "SHAP", "permuted") if f">{name}<" in measures.figure] == [
        *("gain", "SHAP", "permuted")
    ]


def test_a_single_fold_and_a_single_measure_have_no_slope(
    report_of: Callable[..., ReportInput],
) -> None:
    report = report_of(models=("llama-2-7b",))
    assert fold_slopes(report.tables, report.verdicts[0], "lomo") is None
    tables = replace(report.tables, explanations=None)
    assert measure_slopes(tables, report.verdicts[0], "lomo") is None


def test_many_folds_and_predictors_keep_the_page_small(
    report_of: Callable[..., ReportInput],
) -> None:
    few = report_of(
        models=tuple(f"model-{index:03d}" for index in range(100)),
        formulations=tuple((f"predictor-{index}", "raw") for index in range(10)),
    )
    page = render_page(few)
    assert len(page.encode()) < 5_000_000
    panels = page.count("Predicted against actual, ")
    assert panels == 60  # 64 shared among 10 predictors
    assert page.count("88 folds with a lower MAPE not listed") == 10


def test_a_panel_has_no_more_marks_with_more_rows(report: ReportInput) -> None:
    assert report.predictions is not None
    many = report.predictions.loc[report.predictions.index.repeat(200)]
    spread = np.random.default_rng(0).lognormal(0, 2, len(many))
    page = render_page(replace(report, predictions=many.assign(predicted=many["actual"] * spread)))
    panels = re.findall(r'<svg[^>]*aria-label="Predicted against.*?</svg>', page)
    assert len(panels) == 3
    assert all(100 < panel.count("z") <= 48 * 48 for panel in panels)
    assert all(panel.count("<path") <= 25 for panel in panels)


def test_the_best_folds_are_drawn_beside_the_worst(report_of: Callable[..., ReportInput]) -> None:
    models = tuple(f"model-{index:03d}" for index in range(100))
    report = report_of(models=models)
    scores = pd.Series(np.arange(100.0) + 1, index=list(models))
    folds = report.tables.folds.assign(test_mape=report.tables.folds["holdout"].map(scores))
    page = render_page(replace(report, tables=replace(report.tables, folds=folds)))
    drawn = re.findall(r"Predicted against actual, (model-\d+)", page)
    assert drawn == [*models[:16], *models[-48:]]


def test_predictors_are_drawn_beside_each_other(report_of: Callable[..., ReportInput]) -> None:
    page = render_page(report_of(formulations=(("xgboost", "raw"), ("xgboost", "log"))))
    (figure,) = re.findall(r'<svg[^>]*aria-label="Share of rows below an error by.*?</svg>', page)
    assert figure.count('class="curve c') == 2
    assert "by predictor" not in render_page(report_of())


@pytest.mark.parametrize("scroll", [r'<div class="scroll"(?![^>]*tabindex="0")', r"<th></th>"])
def test_whoever_uses_no_mouse_or_no_eyes_reaches_every_table(
    scroll: str, report: ReportInput
) -> None:
    assert not re.search(scroll, render_page(report))
