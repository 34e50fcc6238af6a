"""Which features a study's predictors read, each computed once, and where each finds its own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from gpucv.errors import DataError, StudyError
from gpucv.features.sets import (
    label_names,
    must_be_set,
    sets_of,
    token_directions,
    view_name,
    view_sets,
)
from gpucv.features.work import SHAPE_COLUMNS, work_of
from gpucv.frames import to_host
from gpucv.predictors import registration
from gpucv.schema import GROUP_COLUMNS, PHYSICS_COLUMNS, SNAPSHOT_COLUMNS, STEP_COLUMNS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gpucv.catalog import Catalog
    from gpucv.features.contract import FeatureSet, WithTokens
    from gpucv.frames import Columns
    from gpucv.study import PredictorSpec, Study

__all__ = [
    "BLOCK_ROWS",
    "ViewPlan",
    "baseline_of",
    "plan_views",
    "reads_physics30",
    "speed_of_light",
    "work_columns",
]

BLOCK_ROWS = 1_000_000
"""Rows whose features are computed at once."""


@dataclass(frozen=True, slots=True)
class ViewPlan:
    """What to compute, and who reads it.

    Attributes
    ----------
    sets : list of FeatureSet
        Each named set once, with every feature some predictor reads.
    raw : tuple of str
        Columns taken as they are; they stand behind the sets.
    by_view : dict of str to tuple of str
        The features of every view, in the order its predictor reads them.
    """

    sets: list[FeatureSet[Any]]
    raw: tuple[str, ...]
    by_view: dict[str, tuple[str, ...]]

    def positions(self) -> dict[str, tuple[int, ...]]:
        """Return each view's columns; {} where all that is read are the study's features."""
        if all(view == "" or not wanted for view, wanted in self.by_view.items()):
            return {}
        names = (*(f.name for part in self.sets for f in part.features), *self.raw)
        at = {name: position for position, name in enumerate(names)}
        return {view: tuple(at[name] for name in wanted) for view, wanted in self.by_view.items()}

    def tokens(self) -> dict[str, WithTokens]:
        """Return what each feature of a set does with more tokens."""
        return token_directions(self.sets)

    def labels(self) -> tuple[str, ...]:
        """Return which features of the sets are codes of labels."""
        return label_names(self.sets)


def plan_views(study: Study, columns: Columns) -> ViewPlan:
    """Return what the predictors of a study read of a table with these columns.

    Raises
    ------
    StudyError
        If a feature set or predictor is unknown, or features are named for a predictor
        that reads its own inputs.
    DataError
        If the table lacks what a set is made from.
    """
    for spec in study.predictors:
        _must_read_features(spec)
    specs = _with_baselines(study)
    wanted = {view_name(spec): view_sets(spec, study.features, columns) for spec in specs}
    if _reads_own(study):
        wanted[""] = sets_of(study.features, columns)
    raw = study.features.columns if "" in wanted else ()
    by_view: dict[str, tuple[str, ...]] = {}
    parts: dict[str, FeatureSet[Any]] = {}
    # The study's own features first: where no predictor reads others, X is what it always was.
    for view in sorted(wanted, key=lambda view: view != ""):
        own = raw if view == "" else ()
        sets = wanted[view] if view == "" else [_apart_from(raw, part) for part in wanted[view]]
        by_view[view] = (*(f.name for part in sets for f in part.features), *own)
        for part in sets:
            known = parts.get(part.name)
            parts[part.name] = part if known is None else _union(known, part)
    return ViewPlan(list(parts.values()), raw, by_view)


def _must_read_features(spec: PredictorSpec) -> None:
    """Refuse an unknown set, and a set named for a predictor that would never read it."""
    if not spec.features:
        return
    must_be_set(spec.features)
    divides = spec.baseline and registration(spec.baseline).inputs is None
    if registration(spec.name).inputs is None or divides:
        return
    msg = (
        f"predictor {spec.title!r} names features = {spec.features!r}, and {spec.name!r} reads "
        "inputs of its own; leave features out"
    )
    raise StudyError(msg)


def _apart_from(raw: tuple[str, ...], part: FeatureSet[Any]) -> FeatureSet[Any]:
    """Return a set none of whose features bears the name of a column taken as it is.

    Both stand in one table, and each predictor finds its own by name.
    """
    features = tuple(
        replace(feature, name=f"{part.name} {feature.name}") if feature.name in raw else feature
        for feature in part.features
    )
    return replace(part, features=features)


def reads_physics30(study: Study) -> bool:
    """Tell whether some predictor reads the published study's features."""
    own = study.features.set == "physics-30" and _reads_own(study)
    return own or "physics-30" in {view_name(spec) for spec in _with_baselines(study)}


def _reads_own(study: Study) -> bool:
    """Tell whether some predictor reads the study's own features, or none reads anything.

    In the latter case they are computed all the same: so was a study of constants always.
    """
    specs = _with_baselines(study)
    return "" in map(view_name, specs) or all(
        registration(spec.name).inputs == () for spec in specs
    )


def _with_baselines(study: Study) -> list[PredictorSpec]:
    """Return the predictors of a study, and those they divide by."""
    return [*study.predictors, *(baseline_of(spec) for spec in study.predictors if spec.baseline)]


def work_columns(study: Study) -> tuple[str, ...]:
    """Return the columns that `work`, the inputs and ``transfer`` may read, where a study does.

    None of them is required: what is absent is missing, or refused by name where it is needed.
    """
    specs = study.predictors
    views = {
        view_name(spec) for spec in _with_baselines(study) if registration(spec.name).inputs != ()
    }
    relative = any(spec.transform in ("utilisation", "ratio", "auto") for spec in specs)
    if views <= {""} and not relative and study.features.set != "transfer":
        return ()
    columns = (*STEP_COLUMNS, *SNAPSHOT_COLUMNS, *GROUP_COLUMNS, *PHYSICS_COLUMNS)
    return (*(column.name for column in columns), *SHAPE_COLUMNS)


def baseline_of(spec: PredictorSpec) -> PredictorSpec:
    """Return the predictor `spec` divides by, as one of its own: its features, its seed."""
    return type(spec)(
        name=spec.baseline,
        features=spec.features,
        params=spec.baseline_params,
        seed=spec.seed,
    )


def _union(one: FeatureSet[Any], other: FeatureSet[Any]) -> FeatureSet[Any]:
    """Return the features of both selections of one set."""
    have = {feature.name for feature in one.features}
    more = tuple(feature for feature in other.features if feature.name not in have)
    return replace(one, features=(*one.features, *more))


def speed_of_light(columns: Columns, study: Study, catalog: Catalog) -> NDArray[np.float64] | None:
    """Return each row's speed of light, us, where some predictor learns time relative to it.

    Raises
    ------
    DataError
        If a predictor needs it and it is not known.
    """
    wanted = {spec.transform for spec in study.predictors}
    named = {name for spec in study.predictors if spec.choose for name in spec.choose.transform}
    if "utilisation" not in wanted | named and "auto" not in wanted:
        return None
    try:
        light = np.empty(len(columns))
        for place, block in columns.blocks(BLOCK_ROWS):
            light[place] = to_host(work_of(block, catalog).sol_us)
        return light
    except DataError:
        if "utilisation" in wanted | named:
            raise
        return None  # then it is no candidate
