"""scikit-learn's ``cross_validate`` of ``XGBRegressor``, in its ways to use n cores."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from joblib import Parallel, delayed, parallel_config
from sklearn.model_selection import cross_validate
from xgboost import XGBRegressor

from peers.scoring import Figures, figures

if TYPE_CHECKING:
    from peers.study import Study

__all__ = ["loky", "longest_first", "start_workers", "threading", "threads_within"]


def start_workers(study: Study, cores: int) -> None:
    """Start loky's worker processes and load XGBoost there: start-up, not part of a fold."""
    made = [delayed(XGBRegressor)() for _ in range(4 * cores)]
    with parallel_config(backend="loky", n_jobs=cores):
        Parallel()(made)


def loky(study: Study, cores: int) -> list[Figures]:
    """Use worker processes, one thread each; the matrix is mapped into them from a file."""
    return _validate(study, "loky", n_jobs=cores, nthread=1)


def threading(study: Study, cores: int) -> list[Figures]:
    """Use threads of one process, one XGBoost thread each."""
    return _validate(study, "threading", n_jobs=cores, nthread=1)


def longest_first(study: Study, cores: int) -> list[Figures]:
    """Use threads, and hand them the longest fold first; as `threading` is, but for that."""
    order = study.longest_first()
    sorted_folds = replace(study, folds=tuple(study.folds[i] for i in order))
    found = dict(zip(order, threading(sorted_folds, cores), strict=True))
    return [found[i] for i in range(len(order))]


def threads_within(study: Study, cores: int) -> list[Figures]:
    """Run one fold after another, each on all cores."""
    return _validate(study, "threading", n_jobs=1, nthread=cores)


def _validate(study: Study, backend: str, n_jobs: int, nthread: int) -> list[Figures]:
    regressor = XGBRegressor(
        **study.boosting.xgboost(), random_state=study.seed, n_jobs=nthread, verbosity=0
    )
    with parallel_config(backend=backend):
        found = cross_validate(
            regressor,
            study.X,
            study.y,
            cv=[(fold.fit, fold.test) for fold in study.folds],
            scoring=_scorer,
            n_jobs=n_jobs,
            error_score="raise",
        )
    columns = (found[f"test_{name}"] for name in ("rows", "mape", "squares"))
    return [Figures(int(r), float(m), float(s)) for r, m, s in zip(*columns, strict=True)]


def _scorer(regressor: Any, X: Any, y: Any) -> dict[str, float]:
    """Predict once for all figures: one scorer per figure would predict once for each."""
    found = figures(y, regressor.predict(X))
    return {"rows": found.rows, "mape": found.mape, "squares": found.squares}
