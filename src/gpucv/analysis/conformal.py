"""Prediction intervals from the errors on other groups, and how often they hold.

A simulator that uses a prediction wants to know how far off it may be. Split conformal
prediction answers with a quantile of errors on rows that were held out, and keeps its promise
where the new rows are like those. Rows of another model are not. So the quantile for each group
held out is taken from the *other* groups held out, and what share of the group's rows it then
covers is measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gpucv.analysis.bootstrap import mean_intervals
from gpucv.analysis.fold_rows import rows_by
from gpucv.splits import GroupLabels

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from gpucv.analysis.tables import Kind

__all__ = [
    "COVERAGE_COLUMNS",
    "LEVELS",
    "Coverage",
    "calibrated_quantiles",
    "conformal_scores",
    "coverage_table",
    "summarise_coverage",
]

LEVELS = (0.8, 0.9, 0.95)
"""Shares of the rows that intervals are meant to hold."""

COVERAGE_COLUMNS: Mapping[str, Kind] = {
    "scheme": "text",
    "holdout": "text",
    "predictor": "text",
    "transform": "text",
    "target": "text",
    "level": "real",
    "n_test": "count",
    "n_calibrating": "count",
    "coverage": "real",
    "factor": "real",
    "median_width": "real",
}
"""coverage.csv: for each fold and level, the share of its rows inside their intervals, the
groups that these were calibrated on, and the medians over rows of the factor that an interval
reaches up and down by and of its width in the target's unit (infinite where none is wide
enough)."""

_FORMULATION = ("scheme", "predictor", "transform", "target")


def conformal_scores(
    actual: NDArray[np.float64], predicted: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return ``|log(actual / predicted)|`` of each row with an `actual` above 0.

    A prediction of 0 or less scores infinity: no factor makes an interval of it.
    """
    measured, said = actual[actual > 0], predicted[actual > 0]
    usable = (said > 0) & np.isfinite(said)
    ratio = np.divide(measured, said, out=np.full(len(said), np.inf), where=usable)
    return np.asarray(np.abs(np.log(ratio)))


def calibrated_quantiles(
    groups: Sequence[NDArray[np.float64]],
    levels: Sequence[float],
    calibrates: NDArray[np.bool_] | None = None,
) -> NDArray[np.float64]:
    """Return the score that intervals of each group reach to, from the other groups' scores.

    Parameters
    ----------
    groups : sequence of ndarray of float64
        Scores of each group's rows.
    levels : sequence of float
    calibrates : ndarray of bool, shape (n_groups, n_groups), optional
        Whether the column's group may calibrate the row's; every other one by default.

    Returns
    -------
    ndarray of float64, shape (n_groups, len(levels))
        Infinite where even the largest score is too small, NaN where no group calibrates.

    Notes
    -----
    Every calibrating group counts alike, however many rows it has: the next group is one more
    of them, not one more of their rows (pooling of distributions; Dunn, Wasserman and Ramdas
    2023, JASA 118, 2491-2502). A group's scores stand at ``1 / (n + 1), ..., n / (n + 1)``
    of its distribution; of a single group that is the usual ``ceil((n + 1) level)``-th score.
    """
    n = len(groups)
    may = ~np.eye(n, dtype=bool) if calibrates is None else calibrates
    owner = np.repeat(np.arange(n, dtype=np.int32), [len(scores) for scores in groups])
    scores = np.concatenate(groups)
    order = np.argsort(scores, kind="stable")
    owner, scores = owner[order], np.append(scores[order], np.inf)
    del order  # of many rows, as large as the scores
    share = np.array([1 / (len(each) + 1) for each in groups])
    quantiles = np.full((n, len(levels)), np.nan)
    for group in np.flatnonzero(may.any(axis=1)):
        weights = np.where(may[group], share, 0.0) / may[group].sum()
        below = weights[owner]
        np.cumsum(below, out=below)
        # Rounding of the sum must not push a level that is reached exactly to the next score.
        quantiles[group] = scores[np.searchsorted(below, np.array(levels) - 1e-9)]
    return quantiles


def coverage_table(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return what conformal intervals cover of every fold.

    Parameters
    ----------
    predictions : pandas.DataFrame
        ``predictions.parquet``. Rows with an actual value of 0 or less are left out. Where it
        has a ``phase``, each phase is calibrated by itself.

    Returns
    -------
    pandas.DataFrame
        With `COVERAGE_COLUMNS`, a row per fold and level; none for a scheme of one fold.
        Folds that test a row in common never calibrate each other.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    by = rows_by(predictions, _FORMULATION)
    for named, at in by.items():
        of = dict(zip(_FORMULATION, named, strict=True))
        # Many rows are not copied for nothing: most tables hold one formulation.
        group = predictions if len(by) == 1 else predictions.iloc[at]
        if not (usable := group["actual"].to_numpy() > 0).all():
            group = group[usable]
        rows += [of | row for row in _of_scheme(group)]
    return pd.DataFrame(rows, columns=list(COVERAGE_COLUMNS))


def _of_scheme(rows: pd.DataFrame) -> list[dict[str, Any]]:
    holdouts, codes = _coded(rows["holdout"])
    if len(holdouts) < 2:
        return []
    actual, predicted = (rows[name].to_numpy(np.float64) for name in ("actual", "predicted"))
    scores, phases = conformal_scores(actual, predicted), _phases(rows)
    may = _apart(rows, codes, len(holdouts))
    reaches = _reaches(scores, codes, phases, may)
    found = []
    for code in codes[np.sort(np.unique(codes, return_index=True)[1])]:
        at = codes == code
        reach = reaches[phases[at], code]
        inside = (scores[at][:, None] <= reach).mean(axis=0)
        with np.errstate(over="ignore", invalid="ignore"):
            factor = np.exp(reach)
            width = np.maximum(predicted[at], 0.0)[:, None] * (factor - 1 / factor)
        calibrated = may[code].any()
        for index, level in enumerate(LEVELS):
            found.append(
                {
                    **{"holdout": holdouts[code], "level": level, "n_test": int(at.sum())},
                    "n_calibrating": int(may[code].sum()),
                    "coverage": float(inside[index]) if calibrated else np.nan,
                    "factor": float(np.median(factor[:, index])),
                    "median_width": float(np.median(width[:, index])),
                }
            )
    return found


def _coded(column: pd.Series[Any]) -> tuple[list[str], NDArray[np.int32]]:
    """Return the distinct texts of a column, sorted, and each row's place among them."""
    labels = GroupLabels.from_values(column)
    return list(labels.names), labels.codes


def _phases(rows: pd.DataFrame) -> NDArray[np.int8]:
    """Return a number for each row's phase; one for all where none is known."""
    import pandas as pd

    if "phase" not in rows.columns:
        return np.zeros(len(rows), dtype=np.int8)
    return pd.factorize(rows["phase"], use_na_sentinel=False)[0].astype(np.int8)


def _reaches(
    scores: NDArray[np.float64],
    codes: NDArray[np.int32],
    phases: NDArray[np.int8],
    may: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Return the quantiles of each phase and group, shape (n_phases, n_groups, n_levels).

    From rows of that phase (Mondrian) in the other groups. A phase that no other group has is
    calibrated on all their rows.
    """
    kinds = range(int(phases.max(initial=0)) + 1)
    everything = [scores[codes == code] for code in range(len(may))]
    whole = calibrated_quantiles(everything, LEVELS, may)
    reaches = np.stack([whole for _ in kinds])
    for phase in kinds if len(kinds) > 1 else ():
        members = [scores[(codes == code) & (phases == phase)] for code in range(len(may))]
        has_some = np.array([len(each) > 0 for each in members])
        quantiles = calibrated_quantiles(members, LEVELS, may & has_some)
        known = ~np.isnan(quantiles[:, 0])
        reaches[phase, known] = quantiles[known]
    return reaches


def _apart(rows: pd.DataFrame, codes: NDArray[np.int32], n: int) -> NDArray[np.bool_]:
    """Return which folds test no row in common: several groups held out at once may share one."""
    recordings, recording = _coded(rows["experiment_id"])
    tested = np.zeros((len(recordings), n), dtype=bool)
    tested[recording, codes] = True
    # Only a recording that several folds test can have such a row: mostly there is none.
    at = np.flatnonzero((tested.sum(axis=1) > 1)[recording])
    recording, codes = recording[at], codes[at]
    step = rows["step_id"].to_numpy()[at]
    order = np.lexsort((step, recording))
    recording, step, codes = recording[order], step[order], codes[order]
    apart = ~np.eye(n, dtype=bool)
    lag = 1
    while True:
        same = (recording[lag:] == recording[:-lag]) & (step[lag:] == step[:-lag])
        if not same.any():
            return apart
        one, other = codes[lag:][same], codes[:-lag][same]
        apart[one, other] = apart[other, one] = False
        lag += 1


@dataclass(frozen=True, slots=True)
class Coverage:
    """How often the intervals of one scheme and level hold.

    Attributes
    ----------
    scheme : str
    level : float
        The share of rows they are meant to hold.
    n_groups, n_calibrating : int
        Groups held out; groups that each was calibrated on, at least.
    mean, low, high : float
        Mean share over the groups, and its 95 % interval from drawing groups (NaN for fewer
        than three).
    worst_holdout : str
    worst : float
        The lowest share of any group.
    factor : float
        Median over the groups of the factor that an interval reaches up and down by.
    """

    scheme: str
    level: float
    n_groups: int
    n_calibrating: int
    mean: float
    low: float
    high: float
    worst_holdout: str
    worst: float
    factor: float

    @property
    def short(self) -> float:
        """Percentage points that the mean falls short by; below 0 it covers too much."""
        return 100.0 * (self.level - self.mean)


def summarise_coverage(coverage: pd.DataFrame) -> list[Coverage]:
    """Summarise each scheme and level of one formulation's `COVERAGE_COLUMNS`, in order."""
    summaries = []
    for (scheme, level), group in coverage.groupby(["scheme", "level"], sort=False):
        rows = group[group["coverage"].notna()]
        if rows.empty:
            continue
        shares = rows["coverage"].to_numpy(np.float64)
        low, high = mean_intervals(shares[:, None])
        worst = int(shares.argmin())
        summaries.append(
            Coverage(
                scheme=str(scheme),
                level=float(level),
                n_groups=len(rows),
                n_calibrating=int(rows["n_calibrating"].min()),
                mean=float(shares.mean()),
                low=float(low[0]),
                high=float(high[0]),
                worst_holdout=str(rows["holdout"].iloc[worst]),
                worst=float(shares[worst]),
                factor=float(rows["factor"].median()),
            )
        )
    return summaries
