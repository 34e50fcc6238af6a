"""A random forest grown by XGBoost: trees beside each other, not each on the rest's error."""

from __future__ import annotations

from dataclasses import replace

from pydantic import Field

from gpucv.predictors.base import BinnedParams, FitContext
from gpucv.predictors.gbdt import XgboostPredictor

__all__ = ["ForestParams", "ForestPredictor"]


_NO_SHRINKAGE = 1e-5
"""XGBRFRegressor's own: 0 would divide by 0 in a leaf without rows."""


class ForestParams(BinnedParams):
    """A forest's parameters.

    Attributes
    ----------
    n_estimators : int
        Trees.
    max_depth : int
        0 has no bound.
    min_samples_leaf : int
        Fewest rows of a leaf. XGBoost knows no fewest rows of a split.
    subsample : float
        Share of the rows each tree is grown on, drawn without replacement; XGBoost's own
        default for forests. A draw with replacement, as scikit-learn makes it, meets 0.632
        of the rows.
    colsample_bynode : float
        Share of the features each split may choose among.
    max_bin : int
        Thresholds tried for each feature. Four times as many took three times as long on
        ten continuous features, and predicted no better.
    """

    n_estimators: int = Field(default=100, ge=1, le=100_000)
    max_depth: int = Field(default=16, ge=0, le=64)
    min_samples_leaf: int = Field(default=1, ge=1)
    subsample: float = Field(default=0.8, gt=0, le=1)
    colsample_bynode: float = Field(default=1.0, gt=0, le=1)
    max_bin: int = Field(default=256, ge=2, le=65_536)


class ForestPredictor(XgboostPredictor):
    """The mean of trees that were each grown on a draw of the rows.

    One round of XGBoost with as many parallel trees, a learning rate of 1 and next to no
    shrinkage of the leaves, as XGBoost's own ``XGBRFRegressor`` has it. There is nothing to
    stop early.
    """

    def __init__(self, params: ForestParams, context: FitContext) -> None:
        training = {
            "num_parallel_tree": params.n_estimators,
            "max_depth": params.max_depth,
            # The second derivative of a squared error is 1, so a leaf's weight is its rows.
            "min_child_weight": float(params.min_samples_leaf),
            "subsample": params.subsample,
            "colsample_bynode": params.colsample_bynode,
            "max_bin": params.max_bin,
            "learning_rate": 1.0,
            "reg_lambda": _NO_SHRINKAGE,
            "objective": "reg:squarederror",
        }
        super().__init__(training, 1, replace(context, early_stopping_rounds=0), params.cuts)
