"""What a run scored on one configuration's rows, fold by fold."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gpucv.export.manifest import HeldOut
from gpucv.metrics import score

if TYPE_CHECKING:
    import pandas as pd

    from gpucv.features import FeatureTable
    from gpucv.study import PredictorSpec

__all__ = ["held_out_scores", "of_predictor"]


def of_predictor(predictions: pd.DataFrame, spec: PredictorSpec) -> pd.DataFrame:
    """Return the predictions of one predictor on one transform."""
    mine = (predictions["predictor"] == spec.title) & (predictions["transform"] == spec.transform)
    return predictions[mine]


def held_out_scores(
    predictions: pd.DataFrame, table: FeatureTable, experiment: str, rows: np.ndarray
) -> tuple[HeldOut, ...]:
    """Return the scores of each fold on some rows of the table, in the order of the folds.

    A fold none of whose rows are among them has none. Where all are, its scores are the run's
    own to the last bit: the same rows in the same order.

    Parameters
    ----------
    predictions : DataFrame
        Of one predictor: scheme, holdout, experiment_id, step_id, actual, predicted.
    table : FeatureTable
        Where the rows belong.
    experiment : str
        The column that names a recording.
    rows : ndarray of intp
    """
    import pandas as pd

    labels = table.keys[experiment]
    wanted = pd.MultiIndex.from_arrays(
        [np.asarray(labels.names, dtype=object)[labels.codes[rows]], table.step_id[rows]]
    )
    here = pd.MultiIndex.from_arrays(
        [predictions["experiment_id"].astype(object), predictions["step_id"]]
    ).isin(wanted)
    found = []
    mine = predictions[here]
    for (scheme, holdout), fold in mine.groupby(["scheme", "holdout"], observed=True, sort=False):
        scores = score(fold["actual"].to_numpy(), fold["predicted"].to_numpy())
        found.append(
            HeldOut(
                scheme=str(scheme),
                holdout=str(holdout),
                n=len(fold),
                mape=_finite(scores.mape),
                mspe=_finite(scores.mspe),
                wape=_finite(scores.wape),
            )
        )
    return tuple(found)


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
