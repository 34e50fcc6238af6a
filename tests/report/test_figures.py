from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from gpucv.report.figures import error_curves, mape_bar, prediction_panels, rank_strip
from gpucv.report.svg import LogAxis


def points(path: str) -> list[tuple[float, float]]:
    return [
        (float(x), float(y)) for x, y in (pair.split() for pair in re.split("[ML]", path) if pair)
    ]


def predictions(actual: list[float], predicted: list[float], holdout: str = "a") -> pd.DataFrame:
    return pd.DataFrame({"holdout": holdout, "actual": actual, "predicted": predicted})


def test_a_panel_draws_exact_predictions_on_its_diagonal() -> None:
    values = list(np.geomspace(10, 10000, 200))
    (panel,) = prediction_panels(predictions(values, values), ["a"])
    squares = re.findall(r"M([\d.]+) ([\d.]+)h", panel.figure)
    assert squares
    for x, y in squares:
        # The frame runs from x 34 to 214 and from y 186 up to 6, in cells of 3.75.
        assert abs((float(x) - 34) - (182.25 - float(y))) <= 3.8


def test_all_panels_of_a_scheme_share_their_axes() -> None:
    both = pd.concat([predictions([10.0], [10.0]), predictions([1e6], [1e6], "b")])
    panels = prediction_panels(both, ["a", "b"])
    grids = [re.findall(r'class="grid" d="([^"]+)"', panel.figure) for panel in panels]
    assert grids[0] == grids[1]


def test_predictions_below_the_axis_are_counted_not_hidden() -> None:
    (panel,) = prediction_panels(predictions([100.0, 200.0, 300.0], [-5.0, 0.0, 300.0]), ["a"])
    assert panel.caption.startswith("n = 3; 2 at or below")


def test_rows_a_logarithm_cannot_show_leave_no_panel() -> None:
    assert prediction_panels(predictions([0.0, -1.0], [1.0, 1.0]), ["a"]) == []


def test_names_held_as_categories_are_drawn_alike() -> None:
    frame = predictions([10.0, 20.0], [10.0, 30.0])
    panels = prediction_panels(frame.astype({"holdout": "category"}), ["a"])
    assert panels == prediction_panels(frame, ["a"])


def test_an_error_curve_is_the_share_of_rows_at_or_below_each_error() -> None:
    actual = [100.0] * 4
    curves = error_curves(predictions(actual, [101.0, 110.0, 200.0, 1100.0]), ["a"], 25.0, "t")
    (curve,) = re.findall(r'class="curve c0" d="([^"]+)"', curves.figure)
    axis = LogAxis(0.1, 10000.0, 46.0, 352.0)
    drawn = points(curve)
    for error, share in ((0.5, 0.0), (2.0, 0.25), (20.0, 0.5), (150.0, 0.75), (2000.0, 1.0)):
        at = float(axis.at(error))
        nearest = min(drawn, key=lambda point: abs(point[0] - at))
        assert nearest[1] == pytest.approx(188 - 180 * share)


def test_only_the_worst_curves_are_drawn_and_the_rest_counted() -> None:
    frame = pd.concat([predictions([100.0], [150.0], f"m{i}") for i in range(11)])
    curves = error_curves(frame, [f"m{i}" for i in range(11)], 25.0, "t")
    assert [name for _, name in curves.legend] == [f"m{i}" for i in range(8)]
    assert curves.note == "The 8 worst holdouts; 3 more not drawn."


@pytest.mark.parametrize(("mape", "css"), [(24.9, "good"), (25.0, "bad")])
def test_a_bar_changes_colour_at_the_threshold(mape: float, css: str) -> None:
    assert f'class="{css}"' in mape_bar(mape, 25.0)


@pytest.mark.parametrize("mape", [math.nan, 0.0])
def test_no_error_has_no_bar(mape: float) -> None:
    assert mape_bar(mape, 25.0) == ""


def test_a_strip_has_one_dot_per_fold_and_its_mean() -> None:
    strip = rank_strip([1.0, 2.0, 30.0], 11.0, 16.5, 30.0)
    tree = ElementTree.fromstring(strip)
    assert [circle.get("cx") for circle in tree.iter("circle")] == ["5", "10.2", "155"]
    assert 'class="spread"' in strip
    assert 'class="spread"' not in rank_strip([4.0], 4.0, math.nan, 30.0)


def test_figures_are_well_formed_and_escape_their_words() -> None:
    (panel,) = prediction_panels(predictions([1.0, 9.0], [2.0, 8.0], '<a b="&">'), ['<a b="&">'])
    tree = ElementTree.fromstring(panel.figure)
    assert '<a b="&">' in (tree.get("aria-label") or "")
