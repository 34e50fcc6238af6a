"""How sure the numbers are: intervals of errors, and how often prediction intervals hold."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gpucv.analysis import (
    LEVELS,
    METRICS,
    ScoreBin,
    error_by_score,
    summarise_coverage,
)
from gpucv.report.cells import ABSENT, clean, count, decimal, percent, share, signed
from gpucv.report.tables import Column, Table, scheme_title, write_interval

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import pandas as pd

    from gpucv.analysis import Coverage, SchemeSummary, Verdict
    from gpucv.report.input import ReportInput

__all__ = [
    "INTERVALS_SAID",
    "SCORE_COLUMN",
    "UNCERTAINTY_HEADING",
    "SchemeUncertainty",
    "uncertainty_stories",
]

UNCERTAINTY_HEADING = "How sure these numbers are"
INTERVALS_SAID = (
    "In brackets: 95% intervals. Of a fold: what other stretches of the same recordings could "
    "have given (blocks of steps drawn again); it says nothing about another group. Of an "
    "average: what other groups could have given (folds drawn again), too narrow with few folds, "
    "and none with fewer than 3."
)
COVERAGE_SAID = (
    "Share of the rows inside prediction intervals (conformal: the prediction times and over a "
    "factor), calibrated on the errors of the other folds, and phase by phase where phases are "
    "known. Width: in the unit of the target, at 90%."
)
SCORE_COLUMN = "outside"
"""Column of ``predictions.parquet``: share of a row's features outside their training range."""

_QUOTED = 0.9
_WRITTEN: Mapping[str, tuple[str, int, Callable[[float], str]]] = {
    "test_mape": ("MAPE %", 0, percent),
    "test_mspe": ("MSPE %", 2, signed),
    "test_wape": ("WAPE %", 4, percent),
    "test_r": ("r", 3, decimal),
}


@dataclass(frozen=True, slots=True)
class SchemeUncertainty:
    """What is said about one scheme of one formulation.

    Attributes
    ----------
    title : str
    intervals, coverage, scores : Table or None
        Errors with their intervals; what prediction intervals cover; errors by
        out-of-domain score.
    sentences : tuple of str
    rows : pandas.DataFrame
        `INTERVAL_COLUMNS` of the scheme, for the figure.
    covered : pandas.DataFrame
        `COVERAGE_COLUMNS` of the scheme, for the figure.
    bins : tuple of ScoreBin
    """

    title: str
    intervals: Table | None
    coverage: Table | None
    scores: Table | None
    sentences: tuple[str, ...]
    rows: pd.DataFrame
    covered: pd.DataFrame
    bins: tuple[ScoreBin, ...]

    @property
    def tables(self) -> tuple[Table, ...]:
        """The tables there are, in order."""
        found = (self.intervals, self.coverage, self.scores)
        return tuple(table for table in found if table is not None)


def uncertainty_stories(report: ReportInput, verdict: Verdict) -> tuple[SchemeUncertainty, ...]:
    """Say how sure the numbers of one formulation are, scheme by scheme.

    Empty for results that came without intervals: those of earlier versions.
    """
    tables, of = report.tables, verdict.formulation
    if tables.intervals is None or tables.coverage is None:
        return ()
    intervals, coverage = of.rows(tables.intervals), of.rows(tables.coverage)
    return tuple(
        _story(
            summary,
            intervals[intervals["scheme"] == summary.scheme],
            coverage[coverage["scheme"] == summary.scheme],
            _bins(report, verdict, summary.scheme),
        )
        for summary in verdict.schemes
        if summary.n_finished
    )


def _story(
    summary: SchemeSummary,
    rows: pd.DataFrame,
    covered: pd.DataFrame,
    bins: tuple[ScoreBin, ...],
) -> SchemeUncertainty:
    found = {each.level: each for each in summarise_coverage(covered)}
    return SchemeUncertainty(
        title=scheme_title(summary),
        intervals=_interval_table(rows, summary) if len(rows) else None,
        coverage=_coverage_table(covered, found, summary) if found else None,
        scores=_score_table(bins, summary) if bins else None,
        sentences=(_said(found[_QUOTED], summary),) if _QUOTED in found else (),
        rows=rows,
        covered=covered,
        bins=bins,
    )


def _interval_table(rows: pd.DataFrame, summary: SchemeSummary) -> Table:
    cells = []
    for row in rows.to_dict("records"):
        average = row["over"] == "folds"
        name = f"average, {share(summary.n_finished, summary.n_planned)}"
        label = (name, "") if average else (clean(row["holdout"]), count(row["n"]))
        cells.append((*label, *(_with_interval(row, metric) for metric in METRICS)))
    columns = (
        Column("held out", numeric=False),
        Column("n test", spare=1),
        *(Column(title, spare=spare) for title, spare, _ in map(_WRITTEN.__getitem__, METRICS)),
    )
    n_average = int((rows["over"] == "folds").sum())
    title = f"Errors with 95% intervals, {scheme_title(summary)}"
    return Table(title, columns, tuple(cells), n_summary=n_average, note=_too_few(summary))


def _too_few(summary: SchemeSummary) -> str:
    return "" if summary.n_finished >= 3 else "Fewer than 3 folds: the average has no interval."


def _with_interval(row: Mapping[Any, Any], metric: str) -> str:
    """Write a number with its interval: ``18.2 [16.9, 19.6]``."""
    write = _WRITTEN[metric][2]
    value, low, high = row[metric], row[f"{metric}_low"], row[f"{metric}_high"]
    told = "" if math.isnan(low) else f" {write_interval(low, high, write)}"
    return f"{write(value)}{told}"


def _coverage_table(
    covered: pd.DataFrame, found: Mapping[float, Coverage], summary: SchemeSummary
) -> Table:
    rows = []
    for holdout, of in covered.groupby("holdout", sort=False):
        by_level = {each["level"]: each for each in of.to_dict("records")}
        quoted = by_level[_QUOTED]
        shares = (percent(100 * by_level[level]["coverage"]) for level in LEVELS)
        rows.append(
            (
                *(clean(holdout), count(quoted["n_test"]), *shares),
                *(_factor(quoted["factor"]), count(quoted["median_width"])),
            )
        )
    means = (_mean(found[level]) for level in LEVELS)
    factor = _factor(found[_QUOTED].factor)
    rows.append((f"mean, n = {found[_QUOTED].n_groups}", "", *means, factor, ""))
    columns = (
        Column("held out", numeric=False),
        Column("n test", spare=2),
        *(Column(f"meant {100 * level:g}%") for level in LEVELS),
        Column("factor at 90%", spare=1),
        Column("median width", spare=3),
    )
    title = f"What prediction intervals cover, {scheme_title(summary)}"
    return Table(title, columns, tuple(rows), n_summary=1, note=COVERAGE_SAID)


def _mean(found: Coverage, unit: str = "") -> str:
    mean = f"{percent(100 * found.mean)}{unit}"
    if math.isnan(found.low):
        return mean
    return f"{mean} {write_interval(100 * found.low, 100 * found.high, percent)}"


def _factor(factor: float) -> str:
    return f"{factor:.3g}" if math.isfinite(factor) else ABSENT if math.isnan(factor) else "∞"


def _said(found: Coverage, summary: SchemeSummary) -> str:
    """Say how often intervals hold on a group never seen, and how much of that is chance."""
    meaning, meant = summary.meaning, 100 * found.level
    whose = (
        f"rows kept by {clean(meaning.split)}"
        if meaning.control
        else f"the rows of {clean(meaning.asked)}"
    )
    groups = f"{found.n_groups} fold{'s'[: found.n_groups != 1]}"
    told = (
        f"{clean(found.scheme)}: prediction intervals meant to hold {meant:g}% of {whose} hold "
        f"{_mean(found, unit='%')} on average over {groups}, {_against(found)}; least "
        f"{percent(100 * found.worst)}% ({clean(found.worst_holdout)})."
    )
    promised = found.n_calibrating / (found.n_calibrating + 1)
    if meaning.control or promised >= found.level:
        return told
    return (
        f"{told} From {found.n_calibrating} other folds, no more than {100 * promised:.0f}% can be "
        "promised for a new group without assuming that it is like them."
    )


def _against(found: Coverage) -> str:
    """Compare the mean with what was meant, and say so where the groups cannot tell."""
    if abs(found.short) < 0.05:
        return "as meant"
    size = f"{abs(found.short):.1f} points {'short' if found.short > 0 else 'more than meant'}"
    inside = found.low <= found.level <= found.high
    return f"{size}, which {found.n_groups} folds do not tell from none" if inside else size


def _bins(report: ReportInput, verdict: Verdict, scheme: str) -> tuple[ScoreBin, ...]:
    """Return the error by out-of-domain score, empty where predictions come without scores."""
    if report.predictions is None or SCORE_COLUMN not in report.predictions.columns:
        return ()  # written by earlier versions
    rows = verdict.formulation.rows(report.predictions)
    rows = rows[(rows["scheme"] == scheme) & (rows["actual"] != 0)]
    error = 100.0 * (rows["predicted"] / rows["actual"] - 1.0).abs()
    return error_by_score(rows[SCORE_COLUMN].to_numpy(np.float64), error.to_numpy(np.float64))


def _score_table(bins: Sequence[ScoreBin], summary: SchemeSummary) -> Table:
    rows = tuple(
        (
            f"{each.low:.3g}" + (f" to {each.high:.3g}" if each.high > each.low else ""),
            count(each.n),
            percent(each.median),
            percent(each.upper),
        )
        for each in bins
    )
    columns = (
        Column("out-of-domain score", numeric=False),
        Column("n test"),
        Column("median error %"),
        Column("90% below, %"),
    )
    return Table(f"Error against out-of-domain score, {scheme_title(summary)}", columns, rows)
