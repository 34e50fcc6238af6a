"""The same few figures of every peer's folds, computed the same way."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from peers.study import Study

__all__ = ["Figures", "figures", "told"]


@dataclass(frozen=True, slots=True)
class Figures:
    """What one fold came to.

    Attributes
    ----------
    rows : int
        Rows predicted.
    mape : float
        Mean absolute percentage error over rows with a target other than zero.
    squares : float
        Sum of squared errors.
    """

    rows: int
    mape: float
    squares: float


def figures(actual: NDArray[np.float64], predicted: NDArray[np.floating]) -> Figures:
    """Score one fold's predictions, both of shape (n,)."""
    error = predicted.astype(np.float64) - actual
    counted = actual != 0
    mape = 100.0 * float(np.abs(error[counted] / actual[counted]).mean())
    return Figures(len(actual), mape, float(error @ error))


def told(study: Study, each: Sequence[Figures]) -> dict[str, Any]:
    """Return what a peer says of its accuracy, ready for JSON.

    Returns
    -------
    dict
        ``scores``: ``<scheme>_mape``, the mean over a scheme's folds in percent, and ``rmse``,
        over the held-out rows of all folds in the target's unit. ``folds``: figures fold by
        fold.
    """
    scores: dict[str, float] = {}
    for scheme in dict.fromkeys(fold.scheme for fold in study.folds):
        errors = [
            f.mape for f, fold in zip(each, study.folds, strict=True) if fold.scheme == scheme
        ]
        scores[f"{scheme}_mape"] = float(np.mean(errors))
    total = sum(f.squares for f in each) / sum(f.rows for f in each)
    scores["rmse"] = float(np.sqrt(total))
    names = [{"scheme": fold.scheme, "holdout": fold.holdout} for fold in study.folds]
    folds = [name | asdict(f) for name, f in zip(names, each, strict=True)]
    return {"scores": scores, "folds": folds}
