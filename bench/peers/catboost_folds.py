"""CatBoost: its own ``cv``, and folds on threads.

Its trees split a whole level by one condition, so at equal depth they are other trees, and a
minimum weight of leaves does not apply to them.
"""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, Any

import catboost

from peers.scoring import figures
from peers.thread_folds import on_threads

if TYPE_CHECKING:
    from peers.scoring import Figures
    from peers.study import Fold, Study

__all__ = ["cv", "threads"]


def cv(study: Study, cores: int) -> list[Figures]:
    """Run ``catboost.cv``, evaluating the last round alone."""
    with tempfile.TemporaryDirectory() as scratch:  # models to return pass through files
        _, models = catboost.cv(
            catboost.Pool(study.X, study.y, thread_count=cores),
            _params(study, cores) | {"loss_function": "RMSE", "train_dir": scratch},
            folds=[(fold.fit, fold.test) for fold in study.folds],
            metric_period=study.boosting.n_estimators,
            return_models=True,
            as_pandas=False,
        )
    return [
        figures(study.y[fold.test], model.predict(study.X[fold.test], thread_count=cores))
        for fold, model in zip(study.folds, models, strict=True)
    ]


def threads(study: Study, cores: int) -> list[Figures]:
    """Train folds on threads of this process, each on a core."""

    def one(fold: Fold) -> Figures:
        model = catboost.CatBoostRegressor(**_params(study, 1))
        model.fit(catboost.Pool(study.X[fold.fit], study.y[fold.fit], thread_count=1))
        return figures(study.y[fold.test], model.predict(study.X[fold.test], thread_count=1))

    return on_threads(study, cores, one)


def _params(study: Study, threads: int) -> dict[str, Any]:
    asked = study.boosting
    return {
        "iterations": asked.n_estimators,
        "depth": asked.max_depth,
        "learning_rate": asked.learning_rate,
        "bootstrap_type": "Bernoulli",
        "subsample": asked.subsample,
        "rsm": asked.colsample_bytree,
        "border_count": asked.max_bin - 2,  # 254 on a CPU, its default for as many bins
        "random_seed": study.seed,
        "thread_count": threads,
        "boost_from_average": True,  # the default of a fit, not of cv
        "allow_writing_files": False,
        "logging_level": "Silent",
    }
