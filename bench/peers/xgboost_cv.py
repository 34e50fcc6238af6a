"""``xgboost.cv`` with the study's folds.

It keeps every fold's matrices at once, trains them in step, and evaluates each fold's training
and held-out rows after every round: that cannot be switched off. Only the RMSE is asked for.
It hands out no predictions, so these are made once the clock has stopped, from the boosters
it leaves to a callback.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import xgboost

from peers.scoring import figures

if TYPE_CHECKING:
    from collections.abc import Callable

    from peers.scoring import Figures
    from peers.study import Study

__all__ = ["on_cpu", "on_gpu"]


class _Keep(xgboost.callback.TrainingCallback):
    """Keeps the folds that ``cv`` throws away when it is done."""

    def after_training(self, model: Any) -> Any:
        self.folds = model.cvfolds
        return model


def on_cpu(study: Study, cores: int) -> Callable[[], list[Figures]]:
    """Run ``cv`` on `cores` threads; what is returned scores the folds."""
    return _cv(study, "cpu", cores)


def on_gpu(study: Study, cores: int) -> Callable[[], list[Figures]]:
    """Run ``cv`` on the GPU; what is returned scores the folds."""
    return _cv(study, "cuda", cores)


def _cv(study: Study, device: str, threads: int) -> Callable[[], list[Figures]]:
    params = study.boosting.xgboost()
    rounds = params.pop("n_estimators")
    kept = _Keep()
    xgboost.cv(
        params | {"device": device, "nthread": threads},
        xgboost.DMatrix(study.X, label=study.y, nthread=threads),
        num_boost_round=rounds,
        folds=[(fold.fit, fold.test) for fold in study.folds],
        metrics=("rmse",),
        as_pandas=False,
        seed=study.seed,
        callbacks=[kept],
    )
    return lambda: [
        figures(study.y[fold.test], each.bst.predict(each.dtest))
        for fold, each in zip(study.folds, kept.folds, strict=True)
    ]
