"""How the error falls with a few measurements of the group held out.

A fold has already fitted a pipeline to the other groups. Here it meets k rows of the
group it never saw: either it is corrected by them (a warm start), or a pipeline is
fitted to the k rows alone. The rows tested are the same for every k of one repeat, are
never drawn, and their targets are read for the score and nothing else.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from gpucv.errors import EnvironmentFaultError, GpucvError
from gpucv.machine import gpu_fault, memory_fault
from gpucv.metrics import mape, wape
from gpucv.pipelines.correction import corrected
from gpucv.pipelines.fit import fit_pipeline
from gpucv.splits import split_pool, spread_candidates, spread_order

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from gpucv.pipelines.base import Fitted, Setting
    from gpucv.pipelines.rows import Examples, Inputs
    from gpucv.study import FewShotSpec, PredictorSpec

__all__ = ["CurvePoint", "few_shot_curve", "next_rows"]

SUGGESTED = 30
"""Rows of a group held out that are named as worth measuring next."""


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """One score of the curve: k rows, how they were drawn and used, and how wrong it was.

    Attributes
    ----------
    k : int
    start : {"warm", "alone"}
    draw : {"random", "spread"}
    repeat : int
    n_test : int
    test_mape, test_wape : float
        In percent; NaN where there is a reason.
    reason : str
        Why there is no score, in one line; empty where there is one.
    """

    k: int
    start: str
    draw: str
    repeat: int
    n_test: int
    test_mape: float = float("nan")
    test_wape: float = float("nan")
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the point as plain data."""
        return asdict(self)


def few_shot_curve(
    few: FewShotSpec,
    spec: PredictorSpec,
    prior: Fitted,
    held_out: Examples,
    setting: Setting,
) -> list[CurvePoint]:
    """Return the error for every k, start, draw and repeat.

    A point that cannot be had (more rows asked for than may be drawn, a predictor that
    cannot be fitted to so few) has no score, and says why; the others stand.

    Parameters
    ----------
    few : FewShotSpec
    spec : PredictorSpec
        What is fitted to the k rows alone.
    prior : Fitted
        The pipeline fitted to the other groups; k = 0 of a warm start is this.
    held_out : Examples
        All rows of the group held out.
    setting : Setting

    Raises
    ------
    EnvironmentFaultError
        If the machine is at fault rather than the predictor.
    """
    positions = setting.magnitudes(spec)
    points = []
    for repeat in range(few.repeats):
        pool, test = split_pool(len(held_out), few.test_fraction, setting.seed, repeat)
        tested = held_out.take(test)
        meeting = _Meeting(spec, prior, tested, setting)
        for draw in few.draw:
            order = pool
            if draw == "spread":
                X = held_out.take(pool).inputs.features(positions)
                order = pool[spread_order(X, max(few.k), setting.seed)]
            for k, start in _planned(few):
                point = CurvePoint(k, start, draw, repeat, len(tested))
                if k > len(pool):
                    rows = f"{len(pool):,} row{'' if len(pool) == 1 else 's'}"
                    points.append(replace(point, reason=f"only {rows} can be drawn"))
                else:
                    # Row order decides nothing: the same rows are the same fit.
                    points.append(meeting.scored(point, held_out.take(np.sort(order[:k]))))
    return points


def _planned(few: FewShotSpec) -> Iterator[tuple[int, str]]:
    """Yield every k with every start; nothing can be learnt from no row alone."""
    for k in few.k:
        for start in few.start:
            if k or start == "warm":
                yield k, start


@dataclass(frozen=True, slots=True)
class _Meeting:
    """What every point of one repeat shares: who meets the measured rows, and what is tested."""

    spec: PredictorSpec
    prior: Fitted
    tested: Examples
    setting: Setting

    def scored(self, point: CurvePoint, shots: Examples) -> CurvePoint:
        """Return `point` with its score, or with the reason why it has none."""
        try:
            fitted = self._fitted(point.start, shots)
            predicted: NDArray[np.float64] = fitted.predict(self.tested.inputs)
        except (EnvironmentFaultError, MemoryError, ImportError):
            raise
        except Exception as error:
            if gpu_fault(error) or memory_fault(error):
                raise
            named = "" if isinstance(error, GpucvError) else f"{type(error).__name__}: "
            return replace(point, reason=f"{named}{error}".split("\n", 1)[0])
        error_of_rows = mape(self.tested.y, predicted)
        if np.isnan(error_of_rows):
            return replace(point, reason="its error on the rows tested is no number")
        return replace(point, test_mape=error_of_rows, test_wape=wape(self.tested.y, predicted))

    def _fitted(self, start: str, shots: Examples) -> Fitted:
        if start == "alone":
            return fit_pipeline(self.spec, shots, None, self.setting, self.tested.inputs)
        if not len(shots):
            return self.prior
        return corrected(self.prior, shots, self.spec, self.setting)


def next_rows(
    spec: PredictorSpec, held_out: Inputs, setting: Setting
) -> list[tuple[np.intp, dict[str, float]]]:
    """Return the rows of a group worth measuring first, most telling first.

    Each next one is the farthest in the predictor's features from those before it; rows
    alike in all of them are named once. Codes of labels are shown, and tell no rows apart.
    No target is looked at.

    Returns
    -------
    list of (row, features)
        Row number in the table, and what describes it. Empty for a predictor that reads
        no features, to which all rows are alike.
    """
    columns = setting.columns(spec)
    positions = setting.magnitudes(spec)
    if not positions:
        return []
    candidates = held_out.take(spread_candidates(len(held_out), setting.seed))
    X = candidates.features(positions)
    # Two missing values are alike here; no feature is infinite.
    _, first = np.unique(np.where(np.isnan(X), -np.inf, X), axis=0, return_index=True)
    distinct = candidates.take(first)
    order = spread_order(X[first], SUGGESTED, apart=True)
    return [
        (row, dict(zip(columns.names, map(float, features), strict=True)))
        for row, features in zip(
            distinct.rows[order], distinct.take(order).features(columns.positions), strict=True
        )
    ]
