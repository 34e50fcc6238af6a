"""What an error says of the machine: that memory ran out, or that a GPU has failed."""

from __future__ import annotations

import errno
import re

__all__ = ["gpu_fault", "memory_fault"]

_NO_MEMORY = (
    *("memory allocation error", "out of memory", "out_of_memory", "bad_alloc"),
    *("cudaerrormemoryallocation", "cuda_error_out_of_memory"),
)
"""What XGBoost, RMM, the CUDA runtime and its driver say of it, in lower case."""

_CUDA = re.compile(r"\b(cudaError[A-Z]\w*|CUDA_ERROR_[A-Z_]+)|CuPy failed to load")
"""Names of the runtime's and the driver's errors, which every library quotes."""
_OF_A_CALL = {
    *("cudaErrorInvalidValue", "cudaErrorInvalidConfiguration"),
    *("CUDA_ERROR_INVALID_VALUE", "CUDA_ERROR_INVALID_CONFIGURATION"),
}
"""What one call was refused for; the next may succeed."""


def memory_fault(error: BaseException) -> bool:
    """Say whether an error means that memory ran out, of the host or of a GPU.

    Python, CuPy and RMM have a class for that; XGBoost has one class of errors for everything,
    and the system a number.
    """
    if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
        return True
    text = str(error).lower()
    return any(sign in text for sign in _NO_MEMORY)


def gpu_fault(error: BaseException) -> str:
    """Return in one line what an error says of a GPU that failed; "" if it says nothing so.

    After most of these errors CUDA refuses every further call of the process, so that all
    folds to come would fail as well. CuPy's own errors are those of its compiler and of the
    CUDA libraries it loads.
    """
    text = str(error)
    named = _CUDA.search(text)
    own = type(error).__module__.partition(".")[0] in ("cupy", "cupy_backends")
    if not (named or own) or (named and named[1] in _OF_A_CALL):
        return ""
    lines = text.splitlines() or [type(error).__name__]
    return next((line for line in lines if _CUDA.search(line)), lines[0]).strip()[:300]
