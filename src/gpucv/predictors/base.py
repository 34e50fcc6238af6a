"""What a predictor is to the folds, and the list of those there are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from pydantic import (
    BaseModel,
    ConfigDict,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
)

from gpucv.errors import StudyError, nearest, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from gpucv.machine import Device
    from gpucv.study import Training

__all__ = [
    "BinnedParams",
    "Contributing",
    "Cuts",
    "EveryRow",
    "FitContext",
    "Params",
    "Predictor",
    "Registration",
    "Staged",
    "WithCoefficients",
    "WithSeconds",
    "check_params",
    "make_predictor",
    "must_heed_directions",
    "registration",
]


Cuts = Literal["fold", "shared"]
"""Where the quantiles that bin features are taken: over the rows of a fit, as XGBoost does, or
once over every row of the table, features of rows held out among them; targets never are."""


@dataclass(frozen=True, slots=True, eq=False)
class EveryRow:
    """The features of every row of a table, as one predictor reads them.

    Attributes
    ----------
    name : hashable
        Equal for equal features.
    rows : callable
        Returns them, made anew for each call: an array of shape (n_table, n_features), or
        `RowBlocks`.
    """

    name: Hashable
    rows: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class FitContext:
    """What one fold gives a predictor besides rows.

    Attributes
    ----------
    seed, threads, device, early_stopping_rounds
    directions : tuple of int
        Empty, or for each feature 1 where predictions must not fall as it rises, else 0.
    training : Training
        How a booster is trained.
    every_row : EveryRow or None
        What shared cuts are taken over; None where there is no table beside the rows.
    """

    seed: int
    threads: int
    device: Device
    early_stopping_rounds: int = 0
    directions: tuple[int, ...] = ()
    training: Training = "in-memory"
    every_row: EveryRow | None = None


class Predictor(Protocol):
    """A regressor fitted once, then asked for predictions.

    X is float32 of shape (n, n_features); y and predictions are float64 of shape
    (n,), in whatever space the transform made. One registered `on_device` may be given X
    in the memory of a GPU, and then predicts there, or as `RowBlocks`; y is on the host.
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


@runtime_checkable
class WithCoefficients(Protocol):
    """A predictor whose whole knowledge is a few numbers, each with a name and a unit."""

    def coefficients(self) -> dict[str, float]:
        """Return what was fitted, by name."""


@runtime_checkable
class Contributing(Protocol):
    """A predictor that can say what each feature adds to a prediction."""

    def contribution_work(self) -> float:
        """Return what a row's contributions cost: nodes of its trees times squared depth."""

    def contributions(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return what each feature adds to each prediction, (n, n_features); X on the host."""


@runtime_checkable
class Staged(Protocol):
    """A predictor made round by round, which can say what it would answer after any of them."""

    def rounds(self) -> int:
        """Return how many rounds its predictions use."""

    def stages(
        self, X: NDArray[np.float32], rounds: Sequence[int]
    ) -> Iterator[NDArray[np.float64]]:
        """Yield the predictions of X after each of `rounds`, which rise; X is on the host."""


@runtime_checkable
class WithSeconds(Protocol):
    """A predictor that says how long parts of its fit took, as `FoldRecord.seconds` has them."""

    seconds: dict[str, float]


class Params(BaseModel):
    """A predictor's parameters: unknown ones are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class BinnedParams(Params):
    """Parameters of a predictor whose features are binned.

    Attributes
    ----------
    cuts : {"fold", "shared"}
        Where bins end: at quantiles of the rows fitted, or of every row of the table, which
        takes one sketch instead of one a fold. Shared cuts follow from features of the rows
        held out as well (from no target), so a published figure is best taken with "fold".
    """

    cuts: Cuts = "fold"

    @model_serializer(mode="wrap")
    def _unsaid_where_of_the_fold(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave the default out: keys of folds that were run before it could be said stay."""
        said: dict[str, Any] = serialise(self)
        if self.cuts == "fold":
            said.pop("cuts", None)
        return said


@dataclass(frozen=True, slots=True)
class Registration:
    """A predictor's parameters and how it is made from them.

    Attributes
    ----------
    params : type of Params
    make : callable
    inputs : tuple of str or None
        Names of the inputs a predictor of fixed form reads, in the order of its X;
        None for one that takes whatever features the study gives.
    heeds_directions : bool
        Whether it can be made monotone: it heeds `FitContext.directions`.
    raw_only : bool
        Whether its form is that of a time, and means nothing of a logarithm.
    answers_in_us : bool
        Whether its form has terms in microseconds, so that the target must be in them.
    reads_labels : bool
        Whether a feature that is the code of a label tells it something; a predictor that
        takes every feature for a magnitude does not get those.
    on_device : bool
        Whether it takes rows that lie on a GPU, and rows in blocks; others get rows of the
        host, on a GPU machine as well.
    """

    params: type[Params]
    make: Callable[[Any, FitContext], Predictor]
    inputs: tuple[str, ...] | None = None
    heeds_directions: bool = False
    raw_only: bool = False
    answers_in_us: bool = False
    reads_labels: bool = True
    on_device: bool = False


def _registry() -> dict[str, Registration]:
    # Imported here, as these files import `Params` from this one.
    from gpucv.predictors.constant import ConstantPredictor, NoParams
    from gpucv.predictors.forest import ForestParams, ForestPredictor
    from gpucv.predictors.gbdt import GbdtParams, GbdtPredictor
    from gpucv.predictors.launch import LAUNCH_INPUTS, LaunchParams, LaunchPredictor
    from gpucv.predictors.layered import LAYERED_INPUTS, LayeredParams, LayeredPredictor
    from gpucv.predictors.linear import (
        BlackboxParams,
        BlackboxPredictor,
        FairBatchingParams,
        FairBatchingPredictor,
    )
    from gpucv.predictors.ridge import RidgeParams, RidgePredictor
    from gpucv.predictors.roofline import ROOFLINE_INPUTS, RooflineParams, RooflinePredictor
    from gpucv.predictors.splitwise import SPLITWISE_INPUTS, SplitwiseParams, SplitwisePredictor
    from gpucv.predictors.trained_physics import (
        TRAINED_PHYSICS_INPUTS,
        TrainedPhysicsParams,
        TrainedPhysicsPredictor,
    )
    from gpucv.predictors.vidur import VIDUR_INPUTS, VidurParams, VidurPredictor

    return {
        "xgboost": Registration(GbdtParams, GbdtPredictor, heeds_directions=True, on_device=True),
        "constant": Registration(NoParams, ConstantPredictor, inputs=()),
        "random-forest": Registration(
            ForestParams, ForestPredictor, heeds_directions=True, on_device=True
        ),
        "ridge": Registration(RidgeParams, RidgePredictor, reads_labels=False),
        "blackbox": Registration(
            BlackboxParams, BlackboxPredictor, BlackboxPredictor.inputs, raw_only=True
        ),
        "fairbatching": Registration(
            FairBatchingParams, FairBatchingPredictor, FairBatchingPredictor.inputs, raw_only=True
        ),
        "roofline": Registration(RooflineParams, RooflinePredictor, ROOFLINE_INPUTS, raw_only=True),
        "splitwise": Registration(
            SplitwiseParams, SplitwisePredictor, SPLITWISE_INPUTS, raw_only=True
        ),
        "trained-physics": Registration(
            TrainedPhysicsParams,
            TrainedPhysicsPredictor,
            TRAINED_PHYSICS_INPUTS,
            raw_only=True,
            answers_in_us=True,
        ),
        "vidur": Registration(VidurParams, VidurPredictor, VIDUR_INPUTS),
        "launch-roofline": Registration(
            LaunchParams, LaunchPredictor, LAUNCH_INPUTS, raw_only=True, answers_in_us=True
        ),
        "layered-roofline": Registration(
            LayeredParams, LayeredPredictor, LAYERED_INPUTS, raw_only=True, answers_in_us=True
        ),
    }


def registration(name: str) -> Registration:
    """Return what is known of predictor `name`.

    Raises
    ------
    StudyError
        If there is no such predictor.
    """
    registry = _registry()
    if name not in registry:
        msg = f"unknown predictor {name!r}{nearest(name, registry)}; known: {', '.join(registry)}"
        raise StudyError(msg)
    return registry[name]


def must_heed_directions(name: str) -> None:
    """Refuse a predictor that cannot be made monotone.

    Raises
    ------
    StudyError
        Naming those that can.
    """
    if registration(name).heeds_directions:
        return
    able = ", ".join(known for known, each in _registry().items() if each.heeds_directions)
    msg = f"predictor {name!r} cannot be made monotone; {able} can"
    raise StudyError(msg)


def check_params(name: str, params: Mapping[str, Any]) -> Params:
    """Return `params` of predictor `name`, checked and with every default filled in.

    Raises
    ------
    StudyError
        If there is no such predictor, or a parameter is unknown or out of bounds.
    """
    model = registration(name).params
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
    return registration(name).make(checked, context)
