from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import mean_absolute_percentage_error

from gpucv.analysis import ERROR_COLUMNS, error_table, part_means, scale_factor

FOLD = {"scheme": "lomo", "holdout": "a", "predictor": "xgboost", "transform": "raw", "target": "t"}


def predictions(**columns: object) -> pd.DataFrame:
    return pd.DataFrame({**columns, **FOLD}).astype(dict.fromkeys(FOLD, "category"))


def row(table: pd.DataFrame, by: str, part: str = "") -> pd.Series:
    (found,) = [each for _, each in table.iterrows() if (each["by"], each["part"]) == (by, part)]
    return found


def test_errors_of_all_rows_are_those_of_an_independent_library() -> None:
    random = np.random.default_rng(0)
    actual = random.lognormal(7, 1, 500)
    predicted = actual * random.lognormal(0.3, 0.5, 500)
    whole = row(error_table(predictions(actual=actual, predicted=predicted)), "all")
    expected = 100 * mean_absolute_percentage_error(actual, predicted)
    assert whole["mape"] == pytest.approx(expected)
    assert whole["mspe"] == pytest.approx(100 * np.mean(predicted / actual - 1))
    below = np.mean(100 * np.abs(predicted / actual - 1) <= whole["p90"])
    assert below == pytest.approx(0.9, abs=1 / 500)


def test_rows_are_parted_by_phase_and_by_decade_of_what_was_measured() -> None:
    table = error_table(
        predictions(
            actual=[9.99, 10.0, 99.0, 100.0, 0.0],
            predicted=[9.99, 20.0, 99.0, 50.0, 7.0],
            phase=["mixed", "pure decode", None, "pure decode", "prefill"],
        )
    )
    assert table["by"].tolist() == ["all", "phase", "phase", "decade", "decade", "decade"]
    assert table["part"].tolist() == ["", "pure decode", "mixed", "1e0", "1e1", "1e2"]
    assert table["n_test"].tolist() == [4, 2, 1, 1, 2, 1]
    assert row(table, "phase", "pure decode")["mape"] == pytest.approx(75.0)
    assert row(table, "phase", "pure decode")["mspe"] == pytest.approx(25.0)
    assert row(table, "decade", "1e2")["mspe"] == pytest.approx(-50.0)


def test_one_factor_removes_all_of_a_scale_error_and_none_of_a_symmetric_shape_error() -> None:
    actual = np.geomspace(10, 1000, 101)
    factor, left = scale_factor(actual, 4 * actual)
    assert (factor, left) == pytest.approx((0.25, 0.0))
    off = np.where(np.arange(101) % 2, 1.25, 0.8)
    factor, left = scale_factor(actual[:100], (actual * off)[:100])
    assert factor == pytest.approx((1 / 1.25 + 1 / 0.8) / 2)
    assert left > 20


def test_predictions_at_or_below_zero_have_no_ratio_but_keep_their_error() -> None:
    factor, left = scale_factor(np.array([10.0, 10.0, 10.0]), np.array([20.0, 20.0, -10.0]))
    assert factor == 0.5
    assert left == pytest.approx(100 * (0 + 0 + 1.5) / 3)
    assert np.isnan(scale_factor(np.array([1.0]), np.array([0.0]))).all()


def test_rows_outside_are_those_with_any_feature_outside() -> None:
    table = predictions(actual=[1.0] * 4, predicted=[1.0] * 4, outside=[0.0, 0.1, 1.0, 0.0])
    assert row(error_table(table), "all")["rows_outside"] == 50.0
    unknown = table.assign(outside=np.float32("nan"))
    assert np.isnan(row(error_table(unknown), "all")["rows_outside"])


def test_infinite_errors_stay_infinite_and_raise_no_warning() -> None:
    whole = row(error_table(predictions(actual=[1.0, 1.0], predicted=[np.inf, 1.0])), "all")
    assert whole["mape"] == np.inf
    assert whole["p50"] == 0.0


def test_folds_stand_in_the_order_they_came_whatever_their_names() -> None:
    parts = [
        predictions(actual=[1.0], predicted=[2.0]).assign(holdout=name) for name in ("z", "a", "m")
    ]
    mixed = pd.concat([parts[0], parts[1], parts[2], parts[0]])
    table = error_table(mixed)
    assert table[table["by"] == "all"]["holdout"].tolist() == ["z", "a", "m"]
    assert table[table["by"] == "all"]["n_test"].tolist() == [2, 1, 1]


def test_no_rows_give_an_empty_table_with_its_columns() -> None:
    empty = error_table(predictions(actual=[1.0], predicted=[1.0]).iloc[:0])
    assert list(empty.columns) == list(ERROR_COLUMNS)
    assert empty.empty


def test_means_over_folds_count_the_folds_that_have_the_part() -> None:
    one = predictions(actual=[10.0, 100.0], predicted=[20.0, 100.0], phase=["mixed", "prefill"])
    other = predictions(actual=[10.0], predicted=[40.0], phase=["mixed"]).assign(holdout="b")
    means = part_means(error_table(pd.concat([one, other])), "phase")
    assert means["part"].tolist() == ["mixed", "prefill"]
    assert means["n_folds"].tolist() == [2, 1]
    assert means["n_rows"].tolist() == [2, 1]
    assert means["mape"].tolist() == pytest.approx([200.0, 0.0])


def test_a_quantile_of_few_rows_is_an_error_that_so_many_of_them_do_not_exceed() -> None:
    actual = np.full(2, 100.0)
    two = row(error_table(predictions(actual=actual, predicted=[110.0, 150.0])), "all")
    assert [two[name] for name in ("p50", "p90", "p99")] == pytest.approx([10.0, 50.0, 50.0])
