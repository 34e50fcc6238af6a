"""H2O's XGBoost, fold after fold on all cores; it needs Java, which starts before the clock.

Its own cross-validation cannot leave a fold's validation rows out, and builds one model more
than there are folds; so every fold is trained on a frame of its rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import h2o
import pandas as pd
from h2o.estimators import H2OXGBoostEstimator

from peers.scoring import figures

if TYPE_CHECKING:
    from peers.scoring import Figures
    from peers.study import Study

__all__ = ["loop", "start_and_upload"]

_frames: dict[int, h2o.H2OFrame] = {}


def start_and_upload(study: Study, cores: int) -> None:
    """Start the server with `cores` threads and give it the matrix."""
    h2o.init(nthreads=cores, max_mem_size="4g", bind_to_localhost=True, verbose=False)
    h2o.no_progress()
    columns = [f"f{position}" for position in range(study.X.shape[1])]
    frame = pd.DataFrame(study.X, columns=columns)
    frame["target"] = study.y
    for position, fold in enumerate(study.folds):
        part = pd.Series(0, index=frame.index)
        part.iloc[fold.fit], part.iloc[fold.test] = 1, 2
        frame[f"part{position}"] = part
    _frames[id(study)] = h2o.H2OFrame(frame)


def loop(study: Study, cores: int) -> list[Figures]:
    """Train every fold in turn."""
    frame, asked = _frames[id(study)], study.boosting
    features = [f"f{position}" for position in range(study.X.shape[1])]
    found = []
    for position, fold in enumerate(study.folds):
        part = frame[f"part{position}"]
        model = H2OXGBoostEstimator(
            ntrees=asked.n_estimators,
            max_depth=asked.max_depth,
            learn_rate=asked.learning_rate,
            min_rows=asked.min_child_weight,
            sample_rate=asked.subsample,
            col_sample_rate_per_tree=asked.colsample_bytree,
            max_bins=asked.max_bin,
            tree_method="hist",
            nthread=cores,
            backend="cpu",
            seed=study.seed,
        )
        model.train(x=features, y="target", training_frame=frame[part == 1, :])
        answers = model.predict(frame[part == 2, :]).as_data_frame(use_multi_thread=False)
        found.append(figures(study.y[fold.test], answers["predict"].to_numpy()))
    h2o.cluster().shutdown()
    return found
