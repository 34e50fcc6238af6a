"""The published study's own loop (inference-sim, ``hypotheses/h-stepml``, h3-generalization).

Fold by fold, from a pandas frame of all rows: take the rows kept and those held out, replace
what is not finite, sort by experiment and step, fit ``XGBRegressor(n_jobs=-1)`` with the
validation rows as evaluation set, predict validation and held-out rows, score each experiment.
Reading its CSV file and building the features are left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from xgboost import XGBRegressor

from peers.scoring import figures

if TYPE_CHECKING:
    from peers.scoring import Figures
    from peers.study import Study

__all__ = ["make_frame", "run"]

_frames: dict[int, pd.DataFrame] = {}


def make_frame(study: Study, cores: int) -> None:
    """Make the frame the loop begins with, which the study reads from a file."""
    columns = [f"f{position}" for position in range(study.X.shape[1])]
    frame = pd.DataFrame(study.X.astype(np.float64), columns=columns)
    frame["target"] = study.y
    frame["experiment"] = study.groups["experiment"]
    frame["step"] = frame.groupby("experiment").cumcount()
    _frames[id(study)] = frame


def run(study: Study, cores: int) -> list[Figures]:
    """Train, predict and score every fold in turn, on all cores this process may use."""
    frame = _frames[id(study)]
    features = [name for name in frame.columns if name.startswith("f")]
    found = []
    for fold in study.folds:
        kept = frame.loc[np.union1d(fold.fit, fold.valid)].copy()
        held = frame.loc[fold.test].copy()
        for part in (kept, held):
            part[features] = part[features].replace([np.inf, -np.inf], np.nan).fillna(0)
        kept = kept.sort_values(["experiment", "step"])
        fit, valid = kept.iloc[: len(fold.fit)], kept.iloc[len(fold.fit) :]
        regressor = XGBRegressor(
            **study.boosting.xgboost(), random_state=study.seed, n_jobs=-1, verbosity=0
        )
        watched = valid[features].to_numpy(), valid["target"].to_numpy()
        regressor.fit(
            fit[features].to_numpy(), fit["target"].to_numpy(), eval_set=[watched], verbose=False
        )
        figures(watched[1], regressor.predict(watched[0]))
        held["predicted"] = regressor.predict(held[features].to_numpy())
        _ = regressor.feature_importances_
        for _, steps in held.groupby("experiment"):
            figures(steps["target"].to_numpy(), steps["predicted"].to_numpy())
        found.append(figures(held["target"].to_numpy(), held["predicted"].to_numpy()))
    return found
