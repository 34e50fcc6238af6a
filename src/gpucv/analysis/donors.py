"""What borrowing another group's predictor costs: the best donor, the mean, the worst, the rule's.

A predictor fitted per group has no answer for a group never seen, and lends one from a
donor. Published transfer results often name the best donor's error. Which donor is best is
only known from the labels of the group it answers for, so nobody can choose it beforehand;
what a rule chose without those labels is what a user would have got.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from gpucv.analysis.tables import Kind

__all__ = ["DONOR_COLUMNS", "DonorSummary", "summarise_donors"]

DONOR_COLUMNS: Mapping[str, Kind] = {
    "scheme": "text",
    "holdout": "text",
    "predictor": "text",
    "transform": "text",
    "target": "text",
    "group": "text",
    "donor": "text",
    "by_rule": "flag",
    "n_test": "count",
    "test_mape": "real",
}
"""donors.csv: every donor of every group never seen. `by_rule` is true for the one chosen
beforehand; MAPE in percent."""

_FOLD = ["scheme", "predictor", "transform", "target", "holdout"]


@dataclass(frozen=True, slots=True)
class DonorSummary:
    """How the donors of one fold did, or those of all folds of a scheme.

    Every figure is a test MAPE in percent: of a fold, the mean over its groups weighted by
    their rows; of a scheme, the plain mean over its folds.

    Attributes
    ----------
    scheme, predictor, transform, target : str
    holdout : str
        Empty for a scheme.
    n_groups : int
        Groups never seen.
    n_donors : int
        Donors each of them had, the fewest.
    best : float
        Of the donor with the least error in each group: chosen by the test labels.
    mean, worst : float
        Over the donors of each group.
    by_rule : float
        Of the donor chosen before any label of the group was looked at.
    n_rule_best : int
        Groups for which the rule chose a donor that no other one beats.
    """

    scheme: str
    predictor: str
    transform: str
    target: str
    holdout: str
    n_groups: int
    n_donors: int
    best: float
    mean: float
    worst: float
    by_rule: float
    n_rule_best: int


def summarise_donors(donors: pd.DataFrame) -> list[DonorSummary]:
    """Summarise the donors of every fold, and after each scheme's folds the scheme's.

    Parameters
    ----------
    donors : pandas.DataFrame
        With the columns of `DONOR_COLUMNS`, in the order of the plan.

    Returns
    -------
    list of DonorSummary
        By scheme, predictor, transform and target in order of appearance.
    """
    summaries = []
    for key, of_scheme in donors.groupby(_FOLD[:-1], sort=False):
        folds = [
            _of_fold((*key, str(holdout)), rows)
            for holdout, rows in of_scheme.groupby("holdout", sort=False)
        ]
        summaries += [*folds, _of_scheme(folds)]
    return summaries


def _of_fold(key: tuple[str, ...], donors: pd.DataFrame) -> DonorSummary:
    scheme, predictor, transform, target, holdout = map(str, key)
    groups = [rows for _, rows in donors.groupby("group", sort=False)]
    weights = np.array([float(rows["n_test"].iloc[0]) for rows in groups])
    errors = [rows["test_mape"].astype(float) for rows in groups]
    ruled = [float(rows.loc[rows["by_rule"], "test_mape"].astype(float).mean()) for rows in groups]

    def over_groups(figures: list[float]) -> float:
        return float(np.average(figures, weights=weights))

    best = [float(each.min()) for each in errors]
    return DonorSummary(
        scheme=scheme,
        predictor=predictor,
        transform=transform,
        target=target,
        holdout=holdout,
        n_groups=len(groups),
        n_donors=min(len(rows) for rows in groups),
        best=over_groups(best),
        mean=over_groups([float(each.mean()) for each in errors]),
        worst=over_groups([float(each.max()) for each in errors]),
        by_rule=over_groups(ruled),
        n_rule_best=sum(mine <= least for mine, least in zip(ruled, best, strict=True)),
    )


def _of_scheme(folds: list[DonorSummary]) -> DonorSummary:
    first = folds[0]
    return DonorSummary(
        scheme=first.scheme,
        predictor=first.predictor,
        transform=first.transform,
        target=first.target,
        holdout="",
        n_groups=sum(each.n_groups for each in folds),
        n_donors=min(each.n_donors for each in folds),
        best=float(np.mean([each.best for each in folds])),
        mean=float(np.mean([each.mean for each in folds])),
        worst=float(np.mean([each.worst for each in folds])),
        by_rule=float(np.mean([each.by_rule for each in folds])),
        n_rule_best=sum(each.n_rule_best for each in folds),
    )
