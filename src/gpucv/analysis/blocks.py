"""Drawing stretches of steps again, for rows that resemble the rows before them.

Steps follow each other: a slow phase is slow for many of them. Drawn row by row, such rows
look like far more evidence than they are. So contiguous blocks of one recording are drawn,
as long as the recording's own autocorrelation asks for.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["DRAWS", "MOST_CELLS", "block_length", "cell_sums", "resampled_sums"]

DRAWS = 1_000
"""Draws of the blocks: the ends of an interval move by about 6 % of its half width."""
MOST_CELLS = 256
"""Pieces a recording is cut into; blocks are made of whole ones."""

_SEED = 0  # fixed: the same predictions always give the same intervals


def block_length(series: NDArray[np.float64]) -> float:
    """Return how long the blocks of a circular block bootstrap of a mean should be.

    Parameters
    ----------
    series : ndarray of float64, shape (n,)
        In the order it was recorded.

    Returns
    -------
    float
        In values, from 1 to ``min(3 sqrt(n), n / 3)``; 1 for a series that is constant,
        not finite or shorter than 9.

    Notes
    -----
    The rule of Politis and White (2004, Econometric Reviews 23, 53-70) for the circular
    bootstrap, as corrected by Patton, Politis and White (2009, 28, 372-375): the length that
    makes the estimated variance of the mean least wrong, from autocovariances up to where
    five in a row (or log10 n, if more) cannot be told from zero, under a flat-top window.
    """
    n = len(series)
    if n < 9 or not np.isfinite(series).all() or np.ptp(series) == 0:
        return 1.0
    x = series - series.mean()
    x /= np.abs(x).max()
    quiet = max(5, math.ceil(math.log10(n)))
    last = min(math.ceil(math.sqrt(n)) + quiet, n - 1)
    spectrum_of_x = np.fft.rfft(x, 2 * n)  # padded: lags do not wrap round
    covariance = np.fft.irfft(np.abs(spectrum_of_x) ** 2, 2 * n)[: last + 1] / n
    loud = np.abs(covariance[1:] / covariance[0]) >= 2 * math.sqrt(math.log10(n) / n)
    window = 2 * _first_quiet(loud, quiet)
    lags = np.arange(1, min(window, last) + 1)
    weight = np.minimum(1.0, 2 * (1 - lags / window))
    slope = 2 * np.sum(weight * lags * covariance[lags])
    spectrum = covariance[0] + 2 * np.sum(weight * covariance[lags])
    longest = min(3 * math.sqrt(n), n / 3)
    if spectrum == 0:
        return longest
    optimal = (1.5 * (slope / spectrum) ** 2 * n) ** (1 / 3)
    return float(np.clip(optimal, 1.0, longest))


def _first_quiet(loud: NDArray[np.bool_], quiet: int) -> int:
    """Return the lag after which `quiet` lags in a row are not loud; else the last loud one."""
    run = 0
    for lag, is_loud in enumerate(loud, start=1):
        run = 0 if is_loud else run + 1
        if run == quiet:
            return max(lag - quiet, 1)
    return max(int(np.flatnonzero(loud).max(initial=0)) + 1, 1)


def cell_sums(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Add the rows of one recording up in at most `MOST_CELLS` cells of equal length.

    Parameters
    ----------
    rows : ndarray of float64, shape (n_rows, n_columns)

    Returns
    -------
    ndarray of float64, shape (n_cells, n_columns)
    """
    # Of equal length, or the odd longer one: a pattern of lengths would look like one of errors.
    cells = max(1, len(rows) // math.ceil(len(rows) / MOST_CELLS))
    starts = np.arange(cells) * len(rows) // cells
    return np.asarray(np.add.reduceat(rows, starts, axis=0), dtype=np.float64)


def resampled_sums(
    recordings: Sequence[NDArray[np.float64]], watched: Sequence[int]
) -> tuple[NDArray[np.float64], int]:
    """Return the sums over all recordings in every draw of their blocks.

    Parameters
    ----------
    recordings : sequence of ndarray of float64, shape (n_cells, n_columns)
        `cell_sums` of each; every one is drawn from by itself, so all keep their weight.
    watched : sequence of int
        Columns whose autocorrelation decides the length of the blocks: the longest counts.

    Returns
    -------
    sums : ndarray of float64, shape (DRAWS, n_columns)
    n_blocks : int
        Blocks drawn each time, over all recordings.

    Notes
    -----
    The circular block bootstrap (Politis and Romano 1992): a block may begin anywhere, and
    one that reaches the end goes on at the beginning.
    """
    random = np.random.default_rng(_SEED)
    totals = np.zeros((DRAWS, recordings[0].shape[1]))
    n_blocks = 0
    for cells in recordings:
        n = len(cells)
        longest = max(block_length(cells[:, column]) for column in watched)
        drawn = max(1, n // math.ceil(longest))
        length = n // drawn
        ring = np.concatenate([cells, cells[: length - 1]])
        blocks = np.lib.stride_tricks.sliding_window_view(ring, length, axis=0).sum(axis=-1)
        starts = random.integers(n, size=(DRAWS, drawn)) + n * np.arange(DRAWS)[:, None]
        counts = np.bincount(starts.ravel(), minlength=n * DRAWS).reshape(DRAWS, n).astype(float)
        # Blocks of whole cells seldom add up to all of them. No BLAS: its threads would change
        # the last bits, and cost more than they save.
        weight = n / (drawn * length)
        totals += weight * np.einsum("dn,cn->dc", counts, np.ascontiguousarray(blocks.T))
        n_blocks += drawn
    return totals, n_blocks
