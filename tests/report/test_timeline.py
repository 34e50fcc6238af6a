"""The timeline on the page and as timeline.svg."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import pandas as pd
import pytest

from gpucv.analysis import TIMELINE_COLUMNS
from gpucv.report import render_page, render_timeline
from gpucv.report.timeline import TIMELINE_HEADING, timeline_figure

if TYPE_CHECKING:
    from gpucv.report import ReportInput

LEFT, RIGHT = 128.0, 748.0


def row(fold_id: int, began: float, ended: float, **more: Any) -> dict[str, Any]:
    """A row of timeline.csv; nothing is known of it but what is said here."""
    empty = {name: math.nan if kind == "real" else "" for name, kind in TIMELINE_COLUMNS.items()}
    return (
        empty
        | {"fold_id": fold_id, "scheme": "lomo", "holdout": f"m{fold_id}", "status": "ok"}
        | {"attempts": 1, "worker": "w", "host": "a", "began_s": began, "ended_s": ended}
        | more
    )


def table(*rows: dict[str, Any]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(TIMELINE_COLUMNS))


def drawn(*rows: dict[str, Any]) -> Any:
    figure = timeline_figure(table(*rows))
    assert figure is not None
    ElementTree.fromstring(str(figure.figure))
    return figure


def boxes(figure: Any, css: str) -> list[tuple[float, float, float]]:
    """Left edge, top and width of every box of a class."""
    (found,) = re.findall(rf'<path class="{css}" d="([^"]+)"', str(figure.figure)) or [""]
    corners = re.findall(r"M([\d.]+) ([\d.]+)h([\d.]+)v", found)
    return [(float(x), float(y), float(width)) for x, y, width in corners]


def test_the_parts_of_a_fold_lie_one_after_another_to_scale() -> None:
    seconds = {"load_s": 1.0, "quantise_s": 2.0, "fit_s": 6.0, "predict_s": 1.0}
    figure = drawn(row(0, 0, 10, **seconds))
    scale = (RIGHT - LEFT) / 10
    at = LEFT
    for css, length in (("load", 1), ("quantise", 2), ("fit", 4), ("predict", 1)):
        ((left, _, width),) = boxes(figure, f"tl-{css}")
        assert (left, width) == (pytest.approx(at, abs=0.1), pytest.approx(length * scale, abs=0.1))
        at += length * scale
    ((left, _, width),) = boxes(figure, "tl-bar")
    assert (left, width) == (LEFT, RIGHT - LEFT)
    names = [name for _, _, name in figure.legend]
    assert names == ["loading rows", "binning", "fitting", "predicting", "scoring, writing"]


def test_parts_longer_than_the_fold_do_not_leave_its_bar() -> None:
    figure = drawn(row(0, 0, 1, fit_s=5.0, predict_s=5.0), row(1, 0, 4))
    ((left, _, width),) = boxes(figure, "tl-fit")
    assert left + width == pytest.approx(LEFT + (RIGHT - LEFT) / 4, abs=0.1)
    assert boxes(figure, "tl-predict") == []


def test_a_wait_is_a_line_in_front_of_its_bar() -> None:
    figure = drawn(row(0, 0, 4, queued_s=0.0), row(1, 6, 8, queued_s=6.0))
    (line,) = re.findall(r'class="tl-wait" d="M([\d.]+) [\d.]+H([\d.]+)"', str(figure.figure))
    scale = (RIGHT - LEFT) / 8
    assert [float(x) for x in line] == pytest.approx([LEFT + 4 * scale, LEFT + 6 * scale], abs=0.1)


def test_each_worker_is_named_once_and_lanes_stand_below_each_other() -> None:
    figure = drawn(
        row(0, 0, 4, worker="tls://10.0.0.1:4000"),
        row(1, 0, 4, worker="tls://10.0.0.1:4000"),
        row(2, 0, 4, worker="3"),
        row(3, 0, 4, worker="", host="a-host-with-a-rather-long.name.example"),
    )
    svg = str(figure.figure)
    assert svg.count(">10.0.0.1:4000<") == svg.count(">worker 3<") == 1
    assert ">…er-long.name.example<" in svg
    assert len({top for _, top, _ in boxes(figure, "tl-bar")}) == 4


def test_a_number_stands_on_a_bar_that_has_room_for_it() -> None:
    figure = drawn(row(7, 0, 100, fit_s=90.0), row(8, 100, 100.5), row(1234, 101, 200))
    labels = re.findall(r'class="(tl-id[^"]*)" [^>]*>([^<]+)<', str(figure.figure))
    assert labels == [("tl-id", "7"), ("tl-id plain", "1234")]


def test_failures_and_retries_are_marked_by_shape_and_in_words() -> None:
    figure = drawn(row(0, 0, 9, attempts=2), row(1, 9, 10, status="failed"), row(2, 0, 1))
    svg = str(figure.figure)
    for css in ("tl-again", "tl-cross", "tl-lost"):
        assert svg.count(f'class="{css}"') == 1
    assert "0 \N{MULTIPLICATION SIGN}2" in svg
    names = [name for _, _, name in figure.legend]
    assert names[-2:] == ["begun more than once", "did not finish"]
    assert "1 fold begun more than once. 1 fold did not finish." in figure.said
    plain = drawn(row(0, 0, 9))
    assert "tl-again" not in str(plain.figure)
    assert "tl-cross" not in str(plain.figure)


def test_the_sentence_has_the_numbers() -> None:
    figure = drawn(
        row(0, 0, 2, worker="x"),
        row(1, 2, 10, worker="x"),
        row(2, 0, 5, worker="y"),
    )
    assert figure.said == (
        "3 folds on 2 workers, 2 lanes: 10 s from the first begin to the last end, with the lanes "
        "busy 75% of it. The longest was fold 1 (lomo m1): 8 s. Begun longest first and without "
        "a wait, the same folds would fill these lanes for 8 s, 80% of what they took."
    )


def test_a_pause_is_a_line_and_a_sentence() -> None:
    figure = drawn(row(0, 0, 10), row(1, 10_000, 10_010, queued_s=0.0))
    ((at,),) = [re.findall(r'class="tl-pause" d="M([\d.]+) ', str(figure.figure))]
    assert float(at) == pytest.approx((LEFT + RIGHT) / 2)
    assert "A pause of 2.8 h, when nothing ran or waited, is left out." in figure.said
    assert "pauses left out" in str(figure.figure)


def test_hundreds_of_folds_stay_small_and_thousands_run_together() -> None:
    def many(count: int) -> Any:
        return drawn(
            *(
                row(at, at // 32, at // 32 + 0.99, fit_s=0.5, worker=f"w{at % 32:02}")
                for at in range(count)
            ),
            row(count, 0, 1, worker="z", status="failed"),
        )

    few, lots = many(384), many(5000)
    assert len(boxes(few, "tl-fit")) == 384
    assert len(str(few.figure)) < 60_000
    assert len(boxes(lots, "tl-busy")) == 32, "bars that touch are one"
    assert len(boxes(lots, "tl-lost")) == 1, "a failed fold still stands out"
    assert len(str(lots.figure)) < 12_000
    assert "those that touch are drawn as one" in lots.said
    assert "tl-id" not in str(lots.figure)


def test_a_gap_that_can_be_seen_parts_the_bars_that_run_together() -> None:
    rows = [row(at, at, at + 1.0) for at in range(300)]
    rows += [row(at, at + 10, at + 11.0) for at in range(300, 500)]
    assert len(boxes(drawn(*rows), "tl-busy")) == 2


def test_lanes_beyond_what_can_be_read_are_counted() -> None:
    figure = drawn(*(row(at, 0, 1, worker=f"w{at:03}") for at in range(120)))
    assert len(boxes(figure, "tl-bar")) == 96
    assert "24 lanes more not drawn." in figure.said


def test_folds_that_took_no_time_at_all_are_drawn() -> None:
    assert "0 s from the first begin" in drawn(row(0, 0, 0)).said


def test_hostile_names_are_only_text(hostile_names: tuple[str, ...]) -> None:
    rows = [
        row(at, at, at + 1, worker=name, host=name, scheme=name, holdout=name)
        for at, name in enumerate(hostile_names)
    ]
    svg = render_timeline(table(*rows))
    assert svg is not None
    tags = {element.tag.rpartition("}")[2] for element in ElementTree.fromstring(svg).iter()}
    assert tags == {"svg", "style", "path", "text"}
    shown = svg.replace("\n", "") + drawn(*rows).said
    assert not re.search("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", shown)


def test_the_file_stands_alone_with_its_styles() -> None:
    svg = render_timeline(table(row(0, 0, 1)))
    assert svg is not None
    root = ElementTree.fromstring(svg)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    style = root.findtext("{http://www.w3.org/2000/svg}style")
    assert style is not None
    for part in (".tl-fit", "prefers-color-scheme:dark", "@media print"):
        assert part in style
    assert "url(" not in style
    used = set(re.findall(r'class="(tl-\w+)', svg))
    assert used <= set(re.findall(r"\.(tl-\w+)", style))


@pytest.mark.parametrize("nothing", [None, table(), table(row(0, math.nan, math.nan))])
def test_a_run_without_times_has_no_timeline(
    nothing: pd.DataFrame | None, report: ReportInput
) -> None:
    assert render_timeline(nothing) is None
    page = render_page(replace(report, tables=replace(report.tables, timeline=nothing)))
    assert TIMELINE_HEADING not in page


def test_the_page_has_the_figure_its_legend_and_its_sentence(report: ReportInput) -> None:
    timeline = table(row(0, 0, 4, fit_s=3.0), row(1, 1, 9, holdout="<b>", fit_s=8.0))
    page = render_page(replace(report, tables=replace(report.tables, timeline=timeline)))
    section = page.split(TIMELINE_HEADING)[1].split("<footer>")[0]
    assert section.count("<svg") == 1 + len(["fitting", "scoring, writing"])
    assert "fold 1 (lomo &lt;b&gt;)" in section
    assert '<div class="scroll"' in section, "on a phone the figure is scrolled, not shrunk"
