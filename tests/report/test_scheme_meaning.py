"""What a report says of a scheme comes from what it holds out, whatever its name."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from gpucv.analysis import SchemeMeaning
from gpucv.report import render_findings, render_json, render_page, render_terminal

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpucv.report import ReportInput

OF_MODEL = SchemeMeaning(("model",), control=False)
OF_WORKLOAD = SchemeMeaning(("workload",), control=False)
CONTROL = SchemeMeaning((), control=True)


def on_terminal(report: ReportInput) -> str:
    console = Console(file=io.StringIO(), width=400, highlight=False)
    console.print(render_terminal(report, width=400))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def everywhere(report: ReportInput) -> list[str]:
    """The report as a file of findings, without its escapes, on a terminal and as a page."""
    findings = render_findings(report).replace("\\", "")
    return [findings, on_terminal(report), render_page(report)]


def test_a_splitter_that_draws_rows_is_a_control_though_it_is_called_cv(
    report_of: Callable[..., ReportInput],
) -> None:
    for text in everywhere(report_of(schemes={"cv": CONTROL})):
        assert "cv: leave rows out whatever their group (control)" in text
        assert "no group was held out" in text
        assert "Undecided" in text
        assert "does not hold on" not in text
        assert "leave one" not in text


def test_a_scheme_that_holds_models_out_is_judged_though_it_is_called_random(
    report_of: Callable[..., ReportInput],
) -> None:
    for text in everywhere(report_of(schemes={"random": OF_MODEL})):
        assert "random: leave one model out" in text
        assert "hold on a model it has never seen?" in text
        assert "2 of 3 finished folds" in text
        assert "Fit one predictor per model" in text
        assert "control" not in text
        assert "no group was held out" not in text


def test_a_scheme_that_holds_workloads_out_gives_no_advice_on_models_though_it_is_called_lomo(
    report_of: Callable[..., ReportInput],
) -> None:
    for text in everywhere(report_of(schemes={"lomo": OF_WORKLOAD})):
        assert "lomo: leave one workload out" in text
        assert "hold on a workload it has never seen?" in text
        assert "Record some rows of a workload" in text
        assert "per model" not in text


@pytest.mark.parametrize(
    ("meaning", "title", "unseen"),
    [
        (
            SchemeMeaning(("model", "workload"), control=False),
            "mine: leave one model x workload out",
            "a combination of model and workload",
        ),
        (
            SchemeMeaning(("model",), control=False, several=True),
            "mine: groups of model held out, one or more at a time",
            "a model",
        ),
    ],
)
def test_combinations_and_groups_of_groups_have_their_own_words(
    report_of: Callable[..., ReportInput], meaning: SchemeMeaning, title: str, unseen: str
) -> None:
    for text in everywhere(report_of(schemes={"mine": meaning})):
        assert title in text
        assert f"hold on {unseen} it has never seen?" in text


def test_the_question_asks_about_every_held_out_group_and_no_control(
    report_of: Callable[..., ReportInput],
) -> None:
    report = report_of(schemes={"a": OF_WORKLOAD, "cv": CONTROL, "b": OF_MODEL, "c": OF_MODEL})
    assert "hold on a workload or a model it has never seen?" in render_findings(report)


def test_rows_of_a_control_name_their_fold_and_are_not_counted_as_experiments(
    report_of: Callable[..., ReportInput],
) -> None:
    report = report_of(schemes={"cv": CONTROL})
    report.tables.experiments["experiment_id"] = "same"
    text = on_terminal(report)
    assert "n = 6 rows, one per fold and each of 1 experiments" in text
    assert "cv: best 3 of 6 rows, one per fold and each of 1 experiments" in text
    headers = [line for line in text.splitlines() if "experiment  " in line]
    assert len(headers) == 3
    assert all(line.startswith("held out") for line in headers)


@pytest.mark.parametrize(
    ("meaning", "named"),
    [
        (OF_MODEL, False),
        (SchemeMeaning(("model", "workload"), control=False), False),
        (SchemeMeaning(("model",), control=False, several=True), True),
        (SchemeMeaning(("model", "gpu"), control=False), True),
        (SchemeMeaning((), control=False), True),
    ],
)
def test_experiments_name_their_fold_where_model_and_workload_do_not(
    report_of: Callable[..., ReportInput], meaning: SchemeMeaning, named: bool
) -> None:
    text = on_terminal(report_of(schemes={"mine": meaning}))
    headers = [line for line in text.splitlines() if "experiment  " in line]
    assert {line.startswith("held out") for line in headers} == {named}


def test_the_json_carries_the_meaning(report_of: Callable[..., ReportInput]) -> None:
    content = json.loads(json.dumps(render_json(report_of(schemes={"random": OF_MODEL}))))
    (scheme,) = content["verdicts"][0]["schemes"]
    assert (scheme["held_out"], scheme["control"]) == (["model"], False)


def test_a_column_cannot_steer_the_terminal_or_the_page(
    report_of: Callable[..., ReportInput], hostile_names: tuple[str, ...]
) -> None:
    meaning = SchemeMeaning(hostile_names, control=False)
    findings, terminal, page = everywhere(report_of(schemes={"mine": meaning}))
    assert not {"\x1b", "\x07", "\u202e"} & set(findings + terminal + page)
    assert "<script>" not in page
