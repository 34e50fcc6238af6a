"""`launch-roofline` where hardly anything was measured."""

from __future__ import annotations

import numpy as np
import pytest

from gpucv.predictors import FitContext, make_predictor
from gpucv.predictors.launch import LAUNCH_INPUTS


def rows(gpu: np.ndarray, op: float) -> np.ndarray:
    X = np.ones((len(gpu), len(LAUNCH_INPUTS)), dtype=np.float32)
    X[:, 1], X[:, 2] = gpu, op
    return X


def test_where_no_gpu_has_enough_rows_the_shortest_of_all_stand_for_the_launch() -> None:
    """A launch is a floor: the median of all times is none."""
    times = np.arange(1.0, 51.0) * 10
    made = make_predictor("launch-roofline", {}, FitContext(seed=1, threads=1, device="cpu"))
    made.fit(rows(np.repeat(np.arange(5), 10), 1.0), times, None)  # 5 GPUs of 10 rows each
    predicted = made.predict(rows(np.array([9.0]), 2.0))
    assert predicted == pytest.approx([1.0 + np.quantile(times, 0.05)])
