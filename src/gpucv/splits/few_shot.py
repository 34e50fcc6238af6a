"""Which rows of a group held out are measured, and in which order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["split_pool", "spread_candidates", "spread_order"]

MOST_CANDIDATES = 50_000
"""Rows among which those farthest apart are looked for: each pick passes over all of them."""


def split_pool(
    n_rows: int, test_fraction: float, seed: int, repeat: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Part the rows of a group into those that may be drawn, and those that are tested.

    Returns
    -------
    pool : ndarray of intp
        In the order of a random draw: the first k are the draw of k.
    test : ndarray of intp
        Ascending; at least one row where there are two.
    """
    order = np.random.default_rng([seed, repeat]).permutation(n_rows)
    n_test = min(n_rows, max(1, round(n_rows * test_fraction)))
    return order[n_test:], np.sort(order[:n_test])


def spread_candidates(n_rows: int, seed: int, least: int = 0) -> NDArray[np.intp]:
    """Return the rows to look among, ascending: all, or `MOST_CANDIDATES` drawn by the seed.

    At least `least` of them, where there are as many rows.
    """
    most = max(MOST_CANDIDATES, least)
    if n_rows <= most:
        return np.arange(n_rows)
    return np.sort(np.random.default_rng(seed).choice(n_rows, most, replace=False))


def spread_order(
    X: NDArray[Any], most: int, seed: int = 0, *, apart: bool = False
) -> NDArray[np.intp]:
    """Return at most `most` rows, each next one the farthest from all before it.

    The first is the one nearest the mean. Features are standardised; a missing value
    stands at the mean. Greedy k-centre (Gonzalez 1985); no target is looked at. Of many
    rows, those of `spread_candidates` are looked at.

    Parameters
    ----------
    X : ndarray, shape (n, n_features)
    most : int
    seed : int
        Draws the candidates, where there are more rows.
    apart : bool
        End where every row left equals one before it.
    """
    if not len(X) or most < 1:
        return np.empty(0, dtype=np.intp)
    candidates = spread_candidates(len(X), seed, most)
    values = np.asarray(X[candidates], dtype=np.float64)
    values = values[:, ~np.isnan(values).all(axis=0)]
    mean, spread = np.nanmean(values, axis=0), np.nanstd(values, axis=0)
    standard = np.nan_to_num((values - mean) / np.where(spread > 0, spread, 1.0))
    scaled = standard.astype(np.float32)  # half the time of every pass
    chosen = [int(np.argmin((scaled**2).sum(axis=1)))]
    distance = ((scaled - scaled[chosen[0]]) ** 2).sum(axis=1)
    while len(chosen) < min(most, len(scaled)):
        distance[chosen[-1]] = -1.0
        farthest = int(np.argmax(distance))
        if apart and distance[farthest] <= 0:
            break
        chosen.append(farthest)
        nearer = ((scaled - scaled[farthest]) ** 2).sum(axis=1)
        distance = np.where(distance < 0, distance, np.minimum(distance, nearer))
    return candidates[chosen]
