"""Errors by which a GPU or its driver says that it has failed: no outcome of a fold."""

from __future__ import annotations

import re

__all__ = ["gpu_fault"]

_CUDA = re.compile(r"\b(cudaError[A-Z]\w*|CUDA_ERROR_[A-Z_]+)|CuPy failed to load")
"""Names of the runtime's and the driver's errors, which every library quotes."""
_OF_A_CALL = {
    *("cudaErrorInvalidValue", "cudaErrorInvalidConfiguration"),
    *("CUDA_ERROR_INVALID_VALUE", "CUDA_ERROR_INVALID_CONFIGURATION"),
}
"""What one call was refused for; the next may succeed."""


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
