from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest
from rich.cells import cell_len
from rich.console import Console

from gpucv.report import print_report, render_terminal

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpucv.report import ReportInput


def printed(report: ReportInput, width: int = 80, *, full: bool = True) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    console.print(render_terminal(report, width=width, full=full))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_line_is_wider_than_the_terminal(report: ReportInput, width: int) -> None:
    assert max(map(cell_len, printed(report, width).splitlines())) <= width


def test_it_prints_verdict_folds_features_and_what_follows(report: ReportInput) -> None:
    text = printed(report)
    assert "Not supported." in text
    assert "average, n = 3 of 3" in text
    assert "top-10 average" in text
    assert "Fit one predictor per model" in text


def test_mape_and_its_n_stay_where_there_is_little_room(report: ReportInput) -> None:
    text = printed(report, 60)
    assert "MAPE %" in text
    assert "n test" in text
    assert "valid MAPE %" not in text
    assert "valid MAPE %" in printed(report, 120)


def test_every_experiment_is_listed_only_when_asked_for(report: ReportInput) -> None:
    assert "n = 6 experiments" in printed(report)
    assert "n = 6 experiments" not in printed(report, full=False)
    assert "lomo: worst 3 of 6 experiments" in printed(report, full=False)


def test_a_failed_fold_is_shown_with_its_reason(report_of: Callable[..., ReportInput]) -> None:
    text = printed(report_of(failed=("llama-2-7b",)), 120)
    assert "1 of 3 planned folds did not finish" in text
    assert "out of memory on llama-2-7b" in text


def test_hostile_names_neither_steer_the_terminal_nor_break_the_markup(
    hostile_report: ReportInput,
) -> None:
    text = printed(hostile_report)
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "\u202e" not in text
    assert "[/nope][bold]" in text


def test_printing_goes_to_stdout(report: ReportInput, capsys: pytest.CaptureFixture[str]) -> None:
    print_report(report)
    captured = capsys.readouterr()
    assert "Not supported." in captured.out
    assert captured.err == ""
