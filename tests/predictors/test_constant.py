from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gpucv.metrics import mape
from gpucv.predictors import FitContext, make_predictor

targets = st.lists(st.floats(1, 1e6), min_size=1, max_size=40).map(np.array)


def fitted(y: np.ndarray) -> np.ndarray:
    made = make_predictor("constant", {}, FitContext(seed=1, threads=1, device="cpu"))
    made.fit(np.zeros((len(y), 2), np.float32), y, None)
    assert made.device == "cpu"
    assert made.best_iteration is made.importance() is made.serialize() is None
    return made.predict(np.zeros((3, 2), np.float32))


@given(targets)
def test_every_row_is_predicted_the_median_of_the_targets(y: np.ndarray) -> None:
    assert fitted(y).tolist() == [np.median(y)] * 3


@given(targets, st.floats(0.1, 10))
def test_no_other_constant_has_a_smaller_absolute_error(y: np.ndarray, factor: float) -> None:
    median = fitted(y)[0]
    assert np.abs(y - median).sum() <= np.abs(y - median * factor).sum() * (1 + 1e-9)


def test_a_target_of_one_value_is_predicted_without_error() -> None:
    assert mape([5.0] * 3, fitted(np.full(4, 5.0))) == 0
