"""A few measured rows move the level at once, and bend the curve once there are enough."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gpucv.pipelines import Examples, Inputs, examples_of, inputs_of_rows
from gpucv.pipelines.base import Report
from gpucv.pipelines.correction import corrected

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpucv.features import FeatureTable
    from gpucv.pipelines import Fitted, Setting
    from gpucv.study import PredictorSpec

    Spec = Callable[..., PredictorSpec]


@dataclass
class Light:
    """A prior that knows the speed of light, times a factor."""

    factor: float = 1.0

    def predict(self, inputs: Inputs) -> np.ndarray:
        assert inputs.sol_us is not None
        return inputs.sol_us * self.factor

    def report(self) -> Report:
        return Report(device="cpu")


def shots_of(table: FeatureTable, factor: Any, k: int) -> Examples:
    """The first k rows, each taking its speed of light times a factor."""
    assert table.sol_us is not None
    factors = np.broadcast_to(factor, len(table))
    return examples_of(replace(table, y=table.sol_us * factors), np.arange(k))


def log_factor(fitted: Fitted, table: FeatureTable) -> np.ndarray:
    asked = inputs_of_rows(table, np.arange(len(table)))
    return np.asarray(np.log(fitted.predict(asked) / asked.sol_us))


@pytest.mark.parametrize("k", [1, 3, 9])
def test_below_ten_rows_the_level_alone_moves_by_k_of_k_plus_ten(
    k: int, table: FeatureTable, spec: Spec, setting: Setting
) -> None:
    fitted = corrected(Light(), shots_of(table, 3.0, k), spec(), setting)
    np.testing.assert_allclose(log_factor(fitted, table), np.log(3.0) * k / (k + 10))


def test_the_level_is_a_median_that_one_odd_row_does_not_move(
    table: FeatureTable, spec: Spec, setting: Setting
) -> None:
    factors = np.full(len(table), 2.0)
    factors[4] = 1e6
    fitted = corrected(Light(), shots_of(table, factors, 9), spec(), setting)
    np.testing.assert_allclose(log_factor(fitted, table), np.log(2.0) * 9 / 19)


@pytest.mark.parametrize(("k", "left"), [(10, 3 / 8), (50, 1 / 16), (200, 1 / 161)])
def test_a_group_a_constant_away_is_recovered_but_for_what_is_held_back(
    k: int, left: float, table: FeatureTable, spec: Spec, setting: Setting
) -> None:
    # 10 / (k + 10) of the level is held back, and 30 / (k + 30) of what the trees add to it.
    assert left == pytest.approx(10 / (k + 10) * 30 / (k + 30), rel=0.01)
    fitted = corrected(Light(0.5), shots_of(table, 2.0, k), spec(), setting)
    found = log_factor(fitted, table) - np.log(0.5)
    np.testing.assert_allclose(found, np.log(4.0) * (1 - left), rtol=1e-3)


def test_a_hundred_rows_bend_the_curve(table: FeatureTable, spec: Spec, setting: Setting) -> None:
    factors = np.where(table.X[:, 0] < 1000, 0.7, 1.4)
    fitted = corrected(Light(), shots_of(table, factors, 120), spec(), setting)
    found = np.exp(log_factor(fitted, table))
    unseen = np.arange(len(table)) >= 120
    assert np.mean(np.abs(found / factors - 1)[unseen]) < 0.1  # a level alone: 0.35 or more


def test_a_predictor_without_features_has_its_level_corrected_and_no_shape(
    table: FeatureTable, spec: Spec, setting: Setting
) -> None:
    fitted = corrected(Light(), shots_of(table, 3.0, 50), spec(name="constant"), setting)
    np.testing.assert_allclose(log_factor(fitted, table), np.log(3.0) * 50 / 60)


def test_rows_without_a_positive_time_or_prediction_count_for_nothing(
    table: FeatureTable, spec: Spec, setting: Setting
) -> None:
    factors = np.full(len(table), 2.0)
    factors[:5] = [0.0, -1.0, 2.0, 2.0, 2.0]
    fitted = corrected(Light(), shots_of(table, factors, 5), spec(), setting)
    np.testing.assert_allclose(log_factor(fitted, table), np.log(2.0) * 3 / 13)
    for useless in (Light(0.0), Light(-1.0), Light(float("nan")), Light(float("inf"))):
        assert corrected(useless, shots_of(table, 2.0, 5), spec(), setting) is useless


def test_a_predictor_that_may_not_fall_with_tokens_does_not_when_corrected(
    table: FeatureTable, spec: Spec, setting: Setting
) -> None:
    falling = 5.0 * np.exp(-table.X[:, 0] / 500)
    shots = shots_of(table, falling, 150)
    said = spec(transform="log", monotone=True)
    X = np.array(table.X)
    X[:, 1:] = X[0, 1:]
    X[:, 0] = np.linspace(1, 2000, len(table))
    flat = replace(table, X=X, sol_us=np.ones(len(table)))
    asked = inputs_of_rows(flat, np.arange(len(flat)))
    free = corrected(Light(), shots, spec(transform="log"), setting).predict(asked)
    assert (np.diff(free) < 0).any()
    kept = corrected(Light(), shots, said, setting).predict(asked)
    assert (np.diff(kept) >= 0).all()


def test_what_is_reported_is_the_priors(table: FeatureTable, spec: Spec, setting: Setting) -> None:
    fitted = corrected(Light(), shots_of(table, 2.0, 20), spec(), setting)
    assert fitted.report() == Light().report()
