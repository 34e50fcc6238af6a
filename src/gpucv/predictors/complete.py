"""Inputs of predictors of a fixed form: none may be missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gpucv.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["complete", "missing_input", "positive_times"]


def complete(X: NDArray[np.float32], predictor: str, inputs: Sequence[str]) -> NDArray[np.float64]:
    """Return X as float64, shape (n, len(inputs)), every value of it known.

    Raises
    ------
    DataError
        If an input is missing in some row: a formula has no default direction for it,
        as a tree has.
    """
    values = X.astype(np.float64)
    missing = ~np.isfinite(values)
    if missing.any():
        column = int(missing.any(axis=0).argmax())
        count = int(missing[:, column].sum())
        raise missing_input(f"predictor {predictor!r}", inputs[column], count, len(X))
    return values


def missing_input(who: str, name: str, missing: int, rows: int) -> DataError:
    """Return the error of `who`, which needs input `name` and lacks it in `missing` rows."""
    return DataError(
        f"{who} needs {name!r}, and {missing:,} of {rows:,} rows have none; leave these rows out, "
        "record the columns it is made from, or add their model and GPU to the catalog"
    )


def positive_times(y: NDArray[np.float64], predictor: str) -> None:
    """Refuse targets that a relative error cannot be taken of.

    Raises
    ------
    DataError
        If a target is not above 0, as the logarithm of a time may be.
    """
    if len(y) and not y.min() > 0:
        msg = (
            f"predictor {predictor!r} weighs relative errors, and {int((y <= 0).sum()):,} of "
            f"{len(y):,} targets are not above 0 (the smallest is {y.min():g}); use transform "
            "'raw', and drop rows without a time"
        )
        raise DataError(msg)
