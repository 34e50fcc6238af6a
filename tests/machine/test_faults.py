from __future__ import annotations

import errno

import pytest

from gpucv.machine import gpu_fault, memory_fault


class XGBoostError(ValueError): ...


class CompileError(Exception): ...


CompileError.__module__ = "cupy.cuda.compiler"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            XGBoostError("[1:2] common.cu:18: a.cu: 4: cudaErrorIllegalAddress: bad\nStack trace:"),
            "[1:2] common.cu:18: a.cu: 4: cudaErrorIllegalAddress: bad",
        ),
        (
            RuntimeError("CUDA error encountered at: x.cpp:1\n700 cudaErrorIllegalAddress gone"),
            "700 cudaErrorIllegalAddress gone",
        ),
        (RuntimeError("CUDA_ERROR_NO_DEVICE: no CUDA-capable device"), "CUDA_ERROR_NO_DEVICE: no"),
        (RuntimeError("CuPy failed to load libnvrtc.so.13: OSError"), "CuPy failed to load"),
        (CompileError("kernel.cu(3): error: no cuda_fp16.h\nmore"), "kernel.cu(3): error"),
    ],
)
def test_a_gpu_that_failed_is_told_in_one_line(error: Exception, told: str) -> None:
    assert gpu_fault(error).startswith(told)
    assert "\n" not in gpu_fault(error)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("no group has a row to learn from"),
        XGBoostError("Check failed: preds.Size() == info.labels.Size()"),
        XGBoostError("a.cu: 4: cudaErrorInvalidConfiguration: invalid configuration argument"),
        RuntimeError("NCCL failure: unhandled cuda error"),
    ],
)
def test_what_may_succeed_with_other_rows_is_no_fault_of_the_gpu(error: Exception) -> None:
    assert gpu_fault(error) == ""


@pytest.mark.fault(8)
@pytest.mark.parametrize(
    ("error", "ran_out"),
    [
        (MemoryError(), True),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), True),
        (XGBoostError("device_vector.cu:31: Memory allocation error on worker 0: x"), True),
        (XGBoostError("common.cu:18: a.cu: 4: cudaErrorMemoryAllocation: out of memory"), True),
        (RuntimeError("CUDA_ERROR_OUT_OF_MEMORY: out of memory"), True),
        (RuntimeError("cudaErrorIllegalAddress gone"), False),
        (OSError(errno.ENOSPC, "No space left on device"), False),
        (ValueError("no group has a row to learn from"), False),
    ],
)
def test_memory_that_ran_out_is_known_whoever_says_so(error: Exception, ran_out: bool) -> None:
    assert memory_fault(error) is ran_out
