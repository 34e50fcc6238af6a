from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree

import pytest

from gpucv.report.svg import LogAxis, drawing, line, text, tick_label

if TYPE_CHECKING:
    from markupsafe import Markup


def parsed(part: Markup) -> ElementTree.Element:
    return ElementTree.fromstring(drawing(10, 10, 'a "quoted" <label>', [part]))


def test_words_are_escaped_in_text_and_label() -> None:
    tree = parsed(text("mid", 1, 2, "<b>&amp;"))
    assert tree.get("aria-label") == 'a "quoted" <label>'
    assert [(each.tag, each.text) for each in tree] == [("text", "<b>&amp;")]


def test_coordinates_are_short() -> None:
    assert parsed(line("grid", 1.0, 2.25, 3.149, 4.0))[0].get("d") == "M1 2.2L3.1 4"


def test_a_logarithmic_axis_puts_equal_factors_at_equal_distances() -> None:
    axis = LogAxis(1.0, 1000.0, 0.0, 300.0)
    assert axis.at([1, 10, 100, 1000]) == pytest.approx([0, 100, 200, 300])
    assert axis.at([0.0, -5.0, 1e9]) == pytest.approx([0, 0, 300])


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.9, 1100.0, [1, 10, 100, 1000]),
        (18.0, 230.0, [20, 50, 100, 200]),
        (0.9, 2e8, [1, 100, 1e4, 1e6, 1e8]),
    ],
)
def test_ticks_are_round_and_few(low: float, high: float, ticks: list[float]) -> None:
    assert LogAxis(low, high, 0.0, 1.0).ticks() == ticks


@pytest.mark.parametrize(
    ("value", "label"),
    [(0.1, "0.1"), (200, "200"), (1000, "1000"), (10000, "10k"), (2e6, "2M"), (1e9, "1G")],
)
def test_tick_labels_are_short(value: float, label: str) -> None:
    assert tick_label(value) == label
