from __future__ import annotations

import math

import pandas as pd
import pytest
from scipy.stats import rankdata

from gpucv.analysis import measure_ranks, outside_features, scale_summary


def errors(*rows: tuple[str, float, float, float]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["holdout", "mape", "scaled_mape", "factor"])
    return frame.assign(by="all", part="", n_test=10)


def test_the_share_removed_is_that_of_the_average() -> None:
    summary = scale_summary(errors(("a", 100.0, 20.0, 0.5), ("b", 300.0, 80.0, 2.0)))
    assert summary is not None
    assert (summary.mape, summary.scaled_mape) == (200.0, 50.0)
    assert summary.removed == 0.75
    assert (summary.n_folds, summary.n_rows) == (2, 20)
    assert (summary.least, summary.most) == (0.5, 2.0)


def test_factors_that_add_to_the_error_remove_less_than_nothing() -> None:
    summary = scale_summary(errors(("a", 50.0, 60.0, 1.1)))
    assert summary is not None
    assert summary.removed == pytest.approx(-0.2)


def test_folds_without_a_factor_are_left_out() -> None:
    assert scale_summary(errors(("a", 50.0, math.nan, math.nan))) is None


def test_features_outside_their_range_are_ordered_by_the_rows_they_concern() -> None:
    rows = [
        ("a", "inside", 0.0, 0.0),
        ("b", "inside", 0.0, 0.0),
        ("a", "rare", 0.1, 3.0),
        ("b", "rare", 0.0, 0.0),
        ("a", "often", 0.2, 1.0),
        ("b", "often", 0.6, math.nan),
    ]
    outside = pd.DataFrame(rows, columns=["holdout", "feature", "share", "farthest"])
    table = outside_features(outside)
    assert table["feature"].tolist() == ["often", "rare"]
    assert table["n_folds"].tolist() == [2, 1]
    assert table["share"].tolist() == pytest.approx([0.4, 0.05])
    assert table["holdout"].tolist() == ["b", "a"]
    assert table["unbounded"].tolist() == [True, False]
    assert table["farthest"].tolist() == [1.0, 3.0]


def test_each_measure_ranks_the_features_within_each_fold() -> None:
    gains = {"a": [0.5, 0.3, 0.2], "b": [0.1, 0.1, 0.8]}
    names = ["x", "y", "z"]
    importance = pd.DataFrame(
        [(h, f, g) for h, row in gains.items() for f, g in zip(names, row, strict=True)],
        columns=["holdout", "feature", "importance"],
    )
    explanations = importance.assign(shap=math.nan, permutation=-importance["importance"])
    table = measure_ranks(importance, explanations)
    expected = sum(rankdata([-g for g in row]) for row in gains.values()) / 2
    assert table.loc[names, "importance_rank"].tolist() == expected.tolist()
    assert table.loc[names, "permutation_rank"].tolist() == (4 - expected).tolist()
    assert table["shap"].isna().all()
    assert table.loc["z", "importance"] == pytest.approx(0.5)
