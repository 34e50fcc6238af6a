"""Why a predictor fails, in words and tables: scale or shape, phase, step time, range."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpucv.analysis import outside_features, part_means, scale_summary
from gpucv.report.cells import ABSENT, clean, clean_sentence, count, decimal, percent, signed
from gpucv.report.svg import tick_label
from gpucv.report.tables import Column, Table, scheme_title

if TYPE_CHECKING:
    import pandas as pd

    from gpucv.analysis import ScaleSummary, SchemeSummary, Verdict
    from gpucv.report.input import ReportInput

__all__ = ["FailureStory", "failure_stories", "why_heading"]

SCALE_SAID = (
    "How much of the error a single factor per fold would remove. The factor is the median of "
    "measured over predicted, so it is chosen with the held-out times themselves: what remains "
    "is no error of a predictor, but the part that is wrong in shape."
)
PHASES_SAID = (
    "Absolute percentage errors by what a step computes: decode tokens alone, both, or prefill "
    "tokens alone. Half, 90 % and 99 % of a fold's rows do not exceed P50, P90 and P99. Means "
    "over the folds that have such rows."
)
DECADES_SAID = (
    "Signed error by measured time: above 0 the predictions are too high. Rows are sorted by "
    "what was measured, so noise alone makes short steps look predicted too high and long ones "
    "too low. Means over the folds that have such rows."
)
OUTSIDE_SAID = (
    "Features of held-out rows beyond the smallest and largest value seen in training. Trees "
    "answer there as they do at the edge. That a feature lies outside does not say that it "
    "causes the error."
)
N_FOLDS = 12
"""Folds listed: those of the highest MAPE."""
N_OUTSIDE = 10


@dataclass(frozen=True, slots=True)
class FailureStory:
    """Why one formulation fails under one scheme, as far as it is known.

    Attributes
    ----------
    title : str
        The scheme's.
    sentences : tuple of str
    scale, phases, decades, outside : Table or None
    biases : tuple of float
        The mean signed error of each row of `decades`, in percent.
    """

    title: str
    sentences: tuple[str, ...]
    scale: Table | None = None
    phases: Table | None = None
    decades: Table | None = None
    outside: Table | None = None
    biases: tuple[float, ...] = ()

    def tables(self) -> tuple[tuple[str, Table], ...]:
        """Return every table there is, behind what is to be said of it."""
        found = (
            (SCALE_SAID, self.scale),
            (PHASES_SAID, self.phases),
            (DECADES_SAID, self.decades),
            (OUTSIDE_SAID, self.outside),
        )
        return tuple((said, table) for said, table in found if table is not None)


def why_heading(verdict: Verdict) -> str:
    """Return the heading of this part: a predictor that holds does not fail."""
    fails = verdict.label in ("not supported", "partially supported")
    return "Why it fails" if fails else "Where the errors are"


def failure_stories(report: ReportInput, verdict: Verdict) -> tuple[FailureStory, ...]:
    """Tell where the errors of one formulation come from, scheme by scheme.

    Returns
    -------
    tuple of FailureStory
        Empty where neither single predictions nor the features' ranges are known.
    """
    of = verdict.formulation
    errors = None if report.errors is None else of.rows(report.errors)
    ranges = report.tables.outside
    outside = None if ranges is None else of.rows(ranges)
    stories = [_story(summary, errors, outside) for summary in verdict.schemes]
    return tuple(story for story in stories if story is not None)


def _story(
    summary: SchemeSummary, errors: pd.DataFrame | None, outside: pd.DataFrame | None
) -> FailureStory | None:
    sentences: list[str] = []
    scale = phases = decades = beyond = None
    biases: tuple[float, ...] = ()
    if errors is not None:
        of_scheme = errors[errors["scheme"] == summary.scheme]
        scaled = scale_summary(of_scheme)
        sentences += _scale_sentences(scaled) if scaled else []
        scale = _scale_table(of_scheme, scaled) if len(of_scheme) else None
        phases = _phase_table(part_means(of_scheme, "phase"))
        means = part_means(of_scheme, "decade")
        decades = _decade_table(means, of_scheme)
        biases = tuple(means["mspe"].astype(float))
    if outside is not None:
        of_scheme = outside[outside["scheme"] == summary.scheme]
        found = outside_features(of_scheme)
        if len(of_scheme):
            sentences.append(_outside_sentence(found, of_scheme))
        beyond = _outside_table(found, of_scheme["holdout"].nunique())
    if not sentences and scale is None:
        return None
    told = tuple(clean_sentence(sentence) for sentence in sentences)
    return FailureStory(scheme_title(summary), told, scale, phases, decades, beyond, biases)


def _scale_sentences(scaled: ScaleSummary) -> list[str]:
    left, removed = percent(scaled.scaled_mape), scaled.removed
    before = f"the average MAPE of {percent(scaled.mape)}% (n = {scaled.n_folds} folds)"
    if math.isnan(removed):
        return []
    if removed <= 0:
        return [
            f"Scale does not explain the errors of these folds: one factor for each of them "
            f"would leave {before} at {left}%. They are errors of shape."
        ]
    part = "most" if removed >= _MOST else "less than half" if removed < 0.5 else "part"
    return [
        f"One factor for each fold would take {before} to {left}%: in these folds "
        f"{part} of the error ({100 * removed:.0f}%) is scale, the rest is shape."
        + _told_worse(scaled)
    ]


def _told_worse(scaled: ScaleSummary) -> str:
    if not scaled.worse:
        return ""
    return f" In {scaled.worse} of {scaled.n_folds} folds the factor makes the MAPE larger."


_MOST = 0.75


def _scale_table(errors: pd.DataFrame, scaled: ScaleSummary | None) -> Table:
    folds = errors[errors["by"] == "all"]
    listed = folds.sort_values(["mape", "holdout"], ascending=[False, True]).head(N_FOLDS)
    knows_outside = bool(folds["rows_outside"].notna().any())
    rows = [
        (
            clean(fold["holdout"]),
            *(count(fold["n_test"]), percent(fold["mape"]), percent(fold["scaled_mape"])),
            *(decimal(fold["factor"]),),
            *((percent(fold["rows_outside"]),) if knows_outside else ()),
        )
        for fold in listed.to_dict("records")
    ]
    if scaled:
        outside = percent(float(folds["rows_outside"].mean()))
        rows.append(
            (
                f"average, n = {scaled.n_folds}",
                *(count(scaled.n_rows), percent(scaled.mape), percent(scaled.scaled_mape), ""),
                *((outside,) if knows_outside else ()),
            )
        )
    hidden = len(folds) - len(listed)
    note = _OUTSIDE_ROWS if knows_outside else ""
    return Table(
        "Scale or shape",
        (
            Column("held out", numeric=False),
            Column("n rows", spare=2),
            Column("MAPE %"),
            Column("one factor %"),
            Column("factor", spare=1),
            *((Column("outside %", spare=3),) if knows_outside else ()),
        ),
        tuple(rows),
        n_summary=int(scaled is not None),
        note=f"{note} {_not_listed(hidden)}".strip(),
    )


_OUTSIDE_ROWS = "Outside: rows with at least one feature beyond its training range."


def _not_listed(hidden: int) -> str:
    if not hidden:
        return ""
    folds = "1 fold" if hidden == 1 else f"{count(hidden)} folds"
    return f"{folds} with a lower MAPE not listed; errors.csv has all."


def _phase_table(means: pd.DataFrame) -> Table | None:
    if means.empty:
        return None
    rows = tuple(
        (
            str(row["part"]),
            *(count(row["n_rows"]), count(row["n_folds"])),
            *(percent(row[name]) for name in ("p50", "p90", "p99", "mape")),
        )
        for row in means.to_dict("records")
    )
    columns = (
        Column("phase", numeric=False),
        Column("n rows", spare=3),
        Column("folds", spare=4),
        *(Column("P50 %"), Column("P90 %"), Column("P99 %")),
        Column("MAPE %", spare=1),
    )
    return Table("Errors by phase", columns, rows)


def _decade_table(means: pd.DataFrame, errors: pd.DataFrame) -> Table | None:
    if means.empty:
        return None
    target = clean(errors["target"].iloc[0])
    rows = tuple(
        (
            _decade(str(row["part"])),
            *(count(row["n_rows"]), count(row["n_folds"])),
            *(signed(row["mspe"]), percent(row["mape"])),
        )
        for row in means.to_dict("records")
    )
    columns = (
        Column(target, numeric=False),
        Column("n rows", spare=2),
        Column("folds", spare=3),
        Column("MSPE %"),
        Column("MAPE %", spare=1),
    )
    return Table("Bias by measured time", columns, rows)


def _decade(part: str) -> str:
    power = int(part.removeprefix("1e"))
    low, high = (tick_label(float(f"1e{each}")) for each in (power, power + 1))
    return f"{low} to {high}"


def _outside_sentence(found: pd.DataFrame, outside: pd.DataFrame) -> str:
    n_folds, n_features = outside["holdout"].nunique(), outside["feature"].nunique()
    if found.empty:
        return (
            f"All {n_features} features of the held-out rows stay inside their training range "
            f"(n = {n_folds} folds), so what was never seen is not a single feature's value."
        )
    first = found.iloc[0]
    folds = outside[outside["share"] > 0]["holdout"].nunique()
    return (
        f"{len(found)} of {n_features} features leave their training range, in {folds} of "
        f"{n_folds} folds; {clean(first['feature'])} most: in "
        f"{100 * first['holdout_share']:.1f}% of the rows of {clean(first['holdout'])}."
    )


def _outside_table(found: pd.DataFrame, n_folds: int) -> Table | None:
    if found.empty:
        return None
    rows = tuple(
        (
            clean(row["feature"]),
            f"{row['n_folds']} of {n_folds}",
            percent(100 * row["share"]),
            _far(float(row["farthest"]), bool(row["unbounded"])),
            clean(row["holdout"], 40),
        )
        for row in found.head(N_OUTSIDE).to_dict("records")
    )
    hidden = len(found) - len(rows)
    features = "1 feature" if hidden == 1 else f"{hidden} features"
    note = "How far: in widths of the training range, of the farthest row."
    if found.head(N_OUTSIDE)["unbounded"].any():
        note += " A feature with one value in training has no width."
    if hidden:
        note += f" {features} with fewer rows outside not listed; outside.csv has all."
    columns = (
        Column("feature", numeric=False),
        Column("folds", spare=2),
        Column("rows %"),
        Column("how far"),
        Column("most in", numeric=False, spare=6),
    )
    return Table("Features outside their training range", columns, rows, note=note)


def _far(farthest: float, unbounded: bool) -> str:
    known = ABSENT if math.isnan(farthest) else decimal(farthest, 2)
    if not unbounded:
        return known
    return "no width" if known == ABSENT else f"{known}, or no width"
