"""The audit on a terminal: what ``gpucv audit`` prints on stdout."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpucv.report.audit_story import QUESTION
from gpucv.report.terminal import plain_text, titled_table

if TYPE_CHECKING:
    from rich.console import RenderableType

    from gpucv.report.audit_story import AuditStory, ToldTarget, Topic

__all__ = ["print_audit", "render_audit_terminal"]

_TONES = {"good": "bold green", "partly": "bold yellow", "bad": "bold red", "open": "bold"}
_VERDICTS = {"pass": "green", "warn": "yellow", "fail": "red", "unknown": "bold"}


def render_audit_terminal(story: AuditStory, *, width: int = 80) -> RenderableType:
    """Render an audit for a rich console.

    Parameters
    ----------
    story : AuditStory
    width : int
        Columns to fit; columns of tables that do not fit are left out, the least telling
        first. The tables behind findings stand only on the page.

    Returns
    -------
    rich renderable
        Built of `rich.text.Text` alone, so that markup in a name is only text.
    """
    from rich.console import Group

    parts = [
        plain_text(story.title, "bold"),
        plain_text(QUESTION),
        plain_text(f"{story.answer}.", _TONES[story.tone]),
        plain_text(story.reason),
        plain_text(", ".join(f"{name}: {value}" for name, value in story.facts), "dim"),
    ]
    for target in story.targets:
        parts += _target(target)
    if story.checks:
        parts += titled_table(story.checks.table, width)
    for shares in story.shares:
        parts += titled_table(shares.table, width)
    parts += _topics("Findings", story.findings)
    parts += _topics("Notes on reading", story.notes)
    parts += [plain_text(""), plain_text("What follows", "bold")]
    parts += [_item("-", sentence) for sentence in story.follows]
    if story.sources:
        parts += [plain_text(""), plain_text(story.sources.title, "dim")]
    return Group(*parts)


def print_audit(story: AuditStory) -> None:
    """Print an audit on stdout, as wide as the terminal is, 80 columns elsewhere."""
    from rich.console import Console

    console = Console(highlight=False)
    console.print(render_audit_terminal(story, width=console.width))


def _target(target: ToldTarget) -> list[RenderableType]:
    line = f"{target.mark} {target.verdict}  {target.name}"
    line += f": {target.figures}" if target.figures else ""
    parts = [plain_text(""), plain_text(line, _VERDICTS[target.verdict])]
    return parts + [_item("  -", reason) for reason in target.reasons]


def _topics(heading: str, topics: tuple[Topic, ...]) -> list[RenderableType]:
    if not topics:
        return []
    parts = [plain_text(""), plain_text(heading, "bold")]
    for topic in topics:
        style = "yellow" if topic.level == "warning" else None
        mark = "!" if topic.level == "warning" else "-"
        parts += [_item(mark, each, style) for each in topic.messages]
        if topic.n_more:
            parts.append(_item(mark, f"{topic.n_more:,} more: {topic.title.lower()}", style))
    return parts


def _item(mark: str, sentence: str, style: str | None = None) -> RenderableType:
    """Return a sentence whose further lines stand under its first word, not its mark."""
    from rich.table import Table as RichTable

    grid = RichTable.grid(padding=(0, 1, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(plain_text(mark, style), plain_text(sentence, style))
    return grid
