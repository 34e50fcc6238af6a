"""The same folds with a smaller predictor: fewer features, or fewer trees."""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gpucv.errors import DataError
from gpucv.export.boosters import to_bytes
from gpucv.export.trees import read_forest
from gpucv.features import view_name
from gpucv.folds import RunRequest, plan_folds, run_folds
from gpucv.runs import FoldStore
from gpucv.study import ExecutionSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pandas as pd

    from gpucv.features import FeatureTable
    from gpucv.folds import Progress
    from gpucv.study import PredictorSpec, Study

__all__ = ["Budget", "FoldScores", "run_again", "without"]

_NODE_NS = 1.4
"""Of one comparison on the way to a leaf. Measured with the Go reader (Go 1.19, one core of a
shared AMD EPYC): 2.2 to 2.8 us a step for 300 trees of depth 6, 1.0 for 100."""
_OP_NS = 7.0
"""Of one operation of a program: 0.27 us for the forty of the published features."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What one model may cost.

    Attributes
    ----------
    max_bytes : int
        Of its JSON file; 0 is no limit.
    max_us : float
        Of one prediction in the Go reader, as estimated from the longest ways through the
        trees; 0 is no limit.
    """

    max_bytes: int = 0
    max_us: float = 0.0

    def rounds(self, name: str, model: bytes, ops: int) -> int:
        """Return how many rounds of boosting fit.

        Parameters
        ----------
        name : str
            The artifact, for the message.
        model : bytes
            The booster.
        ops : int
            Operations of the artifact's program.

        Raises
        ------
        DataError
            If not even one does.
        """
        whole = read_forest(to_bytes(model)[0])
        low, high = 0, len(whole.depths)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self._fits(model, middle, ops) else (low, middle - 1)
        if low == 0 and len(whole.depths):
            size = len(to_bytes(model)[0])
            one = len(to_bytes(model, 1)[0])
            took = self.estimated_us(whole.depths, ops)
            msg = (
                f"{name} has {size:,} bytes and takes about {took:.1f} us a step; one tree alone "
                f"has {one:,} bytes: no pruned model keeps to the limits"
            )
            raise DataError(msg)
        return low

    def _fits(self, model: bytes, rounds: int, ops: int) -> bool:
        content = to_bytes(model, rounds)[0]
        small = not self.max_bytes or len(content) <= self.max_bytes
        depths = read_forest(content).depths
        return small and (not self.max_us or self.estimated_us(depths, ops) <= self.max_us)

    @staticmethod
    def estimated_us(depths: Sequence[int], ops: int) -> float:
        """Return the estimated time of one prediction in the Go reader, us."""
        return (sum(depths) * _NODE_NS + ops * _OP_NS) / 1e3


@dataclass(frozen=True, slots=True, eq=False)
class FoldScores:
    """What a predictor scored.

    Attributes
    ----------
    mape : dict of str to float or None
        By scheme: the mean over its finished folds, percent.
    predictions : DataFrame
        As ``predictions.parquet`` of a run.
    """

    mape: dict[str, float | None]
    predictions: pd.DataFrame


def without(table: FeatureTable, spec: PredictorSpec, names: Iterable[str]) -> FeatureTable:
    """Return the table with some features hidden from one predictor.

    Raises
    ------
    DataError
        If none would be left.
    """
    view = view_name(spec)
    hidden = set(names)
    kept = tuple(at for at in table.view(view) if table.feature_names[at] not in hidden)
    if not kept:
        msg = (
            f"predictor {spec.title!r}: every feature it reads is trace-only; give it others "
            "(features = 'transfer', or the columns of the batch)"
        )
        raise DataError(msg)
    what = repr((table.fingerprint, view, kept)).encode()
    return replace(
        table,
        views={**(table.views or {view: ()}), view: kept},
        fingerprint=hashlib.sha256(what).hexdigest(),
    )


def run_again(
    study: Study, spec: PredictorSpec, table: FeatureTable, progress: Progress
) -> FoldScores:
    """Run the study's folds for one predictor on another view of the table, on CPUs.

    Raises
    ------
    DataError
        If no fold finished.
    """
    import pandas as pd

    schemes = tuple(each.model_copy(update={"few_shot": None}) for each in study.schemes)
    alone = study.model_copy(update={"predictors": (spec,), "schemes": schemes})
    tasks = tuple(plan_folds(alone, table, "cpu"))
    execution = ExecutionSpec(
        device="cpu",
        workers=study.execution.workers,
        threads_per_fold=study.execution.threads_per_fold,
    )
    with tempfile.TemporaryDirectory(prefix="gpucv-export-") as folder:
        root = Path(folder)
        records = run_folds(RunRequest(root, tasks, execution), table, progress)
        finished = [record for record in records if record.status == "ok"]
        if not finished:
            msg = f"no fold of predictor {spec.title!r} finished: {records[0].error}"
            raise DataError(msg)
        FoldStore(root).gather_predictions(records, root / "predictions.parquet")
        predictions = pd.read_parquet(root / "predictions.parquet", page_checksum_verification=True)
    scored = [(record.scheme, record.scores["test_mape"]) for record in finished]
    return FoldScores(means_by_scheme(scored), predictions)


def means_by_scheme(scored: Iterable[tuple[str, float]]) -> dict[str, float | None]:
    """Return each scheme's mean over its folds; None where it is not finite."""
    found: dict[str, list[float]] = {}
    for scheme, mape in scored:
        found.setdefault(scheme, []).append(mape)
    means = {scheme: float(np.mean(values)) for scheme, values in found.items()}
    return {scheme: mean if np.isfinite(mean) else None for scheme, mean in means.items()}
