from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gpucv.pipelines import Inputs, outside_training, phases_of
from gpucv.pipelines.base import ViewColumns

if TYPE_CHECKING:
    import pytest


def inputs(*rows: tuple[float, ...]) -> Inputs:
    matrix = np.array(rows, dtype=np.float32)
    return Inputs(matrix, None, {}, np.arange(len(rows)))


COLUMNS = ViewColumns((0, 1), ("x", "y"))


def test_rows_and_features_outside_the_training_range_are_counted() -> None:
    learnt = inputs((0, 5), (10, 6))
    asked = inputs((-5, 5.5), (10, 7), (30, 100), (0, 5))
    found = outside_training(learnt, asked, COLUMNS)
    assert found is not None
    assert found.rows.tolist() == [0.5, 0.5, 1.0, 0.0]
    x, y = found.features
    assert (x["feature"], x["share"], x["farthest"]) == ("x", 0.5, 2.0)
    assert (y["feature"], y["share"], y["farthest"]) == ("y", 0.5, 94.0)
    assert (x["train_low"], x["train_high"], x["test_low"], x["test_high"]) == (0, 10, -5, 30)


def test_the_answer_does_not_depend_on_how_many_rows_are_looked_at_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    draw = np.random.default_rng(0).normal(size=(2, 300, 2))
    learnt, asked = (
        inputs(*map(tuple, rows * scale)) for rows, scale in zip(draw, (1, 2), strict=True)
    )
    whole = outside_training(learnt, asked, COLUMNS)
    monkeypatch.setattr("gpucv.pipelines.held_out._ROWS", 7)
    pieces = outside_training(learnt, asked, COLUMNS)
    assert whole is not None
    assert pieces is not None
    np.testing.assert_array_equal(whole.rows, pieces.rows)
    assert whole.features == pieces.features
    low, high = draw[0].min(axis=0), draw[0].max(axis=0)
    beyond = (2 * draw[1] < low) | (2 * draw[1] > high)
    np.testing.assert_allclose(whole.rows, beyond.mean(axis=1))


def test_a_feature_with_one_value_in_training_has_no_width_to_measure_by() -> None:
    found = outside_training(inputs((1, 0), (1, 1)), inputs((2, 0)), COLUMNS)
    assert found is not None
    assert found.features[0]["share"] == 1.0
    assert "farthest" not in found.features[0]


def test_missing_values_are_neither_bounds_nor_outside() -> None:
    nan = float("nan")
    found = outside_training(inputs((nan, nan), (1, nan), (2, nan)), inputs((nan, nan)), COLUMNS)
    assert found is not None
    assert found.rows.tolist() == [0.0]
    assert found.features[0]["train_low"] == 1.0
    assert "train_low" not in found.features[1]


def test_a_predictor_without_features_has_no_range() -> None:
    assert outside_training(inputs((1, 1)), inputs((1, 1)), ViewColumns((), ())) is None


def test_phases_follow_from_the_tokens_scheduled() -> None:
    rows = inputs((9, 0, 0), (9, 0, 4), (9, 7, 4), (9, 7, 0))
    names = ("other", "f_prefill_tokens", "f_decode_tokens")
    found = phases_of(rows, names)
    assert found is not None
    assert found.tolist() == [-1, 0, 1, 2]
    assert phases_of(rows, ("other", "f_prefill_tokens", "z")) is None
