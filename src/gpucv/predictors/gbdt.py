"""Gradient-boosted trees: XGBoost's histogram trainer, on a CPU or a GPU.

Rows go straight into a `QuantileDMatrix` (the binned matrix alone, no second copy), as
`XGBRegressor` does for ``hist``; see `gpucv.predictors.matrices`.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from gpucv.errors import DataError, DeviceUnavailableError
from gpucv.predictors.base import BinnedParams, Cuts, FitContext
from gpucv.predictors.blocks import RowBlocks
from gpucv.predictors.matrices import margins, memory_is_the_fault, predict_rows
from gpucv.predictors.trainers import Fit, fit_folds

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from gpucv.frames import Array
    from gpucv.machine import Device

__all__ = ["GbdtParams", "GbdtPredictor", "XgboostPredictor"]

_BYTES_PER_NODE = 42.0
"""Of a node in XGBoost's UBJ, measured on 300 trees of depth 6 (v3.2.0)."""
_LOG_LINKED = ("reg:gamma", "reg:tweedie")
"""Objectives whose trees add up to the logarithm of what is predicted."""
_UNBOUNDED_DEPTH = 32
"""Stands for a depth that nothing bounds."""


class GbdtParams(BinnedParams):
    """XGBoost's parameters under their own names; the defaults are the published study's."""

    n_estimators: int = Field(default=300, ge=1, le=1_000_000)
    max_depth: int = Field(default=6, ge=0, le=64)
    learning_rate: float = Field(default=0.05, gt=0)
    min_child_weight: float = Field(default=5.0, ge=0)
    subsample: float = Field(default=0.8, gt=0, le=1)
    colsample_bytree: float = Field(default=0.8, gt=0, le=1)
    colsample_bylevel: float = Field(default=1.0, gt=0, le=1)
    colsample_bynode: float = Field(default=1.0, gt=0, le=1)
    gamma: float = Field(default=0.0, ge=0)
    reg_alpha: float = Field(default=0.0, ge=0)
    reg_lambda: float = Field(default=1.0, ge=0)
    max_delta_step: float = Field(default=0.0, ge=0)
    max_bin: int = Field(default=256, ge=2, le=65_536)
    max_leaves: int = Field(default=0, ge=0)
    grow_policy: Literal["depthwise", "lossguide"] = "depthwise"
    objective: Literal[
        "reg:squarederror", "reg:absoluteerror", "reg:pseudohubererror", "reg:gamma", "reg:tweedie"
    ] = "reg:squarederror"


class XgboostPredictor:
    """One booster, trained start to end in the calling thread.

    Parameters
    ----------
    training : mapping
        Parameters of ``xgboost.train``, `max_bin` among them.
    rounds : int
        Rounds of boosting; each adds ``num_parallel_tree`` trees, of which 1 is usual.
    context : FitContext
    cuts : {"fold", "shared"}
        See `gpucv.predictors.base.BinnedParams`.

    Attributes
    ----------
    seconds : dict of str to float
        ``quantise_s``: how long binning took.

    Raises
    ------
    DeviceUnavailableError
        From `fit`, if "cuda" was asked for and XGBoost quietly trained elsewhere.
    MemoryError
        If the rows do not fit.
    """

    def __init__(
        self,
        training: Mapping[str, Any],
        rounds: int,
        context: FitContext,
        cuts: Cuts = "fold",
    ) -> None:
        self._training = dict(training)
        self._rounds = rounds
        self._context = context if cuts == "shared" else replace(context, every_row=None)
        self.seconds: dict[str, float] = {}
        # Loading XGBoost takes a second or more: here, not in `fit`, whose time is reported.
        import xgboost

        self._xgboost = xgboost
        self._booster: Any = None
        self._n_features = 0
        self._stops_early = False
        self._device: Device = context.device

    @property
    def device(self) -> Device:
        """The device XGBoost says it trained on."""
        return self._device

    @property
    def best_iteration(self) -> int | None:
        """The round early stopping chose; None without early stopping."""
        return int(self._booster.best_iteration) if self._stops_early else None

    def fit(
        self,
        X: Array | RowBlocks,
        y: NDArray[np.float64],
        valid: tuple[Array | RowBlocks, NDArray[np.float64]] | None,
    ) -> None:
        """Train on X and y; `valid` is evaluated only where early stopping is on.

        An evaluation set costs a third to two thirds of the training time and
        changes no tree, so it is not passed for its own sake. Rows given as blocks are
        paged in while trees grow where training is from external memory, else binned one by
        one; rows that nobody else holds are freed once binned.
        """
        _must_suit_objective(self._training["objective"], y)
        self._n_features = X.shape[1]
        self._stops_early = bool(self._context.early_stopping_rounds) and valid is not None
        one = Fit(X, y, valid, self._training, self._rounds, self._context, self.seconds)
        del X, valid
        (self._booster,) = fit_folds([one])
        self._device = self._effective_device()
        if self._device != self._context.device:
            msg = (
                f"device {self._context.device!r} was asked for, and XGBoost trained on "
                f"{self._device!r}; check the driver and the XGBoost wheel, or use device 'cpu'"
            )
            raise DeviceUnavailableError(msg)

    def predict(self, X: Array | RowBlocks) -> Array:
        """Return one prediction per row as float64, with the rounds early stopping chose.

        They lie where X does, and those of blocks on the host.
        """
        if isinstance(X, RowBlocks):
            from gpucv.predictors.paged import in_blocks

            return in_blocks(self.predict, X, self._context.device)
        if not len(X):
            return np.empty(0)
        best = self.best_iteration
        rounds = (0, 0) if best is None else (0, best + 1)
        with memory_is_the_fault(X.shape, self._context.device):
            predicted = predict_rows(self._booster, X, rounds, self._context)
        return predicted.astype(np.float64)

    def rounds(self) -> int:
        """Return how many rounds predictions use: all, or up to the one early stopping chose."""
        best = self.best_iteration
        return self._rounds if best is None else best + 1

    def stages(
        self, X: NDArray[np.float32], rounds: Sequence[int]
    ) -> Iterator[NDArray[np.float64]]:
        """Yield the predictions of X after each of `rounds`."""
        logarithmic = self._training["objective"] in _LOG_LINKED
        with memory_is_the_fault(X.shape, self._context.device):
            for margin in margins(self._booster, X, rounds, self._context):
                yield (np.exp(margin) if logarithmic else margin).astype(np.float64)

    def importance(self) -> NDArray[np.float64]:
        """Return each feature's share of the summed mean gain, as XGBRegressor normalises it."""
        gain = np.zeros(self._n_features)
        for name, value in self._booster.get_score(importance_type="gain").items():
            gain[int(name.removeprefix("f"))] = value
        total = gain.sum()
        return gain / total if total else gain

    def contribution_work(self) -> float:
        """Return nodes times squared depth: what SHAP values of a row cost, up to a factor.

        The nodes are estimated from the size of the file, which is quick to make.
        """
        depth = self._training["max_depth"] or _UNBOUNDED_DEPTH
        return len(self.serialize()) / _BYTES_PER_NODE * depth**2

    def contributions(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the SHAP values of each row, shape (n, n_features), in what was learnt."""
        best = self.best_iteration
        rounds = (0, 0) if best is None else (0, best + 1)
        rows = self._xgboost.DMatrix(X, nthread=self._context.threads)
        with memory_is_the_fault(X.shape, self._context.device):
            found = self._booster.predict(rows, pred_contribs=True, iteration_range=rounds)
        return np.asarray(found[:, :-1], dtype=np.float64)  # the last one is the mean

    def serialize(self) -> bytes:
        """Return the booster as UBJ, features named f0, f1, ... by position."""
        return bytes(self._booster.save_raw("ubj"))

    def _effective_device(self) -> Device:
        config = json.loads(self._booster.save_config())
        device: str = config["learner"]["generic_param"]["device"]
        return "cuda" if device.startswith("cuda") else "cpu"


def _must_suit_objective(objective: str, y: NDArray[np.float64]) -> None:
    """Refuse targets that a distribution has no probability for, before XGBoost does.

    Raises
    ------
    DataError
    """
    outside = {"reg:gamma": y <= 0, "reg:tweedie": y < 0}.get(objective)
    if outside is not None and outside.any():
        least = "above 0" if objective == "reg:gamma" else "0 or above"
        msg = (
            f"objective {objective!r} needs targets {least}, and {int(outside.sum()):,} of "
            f"{len(y):,} are not (the smallest is {y.min():g}); use 'reg:squarederror', another "
            "transform, or drop these rows"
        )
        raise DataError(msg)


class GbdtPredictor(XgboostPredictor):
    """Boosting as the published study did it: one tree a round, each on the rest's error."""

    def __init__(self, params: GbdtParams, context: FitContext) -> None:
        training = params.model_dump(exclude={"n_estimators", "cuts"})
        super().__init__(training, params.n_estimators, context, params.cuts)
