"""How many measured rows of a new group bring the error down, and how sure that is.

A fold's curve has a score for every number of rows measured (k), draw of them, start and
repeat. Over the repeats of a group the median stands for it, and the 10 to 90 % band says
how much the luck of the draw moves it. Over groups the plain mean stands, where every group
has a score: a mean over fewer groups at one k than at the next would be no curve.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from gpucv.analysis.tables import Kind

__all__ = [
    "FEW_SHOT_COLUMNS",
    "NEXT_ROW_COLUMNS",
    "Curve",
    "CurveAt",
    "Learning",
    "error_levels",
    "learning_curves",
    "overtaken_at",
]

FEW_SHOT_COLUMNS: Mapping[str, Kind] = {
    "scheme": "text",
    "holdout": "text",
    "predictor": "text",
    "transform": "text",
    "target": "text",
    "k": "count",
    "start": "text",
    "draw": "text",
    "repeat": "count",
    "n_test": "count",
    "test_mape": "real",
    "test_wape": "real",
    "reason": "text",
}
"""few_shot.csv: one row per point of a curve; without a score where there is a reason."""

NEXT_ROW_COLUMNS: Mapping[str, Kind] = {
    "scheme": "text",
    "holdout": "text",
    "predictor": "text",
    "transform": "text",
    "target": "text",
    "rank": "count",
    "experiment_id": "text",
    "step_id": "count",
    "feature": "text",
    "value": "real",
}
"""next_rows.csv: what to measure next, a row per feature of each; rank 1 comes first."""

_LEVELS = (10.0, 5.0)
"""Errors in percent that are asked for beside the study's own threshold."""
_OF = ["scheme", "predictor", "transform", "target"]


@dataclass(frozen=True, slots=True)
class CurveAt:
    """The error at one k.

    Attributes
    ----------
    k : int
    median, low, high : float
        Median, 10 % and 90 % quantile of the repeats' test MAPE in percent; of several
        groups the mean of theirs. NaN where a score is missing.
    n_scored, n_planned : int
        Repeats of a group with a score; of several groups, the groups that have one.
    """

    k: int
    median: float
    low: float
    high: float
    n_scored: int
    n_planned: int


@dataclass(frozen=True, slots=True)
class Curve:
    """The error of one start and draw by number of rows measured, k rising."""

    start: str
    draw: str
    points: tuple[CurveAt, ...]

    @property
    def scored(self) -> tuple[CurveAt, ...]:
        """The points that have a score."""
        return tuple(point for point in self.points if not math.isnan(point.median))

    def needed(self, level: float) -> int | None:
        """Return the smallest k from which the median stays below `level`, in percent.

        None where it is not below it at the largest k that has a score.
        """
        found = None
        for point in reversed(self.scored):
            if not point.median < level:
                break
            found = point.k
        return found


@dataclass(frozen=True, slots=True)
class Learning:
    """What measurements of a new group buy one formulation under one scheme.

    Attributes
    ----------
    scheme, predictor, transform, target : str
    average : tuple of Curve
        Over the groups held out: warm starts first.
    groups : tuple of (holdout, tuple of Curve)
        The same of each group.
    reasons : tuple of (sentence, int)
        Why points have no score, and how many of them, the most frequent first.
    """

    scheme: str
    predictor: str
    transform: str
    target: str
    average: tuple[Curve, ...]
    groups: tuple[tuple[str, tuple[Curve, ...]], ...]
    reasons: tuple[tuple[str, int], ...]

    def of_groups(self, curve: Curve) -> list[Curve]:
        """Return each group's curve of the start and draw of `curve`."""
        return [
            each
            for _, curves in self.groups
            for each in curves
            if (each.start, each.draw) == (curve.start, curve.draw)
        ]


def error_levels(mape_max: float) -> tuple[float, ...]:
    """Return the errors in percent asked for: the study's threshold, 10 and 5, falling."""
    return tuple(sorted({mape_max, *_LEVELS}, reverse=True))


def learning_curves(few_shot: pd.DataFrame) -> list[Learning]:
    """Summarise the curves of every scheme and formulation.

    Parameters
    ----------
    few_shot : pandas.DataFrame
        With the columns of `FEW_SHOT_COLUMNS`, in the order of the plan.
    """
    found = []
    for key, rows in few_shot.groupby(_OF, sort=False):
        scheme, predictor, transform, target = map(str, key)
        groups = tuple(
            (str(holdout), _curves(of_group))
            for holdout, of_group in rows.groupby("holdout", sort=False)
        )
        told = rows.loc[rows["reason"] != "", "reason"].value_counts()
        found.append(
            Learning(
                scheme=scheme,
                predictor=predictor,
                transform=transform,
                target=target,
                average=_average([curves for _, curves in groups]),
                groups=groups,
                reasons=tuple((str(why), int(n)) for why, n in told.items()),
            )
        )
    return found


def overtaken_at(warm: Curve, alone: Curve) -> int | None:
    """Return the smallest k from which learning from the k rows alone is as good or better.

    None where the warm start is ahead at the largest k both have a score for.
    """
    by_k = {point.k: point.median for point in warm.scored}
    found = None
    for point in reversed([point for point in alone.scored if point.k in by_k]):
        if point.median > by_k[point.k]:
            break
        found = point.k
    return found


def _curves(of_group: pd.DataFrame) -> tuple[Curve, ...]:
    """Return a group's curves, warm starts first, draws in the order of the study."""
    curves = []
    for (start, draw), rows in of_group.groupby(["start", "draw"], sort=False):
        mapes = {k: rows.loc[rows["k"] == k, "test_mape"] for k in sorted(set(rows["k"].tolist()))}
        points = tuple(
            _over_repeats(k, of_repeats.astype(float).dropna().tolist(), len(of_repeats))
            for k, of_repeats in mapes.items()
        )
        curves.append(Curve(str(start), str(draw), points))
    return tuple(sorted(curves, key=lambda curve: curve.start != "warm"))


def _over_repeats(k: int, mapes: list[float], n_planned: int) -> CurveAt:
    if not mapes:
        return CurveAt(k, math.nan, math.nan, math.nan, 0, n_planned)
    if not np.isfinite(mapes).all():
        # A quantile between two infinite errors is one, not what their difference gives.
        low, median, high = np.quantile(mapes, (0.1, 0.5, 0.9), method="inverted_cdf")
    else:
        low, median, high = np.quantile(mapes, (0.1, 0.5, 0.9))
    return CurveAt(k, float(median), float(low), float(high), len(mapes), n_planned)


def _average(groups: Sequence[tuple[Curve, ...]]) -> tuple[Curve, ...]:
    """Return the mean curves over the groups; a point that a group lacks has no mean."""
    alike: dict[tuple[str, str], list[Curve]] = {}
    for curve in (curve for curves in groups for curve in curves):
        alike.setdefault((curve.start, curve.draw), []).append(curve)
    averages = []
    for (start, draw), curves in alike.items():
        every_k = sorted({point.k for curve in curves for point in curve.points})
        scored = [{point.k: point for point in curve.scored} for curve in curves]
        points = tuple(
            _over_groups(k, [each[k] for each in scored if k in each], len(groups)) for k in every_k
        )
        averages.append(Curve(start, draw, points))
    return tuple(sorted(averages, key=lambda curve: curve.start != "warm"))


def _over_groups(k: int, points: Sequence[CurveAt], n_groups: int) -> CurveAt:
    if len(points) < n_groups:
        return CurveAt(k, math.nan, math.nan, math.nan, len(points), n_groups)
    median, low, high = (
        float(np.mean([getattr(point, name) for point in points]))
        for name in ("median", "low", "high")
    )
    return CurveAt(k, median, low, high, n_groups, n_groups)
