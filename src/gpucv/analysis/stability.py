"""How steady the order of the features is from fold to fold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpucv.analysis.tables import STABILITY_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

__all__ = ["fold_ranks", "mean_rank_std", "stability_table", "top_features"]

_FOLD = ("scheme", "holdout", "predictor", "transform", "target")
_FEATURE = ("scheme", "predictor", "transform", "target", "feature")


def fold_ranks(importance: pd.DataFrame) -> pd.Series[float]:
    """Rank the features of each fold by importance.

    Parameters
    ----------
    importance : pandas.DataFrame
        Columns ``scheme, holdout, predictor, transform, feature, importance``, and
        ``target`` where there are several.

    Returns
    -------
    pandas.Series
        1 for the most important feature of a fold; ties share their average
        rank, so 30 features of importance 0 all get rank 15.5.
    """
    return importance.groupby(_known(importance, _FOLD), sort=False)["importance"].rank(
        ascending=False, method="average"
    )


def stability_table(importance: pd.DataFrame) -> pd.DataFrame:
    """Average importance and rank of every feature over the folds of a scheme.

    Parameters
    ----------
    importance : pandas.DataFrame
        Columns ``scheme, holdout, predictor, transform, feature, importance``, and
        ``target`` where there are several.

    Returns
    -------
    pandas.DataFrame
        The columns of `STABILITY_COLUMNS`, behind them ``target`` if it was given,
        steadily sorted: schemes, predictors and transforms in order of appearance,
        features by average rank, then by average importance, then by name.
        ``rank_std`` is the sample standard deviation (n - 1) over the folds, NaN
        where a scheme has one fold.
    """
    ranked = importance.assign(rank=fold_ranks(importance))
    keys = _known(importance, _FEATURE)
    table = (
        ranked.groupby(keys, sort=False)
        .agg(
            avg_importance=("importance", "mean"),
            avg_rank=("rank", "mean"),
            rank_std=("rank", "std"),
        )
        .reset_index()
    )
    group = table.groupby(keys[:-1], sort=False).ngroup()
    ordered = table.assign(group=group).sort_values(
        ["group", "avg_rank", "avg_importance", "feature"],
        ascending=[True, True, False, True],
        kind="stable",
    )
    columns = dict.fromkeys([*STABILITY_COLUMNS, *keys])
    return ordered[list(columns)].reset_index(drop=True)


def _known(frame: pd.DataFrame, names: Sequence[str]) -> list[str]:
    return [name for name in names if name in frame.columns]


def top_features(
    stability: pd.DataFrame,
    scheme: str,
    predictor: str,
    n: int = 10,
    *,
    transform: str | None = None,
) -> pd.DataFrame:
    """Return the `n` features of one scheme with the lowest average rank.

    Parameters
    ----------
    stability : pandas.DataFrame
        As made by `stability_table`.
    scheme, predictor : str
        Which folds to look at.
    n : int
        How many features; fewer are returned where there are fewer.
    transform : str, optional
        Needed only where a study gives one predictor several transforms.

    Returns
    -------
    pandas.DataFrame
        The rows of `stability`, best rank first.
    """
    mask = (stability["scheme"] == scheme) & (stability["predictor"] == predictor)
    if transform is not None:
        mask &= stability["transform"] == transform
    ordered = stability[mask].sort_values(
        ["avg_rank", "avg_importance", "feature"], ascending=[True, False, True], kind="stable"
    )
    return ordered.head(n).reset_index(drop=True)


def mean_rank_std(features: pd.DataFrame) -> float:
    """Return the mean ``rank_std`` of the rows given, NaN where none has one.

    Over the ten rows of `top_features` this is the published study's "top-10
    average": 0 means the same order in every fold.
    """
    return float(features["rank_std"].mean())
