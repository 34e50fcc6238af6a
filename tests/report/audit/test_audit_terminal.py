from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest
from rich.cells import cell_len
from rich.console import Console

from gpucv.report.audit_story import audit_story
from gpucv.report.audit_terminal import print_audit, render_audit_terminal
from gpucv.traces.audit import Audit, Finding

if TYPE_CHECKING:
    from gpucv.report.audit_story import AuditStory


def printed(story: AuditStory, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    console.print(render_audit_terminal(story, width=width))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_line_is_wider_than_the_terminal(steps: Audit, measured: Audit, width: int) -> None:
    for audit in (steps, measured):
        text = printed(audit_story(audit, "steps.parquet"), width)
        assert max(map(cell_len, text.splitlines())) <= width


def test_it_answers_then_says_why_and_what_follows(steps: Audit) -> None:
    text = printed(audit_story(steps, "steps.parquet"))
    parts = (
        "steps.parquet",
        "Is this trace fit to learn from?",
        "Fit, with step.cycle_us as the target.",
        "✗ fail  step.duration_us: 97.5% of rows below the roofline floor",
        "- 97.5% of 400 rows are too short",
        "✓ pass  step.cycle_us",
        "Checks",
        "Rows below the roofline floor, by recording (%)",
        "! run-7b: 85 % of requests failed",
        "What follows",
        '- Learn from step.cycle_us: set target = "step.cycle_us"',
    )
    positions = [text.index(part) for part in parts]
    assert positions == sorted(positions)


def test_lines_drawn_only_on_the_page_are_not_spoken_of(steps: Audit) -> None:
    assert "dashed" not in printed(audit_story(steps, "t"))


def test_messages_left_out_are_counted() -> None:
    findings = tuple(Finding("copied_file", "warning", f"m{at}") for at in range(1300))
    assert "! 1,295 more: copied files" in printed(audit_story(Audit(9, (), findings), "t"))


def test_an_empty_audit_prints(capsys: pytest.CaptureFixture[str]) -> None:
    print_audit(audit_story(Audit(9, (), ()), "t"))
    captured = capsys.readouterr()
    assert "Cannot tell." in captured.out
    assert captured.err == ""


def test_hostile_names_neither_steer_the_terminal_nor_break_the_markup(
    hostile_story: AuditStory,
) -> None:
    text = printed(hostile_story)
    for character in ("\x1b", "\x07", "\u202e", "\u2066"):
        assert character not in text
    assert "[/nope][bold]" in text
    assert "nan" not in text.split()
