"""AutoGluon's grouped bagging of XGBoost, one bag per scheme, folds in parallel by Ray.

Not the same fit: a bag trains on all rows that a fold does not hold out, those of validation
included, and stops early on the rows held out. Its errors are therefore those of a model
chosen by the rows it is scored on.
"""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING

import pandas as pd
from autogluon.tabular import TabularPredictor

from peers.scoring import figures

if TYPE_CHECKING:
    from peers.scoring import Figures
    from peers.study import Study

__all__ = ["bagging"]


def bagging(study: Study, cores: int) -> list[Figures]:
    """Train one bag per scheme, and score its out-of-fold predictions."""
    columns = [f"f{position}" for position in range(study.X.shape[1])]
    answers = {}
    for scheme in dict.fromkeys(fold.scheme for fold in study.folds):
        frame = pd.DataFrame(study.X, columns=columns).assign(target=study.y)
        for fold in study.folds:
            if fold.scheme == scheme:
                frame.loc[fold.test, "held_out_in"] = fold.holdout
        answers[scheme] = _out_of_fold(study, frame, cores)
    return [figures(study.y[f.test], answers[f.scheme][f.test].to_numpy()) for f in study.folds]


def _out_of_fold(study: Study, frame: pd.DataFrame, cores: int) -> pd.Series:
    params = study.boosting.xgboost()
    with tempfile.TemporaryDirectory() as scratch:
        predictor = TabularPredictor(
            "target",
            groups="held_out_in",
            problem_type="regression",
            eval_metric="rmse",
            path=scratch,
            verbosity=0,
        )
        predictor.fit(
            frame,
            hyperparameters={"XGB": params},
            num_bag_folds=frame["held_out_in"].nunique(),
            num_bag_sets=1,
            fit_weighted_ensemble=False,
            ag_args_ensemble={"fold_fitting_strategy": "parallel_local"},
            num_cpus=cores,
        )
        return predictor.predict_oof(predictor.model_names()[0])
