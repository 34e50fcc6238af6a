"""Errors by out-of-domain score, against NumPy on rows picked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from gpucv.analysis import error_by_score


def test_bins_hold_as_many_rows_each_and_the_error_of_theirs() -> None:
    random = np.random.default_rng(0)
    score = random.permutation(1_000) / 1_000
    error = 100 * score + random.normal(0, 1, 1_000)
    found = error_by_score(score, error, bins=4)
    assert [each.n for each in found] == [250] * 4
    for index, each in enumerate(found):
        inside = (score >= 0.25 * index) & (score < 0.25 * (index + 1))
        assert (each.low, each.high) == (score[inside].min(), score[inside].max())
        assert each.median == pytest.approx(np.median(error[inside]), abs=0.5)
        assert each.upper == pytest.approx(np.quantile(error[inside], 0.9), abs=0.5)


def test_a_score_of_few_values_has_a_bin_each() -> None:
    score = np.repeat([0.0, 0.1, 0.5], [900, 60, 40])
    found = error_by_score(score, 10 * score)
    assert [(each.low, each.high, each.n) for each in found] == [
        (0.0, 0.0, 900),
        (0.1, 0.1, 60),
        (0.5, 0.5, 40),
    ]
    assert [each.median for each in found] == [0.0, 1.0, 5.0]


def test_rows_without_a_score_are_left_out_and_infinite_errors_count() -> None:
    score = np.array([0.0, 0.0, 0.0, np.nan])
    (only,) = error_by_score(score, np.array([1.0, np.inf, np.inf, 3.0]))
    assert (only.n, only.median, only.upper) == (3, np.inf, np.inf)


def test_no_rows_have_no_bins() -> None:
    assert error_by_score(np.array([np.nan]), np.array([1.0])) == ()
