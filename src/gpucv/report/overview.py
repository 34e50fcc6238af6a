"""The tables over a whole study: its formulations side by side, its unfinished folds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpucv.report.cells import ABSENT, clean, percent, share
from gpucv.report.tables import Column, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpucv.analysis import SchemeSummary, Verdict
    from gpucv.report.input import ReportInput

__all__ = ["comparison_table", "failure_table"]


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
