"""Needs an NVIDIA GPU and XGBoost built for CUDA: `pytest -m gpu`."""

from __future__ import annotations

import numpy as np
import pytest

from gpucv.machine import count_gpus, xgboost_distributions
from gpucv.predictors import FitContext, make_predictor

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(count_gpus() == 0, reason="no NVIDIA GPU on this machine"),
    pytest.mark.skipif(
        "xgboost-cpu" in xgboost_distributions(), reason="XGBoost here is built without CUDA"
    ),
]

PARAMS = {"n_estimators": 50, "subsample": 1.0, "colsample_bytree": 1.0}


def rows(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = rng.uniform(0, 10, (20_000, 8)).astype(np.float32)
    y = X[:, 0] * X[:, 1] + 5 * np.sin(X[:, 2]) + rng.normal(0, 0.1, len(X))
    return X, y


def test_training_on_a_gpu_happens_on_the_gpu_and_agrees_with_the_cpu() -> None:
    (X, y), (X_test, y_test) = rows(1), rows(2)
    errors = {}
    for device in ("cpu", "cuda"):
        predictor = make_predictor("xgboost", PARAMS, FitContext(42, 2, device))
        predictor.fit(X, y, None)
        assert predictor.device == device
        errors[device] = np.sqrt(np.mean((predictor.predict(X_test) - y_test) ** 2))
    assert errors["cuda"] == pytest.approx(errors["cpu"], rel=0.005)


def test_two_trainings_on_a_gpu_give_the_same_bits() -> None:
    X, y = rows(1)
    models = []
    for _ in range(2):
        predictor = make_predictor("xgboost", PARAMS, FitContext(42, 2, "cuda"))
        predictor.fit(X, y, None)
        models.append(predictor.predict(X))
    np.testing.assert_array_equal(models[0], models[1])
