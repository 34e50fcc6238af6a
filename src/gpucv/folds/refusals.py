"""Predictors of a fixed form that a study could only ask in vain, refused before any fold."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from gpucv.errors import StudyError
from gpucv.features import baseline_of
from gpucv.pipelines import columns_of
from gpucv.predictors import missing_input, registration
from gpucv.predictors.paged import must_suit_pages

if TYPE_CHECKING:
    from gpucv.features import FeatureTable
    from gpucv.study import PredictorSpec, SchemeSpec, Training

__all__ = ["must_know_inputs", "must_suit_target", "must_suit_training"]

_UNIT = re.compile(r"_(us|ms|s|ns)$")


def must_suit_target(spec: PredictorSpec, target: str) -> None:
    """Refuse a predictor whose form does not suit its transform or the target's unit.

    Parameters
    ----------
    spec : PredictorSpec
    target : str
        Name of the target's column; its suffix says its unit.

    Raises
    ------
    StudyError
        If a form of a time is to learn anything but the time, or one that answers in us
        (as the predictor, or as its baseline) is asked for another unit.
    """
    if spec.transform != "raw" and registration(spec.name).raw_only:
        msg = (
            f"predictor {spec.title!r}: {spec.name} has the form of a time, which transform "
            f"{spec.transform!r} is not; use transform 'raw'"
        )
        raise StudyError(msg)
    for name, role in ((spec.name, ""), (spec.baseline, "baseline ")):
        if not name or not registration(name).answers_in_us:
            continue
        unit = _UNIT.search(target)
        if unit is None or unit[1] != "us":
            told = f"is in {unit[1]}" if unit else "does not say its unit"
            msg = (
                f"predictor {spec.title!r}: {role}{name} answers in us, and target {target!r} "
                f"{told}; give the times in us, in a column whose name ends in '_us'"
            )
            raise StudyError(msg)


def must_know_inputs(spec: PredictorSpec, table: FeatureTable) -> None:
    """Refuse a predictor, or a baseline, whose inputs are missing in some row of the table.

    Raises
    ------
    DataError
        Naming the first such input, and how many rows lack it.
    """
    asked = [(spec, f"predictor {spec.title!r}")]
    if spec.baseline:
        who = f"predictor {spec.title!r}: baseline {spec.baseline!r}"
        asked.append((baseline_of(spec), who))
    for each, who in asked:
        names = registration(each.name).inputs or ()
        # One that takes the study's features may do without some of them, as trees can.
        places = columns_of(each, table).positions if names else ()
        for name, at in zip(names, places, strict=True):
            missing = int((~np.isfinite(table.X[:, at])).sum())
            if missing:
                raise missing_input(who, name, missing, len(table))


def _shares_cuts(spec: PredictorSpec) -> bool:
    offered = spec.choose.grid.get("cuts", ()) if spec.choose else ()
    return "shared" in (spec.params.get("cuts"), spec.baseline_params.get("cuts"), *offered)


def must_suit_training(spec: PredictorSpec, scheme: SchemeSpec, training: Training) -> None:
    """Refuse a predictor that cannot be trained from pages, or by several workers together.

    Workers that train together know a part of the rows each. So whatever is read off all
    training rows beside the booster (a baseline, a floor, a correction, a choice, fits of
    groups) would come out differently in each. Shared cuts are taken once a process, and a
    matrix that one worker makes and another has already is one that all wait for.

    Parameters
    ----------
    spec : PredictorSpec
    scheme : SchemeSpec
    training : Training

    Raises
    ------
    StudyError
        Naming what stands against it.
    """
    if training == "in-memory":
        return
    if not registration(spec.name).on_device:
        against = f"{spec.name} is not trained by XGBoost"
    elif training == "external-memory":
        must_suit_pages(spec.params)
        return
    else:
        asked = {
            f"transform {spec.transform!r}": spec.transform in ("ratio", "auto"),
            "per": bool(spec.per_columns),
            "cuts 'shared'": _shares_cuts(spec),
            "choose": spec.choose is not None,
            "floor": bool(spec.floor),
            "smearing": spec.smearing,
            f"few_shot (scheme {scheme.name!r})": scheme.few_shot is not None,
        }
        against = ", ".join(name for name, is_asked in asked.items() if is_asked)
        if not against:
            return
        against += ": read off all training rows, of which each worker has a part"
    msg = (
        f"predictor {spec.title!r} cannot be trained {training}: {against}; use "
        "execution.training = 'in-memory', or leave it out"
    )
    raise StudyError(msg)
