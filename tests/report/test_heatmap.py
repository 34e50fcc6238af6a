from __future__ import annotations

import pandas as pd
import pytest

from gpucv.report.heatmap import heat_map, legend


def experiments(*rows: tuple[str, str, float]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["model", "workload", "test_mape"])
    return frame.assign(n_test=10, experiment_id=[f"e{number}" for number in range(len(rows))])


def test_models_are_rows_workloads_columns_and_gaps_are_shown() -> None:
    heat = heat_map(experiments(("b", "y", 1.0), ("a", "x", 2.0)), 25.0)
    assert heat is not None
    assert heat.columns == ("x", "y")
    assert [(name, [cell.text for cell in cells]) for name, cells in heat.rows] == [
        ("a", ["2.0", "-"]),
        ("b", ["-", "1.0"]),
    ]


def test_experiments_that_share_a_cell_are_averaged_and_counted() -> None:
    heat = heat_map(experiments(("a", "x", 10.0), ("a", "x", 30.0)), 25.0)
    assert heat is not None
    cell = heat.rows[0][1][0]
    assert (cell.text, cell.title) == ("20.0", "20 test rows, average of 2 experiments")


def test_folds_that_test_rows_of_one_experiment_are_not_taken_for_experiments() -> None:
    rows = experiments(("a", "x", 10.0), ("a", "x", 30.0)).assign(experiment_id="e")
    heat = heat_map(rows, 25.0)
    assert heat is not None
    assert heat.rows[0][1][0].title == "20 test rows, average over 2 folds"


@pytest.mark.parametrize(
    ("mape", "css"),
    [(0.0, "h0"), (6.25, "h1"), (24.9, "h2"), (25.0, "h3"), (124.9, "h4"), (1e9, "h7")],
)
def test_the_colour_turns_at_the_threshold(mape: float, css: str) -> None:
    heat = heat_map(experiments(("a", "x", mape)), 25.0)
    assert heat is not None
    assert heat.rows[0][1][0].css == css


def test_the_legend_names_every_colour_in_percent() -> None:
    assert [label for _, label in legend(20.0)][:4] == ["< 5", "5 to 10", "10 to 20", "20 to 40"]
    assert [css for css, _ in legend(20.0)] == [f"h{index}" for index in range(8)]


def test_rows_that_name_no_model_have_no_heat_map() -> None:
    assert heat_map(experiments(("", "x", 1.0)), 25.0) is None
