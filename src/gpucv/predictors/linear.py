"""Step times as a constant plus so many microseconds a token: three numbers.

Both are what serving simulators and schedulers ship for one configuration, so a study fits
them with ``per = ["model", "gpu", "tp"]`` or per recording.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from gpucv.predictors.base import FitContext, Params
from gpucv.predictors.complete import complete
from gpucv.predictors.least_squares import least_squares

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gpucv.machine import Device

__all__ = [
    "BlackboxParams",
    "BlackboxPredictor",
    "FairBatchingParams",
    "FairBatchingPredictor",
]


class BlackboxParams(Params):
    """How the three numbers are fitted.

    Attributes
    ----------
    nonnegative : bool
        No coefficient below 0, which is what BLIS accepts; else ordinary least squares.
    """

    nonnegative: bool = True


class FairBatchingParams(Params):
    """How the three numbers are fitted.

    Attributes
    ----------
    nonnegative : bool
        No coefficient below 0; else ordinary least squares, as published.
    """

    nonnegative: bool = False


class _LinearPredictor:
    """A constant and one coefficient per input, by least squares."""

    device: Device = "cpu"
    best_iteration: int | None = None
    name: ClassVar[str]
    inputs: ClassVar[tuple[str, ...]]
    names: ClassVar[tuple[str, ...]]

    def __init__(self, params: BlackboxParams | FairBatchingParams, context: FitContext) -> None:
        self._nonnegative = params.nonnegative
        self._coefficients = np.full(len(self.names), np.nan)

    def fit(
        self,
        X: NDArray[np.float32],
        y: NDArray[np.float64],
        valid: tuple[NDArray[np.float32], NDArray[np.float64]] | None,
    ) -> None:
        """Fit the coefficients to X and y.

        Raises
        ------
        DataError
            If an input is missing in some row.
        """
        self._coefficients = least_squares(self._terms(X), y, nonnegative=self._nonnegative)

    def predict(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return one prediction per row; below 0 where a free coefficient makes it so.

        Raises
        ------
        DataError
            If an input is missing in some row.
        """
        predicted: NDArray[np.float64] = self._terms(X) @ self._coefficients
        return predicted

    def coefficients(self) -> dict[str, float]:
        """Return the constant (us) and the time per token (us), by name."""
        return dict(zip(self.names, self._coefficients.tolist(), strict=True))

    def importance(self) -> None:
        """Return nothing: coefficients of different units share no gain."""

    def serialize(self) -> None:
        """Return nothing: the coefficients are all there is."""

    def _terms(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        return np.column_stack([np.ones(len(X)), complete(X, self.name, self.inputs)])


class BlackboxPredictor(_LinearPredictor):
    """BLIS's blackbox: ``beta0 + beta1 * prefill_tokens + beta2 * decode_tokens``.

    Source: inference-sim up to v0.7.10. The non-negative fit is that of its branch
    ``stepml-experiments``, ``hypotheses/h-stepml/shared/baselines.py``; the figures recorded
    there in round 1 are those of ordinary least squares.
    """

    name = "blackbox"
    inputs = ("prefill_tokens", "decode_tokens")
    names = ("beta0", "beta1", "beta2")


class FairBatchingPredictor(_LinearPredictor):
    """FairBatching's step time: ``a + b * tokens + c * kv_tokens``.

    `kv_tokens` are those in the cache of the running requests: as recorded, else KV-cache
    blocks in use x 16, else 0 in all rows, which leaves ``a + b * tokens``.

    Source: inference-sim, branch ``stepml-experiments``,
    ``hypotheses/h-stepml/round3/idea-2-total-context-model/run_h1_h2.py``, fitted there by
    ordinary least squares.
    """

    name = "fairbatching"
    inputs = ("tokens", "kv_tokens")
    names = ("a", "b", "c")
