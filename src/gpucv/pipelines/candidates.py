"""What a predictor offers to choose among: transforms and parameters, checked beforehand."""

from __future__ import annotations

from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from gpucv.errors import StudyError
from gpucv.predictors import check_params
from gpucv.study import ChooseSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpucv.pipelines.rows import Examples
    from gpucv.study import PredictorSpec, TransformName

__all__ = [
    "INNER_FOLDS",
    "candidate_of",
    "check_candidates",
    "chooses",
    "listed",
    "n_fits",
    "transforms_of",
]

INNER_FOLDS = 5
"""Most inner folds: more groups than that are held out several at a time."""
_TRANSFORMS_OF_AUTO = 3


def chooses(spec: PredictorSpec) -> bool:
    """Return whether a fold has anything to choose."""
    return spec.transform == "auto" or spec.choose is not None


def check_candidates(spec: PredictorSpec) -> None:
    """Refuse candidates that no fold could fit, before any fold runs.

    Raises
    ------
    StudyError
        If a parameter of the grid or space is unknown, or a value or bound is not one it
        takes.
    """
    rule = spec.choose
    if rule is None:
        return
    offered = [("grid", name, value) for name, values in rule.grid.items() for value in values]
    offered += [("space", name, end) for name, ends in rule.space.items() for end in ends[:2]]
    for where, name, value in offered:
        try:
            check_params(spec.name, {**spec.params, name: value})
        except StudyError as error:
            told = str(error).removeprefix(f"predictor {spec.name!r}: ")
            msg = f"predictor {spec.title!r}: choose.{where}: {told}"
            raise StudyError(msg) from error


def transforms_of(
    spec: PredictorSpec, train: Examples, watched: Examples | None = None
) -> tuple[TransformName, ...]:
    """Return the transforms to choose among: those named, or all that the data allows.

    The rows that early stopping watches are transformed as well, so they must allow it too.
    The speed of light counts as known only where every row of the table has one, those
    to be predicted included; it is an input, so no target is looked at for it.
    """
    rule = spec.choose or ChooseSpec()
    if spec.transform != "auto":
        return (spec.transform,)
    if rule.transform:
        return rule.transform
    allowed: list[TransformName] = ["raw"]
    least = min(rows.y.min(initial=np.inf) for rows in (train, watched) if rows is not None)
    if least > 0:
        allowed.append("log")
        light = train.inputs.light
        if light is not None and np.isfinite(light).all() and (light > 0).all():
            allowed.append("utilisation")
    return tuple(allowed)


def listed(
    rule: ChooseSpec, transforms: tuple[TransformName, ...]
) -> Iterator[tuple[TransformName, dict[str, Any]]]:
    """Yield the candidates known beforehand: a grid's, or the parameters as they stand."""
    for transform in transforms:
        for values in product(*rule.grid.values()):
            yield transform, dict(zip(rule.grid, values, strict=True))


def candidate_of(
    spec: PredictorSpec, transform: TransformName, params: dict[str, Any]
) -> PredictorSpec:
    """Return `spec` as one candidate: nothing left to choose."""
    return spec.model_copy(
        update={
            "transform": transform,
            "params": {**spec.params, **params},
            "smearing": spec.smearing and transform != "raw",  # which has no exponential
            "choose": None,
        }
    )


def n_fits(spec: PredictorSpec) -> int:
    """Return about how many times one fold fits the predictor; 1 where nothing is chosen."""
    if not chooses(spec):
        return 1
    rule = spec.choose or ChooseSpec()
    of_auto = len(rule.transform) or _TRANSFORMS_OF_AUTO
    transforms = of_auto if spec.transform == "auto" else 1
    candidates = transforms * prod(map(len, rule.grid.values())) + rule.trials
    return candidates if rule.by == "validation" else candidates * INNER_FOLDS + 1
