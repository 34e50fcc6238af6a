from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from gpucv.errors import DataError, StudyError
from gpucv.predictors import FitContext, WithCoefficients, make_predictor


def work(seed: int = 0, n_rows: int = 400) -> np.ndarray:
    """Least times to compute and to move bytes (us); some rows are bound by either."""
    generator = np.random.default_rng(seed)
    return np.exp(generator.uniform(np.log(10), np.log(5000), (n_rows, 2))).astype(np.float32)


def fitted(X: np.ndarray, y: np.ndarray, form: str) -> Any:
    made = make_predictor("roofline", {"form": form}, FitContext(seed=1, threads=1, device="cpu"))
    made.fit(X, y, None)
    assert made.device == "cpu"
    assert made.best_iteration is made.importance() is made.serialize() is None
    assert isinstance(made, WithCoefficients)
    return made


def found(X: np.ndarray, y: np.ndarray, form: str) -> list[float]:
    return list(fitted(X, y, form).coefficients().values())


def squares(X: np.ndarray, y: np.ndarray, of: Any) -> float:
    """The mean squared relative error of overhead + max(a * compute, b * memory)."""
    overhead, a, b = of
    return float(((overhead + np.maximum(a * X[:, 0], b * X[:, 1])) / y - 1).__pow__(2).mean())


@given(st.integers(0, 1000))
def test_scale_is_the_median_ratio_to_the_speed_of_light(seed: int) -> None:
    X = work(seed)
    y = X.max(axis=1) * np.random.default_rng(seed).lognormal(0.5, 0.3, len(X))
    made = fitted(X, y, "scale")
    factor = np.median(y / X.astype(float).max(axis=1))
    assert made.coefficients() == pytest.approx({"factor": factor})
    np.testing.assert_allclose(made.predict(X), factor * X.max(axis=1), rtol=1e-6)


@pytest.mark.parametrize("form", ["parts", "max"])
@pytest.mark.parametrize("law", [(40.0, 1.7, 1.2), (0.0, 3.0, 1.1), (500.0, 1.0, 2.5)])
def test_an_exact_law_is_found_again(form: str, law: tuple[float, float, float]) -> None:
    X = work()
    overhead, a, b = law
    compute, memory = X.astype(float).T
    slowed = a * compute + b * memory if form == "parts" else np.maximum(a * compute, b * memory)
    made = fitted(X, overhead + slowed, form)
    assert list(made.coefficients()) == ["overhead_us", "compute_factor", "memory_factor"]
    assert list(made.coefficients().values()) == pytest.approx(law, rel=1e-3, abs=0.1)
    np.testing.assert_allclose(made.predict(X), overhead + slowed, rtol=1e-3)


@pytest.mark.parametrize("seed", range(8))
def test_no_search_from_many_starts_finds_a_better_roof(seed: int) -> None:
    X = work(seed, 150)
    generator = np.random.default_rng(seed)
    law = generator.uniform([0, 1, 1], [300, 4, 4])
    y = (law[0] + np.maximum(law[1] * X[:, 0], law[2] * X[:, 1])).astype(float)
    y *= generator.lognormal(0, 0.3, len(y))
    starts = generator.uniform([0, 0.2, 0.2], [600, 6, 6], (12, 3))
    bounds = [(0, None)] * 3
    best = min(
        minimize(lambda of: squares(X, y, of), start, method="Nelder-Mead", bounds=bounds).fun
        for start in starts
    )
    assert squares(X, y, found(X, y, "max")) <= best * (1 + 1e-4)


def test_every_row_weighs_by_its_relative_error() -> None:
    # Two rows, one coefficient: sum((f x / y - 1)^2) is least at sum(x/y) / sum((x/y)^2).
    X = np.array([[100.0, 0.0], [10_000.0, 0.0]], dtype=np.float32)
    y = np.array([200.0, 10_000.0])
    overhead, a, _ = found(X, y, "parts")
    assert overhead + 100 * a == pytest.approx(200)  # with two, both are met
    assert overhead + 10_000 * a == pytest.approx(10_000)
    three, times = np.repeat(X[:1], 3, axis=0), np.array([100.0, 200.0, 400.0])
    ratio = 100 / times
    predicted = fitted(three, times, "parts").predict(three)
    assert predicted == pytest.approx(100 * ratio.sum() / (ratio**2).sum())


@pytest.mark.parametrize("form", ["scale", "parts", "max"])
def test_rows_slowed_by_accident_do_not_pull_the_fit(form: str) -> None:
    X = work()
    y = 1.5 * X.astype(float).max(axis=1)
    slowed = y.copy()
    slowed[::20] *= 50
    before = fitted(X, y, form).predict(X)
    np.testing.assert_allclose(fitted(X, slowed, form).predict(X), before, rtol=0.03)


@pytest.mark.parametrize("bound", [0, 1])
def test_rows_on_one_side_of_the_roof_slow_both_sides_alike(bound: int) -> None:
    X = work()
    X[:, 1 - bound] = X[:, bound] / 100
    _, compute, memory = found(X, 30 + 2.0 * X[:, bound].astype(float), "max")
    assert compute == memory == pytest.approx(2, rel=1e-4)


def test_the_same_rows_give_the_same_bits() -> None:
    X = work()
    y = X.max(axis=1) * np.random.default_rng(1).lognormal(0.5, 0.3, len(X))
    assert found(X, y, "max") == found(X, y, "max")


@pytest.mark.parametrize("form", ["scale", "parts", "max"])
def test_a_row_of_unknown_work_is_refused(form: str) -> None:
    X = work()
    X[:3, 0] = np.nan
    with pytest.raises(DataError, match=r"needs 'compute_us', and 3 of 400 rows have none; leave"):
        fitted(X, np.ones(len(X)), form)


@pytest.mark.parametrize("form", ["scale", "parts", "max"])
def test_a_target_without_a_relative_error_is_refused(form: str) -> None:
    y = np.full(400, 5.0)
    y[:2] = -1
    with pytest.raises(DataError, match=r"2 of 400 targets are not above 0 \(.* -1\); use transf"):
        fitted(work(), y, form)


def test_a_row_without_work_has_no_ratio_to_light() -> None:
    X = work()
    X[0] = 0
    with pytest.raises(DataError, match="'roofline': 1 of 400 rows have no work"):
        fitted(X, np.ones(len(X)), "scale")
    assert np.isfinite(fitted(X, np.ones(len(X)), "max").predict(X)).all()


def test_an_unknown_form_is_refused_with_those_there_are() -> None:
    with pytest.raises(StudyError, match="form: input should be 'scale', 'parts' or 'max'"):
        fitted(work(), np.ones(400), "min")
