"""Averages over the folds of a scheme, always with how many folds stand behind them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gpucv.analysis.bootstrap import mean_intervals
from gpucv.analysis.meaning import SchemeMeaning, meaning_by_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

__all__ = ["SchemeSummary", "measured", "summarise_schemes"]

_AVERAGED = (
    *("valid_mape", "test_mape", "test_mspe", "test_r", "test_wape", "test_p99_ape"),
    "test_time_error",
)


@dataclass(frozen=True, slots=True)
class SchemeSummary:
    """The folds of one scheme in a few numbers.

    Attributes
    ----------
    scheme : str
    meaning : SchemeMeaning
        What its folds hold out.
    n_planned, n_finished : int
        Folds planned, and folds that finished with a MAPE.
    n_test : int
        Test rows of the finished folds.
    n_left_out : int
        Training rows left out because they share a shape with a test row, over all
        planned folds.
    averages : Mapping[str, float]
        Plain mean over the finished folds of each metric, NaN where none has it.
    median_mape : float
        Median of the folds' test MAPE, in percent.
    worst_holdout : str
        Holdout of the highest test MAPE, empty where no fold finished.
    worst_mape : float
        That MAPE in percent.
    rest_average : float
        Mean test MAPE of the finished folds but the worst, NaN with fewer than two.
    sum_mape : float
        Sum of the finished folds' test MAPE: the least the planned folds can sum to.
    intervals : Mapping[str, tuple of float]
        95 % interval of each average, from drawing the finished folds again; NaN where
        there is none (`mean_intervals`).
    """

    scheme: str
    meaning: SchemeMeaning
    n_planned: int
    n_finished: int
    n_test: int
    averages: Mapping[str, float]
    median_mape: float
    worst_holdout: str
    worst_mape: float
    rest_average: float
    sum_mape: float
    n_left_out: int = 0
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def average_mape(self) -> float:
        """Mean test MAPE over the finished folds, in percent."""
        return self.averages["test_mape"]

    @property
    def complete(self) -> bool:
        """Whether every planned fold finished."""
        return self.n_finished == self.n_planned


def measured(folds: pd.DataFrame) -> pd.DataFrame:
    """Return the folds that finished and have a test MAPE."""
    return folds[(folds["status"] == "ok") & folds["test_mape"].notna()]


def summarise_schemes(
    folds: pd.DataFrame, schemes: Mapping[str, SchemeMeaning] | None = None
) -> list[SchemeSummary]:
    """Summarise each scheme of one formulation's folds, in order of appearance.

    Parameters
    ----------
    folds : pandas.DataFrame
        The fold table (`FOLD_COLUMNS`) of one formulation. Folds that failed,
        were skipped or have no MAPE count as planned and enter no average.
    schemes : mapping of str to SchemeMeaning, optional
        What each scheme holds out; the convention of its name where it is not there.
    """
    known = schemes or {}
    return [
        _summarise(str(scheme), known.get(str(scheme)) or meaning_by_name(str(scheme)), group)
        for scheme, group in folds.groupby("scheme", sort=False)
    ]


def _summarise(scheme: str, meaning: SchemeMeaning, folds: pd.DataFrame) -> SchemeSummary:
    finished = measured(folds)
    mape = finished["test_mape"].astype(float).reset_index(drop=True)
    worst = int(mape.argmax()) if len(mape) else -1
    low, high = mean_intervals(finished[list(_AVERAGED)].to_numpy(float))
    return SchemeSummary(
        scheme=scheme,
        meaning=meaning,
        n_planned=len(folds),
        n_finished=len(finished),
        n_test=int(finished["n_test"].sum()),
        averages={name: float(finished[name].astype(float).mean()) for name in _AVERAGED},
        median_mape=float(mape.median()),
        worst_holdout=str(finished["holdout"].iloc[worst]) if len(mape) else "",
        worst_mape=float(mape.iloc[worst]) if len(mape) else math.nan,
        rest_average=float(mape.drop(worst).mean()) if len(mape) else math.nan,
        sum_mape=float(mape.sum()),
        n_left_out=int(folds["n_left_out"].sum()) if "n_left_out" in folds else 0,
        intervals=dict(zip(_AVERAGED, zip(low.tolist(), high.tolist(), strict=True), strict=True)),
    )
