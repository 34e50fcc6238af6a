"""One predictor on one transform: the smallest pipeline."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from gpucv.features import baseline_of
from gpucv.pipelines.base import Report
from gpucv.predictors import FitContext, WithCoefficients, make_predictor
from gpucv.transforms import check_domain, forward, inverse, smearing_factor

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gpucv.pipelines.base import Fitted, Setting, ViewColumns
    from gpucv.pipelines.rows import Examples, Inputs
    from gpucv.predictors import Predictor
    from gpucv.study import PredictorSpec, TransformName

__all__ = ["fit_single"]


@dataclass(frozen=True, slots=True)
class _Reference:
    """What a relative transform divides by: the speed of light, a baseline, or nothing.

    A baseline may go below 0 on rows unlike those it learnt from, and a ratio to that means
    nothing. Once fitted, `least` answers there: the smallest reference of the training rows.
    """

    transform: TransformName
    baseline: Fitted | None = None
    least: float | None = None

    def of(self, inputs: Inputs) -> NDArray[np.float64] | None:
        """Return the reference of each row; None where the transform needs none."""
        if self.baseline is not None:
            answers = self.baseline.predict(inputs)
            if self.least is None:
                return answers
            return np.where(np.isfinite(answers) & (answers > 0), answers, self.least)
        if self.transform != "utilisation":
            return None
        light = inputs.sol_us
        return np.full(len(inputs), np.nan) if light is None else light


@dataclass(frozen=True, slots=True)
class _Single:
    predictor: Predictor
    columns: ViewColumns
    reference: _Reference
    least: float
    factor: float

    def predict(self, inputs: Inputs) -> NDArray[np.float64]:
        reference = self.reference.of(inputs)
        z = self.predictor.predict(inputs.features(self.columns.positions))
        predicted = inverse(self.reference.transform, z, reference)
        with np.errstate(over="ignore"):
            corrected = predicted * self.factor if self.factor != 1.0 else predicted
        return np.maximum(corrected, self.least)

    def report(self) -> Report:
        shares = self.predictor.importance()
        named = (
            {} if shares is None else dict(zip(self.columns.names, shares.tolist(), strict=True))
        )
        made = self.predictor
        coefficients = made.coefficients() if isinstance(made, WithCoefficients) else {}
        return Report(
            device=self.predictor.device,
            best_iteration=self.predictor.best_iteration,
            importance=named,
            model=self.predictor.serialize(),
            chosen={"coefficients": coefficients} if coefficients else {},
        )


def fit_single(
    spec: PredictorSpec, train: Examples, valid: Examples | None, setting: Setting
) -> Fitted:
    """Fit one predictor to one transform of the target.

    Parameters
    ----------
    spec : PredictorSpec
        With a transform of its own (not ``auto``).
    train : Examples
    valid : Examples or None
        Watched where early stopping is on.
    setting : Setting

    Raises
    ------
    DataError
        If the transform is not defined for the targets or their references.
    StudyError
        If the predictor cannot be made.
    """
    transform: TransformName = spec.transform  # type: ignore[assignment]
    columns = setting.columns(spec)
    predictor = make_predictor(
        spec.name,
        spec.params,
        FitContext(
            setting.seed if spec.seed is None else spec.seed,
            setting.threads,
            setting.device,
            setting.early_stopping_rounds,
            columns.directions,
        ),
    )
    baseline = None
    if transform == "ratio":
        baseline = fit_single(baseline_of(spec), train, valid, setting)
    reference = _Reference(transform, baseline)
    divisor = reference.of(train.inputs)
    check_domain(transform, train.y, divisor)
    if baseline is not None and divisor is not None and len(divisor):
        reference = replace(reference, least=float(divisor.min()))
    X, z = train.inputs.features(columns.positions), forward(transform, train.y, divisor)
    predictor.fit(X, z, _watched(valid, columns, reference, setting))
    return _Single(
        predictor=predictor,
        columns=columns,
        reference=reference,
        least=float(np.quantile(train.y, spec.floor)) if spec.floor else -np.inf,
        factor=smearing_factor(z, predictor.predict(X)) if spec.smearing else 1.0,
    )


def _watched(
    valid: Examples | None, columns: ViewColumns, reference: _Reference, setting: Setting
) -> tuple[NDArray[np.float32], NDArray[np.float64]] | None:
    """Return what early stopping watches; None where nothing stops early."""
    if valid is None or not len(valid) or not setting.early_stopping_rounds:
        return None
    divisor = reference.of(valid.inputs)
    check_domain(reference.transform, valid.y, divisor)
    z = forward(reference.transform, valid.y, divisor)
    return valid.inputs.features(columns.positions), z
