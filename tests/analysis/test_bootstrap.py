"""Intervals over groups, against SciPy, Student's t and draws written out by hand."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy import stats

from gpucv.analysis.bootstrap import RESAMPLES, enumerated, mean_intervals


def interval(*values: float) -> tuple[float, float]:
    low, high = mean_intervals(np.array(values)[:, None])
    return float(low[0]), float(high[0])


def test_of_three_groups_the_interval_spans_all_of_them() -> None:
    # 1 of 27 draws takes the lowest three times: 3.7 %, more than a tail.
    assert interval(1.0, 2.0, 6.0) == pytest.approx((1.0, 6.0))


@pytest.mark.parametrize("n", [4, 5])
def test_few_groups_are_drawn_in_every_way_there_is(n: int) -> None:
    values = np.random.default_rng(n).normal(size=n)
    means = sorted(np.mean(draw) for draw in product(values, repeat=n))
    rank = 0.025 * (len(means) - 1)
    low, high = means[int(np.floor(rank))], means[-1 - int(np.floor(rank))]
    assert interval(*values) == pytest.approx((low, high))
    assert enumerated(n)


@pytest.mark.parametrize("n", [6, 10, 40])
def test_more_groups_have_scipys_percentile_interval(n: int) -> None:
    values = np.random.default_rng(n).lognormal(0, 1, n)
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=100_000, method="percentile", rng=np.random.default_rng(1)
    )
    spread = values.std() / np.sqrt(n)
    assert interval(*values) == pytest.approx(tuple(theirs.confidence_interval), abs=0.06 * spread)
    assert not enumerated(n)


def test_of_many_groups_it_is_students_interval_of_paired_differences() -> None:
    random = np.random.default_rng(0)
    worse, better = random.normal(10, 3, 400), random.normal(9, 3, 400)
    theirs = stats.ttest_rel(worse, better).confidence_interval(0.95)
    assert interval(*(worse - better)) == pytest.approx((theirs.low, theirs.high), abs=0.02)


def test_of_few_groups_it_is_narrower_than_students() -> None:
    values = np.random.default_rng(0).normal(1, 1, 5)
    theirs = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    low, high = interval(*values)
    assert theirs.low < low < high < theirs.high


def test_equal_predictors_look_apart_as_often_as_is_documented() -> None:
    for n, share in ((3, 0.25), (4, 0.20), (5, 0.16)):
        differences = np.random.default_rng(n).normal(size=(n, 4_000))
        low, high = mean_intervals(differences)
        assert np.mean((low > 0) | (high < 0)) == pytest.approx(share, abs=0.025)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_too_few_groups_have_no_interval(n: int) -> None:
    low, high = mean_intervals(np.ones((n, 2)))
    assert np.isnan([low, high]).all()
    assert low.shape == high.shape == (2,)


@pytest.mark.parametrize("n", [3, 8])
def test_a_value_that_is_not_finite_leaves_its_column_alone_without_an_interval(n: int) -> None:
    values = np.random.default_rng(0).normal(size=(n, 3))
    alone = mean_intervals(values[:, [0]])
    values[0, 1], values[1, 2] = np.inf, np.nan
    low, high = mean_intervals(values)
    assert np.isnan([low[1:], high[1:]]).all()
    assert (low[0], high[0]) == pytest.approx((alone[0][0], alone[1][0]), rel=1e-12)


def test_the_same_values_have_the_same_interval_every_time() -> None:
    values = np.random.default_rng(0).normal(size=12)
    assert interval(*values) == interval(*values)
    assert RESAMPLES == 10_000
