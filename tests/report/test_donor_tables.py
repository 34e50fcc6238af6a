"""What borrowed predictors cost, in every rendering, and what "best" means."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from rich.console import Console

from gpucv.report import render_findings, render_json, render_page, render_terminal
from gpucv.report.donor_tables import donor_tables

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpucv.report import ReportInput

ERRORS = {"llama-2-7b": (20.0, 10.0, 60.0), "codellama-34b": (5.0, 9.0, 10.0)}


def donors(**said: Any) -> pd.DataFrame:
    """Two folds, three donors each, the first of them chosen by the rule."""
    named = {"scheme": "lomo", "predictor": "xgboost", "transform": "raw"}
    named |= {"target": "step.duration_us", "n_test": 100}
    return pd.DataFrame(
        [
            {**named, "holdout": held_out, "group": held_out, "donor": f"donor-{at}"}
            | {"by_rule": not at, "test_mape": error}
            | said
            for held_out, errors in ERRORS.items()
            for at, error in enumerate(errors)
        ]
    )


def lent(report: ReportInput, frame: pd.DataFrame) -> ReportInput:
    return replace(report, tables=replace(report.tables, donors=frame))


def printed(report: ReportInput, width: int = 100) -> str:
    console = Console(file=StringIO(), width=width)
    console.print(render_terminal(report, width=width))
    assert isinstance(console.file, StringIO)
    return " ".join(console.file.getvalue().split())


def test_a_table_has_every_fold_and_the_average_last() -> None:
    (table,) = donor_tables(donors())
    assert [column.title for column in table.columns] == [
        *("held out", "by rule %", "best %", "mean %", "worst %", "donors", "rule chose the best")
    ]
    assert table.rows == (
        ("llama-2-7b", "20.0", "10.0", "30.0", "60.0", "3", "0 of 1"),
        ("codellama-34b", "5.0", "5.0", "8.0", "10.0", "3", "1 of 1"),
        ("average of the folds", "12.5", "7.5", "19.0", "35.0", "3", "1 of 2"),
    )
    assert table.n_summary == 1


def test_several_formulations_share_a_table_and_schemes_do_not() -> None:
    both = pd.concat([donors(), donors(predictor="vidur"), donors(scheme="lowo")])
    lomo, lowo = donor_tables(both)
    assert [row[0] for row in lomo.rows] == ["xgboost"] * 2 + ["vidur"] * 2 + ["xgboost", "vidur"]
    assert lomo.n_summary == 2
    assert "lowo" in lowo.title
    two_targets = pd.concat([donors(), donors(target="step.cycle_us")])
    assert donor_tables(two_targets)[0].rows[0][0] == "xgboost, target step.duration_us"


@pytest.mark.parametrize("render", [render_findings, render_page, printed])
def test_every_rendering_shows_it_and_says_that_nobody_can_choose_the_best(
    render: Callable[[ReportInput], str], report: ReportInput
) -> None:
    text = render(lent(report, donors()))
    for part in ("Borrowed predictors, lomo", "12.5", "7.5", "nobody can choose it beforehand"):
        assert part in text
    assert "Borrowed predictors" not in render(report)


def test_the_json_has_the_donors_where_there_are_any(report: ReportInput) -> None:
    (first, *rest) = render_json(lent(report, donors()))["donors"]  # type: ignore[misc]
    assert first["by_rule"] is True
    assert len(rest) == 5
    assert "donors" not in render_json(report)


def test_hostile_names_are_only_text(report: ReportInput, hostile_names: tuple[str, ...]) -> None:
    nasty = hostile_names[0] + hostile_names[2]
    frame = donors(holdout=nasty, scheme=nasty, group=nasty)
    page = render_page(lent(report, frame))
    assert "<script" not in page
    assert "\x1b" not in page + render_findings(lent(report, frame))
