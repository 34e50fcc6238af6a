"""A constant and two times per token for one configuration: what simulators ship today."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gpucv.export.manifest import Blackbox
from gpucv.export.program import INPUTS
from gpucv.metrics import mape
from gpucv.predictors.least_squares import least_squares
from gpucv.schema import DECODE_TOKENS, PREFILL_TOKENS

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["fit_blackbox", "held_out_mape"]

_PARTS = 5


def fit_blackbox(inputs: NDArray[np.float64], y: NDArray[np.float64]) -> Blackbox | None:
    """Fit BLIS's blackbox, no coefficient below 0; None where tokens are not known.

    Parameters
    ----------
    inputs : ndarray of float64, shape (len(INPUTS), n)
    y : ndarray of float64, shape (n,)
        Times, us, in the order of the steps.
    """
    tokens = inputs[[INPUTS.index(PREFILL_TOKENS), INPUTS.index(DECODE_TOKENS)]].T
    if not np.isfinite(tokens).all():
        return None
    A = np.column_stack([np.ones(len(y)), tokens])
    b0, b1, b2 = least_squares(A, y, nonnegative=True).tolist()
    return Blackbox(beta_us=(b0, b1, b2), mape=held_out_mape(A, y))


def held_out_mape(A: NDArray[np.float64], y: NDArray[np.float64]) -> float | None:
    """Return the MAPE of five blocks of consecutive rows, each by the fit of the others.

    Blocks, as neighbouring steps resemble each other. None with fewer than two rows a block,
    or where no time is above 0.
    """
    if len(y) < 2 * _PARTS:
        return None
    part = (np.arange(len(y)) * _PARTS) // len(y)
    predicted = np.empty(len(y))
    for number in range(_PARTS):
        here = part == number
        predicted[here] = A[here] @ least_squares(A[~here], y[~here], nonnegative=True)
    error = mape(y, predicted)
    return error if np.isfinite(error) else None
