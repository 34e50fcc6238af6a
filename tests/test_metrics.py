from __future__ import annotations

import doctest
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import mean_absolute_percentage_error

from gpucv import metrics
from gpucv.metrics import mape, mspe, p99_ape, pearson_r, score, time_error, wape

if TYPE_CHECKING:
    from collections.abc import Callable

    Metric = Callable[[object, object], float]

EVERY: list[Metric] = [mape, mspe, wape, p99_ape, pearson_r, time_error]
value = st.floats(-1e6, 1e6).filter(lambda x: x == 0 or abs(x) > 1e-6)
pairs = st.lists(st.tuples(value, value), min_size=2, max_size=60).map(np.array)


@given(pairs)
def test_a_perfect_prediction_is_not_wrong_at_all(rows: np.ndarray) -> None:
    y = rows[:, 0]
    for metric in (mape, mspe, wape, p99_ape):
        assert metric(y, y) == 0 or not y.any()
    assert pearson_r(y, y) == pytest.approx(1) or len(set(y)) == 1


@given(pairs, st.sampled_from([0.25, 4.0, 1024.0]))
def test_no_metric_depends_on_the_unit(rows: np.ndarray, unit: float) -> None:
    for metric in EVERY:
        a, p = rows[:, 0], rows[:, 1]
        np.testing.assert_allclose(metric(a * unit, p * unit), metric(a, p), rtol=1e-9, atol=1e-9)


@given(pairs)
def test_the_signed_error_never_exceeds_the_absolute_one(rows: np.ndarray) -> None:
    a, p = rows[:, 0], rows[:, 1]
    if a.any():
        assert abs(mspe(a, p)) <= mape(a, p) * (1 + 1e-12)


@given(pairs)
def test_mape_is_scikit_learns_over_rows_with_a_measured_value(rows: np.ndarray) -> None:
    a, p = rows[rows[:, 0] != 0].T
    if len(a):
        theirs = 100 * mean_absolute_percentage_error(a, p)
        assert mape(rows[:, 0], rows[:, 1]) == pytest.approx(theirs, rel=1e-9)


@given(pairs)
def test_r_is_numpys_correlation(rows: np.ndarray) -> None:
    a, p = rows[:, 0], rows[:, 1]
    if np.ptp(a) > 1e-3 * np.abs(a).max() and np.ptp(p) > 1e-3 * np.abs(p).max():
        assert pearson_r(a, p) == pytest.approx(np.corrcoef(a, p)[0, 1], rel=1e-6, abs=1e-9)


def test_every_figure_is_what_a_hand_computes() -> None:
    actual, predicted = [100.0, 200.0, 400.0], [110.0, 150.0, 400.0]
    found = score(actual, predicted)
    assert found.mape == pytest.approx((10 + 25 + 0) / 3)
    assert found.mspe == pytest.approx((10 - 25 + 0) / 3)
    assert found.wape == pytest.approx(100 * 60 / 700)
    assert found.time_error == pytest.approx(100 * 40 / 700)
    # position 0.99 * 2 between the sorted errors 0, 10 and 25
    assert found.p99_ape == pytest.approx(10 + 0.98 * 15)
    assert found.r == pytest.approx(np.corrcoef(actual, predicted)[0, 1])


def test_figures_are_named_after_what_they_were_taken_on() -> None:
    assert list(score([1.0, 2.0], [1.0, 2.0]).named("test")) == [
        "test_mape",
        "test_mspe",
        "test_r",
        "test_wape",
        "test_p99_ape",
        "test_time_error",
    ]


def test_the_error_of_the_total_lets_errors_of_either_sign_cancel() -> None:
    assert time_error([100.0, 300.0], [200.0, 200.0]) == 0
    assert time_error([100.0, 300.0], [50.0, 150.0]) == pytest.approx(50)
    assert time_error([100.0, 300.0], [150.0, 450.0]) == pytest.approx(50)


@given(st.lists(st.tuples(st.floats(0, 1e6), value), min_size=1, max_size=60).map(np.array))
def test_the_error_of_the_total_never_exceeds_the_weighted_one(rows: np.ndarray) -> None:
    a, p = rows[:, 0], rows[:, 1]
    if a.sum() > 1e-6:
        assert time_error(a, p) <= wape(a, p) * (1 + 1e-9) + 1e-9
        by_hand = 100 * abs(p.sum() - a.sum()) / a.sum()
        assert time_error(a, p) == pytest.approx(by_hand, rel=1e-6, abs=1e-6)


def test_rows_measured_as_zero_count_in_sums_alone() -> None:
    actual, predicted = [0.0, 100.0], [50.0, 110.0]
    assert mape(actual, predicted) == mspe(actual, predicted) == pytest.approx(10)
    assert p99_ape(actual, predicted) == pytest.approx(10)
    assert wape(actual, predicted) == pytest.approx(60)


@pytest.mark.parametrize("metric", EVERY)
def test_a_metric_of_no_rows_is_nan(metric: Metric) -> None:
    assert math.isnan(metric([], []))


@pytest.mark.parametrize("metric", [mape, mspe, wape, p99_ape, time_error])
def test_an_error_relative_to_nothing_but_zeros_is_nan(metric: Metric) -> None:
    assert math.isnan(metric([0.0, 0.0], [1.0, 2.0]))


@pytest.mark.parametrize("constant", [0.1, 0.0, 5.0, 1e300, -1e-300])
def test_r_of_a_constant_is_nan_whatever_its_mean_rounds_to(constant: float) -> None:
    # The mean of three 0.1 is not 0.1: deviations from it are noise.
    assert math.isnan(pearson_r([1.0, 2.0, 4.0], [constant] * 3))
    assert math.isnan(pearson_r([constant] * 3, [1.0, 2.0, 4.0]))


def test_r_of_one_row_is_nan() -> None:
    assert math.isnan(pearson_r([1.0], [2.0]))


def test_r_stays_within_its_bounds() -> None:
    line = np.arange(1, 8) / 10
    assert pearson_r(line, line * 3) <= 1
    assert pearson_r(line, -line * 3) >= -1


@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1e160, 1e300])
def test_values_at_the_ends_of_float64_have_the_errors_of_others(scale: float) -> None:
    a, p = np.array([1.0, 2.0, 5.0]), np.array([2.0, 2.5, 7.0])
    for metric in EVERY:
        assert metric(a * scale, p * scale) == pytest.approx(metric(a, p))


def test_an_infinite_prediction_is_infinitely_wrong_and_raises_no_warning() -> None:
    found = score([1.0, 2.0, 3.0], [np.inf, 2.0, 3.0])
    assert found.mape == found.mspe == found.wape == found.time_error == np.inf
    assert math.isnan(found.r)


@pytest.mark.parametrize("metric", EVERY)
@pytest.mark.parametrize("predicted", [[1.0], [1.0, 2.0, 3.0, 4.0], [[1.0, 2.0, 3.0]], 5.0])
def test_sides_of_different_shape_are_refused(metric: Metric, predicted: object) -> None:
    with pytest.raises(ValueError, match=r"must both have shape \(n,\), found \(3,\)"):
        metric([1.0, 2.0, 3.0], predicted)


def test_the_examples_in_the_docstrings_hold() -> None:
    result = doctest.testmod(metrics)
    assert result.attempted
    assert not result.failed
