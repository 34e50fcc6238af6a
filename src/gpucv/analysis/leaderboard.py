"""Which formulation does best in each scheme, and which of them cannot be told apart."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gpucv.analysis.aggregate import measured
from gpucv.analysis.bootstrap import FEWEST_GROUPS, enumerated, mean_intervals
from gpucv.analysis.meaning import meaning_by_name
from gpucv.analysis.tables import Formulation, formulations

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gpucv.analysis.meaning import SchemeMeaning

__all__ = ["DIFFERENCE_COLUMNS", "LEADERBOARD_COLUMNS", "Leaderboard", "rank_formulations"]

LEADERBOARD_COLUMNS = (
    *("scheme", "predictor", "transform", "target", "rank"),
    *("n_finished", "n_planned", "n_compared"),
    *("mean_mape", "median_mape", "worst_holdout", "worst_mape"),
    *("mean_wape", "mean_time_error", "mean_fit_s", "mean_predict_s"),
    *("tied_with_best", "control"),
)
"""leaderboard.csv. Errors in percent, times in seconds, all over `n_compared` folds."""

DIFFERENCE_COLUMNS = (
    *("scheme", "target", "better", "better_transform", "worse", "worse_transform"),
    *("n_groups", "mean_difference", "low", "high", "method", "tie", "control"),
)
"""differences.csv. Test MAPE of `worse` minus that of `better`, in percentage points."""

_AVERAGED = {
    "mean_mape": "test_mape",
    "mean_wape": "test_wape",
    "mean_time_error": "test_time_error",
    "mean_fit_s": "fit_s",
    "mean_predict_s": "predict_s",
}


@dataclass(frozen=True, slots=True, eq=False)
class Leaderboard:
    """The formulations of a study, ranked scheme by scheme.

    Attributes
    ----------
    table : pandas.DataFrame
        `LEADERBOARD_COLUMNS`: one row per scheme and formulation, best first.
    differences : pandas.DataFrame
        `DIFFERENCE_COLUMNS`: the best of each scheme against every other that finished
        the same folds.
    """

    table: pd.DataFrame
    differences: pd.DataFrame


@dataclass(frozen=True, slots=True, eq=False)
class _Board:
    """One scheme: who took part, and who is compared on which folds.

    `finished` has the folds of each entry that have a MAPE; `ranked` the places of those
    that are compared, on the folds `shared`.
    """

    scheme: str
    control: bool
    entries: list[Formulation]
    n_planned: list[int]
    finished: list[pd.DataFrame]
    ranked: list[int]
    shared: pd.Index[Any]

    def compared(self, place: int) -> pd.DataFrame:
        """Return the folds that the figures of one entry are over."""
        folds = self.finished[place]
        return folds.reindex(self.shared) if place in self.ranked else folds

    def mapes(self) -> pd.DataFrame:
        """Return a row per shared fold and a column per ranked entry, named by its place."""
        return pd.DataFrame(
            {place: self.compared(place)["test_mape"].astype(float) for place in self.ranked},
            index=self.shared,
        )


def rank_formulations(
    folds: pd.DataFrame, schemes: Mapping[str, SchemeMeaning] | None = None
) -> Leaderboard:
    """Rank the formulations of a study in each of its schemes.

    Ranks are by mean test MAPE over the folds that all ranked formulations finished, so
    each is measured on the same groups; equal means share a rank. Ranked are those that
    finished the most folds. All others share the last rank, and their figures are over
    the folds they did finish. Where those with the most folds have none in common, nobody is
    ranked: `rank` is missing, and all figures are over each one's own folds.

    Parameters
    ----------
    folds : pandas.DataFrame
        The fold table (`FOLD_COLUMNS`).
    schemes : mapping of str to SchemeMeaning, optional
        What each scheme holds out; the convention of its name where it is not there.

    Returns
    -------
    Leaderboard

    Notes
    -----
    The best is set against every other by the mean of the paired differences, and a 95 %
    interval over groups (`mean_intervals`); every pair would be a table nobody reads. It is
    a tie where the interval holds 0, and where fewer than three groups allow no interval; an
    infinite error never ties with a finite best. The best is chosen on the folds it is then
    compared on, which flatters it a little; folds that share groups (splits drawn more than
    once, several groups held out together) are no independent draws, and their intervals are
    narrower than they should be.
    """
    known = schemes or {}
    tables, differences = [], []
    for (scheme, _), rows in folds.groupby(["scheme", "target"], sort=False):
        name = str(scheme)
        board = _board(name, (known.get(name) or meaning_by_name(name)).control, rows)
        pairs = _differences(board)
        tables.append(_table(board, pairs))
        differences.append(pairs)
    return Leaderboard(
        _joined(tables, LEADERBOARD_COLUMNS), _joined(differences, DIFFERENCE_COLUMNS)
    )


def _board(scheme: str, control: bool, folds: pd.DataFrame) -> _Board:
    entries = formulations(folds)
    planned = [each.rows(folds) for each in entries]
    finished = [measured(_by_fold(of)) for of in planned]
    most = max(len(of) for of in finished)
    ranked = [place for place, of in enumerate(finished) if 0 < len(of) == most]
    shared = finished[ranked[0] if ranked else 0].index
    for place in ranked:
        shared = shared[shared.isin(finished[place].index)]
    if not len(shared):
        ranked = []
    return _Board(scheme, control, entries, [len(of) for of in planned], finished, ranked, shared)


def _by_fold(folds: pd.DataFrame) -> pd.DataFrame:
    """Index folds by what they hold out; those that spell alike are told apart by number."""
    nth = folds.groupby("holdout", sort=False).cumcount()
    return folds.set_index(pd.MultiIndex.from_arrays([folds["holdout"], nth], names=(None, None)))


def _best_first(board: _Board) -> list[int]:
    return [int(place) for place in board.mapes().mean().sort_values(kind="stable").index]


def _differences(board: _Board) -> pd.DataFrame:
    """Set the best against every other that is ranked, in the order of their means."""
    mapes, order = board.mapes(), _best_first(board)
    best, others = order[:1], order[1:]
    with np.errstate(invalid="ignore"):  # an infinite error less another is no number
        points = mapes[others].to_numpy() - mapes[best].to_numpy()
    low, high = mean_intervals(points)
    behind = pd.DataFrame(points).mean(skipna=False).to_numpy()
    n_groups, entries = len(points), board.entries
    return pd.DataFrame(
        {
            "scheme": board.scheme,
            "target": [entries[place].target for place in others],
            "better": [entries[place].predictor for place in best * len(others)],
            "better_transform": [entries[place].transform for place in best * len(others)],
            "worse": [entries[place].predictor for place in others],
            "worse_transform": [entries[place].transform for place in others],
            "n_groups": n_groups,
            "mean_difference": behind,
            "low": low,
            "high": high,
            "method": _method(n_groups),
            "tie": ~(low > 0) & (behind != np.inf),  # no interval is a tie as well
            "control": board.control,
        },
        index=others,
    )


def _method(n_groups: int) -> str:
    if n_groups < FEWEST_GROUPS:
        return "none"
    return "exact" if enumerated(n_groups) else "bootstrap"


def _table(board: _Board, differences: pd.DataFrame) -> pd.DataFrame:
    """Lay one scheme's leaderboard out, best first; `differences` are indexed by place."""
    ranks = board.mapes().mean().rank(method="min").fillna(1)
    tied = {*_best_first(board)[:1], *differences.index[differences["tie"]]}
    rows = [
        {
            **{"scheme": board.scheme, **asdict(of)},
            "rank": int(ranks.get(place, len(board.ranked) + 1)) if board.ranked else None,
            **{"n_finished": len(board.finished[place]), "n_planned": board.n_planned[place]},
            **_figures(board.compared(place)),
            **{"tied_with_best": place in tied, "control": board.control},
        }
        for place, of in enumerate(board.entries)
    ]
    rows.sort(key=lambda row: (row["rank"] or 0, -row["n_finished"]))
    return pd.DataFrame(rows, columns=list(LEADERBOARD_COLUMNS)).astype({"rank": "Int64"})


def _figures(folds: pd.DataFrame) -> dict[str, Any]:
    mape = folds["test_mape"].astype(float).reset_index(drop=True)
    worst = int(mape.argmax()) if len(mape) else -1
    return {
        "n_compared": len(mape),
        "median_mape": float(mape.median()),
        "worst_holdout": str(folds["holdout"].iloc[worst]) if len(mape) else "",
        "worst_mape": float(mape.iloc[worst]) if len(mape) else math.nan,
        **{name: float(folds[column].astype(float).mean()) for name, column in _AVERAGED.items()},
    }


def _joined(frames: Sequence[pd.DataFrame], columns: Sequence[str]) -> pd.DataFrame:
    """Join frames with rows; without any, an empty one keeps the columns."""
    filled = [frame for frame in frames if len(frame)]
    if not filled:
        return pd.DataFrame(columns=list(columns))
    return pd.concat(filled, ignore_index=True)
