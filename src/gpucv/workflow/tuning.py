"""Predictors beside their tuned selves: the study `gpucv tune` runs, and what came of it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from gpucv.errors import StudyError, nearest
from gpucv.runs import FoldStore
from gpucv.study import LoadedStudy, study_from_dict

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gpucv.runs import FoldRecord
    from gpucv.study import PredictorSpec
    from gpucv.workflow.preparation import PreparedStudy
    from gpucv.workflow.result import Result

__all__ = [
    "Pair",
    "TuneRequest",
    "TunedFold",
    "finished_records",
    "parse_space",
    "tuned_folds",
    "tuning_study",
]

Range = tuple[int | float, int | float] | tuple[int | float, int | float, str]

SPACES: dict[str, dict[str, Range]] = {
    "xgboost": {
        "max_depth": (2, 10),
        "n_estimators": (50, 1000, "log"),
        "learning_rate": (0.01, 0.3, "log"),
        "min_child_weight": (1.0, 20.0, "log"),
        "subsample": (0.5, 1.0),
        "colsample_bytree": (0.5, 1.0),
        "reg_lambda": (0.1, 10.0, "log"),
    }
}
"""What is tuned unless told otherwise: an order of magnitude around the usual defaults."""


@dataclass(frozen=True, slots=True)
class TuneRequest:
    """What to tune, and how hard.

    Attributes
    ----------
    trials : int
        Candidates drawn in every fold.
    predictor : str
        Label or name of one predictor of the study; "" takes every xgboost.
    space : dict
        Parameters with their bounds, instead of the default space.
    transforms : bool
        Whether the transform of the target is chosen, too.
    """

    trials: int = 20
    predictor: str = ""
    space: dict[str, Range] = field(default_factory=dict)
    transforms: bool = False


@dataclass(frozen=True, slots=True)
class Pair:
    """A predictor and its tuned self, each as (title, transform)."""

    default: tuple[str, str]
    tuned: tuple[str, str]


@dataclass(frozen=True, slots=True)
class TunedFold:
    """One fold with and without tuning.

    Attributes
    ----------
    predictor, transform : str
        Of the default.
    default_mape, tuned_mape : float
        On the rows held out, percent; NaN where that fold did not finish.
    inner_mape : float
        Of the winner on the inner folds, by which it was chosen.
    by : str
        What it was chosen by: other groups than the scheme's where the training rows hold
        only one of those.
    chosen : dict
        Parameters, and the transform where it was to choose; by group where the predictor
        is fitted per group.
    """

    scheme: str
    holdout: str
    predictor: str
    transform: str
    default_mape: float
    tuned_mape: float
    inner_mape: float
    by: str
    chosen: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return the fold as plain data."""
        return asdict(self)


def parse_space(texts: Iterable[str]) -> dict[str, Range]:
    """Read ``key=low,high`` and ``key=low,high,log``, each key once.

    Raises
    ------
    StudyError
        If one is not of that form.
    """
    space: dict[str, Range] = {}
    for text in texts:
        name, _, bounds = text.partition("=")
        low, high, *scale = [*(part.strip() for part in bounds.split(",")), "", ""]
        try:
            ends = (_number(low), _number(high))
        except ValueError:
            ends = (math.nan, math.nan)
        log = [part for part in scale if part]
        if not name.strip() or not all(map(math.isfinite, ends)) or log not in ([], ["log"]):
            msg = f"--space {text!r} is not of the form key=low,high or key=low,high,log"
            raise StudyError(msg)
        if name.strip() in space:
            msg = f"--space {text!r}: {name.strip()} has a range already; name it once"
            raise StudyError(msg)
        space[name.strip()] = (*ends, "log") if log else ends
    return space


def _number(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        return float(text)


def tuning_study(loaded: LoadedStudy, request: TuneRequest) -> tuple[LoadedStudy, list[Pair]]:
    """Return the study with each predictor to tune beside its tuned self, and who is whose.

    Its other predictors are left out.

    Raises
    ------
    StudyError
        If there is no such predictor, it chooses already, or has no space to draw from.
    """
    tuned: list[tuple[PredictorSpec, dict[str, Any]]] = [
        (spec, _tuned(spec, request)) for spec in _to_tune(loaded, request)
    ]
    written: list[dict[str, Any]] = []
    for spec, itself in tuned:
        for each in (_written(spec), itself):
            # Two that differ in the transform alone are one where that is chosen.
            if each not in written:
                written.append(each)
    raw = loaded.study.model_dump(mode="json", by_alias=True, exclude_none=True)
    study = study_from_dict({**raw, "predictors": written}, base=loaded.base, source="tune")
    pairs = [
        Pair((spec.title, spec.transform), (itself["label"], itself["transform"]))
        for spec, itself in tuned
    ]
    return study, pairs


def _to_tune(loaded: LoadedStudy, request: TuneRequest) -> list[PredictorSpec]:
    predictors = loaded.study.predictors
    if request.predictor:
        titles = [spec.title for spec in predictors]
        found = [spec for spec in predictors if spec.title == request.predictor]
        if not found:
            msg = (
                f"--predictor {request.predictor!r} is none of the study's"
                f"{nearest(request.predictor, titles)}; it has {', '.join(dict.fromkeys(titles))}"
            )
            raise StudyError(msg)
    else:
        found = [spec for spec in predictors if spec.name in SPACES and not _searches(spec)]
        if not found:
            msg = (
                f"the study has no {' or '.join(SPACES)} predictor to tune; name another with "
                "--predictor, and what to tune with --space"
            )
            raise StudyError(msg)
    for spec in found:
        if _searches(spec):
            msg = f"predictor {spec.title!r} chooses its parameters already: use gpucv run"
            raise StudyError(msg)
        if not request.space and spec.name not in SPACES:
            msg = (
                f"predictor {spec.title!r}: what to tune of {spec.name!r} is not known; say it "
                "with --space key=low,high"
            )
            raise StudyError(msg)
    return found


def _searches(spec: PredictorSpec) -> bool:
    return bool(spec.choose and (spec.choose.grid or spec.choose.space))


def _written(spec: PredictorSpec) -> dict[str, Any]:
    return spec.model_dump(mode="json", exclude_none=True)


def _tuned(spec: PredictorSpec, request: TuneRequest) -> dict[str, Any]:
    """Return the tuned self of `spec`: by groups, whatever it chose its transform by."""
    space = request.space or SPACES[spec.name]
    before = spec.choose
    choose: dict[str, Any] = {
        "by": "groups",
        "group": before.group if before else "",
        "transform": list(before.transform) if before else [],
        "space": {name: list(bounds) for name, bounds in space.items()},
        "trials": request.trials,
    }
    transform = "auto" if request.transforms else spec.transform
    if request.transforms and spec.transform == "ratio":
        choose["transform"] = ["ratio", "raw", "log"]
    return {
        **_written(spec),
        "label": f"{spec.title} tuned",
        "transform": transform,
        "choose": choose,
    }


def finished_records(prepared: PreparedStudy, result: Result) -> list[FoldRecord]:
    """Return the records of a run, in the order of its plan."""
    store = FoldStore(result.path)
    found = [store.read(task.fold_id, task.key) for task in prepared.tasks]
    return [record for record in found if record is not None]


def tuned_folds(records: Sequence[FoldRecord], pairs: Sequence[Pair]) -> list[TunedFold]:
    """Return every fold of every pair, in the order of the plan."""
    by_place = {(r.scheme, r.holdout, r.predictor, r.transform): r for r in records}
    places = dict.fromkeys((record.scheme, record.holdout) for record in records)
    return [
        _fold(
            place, pair, by_place.get((*place, *pair.default)), by_place.get((*place, *pair.tuned))
        )
        for pair in pairs
        for place in places
    ]


def _fold(
    place: tuple[str, str], pair: Pair, default: FoldRecord | None, tuned: FoldRecord | None
) -> TunedFold:
    chosen = tuned.chosen if tuned else {}
    whole = chosen.get("by_group", {"": chosen})
    hidden = {"by", "candidates"} | ({"transform"} if pair.tuned[1] != "auto" else set())
    told = {
        group: {key: value for key, value in choice.items() if key not in hidden}
        for group, choice in whole.items()
    }
    scores = [
        candidate["mape"]
        for candidate in chosen.get("candidates", [])
        if candidate["mape"] is not None
    ]
    return TunedFold(
        *place,
        *pair.default,
        default_mape=_mape(default),
        tuned_mape=_mape(tuned),
        inner_mape=min(scores, default=math.nan),
        by="; ".join(dict.fromkeys(choice["by"] for choice in whole.values() if choice)),
        chosen=told[""] if set(told) == {""} else told,
    )


def _mape(record: FoldRecord | None) -> float:
    return record.scores.get("test_mape", math.nan) if record else math.nan
