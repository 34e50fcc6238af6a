"""Choosing among candidates inside a fold, from its training rows alone.

A candidate is a transform and some parameters. Choosing by groups holds out whole groups
of the training rows in turn, as the fold itself holds out a group of all rows, so that
what wins is what transfers; choosing by the validation rows is what the published study
did within each experiment.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from gpucv.errors import DataError, EnvironmentFaultError, GpucvError, SplitError
from gpucv.machine import gpu_fault, memory_fault
from gpucv.metrics import mape
from gpucv.pipelines.base import WithContributions, WithStages, answer
from gpucv.pipelines.candidates import (
    INNER_FOLDS,
    candidate_of,
    chooses,
    listed,
    transforms_of,
)
from gpucv.pipelines.search import search_space
from gpucv.pipelines.single import fit_single
from gpucv.study import ChooseSpec
from gpucv.transforms import RELATIVE, check_domain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from gpucv.frames import Array
    from gpucv.pipelines.base import Fitted, Report, Setting
    from gpucv.pipelines.rows import Examples, Inputs
    from gpucv.study import PredictorSpec, TransformName

__all__ = ["fit_chosen", "fit_ungrouped", "inner_folds"]


@dataclass(frozen=True, slots=True)
class _Trial:
    """One candidate and its score: infinite, with the reason, where it has none."""

    spec: PredictorSpec
    score: float
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _Chosen:
    """The winner, and why it won."""

    fitted: Fitted
    chosen: dict[str, Any]

    def predict(self, inputs: Inputs) -> NDArray[np.float64]:
        return self.fitted.predict(inputs)

    def answer(self, inputs: Inputs) -> Array:
        return answer(self.fitted, inputs)

    def contribution_work(self) -> float:
        fitted = self.fitted
        return fitted.contribution_work() if isinstance(fitted, WithContributions) else 0.0

    def contributions(self, inputs: Inputs) -> dict[str, NDArray[np.float64]]:
        assert isinstance(self.fitted, WithContributions)
        return self.fitted.contributions(inputs)

    def rounds(self) -> int:
        return self.fitted.rounds() if isinstance(self.fitted, WithStages) else 0

    def stages(self, inputs: Inputs, rounds: Sequence[int]) -> Iterator[NDArray[np.float64]]:
        assert isinstance(self.fitted, WithStages)
        return self.fitted.stages(inputs, rounds)

    def report(self) -> Report:
        report = self.fitted.report()
        return replace(report, chosen={**report.chosen, **self.chosen})


def fit_ungrouped(
    spec: PredictorSpec, train: Examples, valid: Examples | None, setting: Setting
) -> Fitted:
    """Fit one pipeline to all rows, chosen among candidates where `spec` offers some.

    Raises
    ------
    DataError, StudyError, SplitError
        As `fit_single` and `fit_chosen`.
    """
    if chooses(spec):
        return fit_chosen(spec, train, valid, setting)
    return fit_single(spec, train, valid, setting)


def fit_chosen(
    spec: PredictorSpec, train: Examples, valid: Examples | None, setting: Setting
) -> Fitted:
    """Try every candidate, keep the one with the least MAPE on rows it did not see.

    Equal scores go to the candidate tried first. One that fails, or predicts no finite
    time, has an infinite score and a reason in the record. Where there are no validation
    rows to choose by (a few measured rows, a small group), whole groups are; a single
    row gets the first candidate.

    Raises
    ------
    DataError
        If every candidate failed.
    EnvironmentFaultError
        If the machine is at fault rather than the candidate.
    """
    rule = spec.choose or ChooseSpec()
    transforms = transforms_of(spec, train, valid if setting.early_stopping_rounds else None)
    if rule.by == "validation" and valid is not None and len(valid):
        return _by_validation(spec, transforms, train, valid, setting)
    if len(train) < 2:
        first = candidate_of(spec, *next(listed(rule, transforms)))
        fitted = fit_single(first, train, valid, setting)
        return _Chosen(fitted, _account(spec, first, "nothing: a single training row", []))
    told, folds = inner_folds(train, (rule.group,) if rule.group else setting.group, setting)
    inner = replace(setting, early_stopping_rounds=0)

    def scored(candidate: PredictorSpec) -> float:
        errors = [
            mape(test.y, fit_single(candidate, fit, None, inner).predict(test.inputs))
            for fit, test in folds
        ]
        return float(np.mean(errors))

    trials = _tried(spec, transforms, train, setting, scored)
    best = _best(spec, trials)
    fitted = fit_single(best, train, valid, setting)
    return _Chosen(fitted, _account(spec, best, f"{told}, {len(folds)} inner folds", trials))


def _by_validation(
    spec: PredictorSpec,
    transforms: tuple[TransformName, ...],
    train: Examples,
    valid: Examples,
    setting: Setting,
) -> Fitted:
    """Choose by the validation rows, and keep what won as it was fitted."""
    kept: list[tuple[float, Fitted]] = []

    def scored(candidate: PredictorSpec) -> float:
        fitted = fit_single(candidate, train, valid, setting)
        error = mape(valid.y, fitted.predict(valid.inputs))
        if np.isfinite(error) and (not kept or error < kept[0][0]):
            kept[:] = [(error, fitted)]
        return error

    trials = _tried(spec, transforms, train, setting, scored)
    best = _best(spec, trials)
    return _Chosen(kept[0][1], _account(spec, best, "the validation rows", trials))


def _tried(
    spec: PredictorSpec,
    transforms: tuple[TransformName, ...],
    train: Examples,
    setting: Setting,
    scored: Callable[[PredictorSpec], float],
) -> list[_Trial]:
    """Return every candidate with its score, in the order they were tried."""
    rule = spec.choose or ChooseSpec()
    trials: list[_Trial] = []

    def tell(transform: TransformName, params: dict[str, Any]) -> float:
        trials.append(_trial(candidate_of(spec, transform, params), train, scored))
        return trials[-1].score

    for transform, params in listed(rule, transforms):
        tell(transform, params)
    if rule.space:
        search_space(rule, transforms, setting.seed if spec.seed is None else spec.seed, tell)
    return trials


def _trial(
    candidate: PredictorSpec, train: Examples, scored: Callable[[PredictorSpec], float]
) -> _Trial:
    """Score a candidate; whatever is wrong with it is its own affair, not the fold's."""
    try:
        if candidate.transform == "utilisation":
            # Of all rows, so that one chosen here can predict whatever the fold asks.
            check_domain("utilisation", train.y, _light(train))
        score = scored(candidate)
    except (EnvironmentFaultError, MemoryError, ImportError):
        raise
    except Exception as error:
        if gpu_fault(error) or memory_fault(error):
            raise
        named = "" if isinstance(error, GpucvError) else f"{type(error).__name__}: "
        return _Trial(candidate, np.inf, f"{named}{error}".split("\n", 1)[0])
    if not np.isfinite(score):
        return _Trial(candidate, np.inf, "its error on the rows it did not see is not finite")
    return _Trial(candidate, score)


def _light(train: Examples) -> NDArray[np.float64]:
    light = train.inputs.light
    if light is None:
        msg = f"transform 'utilisation' needs {RELATIVE['utilisation']}, and the table has none"
        raise DataError(msg)
    return light


def _best(spec: PredictorSpec, trials: list[_Trial]) -> PredictorSpec:
    """Return the candidate with the least score, the first of equals."""
    best = min(trials, key=lambda trial: trial.score)
    if not np.isfinite(best.score):
        msg = (
            f"predictor {spec.title!r}: none of its {len(trials)} candidates could be fitted and "
            f"scored; the first, on {trials[0].spec.transform!r}: {trials[0].reason}"
        )
        raise DataError(msg)
    return best.spec


def _account(
    spec: PredictorSpec, best: PredictorSpec, by: str, trials: list[_Trial]
) -> dict[str, Any]:
    """Write down what was chosen, by what, and every candidate's score."""
    rule = spec.choose or ChooseSpec()

    def said(candidate: PredictorSpec) -> dict[str, Any]:
        params = {name: candidate.params.get(name) for name in (*rule.grid, *rule.space)}
        return {"transform": candidate.transform, **params}

    return {
        "by": by,
        **said(best),
        "candidates": [
            {**said(trial.spec), "mape": trial.score}
            if not trial.reason
            else {**said(trial.spec), "mape": None, "error": trial.reason}
            for trial in trials
        ],
    }


def inner_folds(
    train: Examples, group: tuple[str, ...], setting: Setting
) -> tuple[str, list[tuple[Examples, Examples]]]:
    """Split training rows again, whole groups held out; return by what, and the folds.

    The groups are dealt out largest first, each to the fold with the fewest rows. Where
    the rows are all of one group, whole recordings are held out instead, and where they
    are of one recording, blocks of consecutive rows.

    Raises
    ------
    SplitError
        If there are fewer than two rows.
    """
    if len(train) < 2:
        msg = f"{len(train)} training rows cannot be split again to choose by"
        raise SplitError(msg)
    for columns in (group, (setting.experiment,)):
        if not columns:
            continue
        codes = train.inputs.groups(columns).codes
        found, sizes = np.unique(codes, return_counts=True)
        if len(found) < 2:
            continue
        count = min(INNER_FOLDS, len(found))
        loads, place = np.zeros(count), np.zeros(len(found), dtype=np.intp)
        for at in np.argsort(-sizes, kind="stable"):
            place[at] = np.argmin(loads)
            loads[place[at]] += sizes[at]
        fold = place[np.searchsorted(found, codes)]
        return f"groups of {' x '.join(columns)}", _folds(train, fold)
    count = min(INNER_FOLDS, len(train))
    blocks = (np.arange(len(train)) * count) // len(train)
    return "blocks of consecutive rows", _folds(train, blocks)


def _folds(train: Examples, fold: NDArray[Any]) -> list[tuple[Examples, Examples]]:
    return [
        (train.take(fold != number), train.take(fold == number))
        for number in range(int(fold.max()) + 1)
    ]
