"""Ridge regression on standardised features: the linear answer to the same question."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from gpucv.predictors.base import FitContext, Params

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gpucv.machine import Device

__all__ = ["RidgeParams", "RidgePredictor"]


class RidgeParams(Params):
    """How much large coefficients cost.

    Attributes
    ----------
    alpha : float
        The published study's, and scikit-learn's default, is 1.
    """

    alpha: float = Field(default=1.0, gt=0)


class RidgePredictor:
    """Least squares on standardised features plus ``alpha * sum(coefficients ** 2)``.

    Features are brought to mean 0 and deviation 1 by the training rows (one that is
    constant there counts for nothing), as in the published study (inference-sim, branch
    ``stepml-experiments``, ``round1/idea-1-tree-ensemble/h1-features/train_ridge.py``). A
    missing value counts as the feature's mean. The constant is not penalised.
    """

    device: Device = "cpu"
    best_iteration: int | None = None

    def __init__(self, params: RidgeParams, context: FitContext) -> None:
        self._alpha = params.alpha
        self._constant = float("nan")
        self._mean = self._spread = self._weights = np.empty(0)

    def fit(
        self,
        X: NDArray[np.float32],
        y: NDArray[np.float64],
        valid: tuple[NDArray[np.float32], NDArray[np.float64]] | None,
    ) -> None:
        """Standardise X and fit to y."""
        self._mean, self._spread = _moments(X)
        Z = self._standardised(X)
        self._constant = float(y.mean())
        # The eigenvectors of Z'Z turn the problem into one number per direction, and alpha
        # keeps every divisor above 0, whatever features are copies of each other.
        squares, directions = np.linalg.eigh(Z.T @ Z)
        along = directions.T @ (Z.T @ (y - self._constant))
        self._weights = directions @ (along / (np.maximum(squares, 0.0) + self._alpha))

    def predict(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return one prediction per row."""
        predicted: NDArray[np.float64] = self._constant + self._standardised(X) @ self._weights
        return predicted

    def importance(self) -> None:
        """Return nothing: a coefficient is no share of a gain."""

    def serialize(self) -> None:
        """Return nothing: XGBoost could not read it."""

    def _standardised(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        Z: NDArray[np.float64] = (X - self._mean) / self._spread
        Z[np.isnan(Z)] = 0.0
        return Z


def _moments(X: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and deviation of each feature's known values.

    The deviation is infinite where the feature is constant or nowhere known.
    """
    known = ~np.isnan(X)
    count = np.maximum(known.sum(axis=0), 1)
    values = np.where(known, X, 0.0).astype(np.float64)
    mean = values.sum(axis=0) / count
    centred = np.where(known, values - mean, 0.0)
    spread = np.sqrt((centred**2).sum(axis=0) / count)
    # Summing equal numbers leaves a rest of rounding, which is no spread.
    rounding = 10 * np.finfo(np.float64).eps * np.sqrt(count) * np.abs(mean)
    return mean, np.where(spread > rounding, spread, np.inf)
