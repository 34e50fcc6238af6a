"""Splitwise-sim's curves: the median time of each batch size, joined by straight lines.

Source: Mutinifni/splitwise-sim, ``performance_model.py`` (``DatabasePerformanceModel``). It
keeps two curves for each model, GPU and tensor-parallel degree, so a study says
``per = ["model", "gpu", "tp"]``. A batch is looked up by its number of tokens: the prompts'
tokens plus one for each request that decodes. Batches of prompts alone are read off the
prompt curve, batches of decodes alone off the token curve, and mixed ones off the prompt
curve times 1.1. Beyond the last point a curve goes straight on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gpucv.predictors.base import FitContext, Params
from gpucv.predictors.complete import complete

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gpucv.machine import Device

__all__ = ["SPLITWISE_INPUTS", "SplitwiseParams", "SplitwisePredictor"]

SPLITWISE_INPUTS = ("curve_tokens", "has_prefill", "has_decode")


class SplitwiseParams(Params):
    """Splitwise has nothing to set."""


MIXED = 1.1
"""How much longer a mixed batch takes than prompts of as many tokens: Splitwise's constant."""


@dataclass(frozen=True, slots=True)
class _Curve:
    """Medians at distinct x, in ascending order; at least one point."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]

    def at(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the curve at x, on the first or last line where x lies beyond the points."""
        if len(self.x) == 1:
            return np.full(len(x), self.y[0])
        right = np.clip(np.searchsorted(self.x, x), 1, len(self.x) - 1)
        run = self.x[right] - self.x[right - 1]
        rise = self.y[right] - self.y[right - 1]
        line: NDArray[np.float64] = self.y[right - 1] + (x - self.x[right - 1]) * (rise / run)
        return line


class SplitwisePredictor:
    """Two curves over the number of tokens: batches with prompts, and batches without.

    Splitwise reads its curves off batches of prompts alone and of decodes alone. An engine
    with chunked prefill hardly ever runs prompts alone, so the prompt curve is learnt from
    every batch with prompts, mixed ones divided by 1.1 first: the rule it is read off by.
    Where the training rows have batches of one kind alone, its curve answers for both.

    Two traits are Splitwise's own. Context length counts for nothing. And its own tables
    give a token pass the tokens of its prompts as x, so a simulated decode batch, which
    counts one for each request, lies left of every point; rows read from such a table are
    asked at the x they were measured at.
    """

    device: Device = "cpu"
    best_iteration: int | None = None

    def __init__(self, params: SplitwiseParams, context: FitContext) -> None:
        self._prompt: _Curve | None = None
        self._token: _Curve | None = None

    def fit(
        self,
        X: NDArray[np.float32],
        y: NDArray[np.float64],
        valid: tuple[NDArray[np.float32], NDArray[np.float64]] | None,
    ) -> None:
        """Keep the median of y at every distinct number of tokens.

        Raises
        ------
        DataError
            If the number of tokens is missing in some row.
        """
        tokens, with_prompts, factor = _read(X)
        prompt = _curve(tokens[with_prompts], (y / factor)[with_prompts])
        token = _curve(tokens[~with_prompts], y[~with_prompts])
        self._prompt, self._token = prompt or token, token or prompt

    def predict(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return one time per row; a line that falls may go below 0 beyond the points.

        Raises
        ------
        DataError
            If the number of tokens is missing in some row.
        """
        tokens, with_prompts, factor = _read(X)
        predicted = np.empty(len(X))
        for curve, here in ((self._prompt, with_prompts), (self._token, ~with_prompts)):
            if curve is not None:
                predicted[here] = curve.at(tokens[here])
        return predicted * factor

    def importance(self) -> None:
        """Return nothing: there is one input."""

    def serialize(self) -> None:
        """Return nothing: XGBoost could not read it."""


def _read(
    X: NDArray[np.float32],
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.float64]]:
    """Return each row's tokens, whether it has prompts, and 1.1 where it is mixed, else 1."""
    tokens, prompts, decodes = complete(X, "splitwise", SPLITWISE_INPUTS).T
    with_prompts = prompts > 0
    return tokens, with_prompts, np.where(with_prompts & (decodes > 0), MIXED, 1.0)


def _curve(x: NDArray[np.float64], y: NDArray[np.float64]) -> _Curve | None:
    if not len(x):
        return None
    order = np.argsort(x, kind="stable")
    points, first = np.unique(x[order], return_index=True)
    medians = [np.median(part) for part in np.split(y[order], first[1:])]
    return _Curve(points, np.array(medians))
