"""One predictor of one configuration, taken apart into what an artifact holds."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np

from gpucv.errors import DataError, StudyError
from gpucv.machine import cpu_count
from gpucv.pipelines import Setting, chooses, examples_of, fit_pipeline
from gpucv.splits import Split, split_validation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from gpucv.features import FeatureTable
    from gpucv.pipelines import Fitted, Inputs
    from gpucv.pipelines.base import ViewColumns
    from gpucv.study import PredictorSpec, Study

__all__ = ["LINKS", "Learnt", "learn", "learn_each", "must_be_exportable"]

LINKS = ("reg:squarederror", "reg:absoluteerror", "reg:pseudohubererror")
"""Objectives whose answer is the sum of the trees itself."""


class _Reference(Protocol):
    @property
    def baseline(self) -> Fitted | None: ...

    @property
    def least(self) -> float | None: ...

    def of(self, inputs: Inputs) -> Any: ...


class _Single(Protocol):
    """`gpucv.pipelines.single`'s fit: a predictor on a transform."""

    @property
    def spec(self) -> PredictorSpec: ...

    @property
    def columns(self) -> ViewColumns: ...

    @property
    def reference(self) -> _Reference: ...

    @property
    def least(self) -> float: ...

    @property
    def factor(self) -> float: ...


@dataclass(frozen=True, slots=True, eq=False)
class Learnt:
    """What was learnt of one configuration.

    Attributes
    ----------
    spec : PredictorSpec
        With the transform and parameters chosen, where there was a choice.
    model : bytes
        The booster as UBJ.
    rounds : int or None
        How many of its rounds count, where early stopping chose.
    columns : ViewColumns
    coefficients : dict of str to float
        Of the baseline; empty without one.
    least : float or None
        What answers for the baseline where it gives no time.
    floor : float or None
        Below which nothing is predicted.
    smearing : float
    reference, predicted : ndarray of float64, shape (n,)
        What the pipeline itself divides by (None where nothing) and predicts on the rows
        learnt from.
    """

    spec: PredictorSpec
    model: bytes
    rounds: int | None
    columns: ViewColumns
    coefficients: dict[str, float]
    least: float | None
    floor: float | None
    smearing: float
    reference: NDArray[np.float64] | None
    predicted: NDArray[np.float64]


def must_be_exportable(spec: PredictorSpec) -> None:
    """Refuse a predictor whose answer is not a sum of trees.

    Raises
    ------
    StudyError
    """
    if spec.name != "xgboost":
        msg = f"predictor {spec.title!r} is {spec.name!r}; only xgboost can be exported"
        raise StudyError(msg)
    offered = [spec.params.get("objective", LINKS[0])]
    offered += spec.choose.grid.get("objective", ()) if spec.choose else ()
    for objective in offered:
        if objective not in LINKS:
            msg = (
                f"predictor {spec.title!r} learns {objective!r}, whose answer is an exponential "
                f"of its own; export takes {', '.join(LINKS)}"
            )
            raise StudyError(msg)


def learn(spec: PredictorSpec, study: Study, table: FeatureTable, rows: NDArray[np.intp]) -> Learnt:
    """Fit `spec` to all rows of a configuration, on CPUs.

    Early stopping, and a choice by validation, need rows to watch: these are split off as
    in the study's folds.

    Parameters
    ----------
    spec : PredictorSpec
    study : Study
    table : FeatureTable
    rows : ndarray of intp
        Ascending.

    Raises
    ------
    DataError, StudyError, SplitError
        As a fold of the study.
    """
    stopping = study.validation.early_stopping_rounds
    by_validation = chooses(spec) and spec.choose is not None and spec.choose.by == "validation"
    fit, valid = rows, None
    if stopping or by_validation:
        split = Split("", train=rows, test=np.empty(0, dtype=np.intp))
        fit, watched = split_validation(
            split, study.validation, table.keys, experiment=study.data.experiment, seed=study.seed
        )
        valid = examples_of(table, watched)
    setting = Setting(
        seed=study.seed,
        threads=1,  # a second gains little; configurations are fitted side by side
        device="cpu",
        early_stopping_rounds=stopping,
        group=(study.data.experiment,),
        experiment=study.data.experiment,
        table=table,
    )
    alone = spec.model_copy(update={"per": (), "donor": "elsewhere"})
    train = examples_of(table, fit)
    fitted = fit_pipeline(alone, train, valid, setting, train.inputs)
    single = cast("_Single", getattr(fitted, "fitted", fitted))
    return _taken_apart(single, fitted, examples_of(table, rows).inputs)


def learn_each(
    spec: PredictorSpec, study: Study, table: FeatureTable, groups: Sequence[NDArray[np.intp]]
) -> list[Learnt]:
    """Fit `spec` to each group of rows, side by side; see `learn`."""
    # A fit from start to end in one thread, so that its random stream is its own.
    with ThreadPoolExecutor(max_workers=max(1, min(cpu_count(), len(groups)))) as pool:
        return list(pool.map(lambda rows: learn(spec, study, table, rows), groups))


def _taken_apart(single: _Single, fitted: Fitted, inputs: Inputs) -> Learnt:
    report = fitted.report()
    if report.model is None:
        msg = f"predictor {single.spec.title!r} left no trees to export"
        raise DataError(msg)
    divisor = single.reference.of(inputs)
    return Learnt(
        spec=single.spec,
        model=report.model,
        rounds=None if report.best_iteration is None else report.best_iteration + 1,
        columns=single.columns,
        coefficients=_coefficients(single, inputs),
        least=single.reference.least,
        floor=single.least if np.isfinite(single.least) else None,
        smearing=single.factor,
        reference=None if divisor is None else np.asarray(divisor, dtype=np.float64),
        predicted=fitted.predict(inputs),
    )


def _coefficients(single: _Single, inputs: Inputs) -> dict[str, float]:
    """Return what the baseline learnt."""
    baseline = single.reference.baseline
    if baseline is None:
        return {}
    if single.spec.baseline == "constant":
        return {"median": float(baseline.predict(inputs.take(np.arange(1)))[0])}
    return dict(baseline.report().chosen.get("coefficients", {}))
