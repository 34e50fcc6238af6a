from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gpucv.errors import StudyError
from gpucv.predictors import FitContext, make_predictor


def rows(seed: int = 0, n_rows: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """Features of very different sizes; one is constant, one a copy, one nearly a copy."""
    generator = np.random.default_rng(seed)
    X = generator.gamma(2.0, 50.0, size=(n_rows, 7))
    X[:, 1] *= 1e9
    X[:, 3] = 0.1
    X[:, 4] = X[:, 0]
    X[:, 5] = X[:, 2] + generator.normal(0, 1e-3, n_rows)
    y = 200 + 3 * X[:, 0] + X[:, 1] / 1e8 + generator.exponential(50, n_rows)
    return X.astype(np.float32), y


def fitted(X: np.ndarray, y: np.ndarray, **params: Any) -> Any:
    made = make_predictor("ridge", params, FitContext(seed=1, threads=1, device="cpu"))
    made.fit(X, y, None)
    assert made.device == "cpu"
    assert made.best_iteration is made.importance() is made.serialize() is None
    return made


@pytest.mark.parametrize("alpha", [1e-3, 1.0, 300.0])
@given(seed=st.integers(0, 1000))
def test_predictions_are_scikit_learns(alpha: float, seed: int) -> None:
    X, y = rows(seed)
    unseen, _ = rows(seed + 1, 50)
    theirs = make_pipeline(StandardScaler(), Ridge(alpha=alpha)).fit(X.astype(float), y)
    np.testing.assert_allclose(
        fitted(X, y, alpha=alpha).predict(unseen), theirs.predict(unseen.astype(float)), rtol=1e-6
    )


def test_nothing_written_means_an_alpha_of_1() -> None:
    X, y = rows()
    np.testing.assert_array_equal(fitted(X, y).predict(X), fitted(X, y, alpha=1.0).predict(X))
    assert (fitted(X, y).predict(X) != fitted(X, y, alpha=2.0).predict(X)).any()


def test_a_missing_value_counts_as_the_mean_of_the_known_ones() -> None:
    X, y = rows()
    gaps = X.copy()
    gaps[::3, 2] = np.nan
    gaps[1::4, 6] = np.nan
    filled = np.where(np.isnan(gaps), np.nanmean(gaps.astype(float), axis=0), gaps.astype(float))
    # The deviation is that of the known values, as scikit-learn's scaler has it too.
    scaler = StandardScaler().fit(gaps.astype(float))
    theirs = Ridge().fit(np.nan_to_num(scaler.transform(gaps.astype(float))), y)
    expected = theirs.predict(scaler.transform(filled))
    np.testing.assert_allclose(fitted(gaps, y).predict(gaps), expected, rtol=1e-6)


def test_a_feature_that_is_nowhere_known_counts_for_nothing() -> None:
    X, y = rows()
    blind = X.copy()
    blind[:, 6] = np.nan
    without = np.delete(X, 6, axis=1)
    np.testing.assert_allclose(fitted(blind, y).predict(X), fitted(without, y).predict(without))


def test_where_no_feature_moves_the_mean_is_predicted() -> None:
    X, y = rows()
    np.testing.assert_allclose(fitted(np.ones_like(X), y).predict(X), y.mean())


@pytest.mark.parametrize("alpha", [0, -1.0])
def test_an_alpha_must_be_above_0(alpha: float) -> None:
    with pytest.raises(StudyError, match=f"alpha: input should be greater than 0, found {alpha}"):
        fitted(*rows(), alpha=alpha)
