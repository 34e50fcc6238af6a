"""What measurements of a new group buy: tables, sentences and figures."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from io import StringIO
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import pandas as pd
import pytest
from rich.console import Console

from gpucv.analysis import Formulation, learning_curves
from gpucv.report import render_findings, render_json, render_page, render_terminal
from gpucv.report.few_shot_figure import learning_figure
from gpucv.report.few_shot_tables import few_shot_stories

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpucv.report import ReportInput
    from gpucv.report.few_shot_tables import FewShotStory

OF = Formulation("xgboost", "raw", "step.duration_us")
WARM = {0: 12.0, 10: 9.0, 100: 4.0}
ALONE = {10: 30.0, 100: 4.0}
NAMED = {"scheme": "lomo", "predictor": "xgboost", "transform": "raw", "target": OF.target}


def few_shot(
    holdouts: tuple[str, ...] = ("llama-2-7b", "codellama-34b"),
    starts: dict[str, dict[int, float]] | None = None,
    draws: tuple[str, ...] = ("random",),
    **said: Any,
) -> pd.DataFrame:
    """Curves of three repeats, one of them twice and one half the error in the middle."""
    return pd.DataFrame(
        [
            {**NAMED, "holdout": holdout, "k": k, "start": start, "draw": draw, "repeat": repeat}
            | {"n_test": 50, "test_mape": error * times, "test_wape": error}
            | {"reason": "only 5 rows can be drawn" if math.isnan(error) else ""}
            | said
            for holdout in holdouts
            for start, errors in (starts or {"warm": WARM, "alone": ALONE}).items()
            for draw in draws
            for k, error in errors.items()
            for repeat, times in enumerate((0.5, 1.0, 2.0))
        ]
    )


def next_rows(n: int = 30, **said: Any) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {**NAMED, "holdout": "llama-2-7b", "rank": rank, "experiment_id": "exp", "step_id": 7}
            | {"feature": feature, "value": value}
            | said
            for rank in range(1, n + 1)
            for feature, value in (("tokens", rank * 100.0), ("layers", 32.0), ("ratio", 1 / rank))
        ]
    )


def told(report: ReportInput, frame: pd.DataFrame, **more: Any) -> ReportInput:
    return replace(report, tables=replace(report.tables, few_shot=frame, **more))


def story(report: ReportInput, frame: pd.DataFrame, **more: Any) -> FewShotStory:
    (only,) = few_shot_stories(told(report, frame, **more).tables, OF, 25.0)
    return only


def printed(report: ReportInput, width: int = 120) -> str:
    console = Console(file=StringIO(), width=width)
    console.print(render_terminal(report, width=width))
    assert isinstance(console.file, StringIO)
    return " ".join(console.file.getvalue().split())


def test_the_curve_is_a_row_per_number_of_rows_with_its_band(report: ReportInput) -> None:
    table = story(report, few_shot()).curve
    assert [column.title for column in table.columns] == [
        *("rows measured", "warm", "10 to 90 %", "alone", "10 to 90 %")
    ]
    assert table.rows == (
        ("0", "12.0", "7.2 to 21.6", "-", "-"),
        ("10", "9.0", "5.4 to 16.2", "30.0", "18.0 to 54.0"),
        ("100", "4.0", "2.4 to 7.2", "4.0", "2.4 to 7.2"),
    )
    assert table.title.endswith("mean of 2 groups")


def test_the_rows_needed_are_told_for_the_average_and_the_slowest_group(
    report: ReportInput,
) -> None:
    slow = few_shot(("slow",), {"warm": {0: 30.0, 10: 12.0, 100: 6.0}, "alone": {10: 9.0, 100: 8}})
    told_of = story(report, pd.concat([few_shot(("a", "b", "c")), slow]))
    assert [column.title for column in told_of.needed.columns] == [
        "learnt",
        *("average below 25%", "every group", "average below 10%", "every group"),
        *("average below 5%", "every group"),
    ]
    assert told_of.needed.rows == (
        ("warm", "0", "10", "10", "100", "100", "only 3 of 4"),
        ("alone", "10", "100", "100", "100", "not by 100", "only 3 of 4"),
    )
    assert told_of.sentences == (
        "lomo: rows to measure until the average stays below 25%: 0 warm, 10 alone; below 10%: "
        "10 warm, 100 alone; below 5%: 100 warm, more than 100 alone. A warm start is ahead up "
        "to 100 rows, the most tried.",
    )


def test_where_a_warm_start_stops_paying_is_said(report: ReportInput) -> None:
    (sentence,) = story(report, few_shot()).sentences
    assert sentence.endswith("From 100 rows on, alone is as good as a warm start.")
    assert story(report, few_shot(starts={"warm": WARM})).sentences == ()
    never = few_shot(starts={"warm": {0: 90.0, 5: 80.0}, "alone": {5: 99.0}})
    assert story(report, never).sentences == (
        "lomo: a warm start is ahead up to 5 rows, the most tried.",
    )


def test_several_draws_are_told_apart(report: ReportInput) -> None:
    both = story(report, few_shot(draws=("random", "spread")))
    names = ["warm, random", "warm, spread", "alone, random", "alone, spread"]
    assert [row[0] for row in both.needed.rows] == names
    assert [sentence.split(":")[0] for sentence in both.sentences] == [
        "lomo, random draws",
        "lomo, spread draws",
    ]


def test_points_without_a_score_are_counted_with_their_reason(report: ReportInput) -> None:
    frame = few_shot(starts={"warm": {0: 9.0, 1000: math.nan}, "alone": {1000: math.nan}})
    told_of = story(report, frame)
    assert told_of.curve.rows[1] == ("1,000", "-", "-", "-", "-")
    assert told_of.curve.note == (
        "12 points have no score: only 5 rows can be drawn (12). A mean that lacks a group is "
        "left out."
    )
    assert told_of.needed.rows[1][1] == "-"


def test_what_to_measure_next_shows_the_features_that_differ(report: ReportInput) -> None:
    (table,) = story(report, few_shot(), next_rows=next_rows()).next_rows
    assert [column.title for column in table.columns] == [
        *("rank", "experiment", "step", "tokens", "ratio")
    ]
    assert len(table.rows) == 8
    assert table.rows[2] == ("3", "exp", "7", "300", "0.3333")
    assert table.note == "The first 8 of 30 in next_rows.csv."
    gap = next_rows(2, value=math.nan)
    assert story(report, few_shot(), next_rows=gap).next_rows[0].rows[0] == ("1", "exp", "7")


@pytest.mark.parametrize("render", [render_findings, render_page, printed])
def test_every_rendering_tells_it_where_there_is_something_to_tell(
    render: Callable[[ReportInput], str], report: ReportInput
) -> None:
    text = render(told(report, few_shot(), next_rows=next_rows()))
    for part in ("mean of 2 groups", "every group", "alone is as good as a warm start"):
        assert part in text
    assert ("What to measure next" in text) == (render is render_page)
    assert "rows measured" not in render(report)


def test_the_json_has_the_points_where_there_are_any(report: ReportInput) -> None:
    content = render_json(told(report, few_shot(), next_rows=next_rows(1)))
    assert len(content["few_shot"]) == 30  # type: ignore[arg-type]
    assert len(content["next_rows"]) == 3  # type: ignore[arg-type]
    assert "few_shot" not in render_json(report)


def figure(frame: pd.DataFrame, mape_max: float = 25.0) -> Any:
    (learning,) = learning_curves(frame)
    return learning_figure(learning, mape_max)


def places(svg: str, css: str) -> list[tuple[float, float]]:
    (found,) = re.findall(rf'<path class="{css}" d="M([^"]*?)Z?"', svg)
    return [(float(x), float(y)) for x, y in (pair.split() for pair in found.split("L"))]


def test_a_curve_is_drawn_where_its_errors_lie() -> None:
    svg = str(figure(few_shot()).average.figure)
    ElementTree.fromstring(svg)
    ticks = {
        label: float(y) for y, label in re.findall(r'class="end"[^>]*y="([\d.]+)">(\d+)%', svg)
    }
    (x10, y10), (x100, y100) = places(svg, "curve c0")
    per_decade = ticks["10"] - ticks["100"]
    assert y100 - y10 == pytest.approx(per_decade * math.log10(30 / 4), abs=0.3)
    grid = re.findall(r'class="mid" x="([\d.]+)" y="[\d.]+">(\d+)<', svg)
    at = {int(label): float(x) for x, label in grid}
    assert (at[10], at[100]) == (pytest.approx(x10), pytest.approx(x100))
    assert at[0] < at[10] < at[100]


def test_the_band_runs_from_the_10_to_the_90_percent_quantile() -> None:
    svg = str(figure(few_shot()).average.figure)
    corners = places(svg, "band c1")
    line = dict(places(svg, "curve c1"))
    assert len(corners) == 4
    for x, y in line.items():
        above, below = sorted(edge for at, edge in corners if at == x)
        assert above < y < below


def test_no_measured_row_stands_apart_and_belongs_to_a_warm_start() -> None:
    svg = str(figure(few_shot()).average.figure)
    assert svg.count('class="curve leap c1"') == 1
    assert "leap c0" not in svg
    assert svg.count('class="knot c1"') == 3
    assert svg.count('class="knot c0"') == 2
    assert "leap" not in str(figure(few_shot(starts={"alone": ALONE})).average.figure)


def test_the_second_draw_is_a_broken_line_in_the_same_colour() -> None:
    drawn = figure(few_shot(draws=("random", "spread")))
    assert drawn.legend == (
        *(("c1", "warm, random"), ("c1 broken", "warm, spread")),
        *(("c0", "alone, random"), ("c0 broken", "alone, spread")),
    )


def test_a_figure_says_its_numbers_in_words() -> None:
    svg = str(figure(few_shot()).average.figure)
    (label,) = re.findall(r'aria-label="([^"]*)"', svg)
    assert label == (
        "Test MAPE by rows measured, mean of 2 groups. warm: 12.0% at 0, 9.0% at 10, 4.0% at "
        "100; alone: 30.0% at 10, 4.0% at 100"
    )


def test_the_threshold_is_drawn_only_among_the_errors() -> None:
    assert 'class="limit"' in str(figure(few_shot(), 25.0).average.figure)
    assert 'class="limit"' not in str(figure(few_shot(), 5000.0).average.figure)


def test_groups_share_their_axes_and_the_lowest_of_many_are_left_out() -> None:
    frames = [few_shot((f"g{i:02}",), {"warm": {0: 5.0 + i, 10: 4.0}}) for i in range(15)]
    drawn = figure(pd.concat(frames))
    assert [panel.title for panel in drawn.groups] == [f"g{i:02}" for i in range(3, 15)]
    assert drawn.n_left_out == 3
    assert (
        len({tuple(re.findall(r'class="grid" d="[^"]*"', str(p.figure))) for p in drawn.groups})
        == 1
    )


def test_a_single_group_is_drawn_once() -> None:
    drawn = figure(few_shot(("only",)))
    assert drawn.average.title == "only"
    assert drawn.groups == ()


@pytest.mark.parametrize(
    "starts",
    [
        {"warm": {0: 5.0}},
        {"alone": {7: 5.0}},
        {"warm": {0: 0.0, 10: 0.0}},
        {"warm": {0: math.inf, 10: math.inf}},
        {"alone": {1: math.nan}},
        {"warm": {0: 1e-9, 1: 1e9}},
    ],
    ids=str,
)
def test_odd_curves_have_a_figure_too(starts: dict[str, dict[int, float]]) -> None:
    svg = str(figure(few_shot(starts=starts)).average.figure)
    ElementTree.fromstring(svg)
    assert "nan" not in re.sub('aria-label="[^"]*"', "", svg)
    assert "inf" not in re.sub('aria-label="[^"]*"', "", svg)


def test_hostile_names_are_only_text(report: ReportInput, hostile_names: tuple[str, ...]) -> None:
    nasty = hostile_names[0] + hostile_names[2]
    frame = few_shot((nasty, "b"), scheme=nasty, reason=nasty)
    rows = next_rows(3, holdout=nasty, scheme=nasty, experiment_id=nasty)
    rows["feature"] += nasty
    hostile = told(report, frame, next_rows=rows)
    page = render_page(hostile)
    assert "<script" not in page
    assert "\x1b" not in page + render_findings(hostile)
