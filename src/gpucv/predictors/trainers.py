"""How boosters are trained: several fits in, as many boosters out, in the same order.

Plural, so that a trainer may share work among folds. `one_by_one` is what every fold is
trained by; `gpucv.predictors.fused` trains several as one booster.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from gpucv.frames import is_on_device
from gpucv.predictors.blocks import RowBlocks
from gpucv.predictors.matrices import binning, memory_is_the_fault

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from gpucv.frames import Array
    from gpucv.predictors.base import FitContext

__all__ = ["Fit", "Trainer", "fit_folds", "label_of", "one_by_one", "parameters_of"]


@dataclass(slots=True, eq=False)
class Fit:
    """One booster to be trained, and its rows; a trainer takes these, and lets them go.

    Attributes
    ----------
    X : array or RowBlocks or None
        Features of the rows to learn from, shape (n, n_features).
    y : ndarray of float64, shape (n,)
    valid : tuple of X and y, or None
        Watched where the context asks for early stopping.
    training : mapping
        Parameters of ``xgboost.train``, `max_bin` among them.
    rounds : int
    context : FitContext
    seconds : dict of str to float
        ``quantise_s`` is added up there.
    rows : ndarray of intp, shape (n,), or None
        Which rows of ``context.every_row`` these are, for a trainer that reads them there;
        X is None then.
    """

    X: Array | RowBlocks | None
    y: NDArray[np.float64]
    valid: tuple[Array | RowBlocks, NDArray[np.float64]] | None
    training: Mapping[str, Any]
    rounds: int
    context: FitContext
    seconds: dict[str, float]
    rows: NDArray[np.intp] | None = None


class Trainer(Protocol):
    """Trains boosters."""

    def __call__(self, fits: Sequence[Fit]) -> list[Any]:
        """Return the boosters of `fits`, in their order."""


def one_by_one(fits: Sequence[Fit]) -> list[Any]:
    """Train each booster start to end in the calling thread, one after another."""
    return [_trained(fit) for fit in fits]


def fit_folds(fits: Sequence[Fit], trainer: Trainer = one_by_one) -> list[Any]:
    """Train the boosters of several fits.

    Parameters
    ----------
    fits : sequence of Fit
        Their rows are gone afterwards.
    trainer : Trainer

    Returns
    -------
    list of xgboost.Booster
        In the order of `fits`.

    Raises
    ------
    MemoryError
        If the rows do not fit.
    """
    return trainer(fits)


def _trained(fit: Fit) -> Any:
    import xgboost

    X, valid, context = fit.X, fit.valid, fit.context
    assert X is not None
    fit.X = fit.valid = None
    stopping = context.early_stopping_rounds
    moved = is_on_device(X)
    paged = isinstance(X, RowBlocks) and context.training == "external-memory"
    with (
        memory_is_the_fault(X.shape, context.device),
        binning(fit.training, context, paged, fit.seconds) as matrix_of,
    ):
        train = matrix_of(X, label_of(fit.y))
        evals = []
        if stopping and valid is not None:
            evals.append((matrix_of(valid[0], label_of(valid[1]), train), "validation"))
        del X, valid
        if moved:
            _give_back()
        # Its one warning, of a GPU that is missing, becomes an error of who asked for one.
        with xgboost.config_context(verbosity=0):
            return xgboost.train(
                parameters_of(fit),
                train,
                num_boost_round=fit.rounds,
                evals=evals,
                early_stopping_rounds=stopping if evals else None,
                verbose_eval=False,
            )


def parameters_of(fit: Fit) -> dict[str, Any]:
    """Return everything ``xgboost.train`` is told of a fit."""
    params = dict(fit.training) | {
        "tree_method": "hist",
        "seed": fit.context.seed,
        "nthread": fit.context.threads,
        "device": fit.context.device,
    }
    if any(fit.context.directions):
        params["monotone_constraints"] = fit.context.directions
    return params


def label_of(y: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return targets as XGBoost keeps them, rounded alike.

    Its own cast runs on all cores whatever `nthread` says, and there waits for the folds
    beside it: 107 ms a small fit instead of 6 on a busy machine of four cores.
    """
    with np.errstate(over="ignore"):  # XGBoost refuses an infinite label, and says so
        return y.astype(np.float32)


def _give_back() -> None:
    from gpucv.frames import gpu

    gpu.free_unused()
