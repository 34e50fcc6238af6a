from __future__ import annotations

import numpy as np
import pytest

from gpucv.runs import FoldArrays, FoldRecord


@pytest.fixture
def record() -> FoldRecord:
    return FoldRecord(
        fold_id=7,
        key="0123456789abcdef",
        scheme="lomo",
        holdout="llama-2-7b",
        predictor="xgboost",
        transform="raw",
        target="step.duration_us",
        status="ok",
        n_train=30,
        n_valid=7,
        n_test=3,
        device="cpu",
        scores={"test_mape": 12.5, "test_mspe": float("inf")},
        experiments=[
            {
                "experiment_id": "a",
                "n_test": 3,
                "test_mape": 12.5,
                "test_mspe": float("-inf"),
                "test_r": 0.5,
                "test_wape": 10.0,
            }
        ],
        importance={"f_prefill_tokens": 1.0},
        seconds={"fit_s": 0.25, "predict_s": 0.125},
        seed=42,
        params={"n_estimators": 5},
    )


@pytest.fixture
def arrays() -> FoldArrays:
    return FoldArrays(
        experiment=(np.array([0, 1, 1], dtype=np.int32), ("a", "b")),
        step_id=np.array([4, 5, 6]),
        actual=np.array([1.0, 2.0, 4.0]),
        predicted=np.array([1.5, 2.0, 3.0]),
        model=b"{a model}",
    )
