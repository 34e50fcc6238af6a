"""A step as the read of its weights plus a constant for every layer.

An engine step launches every layer's kernels and waits for every layer's all-reduces,
whatever the batch. That overhead grows with the number of layers and not with the model's
bytes, so a step is neither a multiple of its speed of light nor of another model's step:
``t = weight_us + c * layers``. Only c is learnt, and c means the same on any model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from gpucv.errors import DataError
from gpucv.predictors.base import FitContext, Params

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gpucv.machine import Device

__all__ = ["LAYERED_INPUTS", "LayeredParams", "LayeredPredictor"]

LAYERED_INPUTS = ("weight_us", "layers")


class LayeredParams(Params):
    """What is assumed.

    Attributes
    ----------
    bandwidth_efficiency : float
        Share of the data sheet's bandwidth at which weights are read.
    """

    bandwidth_efficiency: float = Field(default=1.0, gt=0, le=1)


class LayeredPredictor:
    """``weight_us / efficiency + c * layers``; c is the median over the rows, at least 0."""

    device: Device = "cpu"
    best_iteration: int | None = None

    def __init__(self, params: LayeredParams, context: FitContext) -> None:
        self._efficiency = params.bandwidth_efficiency
        self._per_layer = float("nan")

    def fit(
        self,
        X: NDArray[np.float32],
        y: NDArray[np.float64],
        valid: tuple[NDArray[np.float32], NDArray[np.float64]] | None,
    ) -> None:
        """Learn the time of one layer's overhead, us.

        Raises
        ------
        DataError
            If a row has no weights to read or no layers.
        """
        weights, layers = self._terms(X)
        self._per_layer = max(0.0, float(np.median((y - weights) / layers)))

    def predict(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return one time per row, us."""
        weights, layers = self._terms(X)
        predicted: NDArray[np.float64] = weights + self._per_layer * layers
        return predicted

    def coefficients(self) -> dict[str, float]:
        """Return what was learnt."""
        return {"us_per_layer": self._per_layer}

    def importance(self) -> None:
        """Return nothing: there is one coefficient."""

    def serialize(self) -> None:
        """Return nothing: the coefficient is all there is."""

    def _terms(self, X: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        values = X.astype(np.float64)
        if not (np.isfinite(values).all() and (values > 0).all()):
            msg = "layered-roofline needs every row's weights and layers; name its model and GPU"
            raise DataError(msg)
        return values[:, 0] / self._efficiency, values[:, 1]
