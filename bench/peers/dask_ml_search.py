"""Dask-ML's search over one candidate, its folds spread over the GPUs of a Dask-CUDA cluster.

It has no cross-validation of its own; a grid of one point is one, with a refit that is
switched off. **Not yet run**: it needs a GPU.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dask_cuda import LocalCUDACluster
from dask_ml.model_selection import GridSearchCV
from distributed import Client
from sklearn.metrics import make_scorer
from xgboost import XGBRegressor

from peers.scoring import Figures, figures

if TYPE_CHECKING:
    from peers.study import Study

__all__ = ["search", "start_cluster"]


def start_cluster(study: Study, cores: int) -> None:
    """Start one worker per GPU; the client stays the default one."""
    Client(LocalCUDACluster())


def search(study: Study, cores: int) -> list[Figures]:
    """Run every fold of the one candidate as tasks of the cluster."""
    regressor = XGBRegressor(**study.boosting.xgboost(), device="cuda", random_state=study.seed)
    found = GridSearchCV(
        regressor,
        {"random_state": [study.seed]},
        cv=[(fold.fit, fold.test) for fold in study.folds],
        scoring={name: make_scorer(_figure, name=name) for name in ("rows", "mape", "squares")},
        refit=False,
    ).fit(study.X, study.y)
    return [
        Figures(*(found.cv_results_[f"split{i}_test_{n}"][0] for n in ("rows", "mape", "squares")))
        for i in range(len(study.folds))
    ]


def _figure(actual: Any, predicted: Any, *, name: str) -> float:
    return float(getattr(figures(actual, predicted), name))
