"""Whether an out-of-domain score says where predictions fail: the error against the score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ScoreBin", "error_by_score"]


@dataclass(frozen=True, slots=True)
class ScoreBin:
    """Rows whose scores lie together.

    Attributes
    ----------
    low, high : float
        The least and the largest score among them.
    n : int
        How many rows.
    median, upper : float
        The median and the 90 % quantile of their errors.
    """

    low: float
    high: float
    n: int
    median: float
    upper: float


def error_by_score(
    score: NDArray[np.float64], error: NDArray[np.float64], bins: int = 8
) -> tuple[ScoreBin, ...]:
    """Return the typical error of rows in bins of their out-of-domain score.

    Parameters
    ----------
    score : ndarray of float64, shape (n,)
        Such as the share of a row's features outside their training range.
    error : ndarray of float64, shape (n,)
        Absolute percentage error; infinite ones count.
    bins : int
        At most so many.

    Returns
    -------
    tuple of ScoreBin
        By rising score, with about as many rows each. Rows of equal score are never told
        apart, so a score of few values has a bin each. Rows whose score or error is not a
        number are left out.
    """
    known = ~(np.isnan(score) | np.isnan(error))
    score, error = score[known], error[known]
    if not len(score):
        return ()
    values, counts = np.unique(score, return_counts=True)
    below = np.cumsum(counts)
    found: list[ScoreBin] = []
    first = 0
    while first < len(values):
        # A value that many rows share fills a bin; the others divide what is left evenly.
        done = below[first] - counts[first]
        wanted = done + (below[-1] - done) / max(bins - len(found), 1)
        last = max(first, int(np.searchsorted(below, wanted - 1e-9)))
        inside = (score >= values[first]) & (score <= values[last])
        scores, errors = score[inside], error[inside]
        first = last + 1
        # Ranks, not interpolation: between a number and infinity there is nothing.
        median, upper = np.quantile(errors, (0.5, 0.9), method="inverted_cdf")
        found.append(
            ScoreBin(
                float(scores.min()), float(scores.max()), len(errors), float(median), float(upper)
            )
        )
    return tuple(found)
