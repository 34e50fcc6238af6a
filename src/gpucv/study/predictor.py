"""What learns the target, and how what it learns is chosen, as a study says it."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)

from gpucv.study.section import Name, Section, Value

__all__ = ["ChooseSpec", "PredictorSpec", "TransformName"]

TransformName = Literal["raw", "log", "utilisation", "ratio"]
Bound = int | float
Range = tuple[Bound, Bound] | tuple[Bound, Bound, Literal["log"]]


class ChooseSpec(Section):
    """How each fold chooses among candidates, from its own training rows alone.

    Attributes
    ----------
    by : {"groups", "validation"}
        "groups": cross-validation inside the training rows, whole groups held out in
        turn, then fitted anew with what won. "validation": the fold's validation rows
        (what won there is kept as fitted).
    group : str
        The column whose groups the inner cross-validation holds out; by default those of
        the scheme.
    transform : tuple of str
        Transforms to choose among; for ``transform = "auto"``, by default all that the
        data allows.
    grid : dict
        Parameters, each with the values to try: every combination is a candidate.
    space : dict
        Parameters, each with ``[low, high]`` or ``[low, high, "log"]``. Two whole bounds
        draw whole numbers.
    trials : int
        Candidates Optuna draws from the space, after the parameters as they stand.
    """

    by: Literal["groups", "validation"] = "groups"
    group: str = ""
    transform: tuple[TransformName, ...] = ()
    grid: dict[Name, tuple[Value, ...]] = Field(default_factory=dict)
    space: dict[Name, Range] = Field(default_factory=dict)
    trials: int = Field(default=0, ge=0, le=100_000)

    @model_validator(mode="after")
    def _must_offer_candidates(self) -> Self:
        if self.grid and self.space:
            msg = "has both grid and space; give one"
            raise ValueError(msg)
        if self.group and self.by == "validation":
            msg = "group belongs to by = 'groups'; leave one of them out"
            raise ValueError(msg)
        if bool(self.space) != bool(self.trials):
            msg = "space and trials belong together: how many candidates to draw from it"
            raise ValueError(msg)
        empty = [name for name, values in self.grid.items() if not values]
        if empty:
            msg = f"grid.{empty[0]} lists no value"
            raise ValueError(msg)
        for name, bounds in self.space.items():
            if not bounds[0] < bounds[1] or (len(bounds) == 3 and bounds[0] <= 0):
                msg = f"space.{name} must rise, from above 0 where it is logarithmic"
                raise ValueError(msg)
        return self


class PredictorSpec(Section):
    """A regressor with its parameters, its features and the transform of its target.

    Attributes
    ----------
    name : str
        One of the registered predictors (`gpucv.predictors`).
    label : str
        Names it in tables where one study has it twice.
    transform : str
        What is learnt instead of the target: ``raw`` (the target), ``log``,
        ``utilisation`` (log of time / speed of light), ``ratio`` (log of time / what
        `baseline` predicts), or ``auto`` (chosen by `choose`, inside each fold).
    features : str
        A feature set; by default the study's. Predictors of a fixed form take their own
        inputs, and none of these may be named for them.
    baseline : str
        The predictor whose answer ``ratio`` divides by; it is fitted in every fold to
        the same rows, with `baseline_params` and the predictor's seed.
    floor : float
        Quantile of the training targets below which nothing is predicted,
        ``max(c, prediction)``; 0 has no floor.
    smearing : bool
        Correct the bias of the inverse by the mean of the exponentiated residuals
        (Duan 1983).
    monotone : bool
        More tokens never take less time: features that rise with tokens are constrained,
        those that may fall are left out. Not with ``utilisation``; with ``ratio``, times
        rise if the baseline's do.
    per : str or tuple of str
        Fit one per value (or combination) of these columns. Rows of a value no training
        row has are predicted by a donor.
    donor : {"elsewhere", "nearest"}
        Which trained group answers for one never seen: the one that predicts the others
        best, or the one whose features lie nearest. Only groups that agree with it in the
        columns of `per` that are not held out are asked, where there are any.
    choose : ChooseSpec, optional
    seed : int, optional
        By default the study's.
    params : dict
    """

    name: Name = "xgboost"
    label: str = ""
    transform: Literal["raw", "log", "utilisation", "ratio", "auto"] = "raw"
    features: str = ""
    baseline: str = ""
    baseline_params: dict[str, Any] = Field(default_factory=dict)
    floor: float = Field(default=0.0, ge=0, lt=1)
    smearing: bool = False
    monotone: bool = False
    per: Name | tuple[Name, ...] = ()
    donor: Literal["elsewhere", "nearest"] = "elsewhere"
    choose: ChooseSpec | None = None
    seed: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    params: dict[str, Any] = Field(default_factory=dict)

    @field_validator("per")
    @classmethod
    def _one_column_is_one_name(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        """Write ``["gpu"]`` as ``"gpu"``: equal studies have equal fingerprints and keys."""
        return value[0] if isinstance(value, tuple) and len(value) == 1 else value

    @field_validator("choose")
    @classmethod
    def _auto_needs_no_rule(
        cls, value: ChooseSpec | None, info: ValidationInfo
    ) -> ChooseSpec | None:
        """Leave out a rule that says nothing: ``transform = "auto"`` chooses without one."""
        return None if info.data.get("transform") == "auto" and value == ChooseSpec() else value

    @property
    def title(self) -> str:
        """The name shown in tables."""
        return self.label or self.name

    @property
    def per_columns(self) -> tuple[str, ...]:
        """The columns of `per`."""
        return (self.per,) if isinstance(self.per, str) else self.per

    @model_serializer(mode="wrap")
    def _unsaid_where_unused(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave what is not set out: fingerprints and keys of earlier studies stay theirs."""
        said: dict[str, Any] = serialise(self)
        for name in _LATER_KEYS:
            field = type(self).model_fields[name]
            if getattr(self, name) == field.get_default(call_default_factory=True):
                said.pop(name, None)
        return said

    @model_validator(mode="after")
    def _must_fit_together(self) -> Self:
        if (self.transform == "ratio") != bool(self.baseline) and not self._chooses_ratio:
            msg = "transform 'ratio' and baseline belong together: the predictor to divide by"
            raise ValueError(msg)
        if self._chooses_ratio and not self.baseline:
            msg = "choose.transform lists 'ratio', which needs a baseline to divide by"
            raise ValueError(msg)
        if self.baseline_params and not self.baseline:
            msg = "baseline_params belong to a baseline, and none is named"
            raise ValueError(msg)
        if self.donor != "elsewhere" and not self.per:
            msg = f"donor {self.donor!r} needs per: a predictor not fitted per group has no donors"
            raise ValueError(msg)
        if self.baseline == self.name:
            msg = f"baseline {self.baseline!r} is the predictor itself"
            raise ValueError(msg)
        if self.smearing and self.transform == "raw":
            msg = "smearing corrects the inverse of a logarithm, and 'raw' has none"
            raise ValueError(msg)
        if self.monotone and self.transform in ("utilisation", "auto"):
            msg = (
                f"monotone constrains what is learnt, and with {self.transform!r} that may fall "
                "while time rises; use 'raw', 'log' or 'ratio'"
            )
            raise ValueError(msg)
        if self.choose and self.choose.transform and self.transform != "auto":
            msg = "choose.transform needs transform = 'auto'"
            raise ValueError(msg)
        if self.choose and self.transform != "auto" and not (self.choose.grid or self.choose.space):
            msg = "choose offers nothing: give it a grid or a space, or set transform = 'auto'"
            raise ValueError(msg)
        return self

    @property
    def _chooses_ratio(self) -> bool:
        return (
            self.transform == "auto"
            and bool(self.choose)
            and ("ratio" in (self.choose.transform if self.choose else ()))
        )


_LATER_KEYS = (
    "features",
    "baseline",
    "baseline_params",
    "floor",
    "smearing",
    "monotone",
    "per",
    "donor",
    "choose",
    "seed",
)
