"""Rows made into what XGBoost trains on, and predictions back, on either device.

Rows in device memory are read where they lie, through ``__cuda_array_interface__``; rows of
the host are binned there. Where these come in Fortran order they are handed over as columns
of a frame, without a copy: XGBoost bins columns in half the time it takes for the same rows
as one array, to the same bits. Nothing else than these functions hands XGBoost rows.
"""

from __future__ import annotations

import contextlib
import threading
from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from gpucv.frames import is_on_device
from gpucv.machine import cpu_count, memory_fault
from gpucv.predictors.blocks import RowBlocks
from gpucv.predictors.cuts import shared_cuts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from gpucv.frames import Array
    from gpucv.predictors.base import FitContext

__all__ = ["binning", "margins", "memory_is_the_fault", "predict_rows"]

_one_at_a_time = threading.Lock()
"""Of a GPU: a sketch plans with up to 80 % of the memory it finds free (v3.2.0,
``src/common/hist_util.cu``), so that two at once may each find too much."""


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
        ``(X, label, ref=None)`` to a matrix; with `ref`, binned as that one is. Without, it
        is binned by its own cuts, or by those of every row of the table where the context
        names them.
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
                    if ref is None and context.every_row is not None:
                        ref = _shared(training, context)
                    return make(X, label, ref)
            finally:
                took = perf_counter() - began
                seconds["quantise_s"] = seconds.get("quantise_s", 0.0) + took

        yield timed


def _shared(training: Mapping[str, Any], context: FitContext) -> Any:
    """Return the cuts of every row of the table; the first who asks has all cores for them.

    The folds beside it wait for these cuts too, so the cores are idle.
    """
    assert context.every_row is not None
    make = _in_memory(training, replace(context, threads=cpu_count()))
    kind = (training["max_bin"], context.device)
    return shared_cuts(context.every_row, kind, lambda X, ref: make(X, None, ref))


def _in_memory(training: Mapping[str, Any], context: FitContext) -> Callable[..., Any]:
    import xgboost

    def make(X: Array | RowBlocks, label: Array | None, ref: Any) -> Any:
        if isinstance(X, RowBlocks):
            from gpucv.predictors.paged import streamed_matrix

            return streamed_matrix(X, label, training["max_bin"], context, ref)
        by_column = _lies_by_column(X)
        matrix = xgboost.QuantileDMatrix(
            _columns(X) if by_column else X,
            label=label,
            nthread=context.threads,
            max_bin=training["max_bin"],
            ref=ref,
        )
        if by_column:  # a model keeps no names of columns that are rows elsewhere
            matrix.feature_names = matrix.feature_types = None
        return matrix

    return make


def _lies_by_column(X: Array) -> bool:
    return isinstance(X, np.ndarray) and X.flags.f_contiguous and not X.flags.c_contiguous


def _columns(X: Array) -> Any:
    """Return X as a frame that reads its columns where they lie.

    An Arrow table would do for speed; of one of those XGBoost copies every column.
    """
    import pandas as pd

    return pd.DataFrame(X, copy=False)


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


def margins(
    booster: Any, X: NDArray[np.float32], rounds: Sequence[int], context: FitContext
) -> Iterator[NDArray[np.float32]]:
    """Yield the margins of host rows after each of some rounds, shape (n,).

    Each is the one before with the trees since then on it. XGBoost adds a row's trees up one by
    one in float32, so it is what an evaluation set would have had in that round.
    """
    import xgboost

    rows, begun = xgboost.DMatrix(X, nthread=context.threads), 0
    for ended in rounds:
        span = (begun, ended)
        margin = booster.predict(rows, output_margin=True, iteration_range=span)
        yield margin
        rows.set_base_margin(margin)
        begun = ended


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
        if not memory_fault(error):
            raise
        told = [line.strip("- ") for line in str(error).splitlines()]
        sizes = [line for line in told if line.lower().startswith(("free", "requested"))]
        rows, features = shape
        msg = f"{rows:,} rows x {features} features on {device!r}"
        raise MemoryError("; ".join([msg, *sizes])) from error
