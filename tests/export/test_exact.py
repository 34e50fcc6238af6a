from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpucv.export.exact import COEFFICIENTS, exact_exp


def ulps(x: np.ndarray) -> np.ndarray:
    """How far the result is from the exponential in 80 bits, in units of its last place."""
    exact = np.exp(x.astype(np.longdouble))
    found = exact_exp(x)
    spacing = np.spacing(np.abs(exact.astype(np.float64)))
    return np.abs((found.astype(np.longdouble) - exact) / spacing).astype(np.float64)


def test_the_exponential_is_within_one_unit_in_the_last_place() -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.uniform(-707, 709.7, 200_000), rng.uniform(-2, 20, 200_000)])
    assert ulps(x).max() < 1.0


def test_tiny_and_subnormal_results_are_within_one_unit() -> None:
    x = np.linspace(-745.1, -700, 20_001)
    assert ulps(x).max() <= 1.0
    assert (exact_exp(np.array([1e-300, -1e-17, 5e-324, 0.0, -0.0])) == 1.0).all()


@pytest.mark.parametrize(
    ("x", "wanted"),
    [
        (np.inf, np.inf),
        (-np.inf, 0.0),
        (709.782712893384, 1.7976931348622732e308),
        (709.79, np.inf),
        (-745.14, 0.0),
        (-745.1, 5e-324),
        (0.0, 1.0),
    ],
)
def test_the_ends_are_as_written_down(x: float, wanted: float) -> None:
    assert exact_exp(np.array([x]))[0] == wanted


def test_what_is_no_number_stays_none() -> None:
    assert np.isnan(exact_exp(np.array([np.nan])))[0]


@given(st.floats(-745.0, 709.0))
def test_one_value_and_many_give_the_same_bits(x: float) -> None:
    alone = exact_exp(np.array([x]))[0]
    assert (exact_exp(np.full(37, x)) == alone).all()
    assert struct.pack("<d", alone) == struct.pack("<d", one_by_one(x))


def one_by_one(x: float) -> float:
    """The algorithm of docs/artifacts.md once more, on Python's own floats."""
    k = float(np.floor(x * 1.4426950408889634 + 0.5))
    high, low = x - k * 6.93147180369123816490e-01, k * 1.90821492927058770002e-10
    r = high - low
    lost = (high - r) - low
    p = COEFFICIENTS[13]
    for n in range(12, 1, -1):
        p = p * r
        p = p + COEFFICIENTS[n]
    e = 1.0 + (r + (lost + (r * r) * p))
    first = int(k) // 2
    return (e * 2.0**first) * 2.0 ** (int(k) - first)
