"""The named feature sets, and which features each predictor of a study reads.

What one predictor reads of the table is a *view*: the study's own features, another
set, or, for predictors of a fixed form, the inputs of that form. The table holds every
feature once; a view is a tuple of positions in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpucv.errors import DataError, StudyError, nearest
from gpucv.features.contract import FeatureSet
from gpucv.features.inputs import inputs_set
from gpucv.features.physics30 import FEATURES, StepQuantities
from gpucv.features.transfer import transfer_set
from gpucv.predictors import registration

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gpucv.features.contract import WithTokens
    from gpucv.frames import Columns
    from gpucv.study import FeatureSpec, PredictorSpec

__all__ = [
    "SET_NAMES",
    "label_names",
    "must_be_set",
    "sets_of",
    "token_directions",
    "view_name",
    "view_sets",
]

SET_NAMES = ("physics-30", "transfer")


def named_set(name: str, columns: Columns) -> FeatureSet[Any]:
    """Return the set called `name`, as a table with these columns can compute it.

    Raises
    ------
    StudyError
        If there is no such set.
    DataError
        If the table lacks what it is made from.
    """
    must_be_set(name)
    if name == "physics-30":
        return FeatureSet("physics-30", StepQuantities, FEATURES)
    return transfer_set(columns)


def must_be_set(name: str) -> None:
    """Refuse the name of no feature set.

    Raises
    ------
    StudyError
        Naming those there are.
    """
    if name in SET_NAMES:
        return
    msg = f"no feature set {name!r}{nearest(name, SET_NAMES)}; known: {', '.join(SET_NAMES)}"
    raise StudyError(msg)


def view_name(spec: PredictorSpec) -> str:
    """Return the name of what a predictor reads: "" is the study's own features."""
    inputs = registration(spec.name).inputs
    return f"inputs of {spec.name}" if inputs is not None else spec.features


def view_sets(
    spec: PredictorSpec, study_features: FeatureSpec, columns: Columns
) -> list[FeatureSet[Any]]:
    """Return the features of a predictor's view, set by set.

    Raises
    ------
    StudyError, DataError
        As `named_set`.
    """
    inputs = registration(spec.name).inputs
    if inputs is not None:
        try:
            return [inputs_set(columns).only(inputs)] if inputs else []
        except DataError as error:
            msg = f"predictor {spec.title!r}: {error}"
            raise DataError(msg) from error
    if spec.features:
        return [named_set(spec.features, columns)]
    return sets_of(study_features, columns)


def sets_of(spec: FeatureSpec, columns: Columns) -> list[FeatureSet[Any]]:
    """Return the named sets of a study's own features: one or none."""
    return [named_set(spec.set, columns)] if spec.set else []


def label_names(sets: Iterable[FeatureSet[Any]]) -> tuple[str, ...]:
    """Return which features are codes of labels."""
    return tuple(feature.name for each in sets for feature in each.features if feature.label)


def token_directions(sets: Iterable[FeatureSet[Any]]) -> dict[str, WithTokens]:
    """Return what each feature does with more tokens."""
    return {feature.name: feature.tokens for each in sets for feature in each.features}
