"""Rows made into what XGBoost trains on, and predictions back, on either device.

Rows in device memory are read where they lie, through ``__cuda_array_interface__``; rows of
the host are binned there. Nothing else than these two functions hands XGBoost rows.
"""

from __future__ import annotations

import contextlib
import threading
from time import perf_counter
from typing import TYPE_CHECKING, Any

from gpucv.frames import is_on_device
from gpucv.predictors.blocks import RowBlocks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from gpucv.frames import Array
    from gpucv.predictors.base import FitContext

__all__ = ["binning", "memory_is_the_fault", "predict_rows"]

_one_at_a_time = threading.Lock()
"""Of a GPU: a sketch plans with up to 80 % of the memory it finds free (v3.2.0,
``src/common/hist_util.cu``), so that two at once may each find too much."""
_SIGNS = ("memory allocation error", "out of memory", "bad_alloc", "cudaerrormemoryallocation")
"""What XGBoost's errors say where there was no memory, in lower case."""


@contextlib.contextmanager
def binning(
    training: Mapping[str, Any], context: FitContext, paged: bool, seconds: dict[str, float]
) -> Iterator[Callable[..., Any]]:
    """Yield what makes matrices of rows; train before the context ends.

    Parameters
    ----------
    training : mapping
        Parameters of ``xgboost.train``, `max_bin` among them.
    context : FitContext
    paged : bool
        Whether the rows come as `RowBlocks` and stay paged while trees grow.
    seconds : dict
        ``quantise_s`` is added up there: binning, and waiting for others to bin.

    Yields
    ------
    callable
        ``(X, label, ref=None)`` to a matrix; with `ref`, binned as that one is.
    """
    with contextlib.ExitStack() as stack:
        make = _in_memory(training, context)
        if paged:
            from gpucv.predictors.paged import paging

            make = stack.enter_context(paging(training, context))

        def timed(X: Any, label: Array, ref: Any = None) -> Any:
            began = perf_counter()
            try:
                with _one_at_a_time if context.device == "cuda" else contextlib.nullcontext():
                    return make(X, label, ref)
            finally:
                took = perf_counter() - began
                seconds["quantise_s"] = seconds.get("quantise_s", 0.0) + took

        yield timed


def _in_memory(training: Mapping[str, Any], context: FitContext) -> Callable[..., Any]:
    import xgboost

    def make(X: Array | RowBlocks, label: Array, ref: Any) -> Any:
        if isinstance(X, RowBlocks):
            from gpucv.predictors.paged import streamed_matrix

            return streamed_matrix(X, label, training["max_bin"], context, ref)
        return xgboost.QuantileDMatrix(
            X, label=label, nthread=context.threads, max_bin=training["max_bin"], ref=ref
        )

    return make


def predict_rows(booster: Any, X: Array, rounds: tuple[int, int], context: FitContext) -> Array:
    """Return a booster's predictions as float32, where X lies, shape (n,).

    Rows of the host reach a booster on a GPU as a matrix of their own: predicted in place
    they would become one as well, with a warning.
    """
    if context.device == "cuda" and not is_on_device(X):
        import xgboost

        rows = xgboost.DMatrix(X, nthread=context.threads)
        return booster.predict(rows, iteration_range=rounds)
    return booster.inplace_predict(X, iteration_range=rounds)


@contextlib.contextmanager
def memory_is_the_fault(shape: tuple[int, int], device: str) -> Iterator[None]:
    """Turn XGBoost's error of memory that ran out into `MemoryError`, with the sizes.

    Parameters
    ----------
    shape : tuple of int
        Of the rows at hand.
    device : str

    Raises
    ------
    MemoryError
        Where the text of the error says so: XGBoost has one class of errors for everything.
    """
    import xgboost

    try:
        yield
    except xgboost.core.XGBoostError as error:
        told = [line.strip("- ") for line in str(error).splitlines() if line.strip("- ")]
        if not any(sign in str(error).lower() for sign in _SIGNS):
            raise
        sizes = [line for line in told if line.lower().startswith(("free", "requested"))]
        rows, features = shape
        msg = f"{rows:,} rows x {features} features on {device!r}"
        raise MemoryError("; ".join([msg, *sizes])) from error
