from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression

from gpucv.predictors.least_squares import least_squares

seeds = st.integers(0, 10_000)


def problem(seed: int, n_rows: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """A column of ones beside columns a million times as long; some true weights are negative."""
    generator = np.random.default_rng(seed)
    A = np.column_stack(
        [np.ones(n_rows), generator.gamma(2, 500, n_rows), generator.gamma(2, 5e5, n_rows)]
    )
    weights = generator.normal(0, 1, 3) * [1e4, 20, 0.05]
    return A, A @ weights + generator.normal(0, 100, n_rows)


@given(seeds)
def test_free_coefficients_are_those_of_ordinary_least_squares(seed: int) -> None:
    A, y = problem(seed)
    theirs = LinearRegression().fit(A[:, 1:], y)
    ours = least_squares(A, y, nonnegative=False)
    np.testing.assert_allclose(ours, [theirs.intercept_, *theirs.coef_], rtol=1e-6, atol=1e-6)


@given(seeds)
def test_bound_coefficients_are_the_best_of_all_choices_of_columns(seed: int) -> None:
    A, y = problem(seed)
    ours = least_squares(A, y, nonnegative=True)
    assert (ours >= 0).all()
    best = float(y @ y)
    for count in (1, 2, 3):
        for kept in map(list, combinations(range(3), count)):
            columns = A[:, kept] / np.linalg.norm(A[:, kept], axis=0)
            free = np.linalg.lstsq(columns, y, rcond=None)[0]
            if (free >= 0).all():
                best = min(best, float(((columns @ free - y) ** 2).sum()))
    assert ((A @ ours - y) ** 2).sum() == pytest.approx(best, rel=1e-8)


@pytest.mark.parametrize("nonnegative", [False, True])
def test_a_column_of_zeros_gets_no_weight(nonnegative: bool) -> None:
    A = np.column_stack([np.ones(5), np.zeros(5), np.arange(5.0)])
    ours = least_squares(A, 2 + 3 * np.arange(5.0), nonnegative=nonnegative)
    np.testing.assert_allclose(ours, [2, 0, 3], atol=1e-12)


@pytest.mark.parametrize("nonnegative", [False, True])
def test_fewer_rows_than_columns_are_met_exactly(nonnegative: bool) -> None:
    A = np.array([[1.0, 100.0, 2000.0]])
    ours = least_squares(A, np.array([500.0]), nonnegative=nonnegative)
    assert A @ ours == pytest.approx(500)
