"""How sure every reported error is: 95 % intervals of each fold and of each average.

Two questions, two bootstraps. A fold's error could have come out otherwise had other stretches
of the same recordings been measured: blocks of steps are drawn. An average over folds could
have, had other groups been held out: folds are drawn. The second is the wider, and the one
that speaks of a group never seen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gpucv.analysis.blocks import cell_sums, resampled_sums
from gpucv.analysis.bootstrap import mean_intervals
from gpucv.analysis.fold_rows import rows_by

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from gpucv.analysis.tables import Kind

__all__ = ["FEWEST_BLOCKS", "INTERVAL_COLUMNS", "METRICS", "fold_intervals", "interval_table"]

METRICS = ("test_mape", "test_mspe", "test_wape", "test_r")
"""What has intervals: errors in percent and the correlation, all functions of sums over rows."""
FEWEST_BLOCKS = 8
"""Blocks of steps below which a fold has no interval."""

_FOLD = ("scheme", "holdout", "predictor", "transform", "target")

INTERVAL_COLUMNS: Mapping[str, Kind] = {
    "scheme": "text",
    "holdout": "text",
    "predictor": "text",
    "transform": "text",
    "target": "text",
    "over": "text",
    "n": "count",
    "n_drawn": "count",
    **{f"{name}{part}": "real" for name in METRICS for part in ("", "_low", "_high")},
}
"""intervals.csv. `over` is ``steps`` (one fold; `n` rows, `n_drawn` blocks of them) or
``folds`` (the average of a scheme, no holdout; `n` and `n_drawn` folds)."""

# The columns of `_row_terms`.
_COUNTED, _SIGNED, _ABSOLUTE, _OFF, _MEASURED, _ROWS, _A, _P, _AA, _PP, _AP = range(11)


def interval_table(folds: pd.DataFrame, predictions: pd.DataFrame | None) -> pd.DataFrame:
    """Return the 95 % intervals of a study.

    Parameters
    ----------
    folds : pandas.DataFrame
        With `FOLD_COLUMNS`.
    predictions : pandas.DataFrame or None
        ``predictions.parquet``; None leaves the folds' own intervals out.

    Returns
    -------
    pandas.DataFrame
        With `INTERVAL_COLUMNS`: every finished fold, then its scheme's average. An interval
        that does not exist is NaN at both ends.
    """
    import pandas as pd

    found = {} if predictions is None else rows_by(predictions, _FOLD)
    steps = None if predictions is None else _numbers(predictions)
    rows: list[dict[str, Any]] = []
    named = [name for name in _FOLD if name != "holdout"]
    for _, group in folds.groupby(named, sort=False):
        finished = group[(group["status"] == "ok") & group["test_mape"].notna()]
        for fold in finished.to_dict("records"):
            at = found.get(tuple(str(fold[name]) for name in _FOLD))
            if at is not None and steps is not None:
                rows.append(_of_fold(fold, steps.iloc[at]))
        rows.append(_of_average(group, finished))
    return pd.DataFrame(rows, columns=list(INTERVAL_COLUMNS))


def fold_intervals(
    actual: NDArray[np.float64],
    predicted: NDArray[np.float64],
    recordings: Sequence[NDArray[np.int64]],
) -> tuple[dict[str, tuple[float, float]], int]:
    """Return the 95 % interval of each of `METRICS` for the rows of one fold.

    Parameters
    ----------
    actual, predicted : ndarray of float64, shape (n,)
        In the target's unit.
    recordings : sequence of ndarray of int64
        Positions of each recording's rows, in the order of its steps.

    Returns
    -------
    intervals : dict of str to (float, float)
        The 2.5 % and 97.5 % quantile over the draws; NaN for a metric that some draw leaves
        undefined, and for all of them with fewer than `FEWEST_BLOCKS` blocks.
    n_blocks : int
        Blocks drawn each time.
    """
    with np.errstate(all="ignore"):  # what overflows or divides by zero ends up as NaN below
        a, p = _standardised(actual), _standardised(predicted)
        cells = [
            cell_sums(_row_terms(actual[at], predicted[at], a[at], p[at]))
            for at in recordings
            if len(at)
        ]
        sums, n_blocks = resampled_sums(cells, (_SIGNED, _ABSOLUTE, _OFF))
        values = _metrics(sums)
        intervals = {}
        for name in METRICS:
            usable = n_blocks >= FEWEST_BLOCKS and np.isfinite(values[name]).all()
            low, high = np.quantile(values[name], (0.025, 0.975)) if usable else (np.nan, np.nan)
            intervals[name] = (float(low), float(high))
    return intervals, n_blocks


def _row_terms(
    actual: NDArray[np.float64],
    predicted: NDArray[np.float64],
    a: NDArray[np.float64],
    p: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return what each row adds to the sums that the metrics are functions of.

    `a` and `p` are the same numbers around 0: the correlation does not change with unit or
    origin, and its sums lose no digits there.
    """
    counted = actual != 0
    percent = np.where(counted, 100.0 * (predicted - actual) / np.where(counted, actual, 1.0), 0.0)
    columns = (counted, percent, np.abs(percent), np.abs(predicted - actual), np.abs(actual))
    return np.stack([*columns, np.ones(len(a)), a, p, a * a, p * p, a * p], axis=1)


def _standardised(values: NDArray[np.float64]) -> NDArray[np.float64]:
    spread = values.std()
    return np.asarray((values - values.mean()) / (spread if spread > 0 else 1.0))


def _metrics(sums: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    s = sums.T
    n = s[_ROWS]
    spread = (s[_AA] - s[_A] ** 2 / n) * (s[_PP] - s[_P] ** 2 / n)
    return {
        "test_mape": s[_ABSOLUTE] / s[_COUNTED],
        "test_mspe": s[_SIGNED] / s[_COUNTED],
        "test_wape": 100.0 * s[_OFF] / s[_MEASURED],
        "test_r": np.clip((s[_AP] - s[_A] * s[_P] / n) / np.sqrt(spread), -1.0, 1.0),
    }


def _numbers(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return what the intervals need of each row, recordings as numbers.

    Text in many pieces, as files are read, takes milliseconds to take rows from: once for every
    fold of a large study would be most of the time.
    """
    import pandas as pd

    codes, _ = pd.factorize(predictions["experiment_id"])
    return predictions[["step_id", "actual", "predicted"]].assign(recording=codes.astype(np.int32))


def _of_fold(fold: Mapping[Any, Any], rows: pd.DataFrame) -> dict[str, Any]:
    step = rows["step_id"].to_numpy()
    by_recording = rows.groupby("recording", sort=False).indices.values()
    recordings = [np.asarray(at)[np.argsort(step[at], kind="stable")] for at in by_recording]
    actual, predicted = (rows[name].to_numpy(np.float64) for name in ("actual", "predicted"))
    intervals, n_blocks = fold_intervals(actual, predicted, recordings)
    given = {**fold, "over": "steps", "n": len(rows), "n_drawn": n_blocks}
    return _row(given, intervals)


def _of_average(folds: pd.DataFrame, finished: pd.DataFrame) -> dict[str, Any]:
    values = finished[list(METRICS)].to_numpy(np.float64)
    low, high = mean_intervals(values)
    n = len(finished)
    given = {
        **{name: folds[name].iloc[0] for name in _FOLD},
        **{"holdout": "", "over": "folds", "n": n, "n_drawn": n},
        **{name: finished[name].astype(float).mean() for name in METRICS},
    }
    return _row(given, dict(zip(METRICS, zip(low, high, strict=True), strict=True)))


def _row(given: Mapping[Any, Any], intervals: Mapping[str, tuple[float, float]]) -> dict[str, Any]:
    ends = {
        f"{name}{part}": float(end)
        for name, pair in intervals.items()
        for part, end in zip(("_low", "_high"), pair, strict=True)
    }
    both = {**given, **ends}
    return {name: both[name] for name in INTERVAL_COLUMNS}
