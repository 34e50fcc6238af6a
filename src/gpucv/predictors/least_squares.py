"""Small least-squares problems, well scaled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["least_squares"]


def least_squares(
    A: NDArray[np.float64], y: NDArray[np.float64], *, nonnegative: bool
) -> NDArray[np.float64]:
    """Return the coefficients that bring ``A @ coefficients`` closest to y.

    Columns are brought to length 1 first, as a column of ones and one of a million tokens
    would otherwise lose digits. A column of zeros gets the coefficient 0.

    Parameters
    ----------
    A : ndarray, shape (n, p)
    y : ndarray, shape (n,)
    nonnegative : bool
        No coefficient below 0 (Lawson and Hanson 1974, ``scipy.optimize.nnls``).

    Returns
    -------
    ndarray, shape (p,)
    """
    length = np.sqrt((A * A).sum(axis=0))
    scale = np.where(length > 0, length, 1.0)
    # Only p numbers of y matter, those along the columns: an exact and much smaller problem.
    directions, triangle = np.linalg.qr(A / scale)
    reduced = directions.T @ y
    if nonnegative:
        from scipy.optimize import nnls

        solved, _ = nnls(triangle, reduced)
    else:
        solved = np.linalg.lstsq(triangle, reduced, rcond=None)[0]
    coefficients: NDArray[np.float64] = solved / scale
    return coefficients
