"""How sure a mean over groups is, by drawing the groups again.

The rows of one group resemble each other: a thousand rows of one model say no more about
the next model than one does. So groups are drawn, never rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = ["FEWEST_GROUPS", "RESAMPLES", "enumerated", "mean_intervals"]

RESAMPLES = 10_000
"""Draws of the groups; where every possible draw is no more than that, all are taken."""
FEWEST_GROUPS = 3
"""Groups below which there is no interval: even one wholly by chance would be likely."""

_TAIL = 0.025
_SEED = 0  # fixed: the same results always give the same intervals
_AT_ONCE = 1_000


def mean_intervals(
    values: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return 95 % percentile intervals of the mean of each column.

    Parameters
    ----------
    values : ndarray of float64, shape (n_groups, n_columns)
        One value per group. All columns see the same draws.

    Returns
    -------
    low, high : ndarray of float64, shape (n_columns,)
        NaN for fewer than `FEWEST_GROUPS` groups, and for a column that is not finite.

    Notes
    -----
    The percentile bootstrap (Efron and Tibshirani 1993, chapter 13). With `n` groups there
    are ``n ** n`` draws; up to 5 groups all of them are taken, so nothing is left to chance,
    from 6 on `RESAMPLES` of them with a fixed seed. Between two draws the outer one is the
    bound.

    The interval is too narrow for few groups, however many draws are made. Of 20,000 pairs
    of equal predictors with normal differences it tells 25 % apart by 3 groups, 20 % by 4,
    16 % by 5, 14 % by 6, 10 % by 10 and 7 % by 20, instead of 5 %; of skewed (lognormal)
    differences 36 %, 33 %, 28 %, 24 %, 20 % and 14 %.
    """
    n_groups, n_columns = values.shape
    low, high = np.full(n_columns, np.nan), np.full(n_columns, np.nan)
    finite = np.isfinite(values).all(axis=0)
    if n_groups >= FEWEST_GROUPS and finite.any():
        # No BLAS: its threads would change the last bits, and cost more than they save.
        columns = np.ascontiguousarray(values[:, finite].T)
        means = np.concatenate(
            [np.einsum("dg,cg->dc", draw, columns) for draw in _shares(n_groups)]
        )
        low[finite] = np.quantile(means, _TAIL, axis=0, method="lower")
        high[finite] = np.quantile(means, 1 - _TAIL, axis=0, method="higher")
    return low, high


def enumerated(n_groups: int) -> bool:
    """Return whether every draw of so many groups is taken, rather than some at random."""
    return bool(n_groups**n_groups <= RESAMPLES)


def _shares(n_groups: int) -> Iterator[NDArray[np.float64]]:
    """Yield the share of each group in each draw, some draws at a time."""
    if enumerated(n_groups):
        draws = np.indices((n_groups,) * n_groups).reshape(n_groups, -1).T
        yield np.stack([(draws == group).mean(axis=1) for group in range(n_groups)], axis=1)
        return
    random = np.random.default_rng(_SEED)
    even = np.full(n_groups, 1 / n_groups)
    for _ in range(RESAMPLES // _AT_ONCE):
        yield random.multinomial(n_groups, even, size=_AT_ONCE) / n_groups
