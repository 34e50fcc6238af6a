from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpucv.errors import DataError
from gpucv.study import PredictorSpec, TransformName
from gpucv.transforms import RELATIVE, check_domain, forward, inverse, smearing_factor

NAMES = get_args(TransformName)
times = st.floats(1e-100, 1e100)
rows = st.lists(st.tuples(times, times), min_size=1, max_size=50).map(
    lambda pairs: (np.array([y for y, _ in pairs]), np.array([r for _, r in pairs]))
)


def reference_for(name: TransformName, reference: np.ndarray) -> np.ndarray | None:
    return reference if name in RELATIVE else None


@pytest.mark.parametrize("name", NAMES)
@given(rows=rows)
def test_the_inverse_undoes_the_transform_for_any_positive_reference(
    name: TransformName, rows: tuple[np.ndarray, np.ndarray]
) -> None:
    y, reference = rows[0], reference_for(name, rows[1])
    back = inverse(name, forward(name, y, reference), reference)
    np.testing.assert_allclose(back, y, rtol=1e-12)


@pytest.mark.parametrize("name", NAMES)
@given(rows=rows)
def test_a_transform_keeps_the_order_of_times_over_one_reference(
    name: TransformName, rows: tuple[np.ndarray, np.ndarray]
) -> None:
    y, reference = np.sort(rows[0]), reference_for(name, np.full(len(rows[0]), rows[1][0]))
    assert (np.diff(forward(name, y, reference)) >= 0).all()


@pytest.mark.parametrize("name", sorted(RELATIVE))
@given(rows=rows, unit=st.integers(-60, 60).map(lambda power: 2.0**power))
def test_what_a_relative_transform_learns_has_no_unit(
    name: TransformName, rows: tuple[np.ndarray, np.ndarray], unit: float
) -> None:
    y, reference = rows
    same = forward(name, unit * y, unit * reference)
    np.testing.assert_array_equal(same, forward(name, y, reference))
    z = np.linspace(-3, 3, len(y))
    np.testing.assert_array_equal(
        inverse(name, z, unit * reference), unit * inverse(name, z, reference)
    )


@given(rows=rows, unit=st.floats(1e-6, 1e6))
def test_another_unit_moves_a_logarithm_by_a_constant(
    rows: tuple[np.ndarray, np.ndarray], unit: float
) -> None:
    y, _ = rows
    moved = forward("log", unit * y) - forward("log", y)
    np.testing.assert_allclose(moved, np.log(unit), atol=1e-10)


@pytest.mark.parametrize("name", sorted(RELATIVE))
def test_a_row_at_its_reference_is_zero_and_comes_back_to_the_bit(name: TransformName) -> None:
    y = np.array([1e-7, 0.3, 55.5, 1e9])
    assert forward(name, y, y).tolist() == [0.0] * 4
    assert inverse(name, np.zeros(4), y).tolist() == y.tolist()


def test_log_is_the_natural_logarithm_and_utilisation_that_of_a_ratio() -> None:
    np.testing.assert_allclose(forward("log", np.array([1.0, np.e])), [0.0, 1.0])
    slower = forward("utilisation", np.array([30.0, 5.0]), np.array([10.0, 5.0]))
    np.testing.assert_allclose(slower, [np.log(3.0), 0.0])


def test_raw_is_the_very_array_whatever_the_reference() -> None:
    y = np.array([-1.0, 2.0])
    assert forward("raw", y) is y
    assert inverse("raw", y) is y


@pytest.mark.parametrize("name", [name for name in NAMES if name != "raw"])
def test_a_prediction_beyond_float64_is_infinite_and_no_warning(name: TransformName) -> None:
    reference = reference_for(name, np.array([2.0]))
    assert inverse(name, np.array([1e6]), reference)[0] == np.inf


@pytest.mark.parametrize("y", [[0.0, 1.0], [-1.0], []])
def test_raw_takes_any_target(y: list[float]) -> None:
    check_domain("raw", np.array(y))
    check_domain("raw", np.array(y), np.full(len(y), -1.0))


@pytest.mark.parametrize("name", [name for name in NAMES if name != "raw"])
@pytest.mark.parametrize(
    ("y", "fault"),
    [([1.0, 0.0, -3.0], r"2 of 3 are not \(the smallest is -3\)"), ([2.0, 0.0], r"1 of 2 .* is 0")],
)
def test_logarithms_refuse_targets_that_are_not_positive_and_count_them(
    name: TransformName, y: list[float], fault: str
) -> None:
    told = f"'{name}' needs positive targets, and {fault}.*use 'raw' or drop these rows"
    with pytest.raises(DataError, match=told):
        check_domain(name, np.array(y), np.ones(len(y)))


@pytest.mark.parametrize(
    ("name", "what"),
    [("utilisation", r"a speed of light \(sol_us\)"), ("ratio", "a baseline's prediction")],
)
@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan, np.inf])
def test_a_relative_transform_refuses_references_it_cannot_divide_by_and_counts_them(
    name: TransformName, what: str, bad: float
) -> None:
    reference = np.array([1.0, bad, bad, 2.0])
    told = (
        f"transform '{name}' needs {what} above 0 in every row, and 2 of 4 rows have none; "
        "use 'log', or leave these rows out"
    )
    with pytest.raises(DataError, match=told):
        check_domain(name, np.ones(4), reference)


def test_log_takes_positive_targets_and_none_and_no_reference_matters_to_it() -> None:
    check_domain("log", np.array([1e-9, 5.0]), np.array([-1.0, np.nan]))
    check_domain("log", np.array([]))


def test_a_study_offers_the_transforms_there_are_and_to_choose_among_them() -> None:
    offered = get_args(PredictorSpec.model_fields["transform"].annotation)
    assert set(offered) == {*NAMES, "auto"}
    assert set(RELATIVE) <= set(NAMES)


def test_a_median_of_lognormal_times_is_smeared_to_their_mean() -> None:
    y = np.random.default_rng(5).lognormal(3.0, 1.2, 5000)
    z = forward("log", y)
    fitted = np.full(len(z), np.median(z))
    predicted = inverse("log", fitted) * smearing_factor(z, fitted)
    assert predicted.mean() == pytest.approx(y.mean(), rel=1e-12)
    # What the mean of a lognormal is by its parameters, within its own sampling error.
    assert predicted.mean() == pytest.approx(np.exp(3.0 + 1.2**2 / 2), rel=0.08)
    assert inverse("log", fitted).mean() < 0.6 * y.mean()


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=30), st.floats(-5, 5))
def test_the_smearing_factor_is_the_mean_of_the_exponentiated_residuals(
    residuals: list[float], level: float
) -> None:
    fitted = np.linspace(level, level + 1, len(residuals))
    by_hand = sum(np.exp(each) for each in residuals) / len(residuals)
    found = smearing_factor(fitted + np.array(residuals), fitted)
    assert found == pytest.approx(by_hand, rel=1e-9)


@pytest.mark.parametrize(("z", "factor"), [([], 1.0), ([2.0, 3.0], 1.0), ([1e6, 0.0], np.inf)])
def test_without_residuals_nothing_is_smeared_and_no_overflow_warns(
    z: list[float], factor: float
) -> None:
    values: Any = np.array(z)
    fitted = np.zeros(2) if factor == np.inf else values
    assert smearing_factor(values, fitted) == factor
