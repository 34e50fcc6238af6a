"""What borrowing another group's predictor costs, as tables: one per scheme."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpucv.analysis import Formulation, summarise_donors
from gpucv.report.cells import clean, percent
from gpucv.report.tables import Column, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from gpucv.analysis import DonorSummary

__all__ = ["DONORS_HEADING", "DONORS_SAID", "donor_tables"]

DONORS_HEADING = "Borrowed predictors"

DONORS_SAID = (
    "A predictor fitted per group has no answer for a group never seen: a donor, another group's "
    "fit, answers instead. By rule: the donor chosen before any label of that group was looked "
    "at, which is what a user gets. Mean and worst: over the donors. Where a fold has several "
    "groups, each counts by its rows."
)
_BEST = (
    "Best: the donor with the least error on the group held out. Only that group's own test "
    "labels tell which it is, so nobody can choose it beforehand."
)


def donor_tables(donors: pd.DataFrame | None) -> tuple[Table, ...]:
    """Build the donor table of every scheme, the averages of its formulations last."""
    if donors is None:
        return ()
    summaries = summarise_donors(donors)
    schemes = dict.fromkeys(each.scheme for each in summaries)
    several_targets = len({each.target for each in summaries}) > 1
    return tuple(
        _table(scheme, [each for each in summaries if each.scheme == scheme], several_targets)
        for scheme in schemes
    )


def _table(scheme: str, summaries: Sequence[DonorSummary], several_targets: bool) -> Table:
    folds = [each for each in summaries if each.holdout]
    averages = [each for each in summaries if not each.holdout]
    several = len(averages) > 1
    rows = []
    for each in (*folds, *averages):
        of = Formulation(each.predictor, each.transform, each.target)
        name = clean(f"{of.label}, target {of.target}" if several_targets else of.label)
        rows.append(
            (
                *((name,) if several else ()),
                clean(each.holdout) if each.holdout else "average of the folds",
                *map(percent, (each.by_rule, each.best, each.mean, each.worst)),
                str(each.n_donors),
                f"{each.n_rule_best} of {each.n_groups}",
            )
        )
    columns = (
        *((Column("predictor", numeric=False),) if several else ()),
        Column("held out", numeric=False),
        Column("by rule %"),
        Column("best %"),
        Column("mean %"),
        Column("worst %"),
        Column("donors", spare=2),
        Column("rule chose the best", spare=1),
    )
    title = f"{DONORS_HEADING}, {clean(scheme)}: test MAPE by donor"
    return Table(title, columns, tuple(rows), n_summary=len(averages), note=_BEST)
