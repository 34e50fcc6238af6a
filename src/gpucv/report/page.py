"""report.html: one file that opens anywhere, without scripts and without the network."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

from markupsafe import Markup

from gpucv.report.audit_story import QUESTION
from gpucv.report.cells import clean, count, percent
from gpucv.report.donor_tables import DONORS_HEADING, DONORS_SAID
from gpucv.report.few_shot_figure import LearningFigure, learning_figure
from gpucv.report.few_shot_tables import FEW_SHOT_HEADING, FEW_SHOT_SAID, NEXT_SAID
from gpucv.report.figures import (
    Curves,
    Panel,
    error_curves,
    mape_bar,
    prediction_panels,
    rank_strip,
)
from gpucv.report.heatmap import HeatMap, heat_map, legend
from gpucv.report.leaderboard import LEADERBOARD_SAID
from gpucv.report.story import METRICS_SAID, NO_IMPORTANCE, NO_PREDICTIONS, tell
from gpucv.report.tables import Table, scheme_title

if TYPE_CHECKING:
    from gpucv.analysis import SchemeSummary, Verdict
    from gpucv.report.input import ReportInput
    from gpucv.report.story import Chapter

__all__ = ["render_page"]

_MOST_PANELS = 64
"""Panels of a whole page, about 12 KB each: what keeps it below a megabyte or so."""


@dataclass(frozen=True, slots=True)
class Card:
    """One scheme on the first screen: its title, its one number, what stands behind it."""

    title: str
    number: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SchemeFigures:
    """The figures of one scheme of one formulation."""

    title: str
    heat: HeatMap | None
    panels: list[Panel]
    n_panels_left_out: int
    curves: Curves | None


@dataclass(frozen=True, slots=True)
class PageChapter:
    """One formulation on the page: its words and tables, and its figures.

    Attributes
    ----------
    said : Chapter
    figures : list of SchemeFigures
    bars : list of list of Markup
        One bar per row of each fold table.
    strips : list of list of Markup
        One rank strip per row of each feature table, empty for the average.
    scale : tuple of (class, range)
        The heat map's colours.
    learning : list of LearningFigure
        One per few-shot story.
    """

    said: Chapter
    figures: list[SchemeFigures]
    bars: list[list[Markup]]
    strips: list[list[Markup]]
    scale: tuple[tuple[str, str], ...]
    learning: list[LearningFigure]


def render_page(report: ReportInput) -> str:
    """Render report.html.

    Parameters
    ----------
    report : ReportInput

    Returns
    -------
    str
        A complete HTML document with its styles and figures inside, the same
        bytes for the same input. All text is escaped; the page's own policy
        forbids scripts and every request.
    """
    from jinja2 import Environment, StrictUndefined

    folder = resources.files("gpucv.report")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string((folder / "page.html.j2").read_text(encoding="utf-8"))
    style = "".join(
        (folder / name).read_text(encoding="utf-8")
        for name in ("page.css", "audit_page.css", "few_shot_page.css")
    )
    story = tell(report)
    n_panels = max(2, _MOST_PANELS // max(1, sum(len(v.schemes) for v in report.verdicts)))
    chapters = [_chapter(report, chapter, n_panels) for chapter in story.chapters]
    return template.render(
        story=story,
        chapters=chapters,
        style=Markup(style),
        cards=[_card(summary) for verdict in report.verdicts[:1] for summary in verdict.schemes],
        has_predictions=report.predictions is not None,
        tone=_tone(report.verdicts[0]) if report.verdicts else "open",
        leaderboard_said=LEADERBOARD_SAID,
        donors_heading=DONORS_HEADING,
        donors_said=DONORS_SAID,
        few_shot_heading=FEW_SHOT_HEADING,
        few_shot_said=FEW_SHOT_SAID,
        next_said=NEXT_SAID,
        metrics_said=METRICS_SAID,
        no_importance=NO_IMPORTANCE,
        no_predictions=NO_PREDICTIONS,
        audit_question=QUESTION,
    )


def _tone(verdict: Verdict) -> str:
    tones = {"not supported": "bad", "partially supported": "partly", "undecided": "open"}
    return tones.get(verdict.label, "good")


def _chapter(report: ReportInput, chapter: Chapter, n_panels: int) -> PageChapter:
    verdict = chapter.verdict
    mape_max = verdict.thresholds.mape_max
    return PageChapter(
        said=chapter,
        figures=[_figures(report, verdict, summary, n_panels) for summary in verdict.schemes],
        bars=[[mape_bar(mape, mape_max) for mape in table.mapes] for table in chapter.folds],
        strips=[_strips(table) for table in chapter.features],
        scale=legend(mape_max),
        learning=[learning_figure(each.learning, mape_max) for each in chapter.few_shot],
    )


def _figures(
    report: ReportInput, verdict: Verdict, summary: SchemeSummary, n_panels: int
) -> SchemeFigures:
    of, scheme = verdict.formulation, summary.scheme
    mape_max = verdict.thresholds.mape_max
    experiments = of.rows(report.tables.experiments)
    heat = heat_map(experiments[experiments["scheme"] == scheme], mape_max)
    panels: list[Panel] = []
    curves, left_out = None, 0
    if report.predictions is not None:
        folds = of.rows(report.tables.folds)
        folds = folds[(folds["scheme"] == scheme) & (folds["status"] == "ok")]
        worst_first = list(folds.sort_values("test_mape", ascending=False)["holdout"])
        in_order = [name for name in folds["holdout"] if name in worst_first[:n_panels]]
        left_out = len(worst_first) - len(in_order)
        rows = of.rows(report.predictions)
        rows = rows[rows["scheme"] == scheme]
        if len(rows):
            panels = prediction_panels(rows, in_order)
            title = f"Share of rows below an error, {scheme_title(summary)}"
            curves = error_curves(rows, worst_first, mape_max, title)
    return SchemeFigures(scheme_title(summary), heat, panels, left_out, curves)


def _strips(table: Table) -> list[Markup]:
    """Draw the rank strip of each row of a feature table; the average row has none."""
    lowest = max(max(spread.ranks, default=1.0) for spread in table.ranks)
    strips = [rank_strip(each.ranks, each.mean, each.std, lowest) for each in table.ranks]
    return strips + [Markup("")] * table.n_summary


def _card(summary: SchemeSummary) -> Card:
    folds = f"n = {summary.n_finished} of {summary.n_planned} folds"
    lines = [f"average MAPE, {folds}, {count(summary.n_test)} test rows"]
    if summary.n_finished:
        lines.append(
            f"worst {percent(summary.worst_mape)}% ({clean(summary.worst_holdout)}), "
            f"median {percent(summary.median_mape)}%"
        )
    number = f"{percent(summary.average_mape)}%" if summary.n_finished else "no fold finished"
    return Card(scheme_title(summary), number, tuple(lines))
