"""The double refuses what CuPy refuses; so a test that passes on it has not crossed unseen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gpucv.metrics import mape, score

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import SimpleNamespace


@pytest.mark.parametrize(
    "implicit",
    [
        np.asarray,
        list,
        lambda a: a + np.ones(3),
        lambda a: np.ones(3) * a,
        lambda a: np.maximum(a, np.ones(3)),
        lambda a: np.where(a > 0, a, np.ones(3)),
        lambda a: a.max(initial=0.0),
        lambda a: a.__setitem__(slice(None), np.ones(3)),
        lambda a: np.concatenate([a, a]),  # not offered, since gpucv does not use it
    ],
)
def test_nothing_crosses_by_itself(
    gpu_doubles: SimpleNamespace, implicit: Callable[[Any], Any]
) -> None:
    with pytest.raises((TypeError, ValueError, AttributeError)):
        implicit(gpu_doubles.cupy.asarray(np.arange(3.0)))


def test_what_cupy_offers_stays_there(gpu_doubles: SimpleNamespace) -> None:
    a = gpu_doubles.cupy.asarray(np.array([1.0, -2.0, np.nan]))
    for found in (a * 2.0, np.float64(3) - a, np.exp(a), np.where(a > 0, a, 0.0), a[a < 2], -a):
        assert type(found) is gpu_doubles.cupy.ndarray
    assert float(a[np.array([0, 1])].sum()) == -1.0
    assert bool((a < 2).any())
    assert type(a.mean()) is gpu_doubles.cupy.ndarray, "a reduction is an array without axes"
    assert [each.way for each in gpu_doubles.crossings] == ["up", "index"]


@pytest.mark.parametrize("rows", [0, 1, 2, 50])
def test_scores_on_the_device_are_those_of_the_host(
    gpu_doubles: SimpleNamespace, rows: int
) -> None:
    draw = np.random.default_rng(rows)
    actual, predicted = draw.lognormal(3, 1, rows), draw.lognormal(3, 1, rows)
    actual[::7] = 0.0
    moved = [gpu_doubles.cupy.asarray(each) for each in (actual, predicted)]
    assert str(score(*moved)) == str(score(actual, predicted))
    assert not [each for each in gpu_doubles.crossings if each.way == "down"]


def test_values_on_two_devices_are_not_scored(gpu_doubles: SimpleNamespace) -> None:
    with pytest.raises(ValueError, match="must lie on the same device"):
        mape(np.ones(2), gpu_doubles.cupy.asarray(np.ones(2)))
