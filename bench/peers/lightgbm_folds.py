"""LightGBM: its own ``cv``, and folds on threads.

The study's parameters by its names; a tree of depth 6 has at most 64 leaves. Rows are drawn
anew for every tree (``bagging_freq``), as XGBoost draws them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import lightgbm

from peers.scoring import figures
from peers.thread_folds import on_threads

if TYPE_CHECKING:
    from peers.scoring import Figures
    from peers.study import Fold, Study

__all__ = ["cv", "threads"]


def cv(study: Study, cores: int) -> list[Figures]:
    """Run ``lightgbm.cv``: bins from all rows, one fold after another, nothing evaluated."""
    found = lightgbm.cv(
        _params(study, cores) | {"metric": "None"},
        lightgbm.Dataset(study.X, label=study.y, free_raw_data=False),
        num_boost_round=study.boosting.n_estimators,
        folds=iter([(fold.fit, fold.test) for fold in study.folds]),
        return_cvbooster=True,
    )
    return [
        figures(study.y[fold.test], booster.predict(study.X[fold.test], num_threads=cores))
        for fold, booster in zip(study.folds, found["cvbooster"].boosters, strict=True)
    ]


def threads(study: Study, cores: int) -> list[Figures]:
    """Train folds on threads of this process, each on a core and with bins of its own."""

    def one(fold: Fold) -> Figures:
        rows = lightgbm.Dataset(study.X[fold.fit], label=study.y[fold.fit])
        booster = lightgbm.train(_params(study, 1), rows, study.boosting.n_estimators)
        return figures(study.y[fold.test], booster.predict(study.X[fold.test], num_threads=1))

    return on_threads(study, cores, one)


def _params(study: Study, threads: int) -> dict[str, Any]:
    asked = study.boosting
    return {
        "objective": "regression",
        "learning_rate": asked.learning_rate,
        "max_depth": asked.max_depth,
        "num_leaves": 2**asked.max_depth,
        "min_sum_hessian_in_leaf": asked.min_child_weight,
        "min_data_in_leaf": 1,
        "bagging_fraction": asked.subsample,
        "bagging_freq": 1,
        "feature_fraction": asked.colsample_bytree,
        "max_bin": asked.max_bin - 1,  # it counts the bin of missing values apart
        "seed": study.seed,
        "num_threads": threads,
        "verbosity": -1,
    }
