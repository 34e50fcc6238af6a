"""Runs side by side: what moved between a baseline and another run, fold by fold."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from gpucv.analysis.bootstrap import FEWEST_GROUPS, mean_intervals
from gpucv.analysis.paired import RowMetric, SameRows, moved_interval, same_rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from numpy.typing import NDArray

__all__ = [
    "COMPARED_METRICS",
    "ComparedRun",
    "Comparison",
    "compare_runs",
    "paired_folds",
]

COMPARED_METRICS = ("mape", "wape", "p99_ape", "time_error")
"""Errors of a fold in percent, lower is better; columns ``test_<metric>`` of the fold table."""

_ROW_METRICS: tuple[RowMetric, ...] = ("mape", "wape")
_TIMES = ("fit", "predict")
_FORMULATION = ("scheme", "predictor", "transform")
_FOLD = ("scheme", "holdout", "predictor", "transform")
_SCORED = {
    **{metric: f"test_{metric}" for metric in COMPARED_METRICS},
    **{f"{name}_s": f"{name}_s" for name in _TIMES},
}


@dataclass(frozen=True, slots=True, eq=False)
class ComparedRun:
    """What of a run is compared.

    Attributes
    ----------
    name : str
        What the run is called; each has another name.
    folds : pandas.DataFrame
        The fold table (`FOLD_COLUMNS`).
    predictions : pandas.DataFrame or None
        All rows held out, fold by fold in the order of `folds`.
    wall_s : float
        From the first fold's begin to the last one's end; NaN where it is not known.
    """

    name: str
    folds: pd.DataFrame
    predictions: pd.DataFrame | None = None
    wall_s: float = math.nan


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Runs beside their baseline. Every table has a column ``run``.

    Attributes
    ----------
    baseline : str
    runs : tuple of str
        Each set against the baseline.
    accuracy : pandas.DataFrame
        A row per scheme, formulation and metric: ``n_folds, baseline, value, change,
        percent, low, high, method, standing, folds_low, folds_high, n_lost``. Errors in
        percent, `change` and the 95 % intervals in percentage points, `percent` relative to
        the baseline. `method` is ``rows`` (blocks of steps drawn again, these folds held
        fixed), ``folds`` (folds drawn again) or ``none``; `standing` is ``same`` (to the
        last bit), ``worse``, ``better``, ``tied`` (the interval holds 0) or ``not told
        apart`` (there is none). `n_lost`
        counts folds that only the baseline finished.
    speed : pandas.DataFrame
        A row per formulation and time: ``n_folds, baseline_s, value_s, ratio, low, high,
        standing``, medians over folds in seconds; and one for the whole run (``wall``).
    folds : pandas.DataFrame
        A row per fold of both: scores and times of either, ``same_rows``.
    plan : pandas.DataFrame
        A row per fold that not both planned or not both finished: ``baseline``, ``value``.
    differences : pandas.DataFrame
        What else differs: ``about, what, baseline, value, refused``.
    gates : pandas.DataFrame
        A row per gate, scheme and formulation: ``gate, status, said`` and the figures.
    """

    baseline: str
    runs: tuple[str, ...]
    accuracy: pd.DataFrame
    speed: pd.DataFrame
    folds: pd.DataFrame
    plan: pd.DataFrame
    differences: pd.DataFrame = field(default_factory=pd.DataFrame)
    gates: pd.DataFrame = field(default_factory=pd.DataFrame)

    @property
    def ok(self) -> bool:
        """Whether no gate failed."""
        return self.gates.empty or not bool((self.gates["status"] == "fail").any())

    def __repr__(self) -> str:
        """Say in one line what was compared."""
        failed = 0 if self.ok else int((self.gates["status"] == "fail").sum())
        return (
            f"<Comparison of {', '.join(map(repr, self.runs))} against {self.baseline!r}: "
            f"{failed} of {len(self.gates)} gates failed>"
        )


def compare_runs(baseline: ComparedRun, others: Sequence[ComparedRun]) -> Comparison:
    """Set each of `others` against `baseline`; gates and other differences are left out."""
    made = [_against(baseline, other) for other in others]
    joined = {
        name: pd.concat([tables[name] for tables in made], ignore_index=True) for name in made[0]
    }
    return Comparison(baseline.name, tuple(other.name for other in others), **joined)


def _against(baseline: ComparedRun, other: ComparedRun) -> dict[str, pd.DataFrame]:
    pairs = paired_folds(baseline.folds, other.folds)
    rows = _rows_of_pairs(pairs, baseline, other)
    both = pairs[_finished(pairs, "_before") & _finished(pairs, "_after")]
    tables = {
        "accuracy": pd.DataFrame(_accuracy(pairs, both, rows)),
        "speed": pd.DataFrame([*_speed(both), _wall(baseline, other)]),
        "folds": _fold_table(both, rows),
        "plan": _plan_table(pairs),
    }
    for table in tables.values():
        table.insert(0, "run", other.name)
    return tables


def paired_folds(before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
    """Match the folds of two runs by scheme, holdout, predictor and transform.

    A run has one target. Folds that spell alike (splits drawn more than once) are matched in
    their order. Returns a row per fold of either run, the columns of each with ``_before`` and
    ``_after``, and where the fold stands in either table (``place``); what one run lacks is
    missing.
    """
    left, right = _by_key(before, "_before"), _by_key(after, "_after")
    every = [*left.index, *right.index[~right.index.isin(left.index)]]
    index = pd.MultiIndex.from_tuples(every, names=left.index.names)
    return pd.concat([left.reindex(index), right.reindex(index)], axis=1).reset_index()


def _by_key(folds: pd.DataFrame, suffix: str) -> pd.DataFrame:
    nth = folds.groupby(list(_FOLD), sort=False).cumcount().rename("nth")
    keys = pd.MultiIndex.from_frame(pd.concat([folds[list(_FOLD)].astype(str), nth], axis=1))
    kept = folds[["status", "n_test", *_SCORED.values()]].assign(place=np.arange(len(folds)))
    return kept.set_index(keys).add_suffix(suffix)


def _finished(pairs: pd.DataFrame, suffix: str) -> pd.Series[bool]:
    return (pairs[f"status{suffix}"] == "ok") & pairs[f"test_mape{suffix}"].notna()


def _rows_of_pairs(
    pairs: pd.DataFrame, baseline: ComparedRun, other: ComparedRun
) -> dict[int, SameRows]:
    """Return the rows of each pair of folds whose held-out rows are the same, by its place."""
    first, second = _rows_by_place(baseline), _rows_by_place(other)
    found = {}
    for at, places in enumerate(zip(pairs["place_before"], pairs["place_after"], strict=True)):
        before, after = first.get(places[0]), second.get(places[1])
        matched = same_rows(before, after) if before is not None and after is not None else None
        if matched is not None:
            found[at] = matched
    return found


def _rows_by_place(run: ComparedRun) -> dict[float, pd.DataFrame]:
    """Cut the predictions into folds: they stand one behind the other, as the folds do."""
    if run.predictions is None:
        return {}
    counts = run.folds["n_test"].where(run.folds["status"] == "ok", 0).to_numpy(np.int64)
    ends = np.cumsum(counts)
    if len(run.predictions) != ends[-1]:
        return {}
    return {
        float(place): run.predictions.iloc[end - count : end]
        for place, (end, count) in enumerate(zip(ends, counts, strict=True))
        if count
    }


def _accuracy(
    pairs: pd.DataFrame, both: pd.DataFrame, rows: Mapping[int, SameRows]
) -> list[dict[str, Any]]:
    lost = pairs[
        _finished(pairs, "_before") & ~_finished(pairs, "_after") & pairs["status_after"].notna()
    ]
    told = []
    for key, of in pairs.groupby(list(_FORMULATION), sort=False):
        here = both.loc[both.index.intersection(of.index)]
        common = {
            **dict(zip(_FORMULATION, key, strict=True)),
            "n_lost": int(lost.index.isin(of.index).sum()),
        }
        if here.empty and not common["n_lost"]:
            continue
        known = [rows[at] for at in here.index if at in rows]
        moves = _moves(here, known if len(known) == len(here) else [])
        told += [common | move for move in moves]
    return told


def _moves(folds: pd.DataFrame, rows: Sequence[SameRows]) -> list[dict[str, Any]]:
    """Return for each metric how far its mean over `folds` moved, and how sure that is."""
    before, after = (
        folds[[f"test_{metric}_{side}" for metric in COMPARED_METRICS]].to_numpy(np.float64)
        for side in ("before", "after")
    )
    with np.errstate(invalid="ignore"):
        points = np.where(before == after, 0.0, after - before)
    ends = np.column_stack(mean_intervals(points))
    return [
        {
            **{"metric": metric, "n_folds": len(folds)},
            **_moved(before[:, at], after[:, at], points[:, at]),
            **_sure(points[:, at], ends[at], _over_rows(metric, rows)),
        }
        for at, metric in enumerate(COMPARED_METRICS)
    ]


def _moved(
    before: NDArray[np.float64], after: NDArray[np.float64], points: NDArray[np.float64]
) -> dict[str, float]:
    if not len(points):
        return dict.fromkeys(("baseline", "value", "change", "percent"), math.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        old, new, change = before.mean(), after.mean(), points.mean()
        percent = 100.0 * change / old if change and math.isfinite(change) else change
    named = {"baseline": old, "value": new, "change": change, "percent": percent}
    return {name: float(value) for name, value in named.items()}


def _over_rows(metric: str, rows: Sequence[SameRows]) -> tuple[float, float]:
    for known in _ROW_METRICS:
        if metric == known:
            return moved_interval(rows, known)
    return math.nan, math.nan


def _sure(
    points: NDArray[np.float64], over_folds: NDArray[np.float64], over_rows: tuple[float, float]
) -> dict[str, Any]:
    """Return the interval that counts, over rows where there is one, and that over folds."""
    folds_low, folds_high = map(float, over_folds)
    (low, high), method = over_rows, "rows"
    if math.isnan(low):
        low, high, method = folds_low, folds_high, "folds"
    change = float(points.mean()) if len(points) else math.nan
    return {
        **{"low": low, "high": high, "method": "none" if math.isnan(low) else method},
        "standing": "same" if len(points) and not points.any() else _standing(change, low, high),
        **{"folds_low": folds_low, "folds_high": folds_high},
    }


def _standing(change: float, low: float, high: float) -> str:
    if math.isinf(change):
        return "worse" if change > 0 else "better"
    if math.isnan(low) or math.isnan(change):
        return "not told apart"
    return "worse" if low > 0 else "better" if high < 0 else "tied"


def _speed(both: pd.DataFrame) -> list[dict[str, Any]]:
    told = []
    for key, folds in both.groupby(list(_FORMULATION[1:]), sort=False):
        for name in _TIMES:
            before = folds[f"{name}_s_before"].to_numpy(np.float64)
            after = folds[f"{name}_s_after"].to_numpy(np.float64)
            timed = (before > 0) & (after > 0) & np.isfinite(before) & np.isfinite(after)
            told.append(
                {
                    **dict(zip(_FORMULATION[1:], key, strict=True)),
                    **{"time": name, "n_folds": int(timed.sum())},
                    "baseline_s": float(np.median(before[timed])) if timed.any() else math.nan,
                    "value_s": float(np.median(after[timed])) if timed.any() else math.nan,
                    **_ratio(np.log(after[timed] / before[timed])),
                }
            )
    return told


def _ratio(logs: NDArray[np.float64]) -> dict[str, Any]:
    """Return the mean ratio of paired times, with an interval as wide as folds scatter.

    The folds of a run share the machine's state: a neighbour at work slows all of them, so
    many folds say little more than one. The interval is therefore that of a single further
    fold (the prediction interval of Student's t over the logarithms), not of their mean.
    """
    from scipy.special import stdtrit

    n = len(logs)
    if not n:
        return {"ratio": math.nan, "low": math.nan, "high": math.nan, "standing": "not told apart"}
    middle, half = float(logs.mean()), math.nan
    if n >= FEWEST_GROUPS:
        half = float(stdtrit(n - 1, 0.975) * logs.std(ddof=1) * math.sqrt(1 + 1 / n))
    told = {"ratio": middle, "low": middle - half, "high": middle + half}
    standing = _standing(middle, told["low"], told["high"])
    words = {"worse": "slower", "better": "faster"}
    return {
        **{name: math.exp(value) for name, value in told.items()},
        "standing": words.get(standing, standing),
    }


def _wall(baseline: ComparedRun, other: ComparedRun) -> dict[str, Any]:
    known = baseline.wall_s > 0 and other.wall_s > 0
    return {
        **{"predictor": "", "transform": "", "time": "wall", "n_folds": 1},
        **{"baseline_s": baseline.wall_s, "value_s": other.wall_s},
        "ratio": other.wall_s / baseline.wall_s if known else math.nan,
        **{"low": math.nan, "high": math.nan, "standing": "not told apart"},
    }


def _fold_table(both: pd.DataFrame, rows: Mapping[int, SameRows]) -> pd.DataFrame:
    columns: dict[str, Any] = {name: both[name] for name in _FOLD}
    columns["n_test"] = both["n_test_after"].astype("int64")
    for name, source in _SCORED.items():
        columns[f"baseline_{name}"] = both[f"{source}_before"]
        columns[name] = both[f"{source}_after"]
    columns["same_rows"] = [at in rows for at in both.index]
    return pd.DataFrame(columns).reset_index(drop=True)


def _plan_table(pairs: pd.DataFrame) -> pd.DataFrame:
    """List the folds that not both planned, or not both finished."""
    status = pairs[["status_before", "status_after"]].fillna("not planned")
    odd = (status != "ok").any(axis=1)
    listed = pairs.loc[odd, list(_FOLD)]
    return listed.assign(
        baseline=status.loc[odd, "status_before"], value=status.loc[odd, "status_after"]
    ).reset_index(drop=True)
