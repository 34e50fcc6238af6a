"""What each feature does for predictions of rows held out, over the folds of a scheme."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gpucv.analysis.tables import Kind

__all__ = ["EXPLANATION_COLUMNS", "MEASURES", "measure_ranks"]

MEASURES = ("importance", "shap", "permutation")
"""The measures of importance: gain on the rows learnt from; the others on rows held out."""

EXPLANATION_COLUMNS: Mapping[str, Kind] = {
    "scheme": "text",
    "holdout": "text",
    "predictor": "text",
    "transform": "text",
    "target": "text",
    "feature": "text",
    "shap": "real",
    "permutation": "real",
    "n_shap": "count",
    "n_permutation": "count",
}
"""explanations.csv: of each fold and feature, on a sample of the rows held out.

`shap` is the mean absolute SHAP value as share of the sum over features, `permutation` the
rise of the MAPE in points when the feature is shuffled; the others count the rows.
"""


def measure_ranks(importance: pd.DataFrame, explanations: pd.DataFrame | None) -> pd.DataFrame:
    """Average every measure of importance over folds, and the rank it gives each feature.

    Parameters
    ----------
    importance : pandas.DataFrame
        Rows of one formulation and scheme, with `gpucv.analysis.IMPORTANCE_COLUMNS`.
    explanations : pandas.DataFrame or None
        The like, with `EXPLANATION_COLUMNS`.

    Returns
    -------
    pandas.DataFrame
        Indexed by feature: `MEASURES`, each the mean over folds, and ``<measure>_rank``, the
        mean of its ranks in the folds (1 is the most important, ties share their average).
        NaN where a measure is not known.
    """
    tables = {"importance": importance}
    if explanations is not None:
        tables |= {"shap": explanations, "permutation": explanations}
    found: dict[str, pd.Series[float]] = {}
    for name in MEASURES:
        if name not in tables:
            continue
        known = tables[name].dropna(subset=[name])
        rank = known.groupby("holdout")[name].rank(ascending=False, method="average")
        by_feature = known.assign(rank=rank).groupby("feature", sort=False)
        found |= {name: by_feature[name].mean(), f"{name}_rank": by_feature["rank"].mean()}
    columns = [*MEASURES, *(f"{name}_rank" for name in MEASURES)]
    return pd.DataFrame(found).reindex(columns=columns).astype(float)
