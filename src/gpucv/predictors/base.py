"""What a predictor is to the folds, and the list of those there are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import BaseModel, ConfigDict, ValidationError

from gpucv.errors import StudyError, nearest, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from gpucv.machine import Device

__all__ = ["FitContext", "Params", "Predictor", "Registration", "check_params", "make_predictor"]


@dataclass(frozen=True, slots=True)
class FitContext:
    """What one fold gives a predictor besides rows."""

    seed: int
    threads: int
    device: Device
    early_stopping_rounds: int = 0


class Predictor(Protocol):
    """A regressor fitted once, then asked for predictions.

    X is float32 of shape (n, n_features); y and predictions are float64 of shape
    (n,), in whatever space the transform made.
    """

    @property
    def device(self) -> Device:
        """The device the fit really ran on."""

    @property
    def best_iteration(self) -> int | None:
        """The round early stopping chose; None without early stopping."""

    def fit(
        self,
        X: NDArray[np.float32],
        y: NDArray[np.float64],
        valid: tuple[NDArray[np.float32], NDArray[np.float64]] | None,
    ) -> None:
        """Learn from X and y; `valid` is watched where early stopping is on."""

    def predict(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return one prediction per row of X."""

    def importance(self) -> NDArray[np.float64] | None:
        """Return each feature's share of the total gain, or None if there is no such thing."""

    def serialize(self) -> bytes | None:
        """Return the fitted model as XGBoost UBJ, or None if it is nothing to keep."""


class Params(BaseModel):
    """A predictor's parameters: unknown ones are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


@dataclass(frozen=True, slots=True)
class Registration:
    """A predictor's parameters and how it is made from them."""

    params: type[Params]
    make: Callable[[Any, FitContext], Predictor]


def _registry() -> dict[str, Registration]:
    # Imported here, as these files import `Params` from this one.
    from gpucv.predictors.constant import ConstantPredictor, NoParams
    from gpucv.predictors.gbdt import GbdtParams, GbdtPredictor

    return {
        "xgboost": Registration(GbdtParams, GbdtPredictor),
        "constant": Registration(NoParams, ConstantPredictor),
    }


def check_params(name: str, params: Mapping[str, Any]) -> Params:
    """Return `params` of predictor `name`, checked and with every default filled in.

    Raises
    ------
    StudyError
        If there is no such predictor, or a parameter is unknown or out of bounds.
    """
    registry = _registry()
    if name not in registry:
        msg = f"unknown predictor {name!r}{nearest(name, registry)}; known: {', '.join(registry)}"
        raise StudyError(msg)
    model = registry[name].params
    try:
        return model.model_validate(dict(params))
    except ValidationError as error:
        faults = []
        for fault in error.errors():
            key = ".".join(str(part) for part in fault["loc"])
            if fault["type"] == "extra_forbidden":
                faults.append(f"unknown parameter {key!r}{nearest(key, model.model_fields)}")
            else:
                faults.append(f"{key}: {fault['msg'].lower()}, found {shown(fault['input'])}")
        msg = f"predictor {name!r}: {'; '.join(faults)}"
        raise StudyError(msg) from error


def make_predictor(name: str, params: Mapping[str, Any], context: FitContext) -> Predictor:
    """Return an unfitted predictor.

    Raises
    ------
    StudyError
        As `check_params`.
    """
    checked = check_params(name, params)
    return _registry()[name].make(checked, context)
