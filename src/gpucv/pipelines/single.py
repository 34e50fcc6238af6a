"""One predictor on one transform: the smallest pipeline."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from gpucv.features import baseline_of
from gpucv.frames import like, to_host
from gpucv.pipelines.base import Report, answer
from gpucv.predictors import (
    Contributing,
    FitContext,
    Staged,
    WithCoefficients,
    WithSeconds,
    make_predictor,
)
from gpucv.transforms import check_domain, forward, inverse, smearing_factor

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from gpucv.frames import Array
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

    def of(self, inputs: Inputs) -> Array | None:
        """Return the reference of each row; None where the transform needs none."""
        if self.baseline is not None:
            answers = answer(self.baseline, inputs)
            if self.least is None:
                return answers
            return np.where(np.isfinite(answers) & (answers > 0), answers, self.least)
        if self.transform != "utilisation":
            return None
        light = inputs.sol_us
        return np.full(len(inputs), np.nan) if light is None else light

    def on_host(self, inputs: Inputs) -> NDArray[np.float64] | None:
        """Return the reference of each row on the host, where targets are."""
        reference = self.of(inputs)
        return None if reference is None else to_host(reference)


@dataclass(frozen=True, slots=True)
class _Single:
    spec: PredictorSpec
    setting: Setting
    predictor: Predictor
    columns: ViewColumns
    reference: _Reference
    least: float
    factor: float = 1.0

    def predict(self, inputs: Inputs) -> NDArray[np.float64]:
        return to_host(self.answer(inputs))

    def answer(self, inputs: Inputs) -> Array:
        reference = self.reference.of(inputs)
        rows = self.setting.rows_for(self.spec.name, inputs, self.columns.positions)
        return self._times(self.predictor.predict(rows), reference)

    def rounds(self) -> int:
        return self.predictor.rounds() if isinstance(self.predictor, Staged) else 0

    def stages(self, inputs: Inputs, rounds: Sequence[int]) -> Iterator[NDArray[np.float64]]:
        assert isinstance(self.predictor, Staged)
        reference = self.reference.on_host(inputs)
        rows = to_host(inputs.features(self.columns.positions, self.setting.device))
        for z in self.predictor.stages(rows, rounds):
            yield self._times(z, reference)

    def _times(self, z: Array, reference: Array | None) -> Array:
        """Return what was learnt as times: transformed back, corrected, not below the floor."""
        reference = None if reference is None else like(reference, z)
        predicted = inverse(self.reference.transform, z, reference)
        with np.errstate(over="ignore"):
            corrected = predicted * self.factor if self.factor != 1.0 else predicted
        return np.maximum(corrected, self.least)

    def contribution_work(self) -> float:
        made = self.predictor
        return made.contribution_work() if isinstance(made, Contributing) else 0.0

    def contributions(self, inputs: Inputs) -> dict[str, NDArray[np.float64]]:
        assert isinstance(self.predictor, Contributing)
        rows = to_host(inputs.features(self.columns.positions, self.setting.device))
        found = self.predictor.contributions(rows)
        return {name: found[:, at] for at, name in enumerate(self.columns.names)}

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
            seconds=dict(made.seconds) if isinstance(made, WithSeconds) else {},
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
            setting.training,
            setting.every_row(spec.name, columns.positions),
        ),
    )
    baseline = None
    if transform == "ratio":
        baseline = fit_single(baseline_of(spec), train, valid, setting)
    reference = _Reference(transform, baseline)
    divisor = reference.on_host(train.inputs)
    check_domain(transform, train.y, divisor)
    if baseline is not None and divisor is not None and len(divisor):
        reference = replace(reference, least=float(divisor.min()))
    z = forward(transform, train.y, divisor)
    # Rows are made in the call: held by nobody else, a GPU has their memory back once binned.
    predictor.fit(
        setting.rows_to_fit(spec.name, train.inputs, columns.positions),
        z,
        _watched(spec, valid, columns, reference, setting),
    )
    least = float(np.quantile(train.y, spec.floor)) if spec.floor else -np.inf
    made = _Single(spec, setting, predictor, columns, reference, least)
    if not spec.smearing:
        return made
    fitted = predictor.predict(setting.rows_for(spec.name, train.inputs, columns.positions))
    return replace(made, factor=smearing_factor(like(z, fitted), fitted))


def _watched(
    spec: PredictorSpec,
    valid: Examples | None,
    columns: ViewColumns,
    reference: _Reference,
    setting: Setting,
) -> tuple[Array, NDArray[np.float64]] | None:
    """Return what early stopping watches; None where nothing stops early."""
    if valid is None or not len(valid) or not setting.early_stopping_rounds:
        return None
    divisor = reference.on_host(valid.inputs)
    check_domain(reference.transform, valid.y, divisor)
    z = forward(reference.transform, valid.y, divisor)
    return setting.rows_to_fit(spec.name, valid.inputs, columns.positions), z
