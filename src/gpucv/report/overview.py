"""The tables over a whole study: its formulations side by side, its unfinished folds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpucv.report.cells import ABSENT, clean, decimal, percent, share, signed
from gpucv.report.tables import Column, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpucv.analysis import Formulation, OptimismGap, SchemeSummary, Verdict
    from gpucv.report.input import ReportInput

__all__ = ["comparison_table", "failure_table", "gap_table"]

GAP_SAID = (
    "A control keeps no group apart, so training has seen rows much like every test "
    "row: its error says little about configurations never seen. Averages are over finished folds."
)


def comparison_table(verdicts: Sequence[Verdict]) -> Table:
    """Build the table that sets the formulations of a study side by side."""
    schemes = list(dict.fromkeys(each.scheme for verdict in verdicts for each in verdict.schemes))
    several_targets = len({verdict.formulation.target for verdict in verdicts}) > 1
    texts = [Column("predictor", numeric=False), Column("transform", numeric=False)]
    if several_targets:
        texts.append(Column("target", numeric=False))
    rows = []
    for verdict in verdicts:
        of = verdict.formulation
        by_name = {each.scheme: each for each in verdict.schemes}
        target = (clean(of.target),) if several_targets else ()
        averages = [_average(by_name.get(scheme)) for scheme in schemes]
        worst = f"{percent(verdict.worst.worst_mape)}" if verdict.worst else ABSENT
        rows.append(
            (clean(of.predictor), clean(of.transform), *target, *averages, worst, verdict.label)
        )
    columns = (
        *texts,
        *(
            Column(f"{clean(scheme)} average MAPE %", spare=min(2 + index, 5))
            for index, scheme in enumerate(schemes)
        ),
        Column("worst fold %", spare=1),
        Column("verdict", numeric=False),
    )
    return Table(title="The predictors compared", columns=columns, rows=tuple(rows))


def _average(summary: SchemeSummary | None) -> str:
    if summary is None:
        return ABSENT
    return f"{percent(summary.average_mape)} ({share(summary.n_finished, summary.n_planned)})"


def gap_table(verdicts: Sequence[Verdict]) -> Table | None:
    """Build the table of every optimism gap of a study, None where it has no control."""
    gaps = [(verdict.formulation, gap) for verdict in verdicts for gap in verdict.gaps]
    if not gaps:
        return None
    several = len({of for of, _ in gaps}) > 1
    rows = tuple(
        (
            *((_label(of, gaps),) if several else ()),
            clean(gap.scheme.scheme),
            clean(gap.control.scheme),
            percent(gap.scheme.average_mape),
            f"{gap.scheme.n_finished} of {gap.scheme.n_planned}",
            percent(gap.control.average_mape),
            f"{gap.control.n_finished} of {gap.control.n_planned}",
            signed(gap.points),
            decimal(gap.ratio, 1),
        )
        for of, gap in gaps
    )
    columns = (
        *((Column("predictor", numeric=False),) if several else ()),
        Column("scheme", numeric=False),
        Column("control", numeric=False, spare=3),
        Column("average MAPE %"),
        Column("folds", spare=1),
        Column("control MAPE %"),
        Column("control folds", spare=2),
        Column("gap, points"),
        Column("times", spare=4),
    )
    controls = {gap.control.scheme: gap.control for _, gap in gaps if not gap.control.complete}
    missing = "".join(
        f" {clean(each.scheme)}: {each.n_planned - each.n_finished} of {each.n_planned} folds "
        f"did not finish."
        for each in controls.values()
    )
    return Table("Optimism gap", columns, rows, note=GAP_SAID + missing)


def _label(of: Formulation, gaps: Sequence[tuple[Formulation, OptimismGap]]) -> str:
    several_targets = len({each.target for each, _ in gaps}) > 1
    return clean(f"{of.label}, target {of.target}" if several_targets else of.label)


def failure_table(report: ReportInput) -> Table | None:
    """Build the table of the folds that did not finish, None where all did."""
    folds = report.tables.folds
    unfinished = folds[folds["status"] != "ok"]
    if unfinished.empty:
        return None
    reasons = {_fold_key(failure): failure.reason for failure in report.failures}
    rows = tuple(
        (
            clean(fold.scheme),
            clean(fold.holdout),
            clean(fold.predictor),
            clean(fold.transform),
            clean(fold.status),
            clean(reasons.get(_fold_key(fold), "not recorded"), longest=300),
        )
        for fold in unfinished.itertuples(index=False)
    )
    titles = ("scheme", "held out", "predictor", "transform", "status", "reason")
    spare = (0, 0, 2, 3, 1, 0)
    columns = tuple(Column(*each) for each in zip(titles, [False] * 6, spare, strict=True))
    n, planned = len(rows), len(folds)
    return Table(f"{n} of {planned} planned folds did not finish", columns, rows)


def _fold_key(fold: object) -> tuple[str, ...]:
    names = ("scheme", "holdout", "predictor", "transform", "target")
    return tuple(str(getattr(fold, name)) for name in names)
