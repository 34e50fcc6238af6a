from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.optimize import nnls
from sklearn.linear_model import LinearRegression

from gpucv.errors import DataError, StudyError
from gpucv.predictors import FitContext, WithCoefficients, make_predictor

CONTEXT = FitContext(seed=1, threads=1, device="cpu")
NAMES = {"blackbox": ["beta0", "beta1", "beta2"], "fairbatching": ["a", "b", "c"]}


def rows(n_rows: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Batches whose time falls with their second input, so that a bound matters."""
    generator = np.random.default_rng(3)
    X = np.column_stack([generator.integers(0, 2048, n_rows), generator.integers(1, 64, n_rows)])
    y = 9000 + 4.5 * X[:, 0] - 10 * X[:, 1] + generator.normal(0, 50, n_rows)
    return X.astype(np.float32), y


def fitted(name: str, X: np.ndarray, y: np.ndarray, **params: Any) -> Any:
    made = make_predictor(name, params, CONTEXT)
    made.fit(X, y, None)
    assert made.device == "cpu"
    assert made.best_iteration is made.importance() is made.serialize() is None
    assert isinstance(made, WithCoefficients)
    return made


@pytest.mark.parametrize("name", sorted(NAMES))
def test_an_exact_law_is_found_again(name: str) -> None:
    X, _ = rows()
    made = fitted(name, X, 8721.04 + 4.483 * X[:, 0] + 0.558 * X[:, 1])
    # The law is BLIS's own for granite-3.1-8b on one H100 (defaults.yaml of v0.7.10); the
    # inputs are float32, so are the products above.
    found = made.coefficients()
    assert list(found) == NAMES[name]
    assert list(found.values()) == pytest.approx([8721.04, 4.483, 0.558], rel=1e-4)
    by_hand = found[NAMES[name][0]] + X.astype(float) @ list(found.values())[1:]
    np.testing.assert_allclose(made.predict(X), by_hand)


@pytest.mark.parametrize(
    ("name", "params"), [("blackbox", {}), ("fairbatching", {"nonnegative": True})]
)
def test_a_bound_fit_is_scipys(name: str, params: dict[str, Any]) -> None:
    X, y = rows()
    theirs, _ = nnls(np.column_stack([np.ones(len(X)), X.astype(float)]), y)
    ours = list(fitted(name, X, y, **params).coefficients().values())
    assert ours[2] == 0
    np.testing.assert_allclose(ours, theirs, rtol=1e-9)


@pytest.mark.parametrize(
    ("name", "params"), [("blackbox", {"nonnegative": False}), ("fairbatching", {})]
)
def test_a_free_fit_is_scikit_learns(name: str, params: dict[str, Any]) -> None:
    X, y = rows()
    theirs = LinearRegression().fit(X.astype(float), y)
    made = fitted(name, X, y, **params)
    assert list(made.coefficients().values())[2] < 0
    np.testing.assert_allclose(made.predict(X), theirs.predict(X.astype(float)), rtol=1e-10)


def test_without_a_recorded_context_fairbatching_is_a_line_over_tokens() -> None:
    X, y = rows()
    X[:, 1] = 0
    theirs = LinearRegression().fit(X[:, :1].astype(float), y)
    assert fitted("fairbatching", X, y).coefficients() == pytest.approx(
        {"a": theirs.intercept_, "b": theirs.coef_[0], "c": 0.0}
    )


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_missing_input_is_refused_by_name(name: str) -> None:
    X, y = rows()
    made = fitted(name, X, y)
    X[:7, 1] = np.nan
    missing = {"blackbox": "decode_tokens", "fairbatching": "kv_tokens"}[name]
    said = f"^predictor '{name}' needs '{missing}', and 7 of 400 rows have none; leave these rows"
    with pytest.raises(DataError, match=said):
        made.predict(X)
    with pytest.raises(DataError, match=said):
        fitted(name, X, y)


def test_no_row_gets_no_prediction() -> None:
    X, y = rows()
    assert fitted("blackbox", X, y).predict(X[:0]).shape == (0,)


def test_what_is_not_its_parameter_is_refused() -> None:
    with pytest.raises(StudyError, match="'blackbox': unknown parameter 'alpha'"):
        make_predictor("blackbox", {"alpha": 1.0}, CONTEXT)
