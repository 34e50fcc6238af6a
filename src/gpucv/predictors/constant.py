"""The floor under every table: the median of the training targets, for every row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gpucv.predictors.base import FitContext, Params

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gpucv.machine import Device

__all__ = ["ConstantPredictor", "NoParams"]


class NoParams(Params):
    """A constant has nothing to set."""


class ConstantPredictor:
    """Predicts one number."""

    device: Device = "cpu"
    best_iteration: int | None = None

    def __init__(self, params: NoParams, context: FitContext) -> None:
        self._median = float("nan")

    def fit(
        self,
        X: NDArray[np.float32],
        y: NDArray[np.float64],
        valid: tuple[NDArray[np.float32], NDArray[np.float64]] | None,
    ) -> None:
        """Keep the median of y."""
        self._median = float(np.median(y))

    def predict(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the median for every row."""
        return np.full(len(X), self._median)

    def importance(self) -> None:
        """Return nothing: no feature is used."""

    def serialize(self) -> None:
        """Return nothing: the figures hold all there is."""
