from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xgboost

from gpucv.predictors import FitContext
from gpucv.predictors.matrices import binning, memory_is_the_fault

if TYPE_CHECKING:
    from gpucv.machine import Device

ROWS = np.zeros((4, 2), dtype=np.float32)


@pytest.mark.parametrize(("device", "at_once"), [("cuda", 1), ("cpu", 2)])
def test_a_gpu_bins_for_one_fold_at_a_time_and_a_cpu_for_all(
    monkeypatch: pytest.MonkeyPatch, device: Device, at_once: int
) -> None:
    inside, most, both = 0, 0, threading.Barrier(2)

    def slow(*_: Any, **__: Any) -> str:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        if at_once == 2:
            both.wait(timeout=60)
        inside -= 1
        return "matrix"

    monkeypatch.setattr(xgboost, "QuantileDMatrix", slow)
    seconds: list[dict[str, float]] = [{}, {}]

    def bin_rows(own: dict[str, float]) -> Any:
        with binning({"max_bin": 256}, FitContext(0, 1, device), False, own) as matrix_of:
            return matrix_of(ROWS, ROWS[:, 0])

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(bin_rows, seconds)) == ["matrix", "matrix"]
    assert most == at_once
    assert all(own["quantise_s"] > 0 for own in seconds)


@pytest.mark.parametrize(
    "told",
    [
        "std::bad_alloc",
        "device_vector.cu:31: Memory allocation error on worker 0: cudaErrorMemoryAllocation",
        "cudaErrorMemoryAllocation: out of memory",
    ],
)
def test_an_error_that_tells_of_memory_is_one(told: str) -> None:
    with (
        pytest.raises(MemoryError, match="4 rows x 2 features on 'cuda'"),
        memory_is_the_fault(ROWS.shape, "cuda"),
    ):
        raise xgboost.core.XGBoostError(told)


def test_any_other_error_stays_what_it_is() -> None:
    with (
        pytest.raises(xgboost.core.XGBoostError, match="label must not be infinite"),
        memory_is_the_fault(ROWS.shape, "cpu"),
    ):
        raise xgboost.core.XGBoostError("label must not be infinite")
