"""Why folds fail: a wrong scale or a wrong shape, and features beyond what was learnt."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gpucv.analysis.tables import Kind

__all__ = ["OUTSIDE_COLUMNS", "ScaleSummary", "outside_features", "scale_summary"]

OUTSIDE_COLUMNS: Mapping[str, Kind] = {
    "scheme": "text",
    "holdout": "text",
    "predictor": "text",
    "transform": "text",
    "target": "text",
    "feature": "text",
    "train_low": "real",
    "train_high": "real",
    "test_low": "real",
    "test_high": "real",
    "share": "real",
    "farthest": "real",
}
"""outside.csv: the range of each feature in the rows learnt from and in those held out.

`share` of the rows held out lies outside, 0 to 1; `farthest` says how far, in widths of the
training range, and is empty where that has no width.
"""


@dataclass(frozen=True, slots=True)
class ScaleSummary:
    """What one factor for each fold would make of a scheme's errors.

    Attributes
    ----------
    n_folds, n_rows : int
    mape, scaled_mape : float
        Means over the folds, in percent, as predicted and after the factor.
    least, most : float
        The smallest and the largest factor.
    worse : int
        Folds whose MAPE the factor adds to: it centres the ratios, which need not lower the
        mean of their errors.
    """

    n_folds: int
    n_rows: int
    mape: float
    scaled_mape: float
    least: float
    most: float
    worse: int = 0

    @property
    def removed(self) -> float:
        """The share of the average MAPE the factors remove; below 0 where they add to it."""
        if not self.mape or not math.isfinite(self.mape):
            return math.nan
        return 1.0 - self.scaled_mape / self.mape


def scale_summary(errors: pd.DataFrame) -> ScaleSummary | None:
    """Sum up the scale error of one scheme of one formulation.

    Parameters
    ----------
    errors : pandas.DataFrame
        With `gpucv.analysis.ERROR_COLUMNS`. Folds without a factor are left out.

    Returns
    -------
    ScaleSummary or None
        None where no fold has a factor.
    """
    folds = errors[(errors["by"] == "all") & errors["factor"].notna()]
    if folds.empty:
        return None
    return ScaleSummary(
        n_folds=len(folds),
        n_rows=int(folds["n_test"].sum()),
        mape=float(folds["mape"].mean()),
        scaled_mape=float(folds["scaled_mape"].mean()),
        least=float(folds["factor"].min()),
        most=float(folds["factor"].max()),
        worse=int((folds["scaled_mape"] > folds["mape"]).sum()),
    )


def outside_features(outside: pd.DataFrame) -> pd.DataFrame:
    """Return which features leave their training range, those of the most rows first.

    Parameters
    ----------
    outside : pandas.DataFrame
        Rows of one formulation and scheme, with `OUTSIDE_COLUMNS`.

    Returns
    -------
    pandas.DataFrame
        ``feature, n_folds`` (in how many folds a row lies outside), ``share`` (mean over all
        folds), ``farthest`` (the largest known), ``unbounded`` (whether a fold's training rows
        have a single value of it), and ``holdout`` with its ``holdout_share``: where most rows
        lie outside. Features that never leave their range are left out.
    """
    beyond = outside[outside["share"] > 0]
    if beyond.empty:
        return pd.DataFrame(columns=["feature"])
    n_all = outside["holdout"].nunique()
    grouped = beyond.groupby("feature", sort=False)
    worst = beyond.loc[grouped["share"].idxmax()].set_index("feature")
    table = pd.DataFrame(
        {
            "n_folds": grouped["holdout"].nunique(),
            "share": grouped["share"].sum() / n_all,
            "farthest": grouped["farthest"].max(),
            "unbounded": grouped["farthest"].apply(lambda far: bool(far.isna().any())),
        }
    )
    table["holdout"], table["holdout_share"] = worst["holdout"], worst["share"]
    table = table.rename_axis("feature").reset_index()
    return table.sort_values(
        ["share", "feature"], ascending=[False, True], kind="stable", ignore_index=True
    )
