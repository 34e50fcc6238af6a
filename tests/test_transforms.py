from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpucv.errors import DataError
from gpucv.study import PredictorSpec
from gpucv.transforms import TransformName, check_domain, forward, inverse

positive = st.lists(st.floats(1e-300, 1e300), min_size=1, max_size=50).map(np.array)


@pytest.mark.parametrize("name", get_args(TransformName))
@given(y=positive)
def test_the_inverse_undoes_the_transform(name: TransformName, y: np.ndarray) -> None:
    np.testing.assert_allclose(inverse(name, forward(name, y)), y, rtol=1e-12)


@pytest.mark.parametrize("name", get_args(TransformName))
@given(y=positive)
def test_a_transform_keeps_the_order(name: TransformName, y: np.ndarray) -> None:
    assert (np.diff(forward(name, np.sort(y))) >= 0).all()


def test_log_is_the_natural_logarithm() -> None:
    np.testing.assert_allclose(forward("log", np.array([1.0, np.e])), [0.0, 1.0])


def test_a_prediction_beyond_float64_is_infinite_and_no_warning() -> None:
    assert inverse("log", np.array([1e6]))[0] == np.inf


@pytest.mark.parametrize("y", [[0.0, 1.0], [-1.0], []])
def test_raw_takes_any_target(y: list[float]) -> None:
    check_domain("raw", np.array(y))


@pytest.mark.parametrize(
    ("y", "fault"),
    [([1.0, 0.0, -3.0], r"2 of 3 are not \(the smallest is -3\)"), ([2.0, 0.0], r"1 of 2 .* is 0")],
)
def test_log_refuses_targets_that_are_not_positive_and_counts_them(
    y: list[float], fault: str
) -> None:
    with pytest.raises(DataError, match=f"'log' needs positive targets, and {fault}"):
        check_domain("log", np.array(y))


def test_log_takes_positive_targets_and_none() -> None:
    check_domain("log", np.array([1e-9, 5.0]))
    check_domain("log", np.array([]))


def test_a_study_offers_the_transforms_there_are() -> None:
    offered = get_args(PredictorSpec.model_fields["transform"].annotation)
    assert set(offered) == set(get_args(TransformName))
