"""FINDINGS.md: the report in plain words and tables."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gpucv.report.audit_story import QUESTION
from gpucv.report.donor_tables import DONORS_HEADING, DONORS_SAID
from gpucv.report.failure_story import why_heading
from gpucv.report.few_shot_tables import FEW_SHOT_HEADING, FEW_SHOT_SAID
from gpucv.report.leaderboard import LEADERBOARD_SAID
from gpucv.report.story import EXPLAINED_SAID, METRICS_SAID, NO_IMPORTANCE, tell
from gpucv.report.uncertainty import INTERVALS_SAID, UNCERTAINTY_HEADING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gpucv.report.input import ReportInput
    from gpucv.report.story import Chapter, Story
    from gpucv.report.tables import Table

__all__ = ["markdown", "markdown_grid", "render_findings"]

_SPECIAL = re.compile(r"[\\`*\[\]<>|#!~&@$]|(?<![^\W_])_|_(?![^\W_])|:(?=//)|(?<=www)\.")
"""What Markdown would act on. An underscore inside a word is only a character."""


def markdown(text: str) -> str:
    """Escape `text` so that Markdown shows it as it stands, in a table cell too."""
    return _SPECIAL.sub(lambda match: f"\\{match[0]}", text)


def render_findings(report: ReportInput) -> str:
    """Render FINDINGS.md.

    Parameters
    ----------
    report : ReportInput

    Returns
    -------
    str
        Markdown (GitHub flavour), the same bytes for the same input.
    """
    story = tell(report)
    blocks = [*_opening(story), *_audit(story)]
    if story.comparison:
        blocks += ["## The predictors compared", markdown_grid(story.comparison)]
    if story.leaderboard:
        blocks += ["## Leaderboard", LEADERBOARD_SAID, *_tables(story.leaderboard, "##")]
    blocks += _tables([story.gaps] if story.gaps else [], "#")
    if story.donors:
        blocks += [f"## {DONORS_HEADING}", DONORS_SAID, *_tables(story.donors, "##")]
    for chapter in story.chapters:
        blocks += _chapter(chapter)
    blocks += _notes(story)
    blocks += _provenance(story)
    return "\n\n".join(blocks) + "\n"


def _opening(story: Story) -> list[str]:
    blocks = [f"# Findings: {markdown(story.name)}"]
    blocks += [f"> **{markdown(banner)}**" for banner in story.banners]
    blocks.append(f"**Question.** {markdown(story.question)}")
    blocks.append(f"**Verdict: {markdown(story.answer)}.** {markdown(story.reason)}")
    if story.alarm:
        blocks.append(f"**Before any number.** {markdown(story.alarm)}")
    if story.claim:
        blocks.append(f"**Hypothesis.** {markdown(story.claim)}")
    blocks.append(_bullets(f"{name}: {value}" for name, value in story.facts))
    warnings = sum(level != "info" for level, _ in story.notes)
    if warnings:
        blocks.append(f"**{warnings} warning(s) about the data**: see Data notes below.")
    if story.failures:
        blocks += [f"## {markdown(story.failures.title)}", markdown_grid(story.failures)]
    return blocks


def _audit(story: Story) -> list[str]:
    """Say what the audit said, before any number that was learnt from the target."""
    if story.audit is None:
        return []
    blocks = [f"## {QUESTION}"]
    for target in story.audit.targets:
        blocks.append(f"**{target.verdict.capitalize()}: {markdown(target.name)}.**")
        blocks.append(_bullets(target.reasons))
    if story.audit.checks:
        blocks += _tables([story.audit.checks.table], "##")
    return blocks


def _chapter(chapter: Chapter) -> list[str]:
    level, blocks = "##", []
    if chapter.heading:
        level = "###"
        label = chapter.verdict.label.capitalize()
        blocks += [
            f"## {markdown(chapter.heading)}",
            f"**Verdict: {label}.** {markdown(chapter.reason)}",
        ]
    blocks += [f"{level} Folds", METRICS_SAID, *_tables(chapter.folds, level)]
    blocks += _uncertainty(chapter, level)
    blocks += _why(chapter, level)
    if chapter.experiments:
        blocks += [f"{level} Experiments", *_tables(chapter.extremes, level)]
        blocks += _tables(chapter.experiments, level)
    blocks.append(f"{level} Feature importance and rank stability")
    blocks += [EXPLAINED_SAID] if chapter.features and chapter.explained else []
    blocks += _tables(chapter.features, level) or [NO_IMPORTANCE]
    blocks += _few_shot(chapter, level)
    blocks += [f"{level} What follows", _bullets(chapter.follows)]
    return blocks


def _uncertainty(chapter: Chapter, level: str) -> list[str]:
    """Give every number its interval, and say how often prediction intervals hold."""
    if not chapter.uncertainty:
        return []
    blocks = [f"{level} {UNCERTAINTY_HEADING}", INTERVALS_SAID]
    for told in chapter.uncertainty:
        blocks += _tables(told.tables, level)
        blocks += [_bullets(told.sentences)] if told.sentences else []
    return blocks


def _why(chapter: Chapter, level: str) -> list[str]:
    """Tell where the errors come from: the words of all schemes, then the tables of each."""
    if not chapter.why:
        return []
    blocks = [f"{level} {why_heading(chapter.verdict)}"]
    for told in chapter.why:
        blocks.append(f"{level}# {markdown(told.title)}")
        blocks += [_bullets(told.sentences)] if told.sentences else []
        for said, table in told.tables():
            blocks += [said, *_tables([table], f"{level}#")]
    return blocks


def _few_shot(chapter: Chapter, level: str) -> list[str]:
    if not chapter.few_shot:
        return []
    blocks = [f"{level} {FEW_SHOT_HEADING}", FEW_SHOT_SAID]
    for told in chapter.few_shot:
        blocks += _tables([told.curve, told.needed], level)
        blocks += [_bullets(told.sentences)] if told.sentences else []
    return blocks


def _notes(story: Story) -> list[str]:
    if not story.notes:
        return ["## Data notes", "None."]
    return ["## Data notes", _bullets(f"{level}: {message}" for level, message in story.notes)]


def _provenance(story: Story) -> list[str]:
    if not story.provenance and not story.data_files:
        return ["## Provenance", "Not recorded."]
    blocks = ["## Provenance", _bullets(f"{name}: {value}" for name, value in story.provenance)]
    return [*blocks, *_tables([story.data_files] if story.data_files else [], "##")]


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {markdown(line)}" for line in lines)


def _tables(tables: Iterable[Table], level: str) -> list[str]:
    blocks = []
    for table in tables:
        blocks += [f"{level}# {markdown(table.title)}", markdown_grid(table)]
        if table.note:
            blocks.append(markdown(table.note))
    return blocks


def markdown_grid(table: Table) -> str:
    """Lay a table out with aligned columns, so that the file reads well as text too."""
    header = [markdown(column.title) for column in table.columns]
    n_entries = len(table.rows) - table.n_summary
    rows = [[markdown(cell) for cell in row] for row in table.rows]
    for row in rows[n_entries:]:
        row[:] = [f"**{cell}**" if cell else "" for cell in row]
    widths = [max(3, *(len(line[i]) for line in (header, *rows))) for i in range(len(header))]
    rule = [
        "-" * (width - 1) + ":" if column.numeric else "-" * width
        for width, column in zip(widths, table.columns, strict=True)
    ]
    lines = []
    for line in (header, rule, *rows):
        cells = (
            cell.rjust(width) if column.numeric else cell.ljust(width)
            for cell, width, column in zip(line, widths, table.columns, strict=True)
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
