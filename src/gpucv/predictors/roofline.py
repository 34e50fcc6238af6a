"""The speed of light, slowed down by what a GPU really reaches.

``compute_us`` and ``memory_us`` are the least times a row's arithmetic and its memory
traffic can take (`gpucv.features.work`). Every form is fitted to relative errors: rows are
divided by their time, so that a step of a second teaches no more than one of a millisecond,
and a row slowed by an accident, however slow, cannot pull the fit to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from gpucv.errors import DataError
from gpucv.predictors.base import FitContext, Params
from gpucv.predictors.complete import complete, positive_times
from gpucv.predictors.least_squares import least_squares

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gpucv.machine import Device

__all__ = ["ROOFLINE_INPUTS", "RooflineParams", "RooflinePredictor"]

ROOFLINE_INPUTS = ("compute_us", "memory_us")
_NAME = "roofline"
_CORNERS = 33
"""Corners tried, spread over the quantiles of the rows' compute to memory ratio."""
_TOLD_APART = 1e-9
"""Least gain, in parts of the error, for which unequal factors are preferred to equal ones."""
_EXACT = 1e-14
"""Mean squared relative error that rounding the inputs to float32 leaves of an exact law."""


class RooflineParams(Params):
    """How the speed of light is slowed down.

    Attributes
    ----------
    form : {"scale", "parts", "max"}
        "scale": ``factor * max(compute, memory)``, the factor the median of time / speed
        of light. "parts": ``overhead + a * compute + b * memory``, none below 0. "max":
        ``overhead + max(a * compute, b * memory)``, none below 0.
    """

    form: Literal["scale", "parts", "max"] = "scale"


class RooflinePredictor:
    """A row's time from its work and the data sheet, with one to three fitted numbers.

    A factor is 1 / efficiency: the time taken for each microsecond of the data sheet. Every
    number is fitted, so targets may be in any unit: of times in ms the factors are ms for
    each microsecond, and the overhead is in ms.
    """

    device: Device = "cpu"
    best_iteration: int | None = None

    def __init__(self, params: RooflineParams, context: FitContext) -> None:
        self._form = params.form
        self._overhead = 0.0
        self._compute = self._memory = float("nan")

    def fit(
        self,
        X: NDArray[np.float32],
        y: NDArray[np.float64],
        valid: tuple[NDArray[np.float32], NDArray[np.float64]] | None,
    ) -> None:
        """Fit the form to X and y.

        Raises
        ------
        DataError
            If a row's work is not known, or a target is not above 0.
        """
        compute, memory = complete(X, _NAME, ROOFLINE_INPUTS).T
        positive_times(y, _NAME)
        if self._form == "scale":
            light = np.maximum(compute, memory)
            if not (light > 0).all():
                msg = (
                    f"predictor {_NAME!r}: {int((light <= 0).sum()):,} of {len(y):,} rows have no "
                    "work, so no ratio to the speed of light; leave them out or use form 'parts'"
                )
                raise DataError(msg)
            self._compute = self._memory = float(np.median(y / light))
        elif self._form == "parts":
            A = np.column_stack([np.ones(len(y)), compute, memory]) / y[:, None]
            fitted = least_squares(A, np.ones(len(y)), nonnegative=True)
            self._overhead, self._compute, self._memory = fitted.tolist()
        else:
            self._overhead, self._compute, self._memory = _best_corner(compute, memory, y)

    def predict(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return one time per row, us.

        Raises
        ------
        DataError
            If a row's work is not known.
        """
        compute, memory = complete(X, _NAME, ROOFLINE_INPUTS).T * np.array(
            [[self._compute], [self._memory]]
        )
        work = compute + memory if self._form == "parts" else np.maximum(compute, memory)
        predicted: NDArray[np.float64] = self._overhead + work
        return predicted

    def coefficients(self) -> dict[str, float]:
        """Return what was fitted: `overhead_us`, and how many times the data sheet's time."""
        if self._form == "scale":
            return {"factor": self._compute}
        return {
            "overhead_us": self._overhead,
            "compute_factor": self._compute,
            "memory_factor": self._memory,
        }

    def importance(self) -> None:
        """Return nothing: there are no shares of a gain."""

    def serialize(self) -> None:
        """Return nothing: the coefficients are all there is."""


def _best_corner(
    compute: NDArray[np.float64], memory: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[float, float, float]:
    """Return overhead and the two factors of ``overhead + max(a * compute, b * memory)``.

    Given b / a, the corner of the roof, the rest is linear: overhead and a follow by least
    squares. So only the corner is searched for: over quantiles of the rows' own ratios,
    then between the neighbours of the best. Where the rows lie on one side of the corner
    and cannot tell, both factors are equal.
    """
    from scipy.optimize import minimize_scalar

    relative_compute, relative_memory = compute / y, memory / y
    ones = np.ones(len(y))
    A = np.empty((len(y), 2), order="F")
    A[:, 0] = 1 / y

    def solved(corner: float) -> tuple[float, NDArray[np.float64]]:
        np.maximum(relative_compute, np.exp(corner) * relative_memory, out=A[:, 1])
        fitted = least_squares(A, ones, nonnegative=True)
        return float(((A @ fitted - 1.0) ** 2).mean()), fitted

    found, (loss, fitted) = 0.0, solved(0.0)
    both = (compute > 0) & (memory > 0)
    ratios = np.log(compute[both] / memory[both])
    if len(ratios):
        corners = np.unique(np.quantile(ratios, np.linspace(0, 1, _CORNERS)))
        best = int(np.argmin([solved(corner)[0] for corner in corners]))
        low, high = corners[max(best - 1, 0)], corners[min(best + 1, len(corners) - 1)]
        between = minimize_scalar(
            lambda corner: solved(corner)[0], bounds=(low, high), method="bounded"
        ).x
        for corner in (float(corners[best]), float(between)):
            here, line = solved(corner)
            if loss > _EXACT and here < loss * (1 - _TOLD_APART):
                found, loss, fitted = corner, here, line
    overhead, slope = fitted.tolist()
    return overhead, slope, slope * float(np.exp(found))
