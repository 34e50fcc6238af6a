"""report.html: one file that opens anywhere, without scripts and without the network."""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

from markupsafe import Markup

from gpucv.report.audit_story import QUESTION
from gpucv.report.cells import clean, count, percent
from gpucv.report.donor_tables import DONORS_HEADING, DONORS_SAID
from gpucv.report.failure_figures import Slopes, bias_bar, fold_slopes, measure_slopes
from gpucv.report.failure_story import why_heading
from gpucv.report.few_shot_figure import LearningFigure, learning_figure
from gpucv.report.few_shot_tables import FEW_SHOT_HEADING, FEW_SHOT_SAID, NEXT_SAID
from gpucv.report.figures import (
    Curves,
    Panel,
    error_curves,
    formulation_curves,
    mape_bar,
    prediction_panels,
    rank_strip,
)
from gpucv.report.heatmap import HeatMap, heat_map, legend
from gpucv.report.leaderboard import LEADERBOARD_SAID
from gpucv.report.story import (
    EXPLAINED_SAID,
    METRICS_SAID,
    NO_IMPORTANCE,
    NO_PREDICTIONS,
    tell,
)
from gpucv.report.tables import Table, scheme_title, write_interval
from gpucv.report.timeline import TIMELINE_HEADING, timeline_figure
from gpucv.report.uncertainty import INTERVALS_SAID, UNCERTAINTY_HEADING
from gpucv.report.uncertainty_figures import UncertaintyFigures

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpucv.analysis import SchemeSummary, Verdict
    from gpucv.report.input import ReportInput
    from gpucv.report.story import Chapter

__all__ = ["render_page"]

_STYLES = (
    *("page.css", "audit_page.css", "few_shot_page.css", "timeline_page.css"),
    "uncertainty_page.css",
    "why_page.css",
)
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
class SchemeCurves:
    """The error curves of all formulations of one scheme."""

    title: str
    curves: Curves


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
    uncertainty : list of UncertaintyFigures
        One per scheme that says how sure its numbers are.
    why : str
        Heading of where errors come from.
    biases : list of list of Markup
        One bar per row of each table of the bias by measured time.
    slopes : list of list of Slopes
        How ranks change, of each feature table.
    """

    said: Chapter
    figures: list[SchemeFigures]
    bars: list[list[Markup]]
    strips: list[list[Markup]]
    scale: tuple[tuple[str, str], ...]
    learning: list[LearningFigure]
    uncertainty: list[UncertaintyFigures]
    why: str
    biases: list[list[Markup]]
    slopes: list[list[Slopes]]


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
    style = "".join((folder / name).read_text(encoding="utf-8") for name in _STYLES)
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
        uncertainty_heading=UNCERTAINTY_HEADING,
        intervals_said=INTERVALS_SAID,
        next_said=NEXT_SAID,
        metrics_said=METRICS_SAID,
        explained_said=EXPLAINED_SAID,
        compared=_compared(report, story.chapters),
        no_importance=NO_IMPORTANCE,
        no_predictions=NO_PREDICTIONS,
        audit_question=QUESTION,
        timeline=timeline_figure(report.tables.timeline),
        timeline_heading=TIMELINE_HEADING,
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
        uncertainty=[UncertaintyFigures.of(each, mape_max) for each in chapter.uncertainty],
        why=why_heading(verdict),
        biases=[[bias_bar(mspe) for mspe in told.biases] for told in chapter.why],
        slopes=_slopes(report, verdict),
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
        chosen = _worst_and_best(worst_first, n_panels)
        in_order = [name for name in folds["holdout"] if name in chosen]
        left_out = len(worst_first) - len(in_order)
        rows = of.rows(report.predictions)
        rows = rows[rows["scheme"] == scheme]
        if len(rows):
            panels = prediction_panels(rows, in_order)
            title = f"Share of rows below an error, {scheme_title(summary)}"
            curves = error_curves(rows, worst_first, mape_max, title)
    return SchemeFigures(scheme_title(summary), heat, panels, left_out, curves)


def _worst_and_best(worst_first: list[str], most: int) -> set[str]:
    """Choose folds to draw: three of four the worst, the others the best."""
    if len(worst_first) <= most:
        return set(worst_first)
    n_best = max(1, most // 4)
    return {*worst_first[: most - n_best], *worst_first[-n_best:]}


def _compared(report: ReportInput, chapters: Sequence[Chapter]) -> list[SchemeCurves]:
    """Draw the error curves of all formulations beside each other, one figure per scheme."""
    if len(chapters) < 2 or report.predictions is None:
        return []
    titles = {s.scheme: scheme_title(s) for v in report.verdicts for s in v.schemes}
    some = [(chapter.heading, chapter.verdict) for chapter in chapters]
    figures = []
    for scheme, title in titles.items():
        curves = formulation_curves(report.predictions, some, scheme, title)
        if curves is not None:
            figures.append(SchemeCurves(title, curves))
    return figures


def _slopes(report: ReportInput, verdict: Verdict) -> list[list[Slopes]]:
    """Draw the slope charts of each scheme that has a feature table."""
    known = set(verdict.formulation.rows(report.tables.importance)["scheme"])
    drawn = []
    for summary in verdict.schemes:
        if summary.scheme in known:
            both = [each(report.tables, verdict, summary.scheme) for each in _SLOPES]
            drawn.append([slopes for slopes in both if slopes is not None])
    return drawn


_SLOPES = (fold_slopes, measure_slopes)


def _strips(table: Table) -> list[Markup]:
    """Draw the rank strip of each row of a feature table; the average row has none."""
    lowest = max(max(spread.ranks, default=1.0) for spread in table.ranks)
    strips = [rank_strip(each.ranks, each.mean, each.std, lowest) for each in table.ranks]
    return strips + [Markup("")] * table.n_summary


def _card(summary: SchemeSummary) -> Card:
    folds = f"n = {summary.n_finished} of {summary.n_planned} folds"
    lines = [f"average MAPE, {folds}, {count(summary.n_test)} test rows"]
    low, high = summary.intervals["test_mape"]
    if math.isfinite(low):
        lines.append(f"95% interval {write_interval(low, high, percent)}")
    elif summary.n_finished:
        lines.append("no interval: that takes 3 finished folds with finite errors")
    if summary.n_finished:
        lines.append(
            f"worst {percent(summary.worst_mape)}% ({clean(summary.worst_holdout)}), "
            f"median {percent(summary.median_mape)}%"
        )
    number = f"{percent(summary.average_mape)}%" if summary.n_finished else "no fold finished"
    return Card(scheme_title(summary), number, tuple(lines))
