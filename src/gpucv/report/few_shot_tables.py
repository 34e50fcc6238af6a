"""What measurements of a new group buy, as tables and sentences: one part per scheme."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpucv.analysis import error_levels, learning_curves, overtaken_at
from gpucv.report.cells import ABSENT, clean, clean_sentence, count, percent
from gpucv.report.tables import Column, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from gpucv.analysis import Curve, CurveAt, Formulation, Learning, StudyTables

__all__ = [
    "FEW_SHOT_HEADING",
    "FEW_SHOT_SAID",
    "NEXT_SAID",
    "FewShotStory",
    "curve_name",
    "few_shot_stories",
]

FEW_SHOT_HEADING = "Measuring a few rows of a new group"

FEW_SHOT_SAID = (
    "Warm: what the other groups taught, corrected by the measured rows. Alone: learnt from the "
    "measured rows and nothing else. The rows tested are never among those measured, and the "
    "same for every number of rows of one draw. The error is the median over the draws of a "
    "group, and the plain mean of that over groups; 10 to 90 %: how much the luck of the draw "
    "moves it."
)
NEXT_SAID = (
    "Rows of the group held out, each next one the farthest in the predictor's features from "
    "those before it. No time was looked at. They cover the range of what can be asked; whether "
    "they teach more than rows drawn at random, a study with both draws tells."
)
_SHOWN_ROWS = 8
_SHOWN_FEATURES = 8
_SHOWN_REASONS = 3


@dataclass(frozen=True, slots=True)
class FewShotStory:
    """What is said of one scheme's curves.

    Attributes
    ----------
    learning : Learning
        What the figures are drawn from.
    curve, needed : Table
        Error by rows measured; rows needed to stay below an error.
    sentences : tuple of str
    next_title : str
    next_rows : tuple of Table
        By group held out: what to measure next.
    """

    learning: Learning
    curve: Table
    needed: Table
    sentences: tuple[str, ...]
    next_title: str
    next_rows: tuple[Table, ...]


def few_shot_stories(
    tables: StudyTables, of: Formulation, mape_max: float
) -> tuple[FewShotStory, ...]:
    """Tell what measurements of a new group buy one formulation, scheme by scheme."""
    if tables.few_shot is None:
        return ()
    told = []
    for learning in learning_curves(of.rows(tables.few_shot)):
        levels = error_levels(mape_max)
        told.append(
            FewShotStory(
                learning=learning,
                curve=_curve_table(learning),
                needed=_needed_table(learning, levels),
                sentences=tuple(clean_sentence(each) for each in _sentences(learning, levels)),
                next_title=f"What to measure next, {clean(learning.scheme)}",
                next_rows=_next_tables(tables.next_rows, of, learning.scheme),
            )
        )
    return tuple(told)


def curve_name(curve: Curve, curves: Sequence[Curve]) -> str:
    """Return ``warm``, and how the rows were drawn where a study draws them in several ways."""
    several = len({each.draw for each in curves}) > 1
    return clean(f"{curve.start}, {curve.draw}" if several else curve.start)


def _curve_table(learning: Learning) -> Table:
    curves = learning.average
    columns = [Column("rows measured")]
    for at, curve in enumerate(curves):
        name = curve_name(curve, curves)
        columns += [Column(name), Column("10 to 90 %", spare=1 + at)]
    by_k = [{point.k: point for point in curve.points} for curve in curves]
    every_k = sorted({k for points in by_k for k in points})
    rows = tuple(
        (count(k), *(cell for points in by_k for cell in _error_cells(points.get(k))))
        for k in every_k
    )
    groups = len(learning.groups)
    over = f"mean of {groups} groups" if groups > 1 else clean(learning.groups[0][0])
    title = f"{clean(learning.scheme)}: test MAPE % by rows measured of a new group, {over}"
    return Table(title, tuple(columns), rows, note=_missing(learning))


def _error_cells(point: CurveAt | None) -> tuple[str, str]:
    if point is None or math.isnan(point.median):
        return ABSENT, ABSENT
    return percent(point.median), f"{percent(point.low)} to {percent(point.high)}"


def _missing(learning: Learning) -> str:
    """Say which points have no score, and why."""
    total = sum(n for _, n in learning.reasons)
    if not total:
        return ""
    shown = "; ".join(
        f"{clean(why, longest=200)} ({count(n)})" for why, n in learning.reasons[:_SHOWN_REASONS]
    )
    rest = len(learning.reasons) - _SHOWN_REASONS
    more = f"; and {rest} more reasons" if rest > 0 else ""
    points = "1 point has" if total == 1 else f"{count(total)} points have"
    return f"{points} no score: {shown}{more}. A mean that lacks a group is left out."


def _needed_table(learning: Learning, levels: Sequence[float]) -> Table:
    curves = learning.average
    several = len(learning.groups) > 1
    columns = [Column("learnt", numeric=False)]
    for at, level in enumerate(levels):
        columns.append(Column(f"average below {level:g}%", spare=1 if at == 0 else 0))
        if several:
            columns.append(Column("every group", spare=3 if at == 0 else 2))
    rows = []
    for curve in curves:
        cells = [curve_name(curve, curves)]
        for level in levels:
            cells.append(_needed_cell(curve, level))
            if several:
                cells.append(_slowest_cell(learning.of_groups(curve), level))
        rows.append(tuple(cells))
    title = f"{clean(learning.scheme)}: rows to measure before the error stays below"
    return Table(title, tuple(columns), tuple(rows))


def _needed_cell(curve: Curve, level: float) -> str:
    if not curve.scored:
        return ABSENT
    needed = curve.needed(level)
    return f"not by {count(curve.scored[-1].k)}" if needed is None else count(needed)


def _slowest_cell(curves: Sequence[Curve], level: float) -> str:
    """Return the rows the slowest group needs, or how many of the groups get there at all."""
    needed = [curve.needed(level) for curve in curves]
    reached = [k for k in needed if k is not None]
    return (
        count(max(reached))
        if len(reached) == len(needed)
        else f"only {len(reached)} of {len(needed)}"
    )


def _sentences(learning: Learning, levels: Sequence[float]) -> list[str]:
    """Say what a warm start saves, and from where on it does not."""
    curves = learning.average
    told = []
    for draw in dict.fromkeys(curve.draw for curve in curves):
        by_start = {curve.start: curve for curve in curves if curve.draw == draw}
        if len(by_start) < 2:
            continue
        warm, alone = by_start["warm"], by_start["alone"]
        if not warm.scored or not alone.scored:
            continue
        drawn = f", {draw} draws" if len({curve.draw for curve in curves}) > 1 else ""
        takes = [
            f"below {level:g}%: {_rows(warm, level)} warm, {_rows(alone, level)} alone"
            for level in levels
            if warm.needed(level) is not None or alone.needed(level) is not None
        ]
        overtaken = overtaken_at(warm, alone)
        pays = (
            f"a warm start is ahead up to {count(alone.scored[-1].k)} rows, the most tried."
            if overtaken is None
            else f"from {count(overtaken)} rows on, alone is as good as a warm start."
        )
        until = f"rows to measure until the average stays {'; '.join(takes)}. " if takes else ""
        told.append(f"{learning.scheme}{drawn}: {until}{pays.capitalize() if takes else pays}")
    return told


def _rows(curve: Curve, level: float) -> str:
    needed = curve.needed(level)
    return f"more than {count(curve.scored[-1].k)}" if needed is None else count(needed)


def _next_tables(next_rows: pd.DataFrame | None, of: Formulation, scheme: str) -> tuple[Table, ...]:
    if next_rows is None:
        return ()
    mine = of.rows(next_rows)
    mine = mine[mine["scheme"] == scheme]
    return tuple(
        _next_table(str(holdout), rows) for holdout, rows in mine.groupby("holdout", sort=False)
    )


def _next_table(holdout: str, rows: pd.DataFrame) -> Table:
    """Build the table of the first rows to measure, by the features that tell them apart."""
    first = rows[rows["rank"] <= _SHOWN_ROWS]
    values = first.pivot(index="rank", columns="feature", values="value")
    differing = [
        feature
        for feature in dict.fromkeys(first["feature"])
        if values[feature].nunique(dropna=False) > 1
    ]
    shown = differing[:_SHOWN_FEATURES]
    named = first.drop_duplicates("rank").set_index("rank")
    cells = tuple(
        (
            str(rank),
            clean(named.at[rank, "experiment_id"]),
            str(named.at[rank, "step_id"]),
            *(_value(float(values.at[rank, feature])) for feature in shown),
        )
        for rank in values.index
    )
    columns = (
        Column("rank"),
        Column("experiment", numeric=False),
        Column("step"),
        *(Column(clean(feature)) for feature in shown),
    )
    hidden = len(differing) - len(shown)
    more = f" {hidden} more features differ." if hidden else ""
    note = f"The first {len(cells)} of {rows['rank'].max()} in next_rows.csv.{more}"
    return Table(clean(holdout), columns, cells, note=note)


def _value(value: float) -> str:
    if math.isnan(value):
        return ABSENT
    return count(value) if value.is_integer() and abs(value) < 1e7 else f"{value:.4g}"
