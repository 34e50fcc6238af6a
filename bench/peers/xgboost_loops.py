"""XGBoost by hand: one fold after another on all cores, on a CPU or a GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xgboost import XGBRegressor

from peers.scoring import figures

if TYPE_CHECKING:
    from peers.scoring import Figures
    from peers.study import Study

__all__ = ["on_cpu", "on_gpu", "warm_gpu"]


def on_cpu(study: Study, cores: int) -> list[Figures]:
    """Train every fold in turn, `cores` threads each, nothing evaluated on the way."""
    return _loop(study, "cpu", cores)


def on_gpu(study: Study, cores: int) -> list[Figures]:
    """Train every fold in turn on the GPU."""
    return _loop(study, "cuda", cores)


def warm_gpu(study: Study, cores: int) -> None:
    """Make the GPU's context and load its kernels: start-up, not part of a fold."""
    regressor = XGBRegressor(device="cuda", n_estimators=1)
    regressor.fit(study.X[:1000], study.y[:1000])


def _loop(study: Study, device: str, threads: int) -> list[Figures]:
    found = []
    for fold in study.folds:
        regressor = XGBRegressor(
            **study.boosting.xgboost(), device=device, random_state=study.seed, n_jobs=threads
        )
        regressor.fit(study.X[fold.fit], study.y[fold.fit])
        found.append(figures(study.y[fold.test], regressor.predict(study.X[fold.test])))
    return found
