"""A pipeline fitted to other groups, corrected by a few measurements of a new one.

The correction lives in the logarithm of measured / predicted. Its level is the median over
the k rows; its shape is a small forest of boosted trees on the predictor's own features.
Both are shrunk, the level by k / (k + 10), the shape by k / (k + 30), so that a handful of
rows moves the level a little and a hundred rows bend the curve. Chosen on Vidur's
profiles, where at no k from 10 on was it more than 0.4 points of MAPE worse than the best
of the uncorrected pipeline, a level alone and trees alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gpucv.frames import to_host
from gpucv.predictors import FitContext, make_predictor

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gpucv.pipelines.base import Fitted, Report, Setting
    from gpucv.pipelines.rows import Examples, Inputs
    from gpucv.predictors import Predictor
    from gpucv.study import PredictorSpec

__all__ = ["corrected"]

LEVEL_ROWS = 10
"""Rows at which half of the measured level is believed."""
SHAPE_ROWS = 30
"""Rows at which half of the measured shape is believed."""
FEWEST_FOR_SHAPE = 10
"""Rows below which there is no telling a shape from noise."""
_SHAPE = "xgboost"
_TREES = {
    "n_estimators": 100,
    "max_depth": 3,
    "learning_rate": 0.1,
    "min_child_weight": 3.0,
    "reg_lambda": 3.0,
    "subsample": 1.0,
    "colsample_bytree": 1.0,
}


@dataclass(frozen=True, slots=True)
class _Corrected:
    prior: Fitted
    level: float
    shape: Predictor | None
    weight: float
    positions: tuple[int, ...]
    setting: Setting

    def predict(self, inputs: Inputs) -> NDArray[np.float64]:
        log_factor = np.full(len(inputs), self.level)
        if self.shape is not None:
            rows = self.setting.rows_for(_SHAPE, inputs, self.positions)
            log_factor += self.weight * to_host(self.shape.predict(rows))
        with np.errstate(over="ignore"):
            corrected: NDArray[np.float64] = self.prior.predict(inputs) * np.exp(log_factor)
        return corrected

    def report(self) -> Report:
        return self.prior.report()


def corrected(prior: Fitted, shots: Examples, spec: PredictorSpec, setting: Setting) -> Fitted:
    """Return `prior` corrected by measured rows.

    Parameters
    ----------
    prior : Fitted
        Fitted to other groups.
    shots : Examples
        Measured rows of the new group. Those whose measured or predicted time is not
        positive are left out.
    spec : PredictorSpec
        The predictor whose features the shape is learnt from.
    setting : Setting
    """
    predicted = prior.predict(shots.inputs)
    usable = (predicted > 0) & np.isfinite(predicted) & (shots.y > 0)
    k = int(usable.sum())
    if not k:
        return prior
    rows = shots.take(usable)
    residual = np.log(rows.y / predicted[usable])
    level = float(np.median(residual)) * k / (k + LEVEL_ROWS)
    columns = setting.columns(spec)
    positions = columns.positions
    if k < FEWEST_FOR_SHAPE or not positions:
        return _Corrected(prior, level, None, 0.0, positions, setting)
    # A predictor that may not fall with more tokens keeps that promise when corrected.
    context = FitContext(setting.seed, setting.threads, setting.device, 0, columns.directions)
    shape = make_predictor(_SHAPE, _TREES, context)
    shape.fit(setting.rows_for(_SHAPE, rows.inputs, positions), residual - level, None)
    return _Corrected(prior, level, shape, k / (k + SHAPE_ROWS), positions, setting)
