"""scikit-learn's own ``HistGradientBoostingRegressor``, folds on threads.

It draws features per split and no rows: there is no row sampling to ask for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sklearn.ensemble import HistGradientBoostingRegressor
from threadpoolctl import threadpool_limits

from peers.scoring import figures
from peers.thread_folds import on_threads

if TYPE_CHECKING:
    from peers.scoring import Figures
    from peers.study import Fold, Study

__all__ = ["threads"]


def threads(study: Study, cores: int) -> list[Figures]:
    """Train folds on threads of this process, each on a core."""
    asked = study.boosting

    def one(fold: Fold) -> Figures:
        with threadpool_limits(1, "openmp"):  # OpenMP's limit belongs to the thread that sets it
            regressor = HistGradientBoostingRegressor(
                max_iter=asked.n_estimators,
                max_depth=asked.max_depth,
                max_leaf_nodes=2**asked.max_depth,
                learning_rate=asked.learning_rate,
                min_samples_leaf=int(asked.min_child_weight),
                max_features=asked.colsample_bytree,
                max_bins=min(255, asked.max_bin),
                early_stopping=False,
                random_state=study.seed,
            )
            regressor.fit(study.X[fold.fit], study.y[fold.fit])
            return figures(study.y[fold.test], regressor.predict(study.X[fold.test]))

    return on_threads(study, cores, one)
