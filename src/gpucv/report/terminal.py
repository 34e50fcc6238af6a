"""The report on a terminal: what `gpucv run` and `gpucv report` print on stdout."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gpucv.report.story import tell

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType
    from rich.table import Table as RichTable

    from gpucv.report.input import ReportInput
    from gpucv.report.story import Chapter, Story
    from gpucv.report.tables import Table

__all__ = ["plain_text", "print_report", "render_terminal", "titled_table"]

_GAP = 2
_LEADERS = 8
"""Rows of a leaderboard that are printed unless all is asked for."""
_STYLES = {
    "Strongly supported": "bold green",
    "Supported": "bold green",
    "Partially supported": "bold yellow",
    "Not supported": "bold red",
}
_AUDIT_STYLES = {"fail": "bold red", "warn": "yellow", "pass": "green"}


def render_terminal(report: ReportInput, *, width: int = 80, full: bool = True) -> RenderableType:
    """Render a report for a rich console.

    Parameters
    ----------
    report : ReportInput
    width : int
        Columns to fit; columns that do not fit are left out, the least telling
        first, and long names are broken over lines.
    full : bool
        Whether every experiment is listed, or only the best and the worst; and whether
        every predictor of a leaderboard is.

    Returns
    -------
    rich renderable
        Built of `rich.text.Text` alone, so that markup in a name is only text.
    """
    from rich.console import Group

    story = tell(report)
    parts = [*_opening(story), *_audit(story)]
    leaders = [_leaders(table, full) for table in story.leaderboard]
    for table in (story.failures, story.comparison, *leaders, story.gaps, *story.donors):
        parts += titled_table(table, width) if table else []
    for chapter in story.chapters:
        parts += _chapter(chapter, width, full)
    parts += [plain_text(f"{level}: {message}", "yellow") for level, message in story.notes]
    return Group(*parts)


def print_report(report: ReportInput, *, full: bool = False) -> None:
    """Print a report on stdout, as wide as the terminal is, 80 columns elsewhere."""
    from rich.console import Console

    console = Console(highlight=False)
    console.print(render_terminal(report, width=console.width, full=full))


def _leaders(table: Table, full: bool) -> Table:
    """Keep the first rows of a leaderboard unless all are asked for, and say how many follow."""
    titled = replace(table, title=f"Leaderboard, {table.title}")
    left = len(table.rows) - _LEADERS
    if full or left <= 0:
        return titled
    more = f"{left} more follow, see leaderboard.csv."
    return replace(titled, rows=table.rows[:_LEADERS], note=f"{table.note} {more}")


def _opening(story: Story) -> list[RenderableType]:
    parts = [plain_text(story.name, "bold")]
    parts += [plain_text(banner, "bold yellow") for banner in story.banners]
    parts += [
        plain_text(story.question),
        plain_text(f"{story.answer}.", _STYLES.get(story.answer, "bold")),
        plain_text(story.reason),
        plain_text(", ".join(f"{name}: {value}" for name, value in story.facts), "dim"),
    ]
    return list(parts)


def _audit(story: Story) -> list[RenderableType]:
    """Say in a line per target what the audit said; the reasons stand in the findings."""
    told = story.audit.targets if story.audit else ()
    return [
        plain_text(
            f"audit: {each.mark} {each.verdict} {each.name}"
            + (f": {each.figures}" if each.figures else ""),
            _AUDIT_STYLES.get(each.verdict),
        )
        for each in told
    ]


def _chapter(chapter: Chapter, width: int, full: bool) -> list[RenderableType]:
    parts: list[RenderableType] = []
    if chapter.heading:
        label = chapter.verdict.label
        parts += [
            plain_text(""),
            plain_text(f"{chapter.heading}: {label}", _STYLES.get(label.capitalize())),
        ]
    experiments = chapter.experiments if full or not chapter.extremes else ()
    for tables in (chapter.folds, chapter.extremes, experiments, chapter.features):
        for table in tables:
            parts += titled_table(table, width)
    for said in chapter.uncertainty:
        for table in said.tables if full else ():
            parts += titled_table(table, width)
        parts += [plain_text(f"- {sentence}") for sentence in said.sentences]
    for told in chapter.few_shot:
        for table in (told.curve, told.needed):
            parts += titled_table(table, width)
        parts += [plain_text(f"- {sentence}") for sentence in told.sentences]
    parts += [plain_text(""), plain_text("What follows", "bold")]
    parts += [plain_text(f"- {sentence}") for sentence in chapter.follows]
    return parts


def titled_table(table: Table, width: int) -> list[RenderableType]:
    """Render a table with its title above and its note below, in `width` columns."""
    parts: list[RenderableType] = [
        plain_text(""),
        plain_text(table.title, "bold"),
        _grid(table, width),
    ]
    return [*parts, plain_text(table.note, "dim")] if table.note else parts


def _grid(table: Table, width: int) -> RichTable:
    from rich.table import Table as RichTable

    kept = _fitting(table, width)
    fits = _needed(table, kept) <= width
    grid = RichTable(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="dim")
    for index in kept:
        column = table.columns[index]
        grid.add_column(
            plain_text(column.title),
            justify="right" if column.numeric else "left",
            no_wrap=column.numeric or fits,
            overflow="fold",
            min_width=_width(table, index) if column.numeric else None,
        )
    n_entries = len(table.rows) - table.n_summary
    for position, row in enumerate(table.rows):
        style = "bold" if position >= n_entries else None
        grid.add_row(*(plain_text(row[index]) for index in kept), style=style)
    return grid


def _fitting(table: Table, width: int) -> list[int]:
    """Leave columns out, highest `spare` first, until the others fit `width`."""
    kept = list(range(len(table.columns)))
    while _needed(table, kept) > width:
        spare = max(kept, key=lambda index: table.columns[index].spare)
        if not table.columns[spare].spare:
            break
        kept.remove(spare)
    return kept


def _needed(table: Table, kept: Sequence[int]) -> int:
    return sum(_width(table, index) + _GAP for index in kept) - _GAP


def _width(table: Table, index: int) -> int:
    from rich.cells import cell_len

    cells = (table.columns[index].title, *(row[index] for row in table.rows))
    return max(cell_len(cell) for cell in cells)


def plain_text(content: str, style: str | None = None) -> RenderableType:
    """Render text as it is: markup in it is not interpreted."""
    from rich.text import Text

    return Text(content, style=style or "")
