"""Two predictions of the same rows: how far the error moved, and how sure that is.

Rows of one recording resemble their neighbours, so blocks of consecutive rows are drawn
again, never rows one by one. Both errors of a row are drawn together: what makes a row hard
for both runs cancels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from gpucv.analysis.blocks import cell_sums, resampled_sums
from gpucv.analysis.intervals import FEWEST_BLOCKS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["RowMetric", "SameRows", "moved_interval", "same_rows"]

RowMetric = Literal["mape", "wape"]
"""Errors of a fold that are a ratio of two sums over rows."""

_TAIL = 0.025
_SEED = 0  # fixed: the same runs always give the same interval


@dataclass(frozen=True, slots=True, eq=False)
class SameRows:
    """The rows of a fold that two runs both held out, in the order of their recordings.

    Attributes
    ----------
    starts : ndarray of int64, shape (n_recordings,)
        Where each recording begins.
    actual, before, after : ndarray of float64, shape (n_rows,)
        In the target's unit: measured, and predicted by either run.
    """

    starts: NDArray[np.int64]
    actual: NDArray[np.float64]
    before: NDArray[np.float64]
    after: NDArray[np.float64]


def same_rows(before: pd.DataFrame, after: pd.DataFrame) -> SameRows | None:
    """Match the predictions of one fold by two runs; None where the rows are not the same.

    Parameters
    ----------
    before, after : pandas.DataFrame
        Columns ``experiment_id, step_id, actual, predicted``, rows in any order.
    """
    if len(before) != len(after) or before.empty:
        return None
    ids = pd.concat([before["experiment_id"].astype(object), after["experiment_id"].astype(object)])
    codes = pd.factorize(ids)[0]
    halves = (codes[: len(before)], codes[len(before) :])
    (recording, steps, measured, first), (*others, second) = (
        _ordered(code, rows) for code, rows in zip(halves, (before, after), strict=True)
    )
    if not all(map(np.array_equal, (recording, steps, measured), others)):
        return None
    starts = np.flatnonzero(np.diff(recording, prepend=-1)).astype(np.int64)
    return SameRows(starts, measured, first, second)


def _ordered(codes: NDArray[np.intp], rows: pd.DataFrame) -> tuple[NDArray[Any], ...]:
    steps, actual = rows["step_id"].to_numpy(), rows["actual"].to_numpy(np.float64)
    order = np.lexsort((steps, codes))
    predicted = rows["predicted"].to_numpy(np.float64)
    return codes[order], steps[order], actual[order], predicted[order]


def moved_interval(folds: Sequence[SameRows], metric: RowMetric) -> tuple[float, float]:
    """Return a 95 % interval of how far the mean of a metric over folds moved.

    It is about these folds and these two trained predictors: how far the stretches of steps
    that happened to be recorded decide the difference. It says nothing of other groups.

    Parameters
    ----------
    folds : sequence of SameRows
    metric : {"mape", "wape"}

    Returns
    -------
    low, high : float
        Percentage points, after minus before. NaN where a fold has too few rows for
        `FEWEST_BLOCKS` blocks, or an error is infinite.
    """
    if not folds:
        return math.nan, math.nan
    random, draws = np.random.default_rng(_SEED), []
    for fold in folds:
        terms = _terms(fold, metric)
        if not np.isfinite(terms).all() or not terms[:, 1].any():
            return math.nan, math.nan
        if not terms[:, 0].any():
            continue
        sums, n_blocks = resampled_sums([cell_sums(of) for of in _recordings(fold, terms)], (0,))
        if n_blocks < FEWEST_BLOCKS or not sums[:, 1].all():
            return math.nan, math.nan
        # Every fold is drawn with the same seed; shuffled, their draws are independent.
        draws.append(random.permutation(100.0 * sums[:, 0] / sums[:, 1]))
    if not draws:
        return 0.0, 0.0
    low, high = np.quantile(np.sum(draws, axis=0) / len(folds), [_TAIL, 1 - _TAIL])
    return float(low), float(high)


def _terms(fold: SameRows, metric: RowMetric) -> NDArray[np.float64]:
    """Return what each row adds to both sums of its fold's error: the move, and its weight."""
    with np.errstate(over="ignore", invalid="ignore"):
        moved = np.abs(fold.after - fold.actual) - np.abs(fold.before - fold.actual)
    size = np.abs(fold.actual)
    if metric == "wape":
        return np.column_stack([moved, size])
    measured = size > 0
    share = np.divide(moved, size, out=np.zeros_like(moved), where=measured)
    return np.column_stack([share, measured])


def _recordings(fold: SameRows, terms: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Cut a fold's rows into recordings; those too short to be drawn from are taken as one."""
    if len(terms) < FEWEST_BLOCKS * len(fold.starts):
        return [terms]
    return np.split(terms, fold.starts[1:])
