from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import rankdata

from gpucv.analysis import (
    IMPORTANCE_COLUMNS,
    STABILITY_COLUMNS,
    fold_ranks,
    mean_rank_std,
    stability_table,
    top_features,
)


def importance_of(folds: dict[str, dict[str, float]], scheme: str = "lomo") -> pd.DataFrame:
    return pd.DataFrame(
        [
            (scheme, holdout, "xgboost", "raw", feature, value)
            for holdout, features in folds.items()
            for feature, value in features.items()
        ],
        columns=["scheme", "holdout", "predictor", "transform", "feature", "importance"],
    )


def test_ranks_agree_with_scipy_on_random_importances_with_ties() -> None:
    random = np.random.default_rng(7)
    values = {f"m{i}": {f"f{j}": float(random.integers(0, 6)) for j in range(30)} for i in range(5)}
    table = importance_of(values)
    expected = np.concatenate([rankdata([-v for v in fold.values()]) for fold in values.values()])
    assert fold_ranks(table).tolist() == expected.tolist()


def test_tied_features_share_their_average_rank() -> None:
    table = importance_of({"a": {"x": 0.5, "y": 0.25, "z": 0.25, "w": 0.0}})
    assert fold_ranks(table).tolist() == [1.0, 2.5, 2.5, 4.0]


def test_rank_std_is_the_sample_one_over_the_folds_of_a_scheme() -> None:
    table = importance_of({"a": {"x": 0.9, "y": 0.1}, "b": {"x": 0.2, "y": 0.8}})
    stability = stability_table(table).set_index("feature")
    assert stability.loc["x", "avg_rank"] == 1.5
    assert stability.loc["x", "avg_importance"] == pytest.approx(0.55)
    assert stability.loc["x", "rank_std"] == pytest.approx(math.sqrt(0.5))


def test_one_fold_has_no_spread() -> None:
    stability = stability_table(importance_of({"a": {"x": 0.9, "y": 0.1}}))
    assert stability["rank_std"].isna().all()
    assert math.isnan(mean_rank_std(stability))


def test_schemes_predictors_and_transforms_are_kept_apart() -> None:
    one = importance_of({"a": {"x": 1.0, "y": 0.0}})
    two = importance_of({"a": {"x": 0.0, "y": 1.0}}, scheme="lowo")
    log = one.assign(transform="log", importance=[0.3, 0.7])
    stability = stability_table(pd.concat([one, two, log], ignore_index=True))
    assert len(stability) == 6
    assert top_features(stability, "lomo", "xgboost", 1, transform="raw")["feature"].item() == "x"
    assert top_features(stability, "lomo", "xgboost", 1, transform="log")["feature"].item() == "y"
    assert top_features(stability, "lowo", "xgboost", 1)["feature"].item() == "y"


def test_targets_are_kept_apart_where_the_table_names_them() -> None:
    one = importance_of({"a": {"x": 1.0, "y": 0.0}}).assign(target="t1")
    two = importance_of({"a": {"x": 0.2, "y": 0.8}}).assign(target="t2")
    both = pd.concat([one, two], ignore_index=True)
    assert fold_ranks(both).tolist() == [1.0, 2.0, 2.0, 1.0]
    stability = stability_table(both)
    assert list(stability.columns) == [*STABILITY_COLUMNS, "target"]
    for target, table in (("t1", one), ("t2", two)):
        of_one = stability[stability["target"] == target].reset_index(drop=True)
        pd.testing.assert_frame_equal(of_one, stability_table(table))


def test_equal_average_ranks_are_ordered_by_importance_then_name() -> None:
    folds = {"a": {"b": 0.4, "a": 0.4, "c": 0.2}, "b": {"b": 0.4, "a": 0.4, "c": 0.2}}
    assert top_features(stability_table(importance_of(folds)), "lomo", "xgboost")[
        "feature"
    ].tolist() == ["a", "b", "c"]


def test_the_order_of_the_rows_does_not_matter() -> None:
    random = np.random.default_rng(3)
    table = importance_of(
        {f"m{i}": {f"f{j}": float(random.random()) for j in range(8)} for i in range(4)}
    )
    shuffled = table.sample(frac=1.0, random_state=1)
    pd.testing.assert_frame_equal(stability_table(table), stability_table(shuffled))


def test_no_importance_at_all_gives_an_empty_table_with_all_columns() -> None:
    empty = pd.DataFrame(columns=list(IMPORTANCE_COLUMNS)).astype({"importance": float})
    stability = stability_table(empty)
    assert list(stability.columns) == list(STABILITY_COLUMNS)
    assert stability.empty
    assert top_features(stability, "lomo", "xgboost").empty
