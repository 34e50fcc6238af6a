"""Every peer by name: its functions, what it needs, and whether it counts for a bar."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from importlib.util import find_spec

__all__ = ["PEERS", "Peer"]


@dataclass(frozen=True, slots=True)
class Peer:
    """One way to run the folds.

    Attributes
    ----------
    name : str
    module : str
        In this package.
    run : str
        The function that runs the folds.
    ready : str
        A function run before the clock starts; "" for none.
    needs : tuple of str
        Packages it imports, beside NumPy.
    part : {"main", "minor", "gpu"}
        Main ones are what bars are about; minor ones are run fewer times.
    what : str
        What it does, for a table; n is the number of cores.
    """

    name: str
    module: str
    run: str
    ready: str
    needs: tuple[str, ...]
    part: str
    what: str

    def missing(self) -> list[str]:
        """Return the packages it needs that are not installed here."""
        return [each for each in self.needs if not _is_there(each)]


def _is_there(what: str) -> bool:
    return bool(shutil.which("java")) if what == "java" else find_spec(what) is not None


_SKLEARN = ("sklearn", "xgboost")
_ALL = (
    Peer(
        "gpucv",
        "gpucv_folds",
        run="exact",
        ready="ready_exact",
        needs=("gpucv", "xgboost"),
        part="main",
        what="gpucv, n folds at once, each with cuts of its own",
    ),
    Peer(
        "gpucv-shared",
        "gpucv_folds",
        run="shared",
        ready="ready_shared",
        needs=("gpucv", "xgboost"),
        part="main",
        what="gpucv, n folds at once, cuts shared",
    ),
    Peer(
        "gpucv-single",
        "gpucv_folds",
        run="one_at_a_time",
        ready="ready_one_at_a_time",
        needs=("gpucv", "xgboost"),
        part="main",
        what="gpucv, one fold at a time on one core",
    ),
    Peer(
        "sklearn-loky",
        "sklearn_cv",
        run="loky",
        ready="start_workers",
        needs=_SKLEARN,
        part="main",
        what="scikit-learn cross_validate, n processes",
    ),
    Peer(
        "sklearn-threading",
        "sklearn_cv",
        run="threading",
        ready="",
        needs=_SKLEARN,
        part="main",
        what="scikit-learn cross_validate, n threads",
    ),
    Peer(
        "sklearn-longest-first",
        "sklearn_cv",
        run="longest_first",
        ready="",
        needs=_SKLEARN,
        part="main",
        what="the same, handed its folds with the longest first",
    ),
    Peer(
        "sklearn-1xn",
        "sklearn_cv",
        run="threads_within",
        ready="",
        needs=_SKLEARN,
        part="main",
        what="scikit-learn cross_validate, one fold at a time on n threads",
    ),
    Peer(
        "xgb-cv",
        "xgboost_cv",
        run="on_cpu",
        ready="",
        needs=("xgboost",),
        part="main",
        what="xgboost.cv, n threads",
    ),
    Peer(
        "study-loop",
        "study_loop",
        run="run",
        ready="make_frame",
        needs=("xgboost", "pandas"),
        part="main",
        what="the published study's own loop, n threads",
    ),
    Peer(
        "gpucv-run",
        "gpucv_folds",
        run="whole_run",
        ready="",
        needs=("gpucv", "xgboost"),
        part="main",
        what="gpucv run, from the data file to the report",
    ),
    Peer(
        "xgb-loop",
        "xgboost_loops",
        run="on_cpu",
        ready="",
        needs=("xgboost",),
        part="minor",
        what="XGBRegressor in a plain loop, n threads",
    ),
    Peer(
        "lightgbm-cv",
        "lightgbm_folds",
        run="cv",
        ready="",
        needs=("lightgbm",),
        part="minor",
        what="lightgbm.cv, n threads",
    ),
    Peer(
        "lightgbm-threads",
        "lightgbm_folds",
        run="threads",
        ready="",
        needs=("lightgbm",),
        part="minor",
        what="LightGBM, n folds at once",
    ),
    Peer(
        "catboost-cv",
        "catboost_folds",
        run="cv",
        ready="",
        needs=("catboost",),
        part="minor",
        what="catboost.cv, n threads",
    ),
    Peer(
        "catboost-threads",
        "catboost_folds",
        run="threads",
        ready="",
        needs=("catboost",),
        part="minor",
        what="CatBoost, n folds at once",
    ),
    Peer(
        "sklearn-hgb",
        "hist_gradient_boosting",
        run="threads",
        ready="",
        needs=("sklearn",),
        part="minor",
        what="HistGradientBoostingRegressor, n folds at once",
    ),
    Peer(
        "h2o-loop",
        "h2o_folds",
        run="loop",
        ready="start_and_upload",
        needs=("h2o", "java"),
        part="minor",
        what="H2O XGBoost in a loop, n threads",
    ),
    Peer(
        "autogluon-bagging",
        "autogluon_bagging",
        run="bagging",
        ready="",
        needs=("autogluon", "ray"),
        part="minor",
        what="AutoGluon grouped bagging of XGBoost, n cores",
    ),
    Peer(
        "gpucv-cuda",
        "gpucv_folds",
        run="on_gpu",
        ready="ready_on_gpu",
        needs=("gpucv", "xgboost"),
        part="gpu",
        what="gpucv on a GPU, as many folds at once as it plans",
    ),
    Peer(
        "xgb-loop-cuda",
        "xgboost_loops",
        run="on_gpu",
        ready="warm_gpu",
        needs=("xgboost",),
        part="gpu",
        what="XGBRegressor(device=cuda) in a plain loop",
    ),
    Peer(
        "xgb-cv-cuda",
        "xgboost_cv",
        run="on_gpu",
        ready="",
        needs=("xgboost",),
        part="gpu",
        what="xgboost.cv on a GPU",
    ),
    Peer(
        "dask-ml-cuda",
        "dask_ml_search",
        run="search",
        ready="start_cluster",
        needs=("dask_ml", "dask_cuda"),
        part="gpu",
        what="Dask-ML search over one candidate on a Dask-CUDA cluster",
    ),
)
PEERS = {peer.name: peer for peer in _ALL}
"""All of them, in the order of the tables."""
