"""One fold, from rows to scores: a pure function of one frozen object.

The same `run_fold` serves threads of this process, Dask workers and remote nodes.
"""

from __future__ import annotations

import traceback
from dataclasses import dataclass, replace
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from gpucv import schema
from gpucv.errors import EnvironmentFaultError, SplitError
from gpucv.folds.sharing import TableRef, open_table
from gpucv.metrics import mape, score
from gpucv.predictors import FitContext, make_predictor
from gpucv.runs import FoldArrays, FoldRecord
from gpucv.splits import Split, make_split, split_validation
from gpucv.transforms import check_domain, forward, inverse

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gpucv.features import FeatureTable
    from gpucv.machine import Device
    from gpucv.predictors import Predictor
    from gpucv.study import PredictorSpec, SchemeSpec, ValidationSpec

__all__ = ["FoldTask", "run_fold"]


@dataclass(frozen=True, slots=True)
class FoldTask:
    """Everything one fold needs.

    Attributes
    ----------
    fold_id : int
        Place in the plan; names the fold's folder.
    key : str
        Hash of all that decides the result (not of threads or device).
    index : int
        Which of the scheme's splits.
    n_train, n_test : int
        Rows, as planned; training rows include those used for validation.
    n_left_out : int or None
        Rows in neither, because they share a shape with a test row; None where the scheme
        does not ask.
    experiment : str
        The column that names a recording.
    """

    fold_id: int
    key: str
    scheme: SchemeSpec
    index: int
    holdout: str
    predictor: PredictorSpec
    validation: ValidationSpec
    target: str
    experiment: str
    seed: int
    n_train: int
    n_test: int
    table: TableRef
    device: Device = "cpu"
    threads: int = 1
    n_left_out: int | None = None

    def blank_record(self) -> FoldRecord:
        """Return this fold's record before anything is known of its outcome."""
        return FoldRecord(
            fold_id=self.fold_id,
            key=self.key,
            scheme=self.scheme.name,
            holdout=self.holdout,
            predictor=self.predictor.title,
            transform=self.predictor.transform,
            target=self.target,
            status="failed",
            n_train=self.n_train,
            n_valid=0,
            n_test=self.n_test,
            n_left_out=self.n_left_out,
            device=self.device,
            seed=self.seed,
            params=dict(self.predictor.params),
        )


def run_fold(task: FoldTask) -> tuple[FoldRecord, FoldArrays | None]:
    """Train on the rows kept, predict the rows held out, score them.

    A fold that cannot be trained or scored is an outcome, not an exception: its
    record says why. Only a fault of the machine itself is raised.

    Raises
    ------
    EnvironmentFaultError
        If the device asked for did not do the work, memory ran out, or a library is
        missing; such a fold has no result, and a resumed run tries it again.
    """
    try:
        table = open_table(task.table)
        split = make_split(task.scheme, table.keys, task.index, n_rows=len(table), seed=task.seed)
        if not len(split.test):
            return replace(task.blank_record(), status="skipped", error="no rows held out"), None
        return _train_and_score(task, table, split)
    except EnvironmentFaultError:
        raise
    except (MemoryError, ImportError) as error:
        what = "memory ran out" if isinstance(error, MemoryError) else f"cannot load: {error}"
        msg = f"fold {task.fold_id} ({task.scheme.name} {task.holdout}): {what}"
        hint = "use fewer workers or rows" if isinstance(error, MemoryError) else "see gpucv doctor"
        raise EnvironmentFaultError(f"{msg}; {hint}, then resume") from error
    except SplitError as error:
        return replace(task.blank_record(), status="skipped", error=str(error)), None
    except Exception as error:
        told = f"{type(error).__name__}: {error}".splitlines()[0]
        record = replace(task.blank_record(), error=told, traceback=traceback.format_exc())
        return record, None


def _train_and_score(
    task: FoldTask, table: FeatureTable, split: Split
) -> tuple[FoldRecord, FoldArrays]:
    transform = task.predictor.transform
    fit, valid = split_validation(
        split.train, task.validation, table.keys, experiment=task.experiment, seed=task.seed
    )
    check_domain(transform, table.y[split.train])
    predictor = make_predictor(
        task.predictor.name,
        task.predictor.params,
        FitContext(task.seed, task.threads, task.device, task.validation.early_stopping_rounds),
    )
    X_valid, z_valid = table.X[valid], forward(transform, table.y[valid])

    began = perf_counter()
    predictor.fit(
        table.X[fit],
        forward(transform, table.y[fit]),
        (X_valid, z_valid) if len(valid) else None,
    )
    fitted = perf_counter()
    predicted = inverse(transform, predictor.predict(table.X[split.test]))
    ended = perf_counter()

    actual = table.y[split.test]
    valid_mape = mape(table.y[valid], inverse(transform, predictor.predict(X_valid)))
    record = replace(
        task.blank_record(),
        status="ok",
        n_train=len(split.train),
        n_valid=len(valid),
        n_test=len(split.test),
        device=predictor.device,
        scores={"valid_mape": valid_mape, **score(actual, predicted).named("test")},
        best_iteration=predictor.best_iteration,
        experiments=_score_experiments(task, table, split.test, predicted),
        importance=_importance(predictor, table.feature_names),
        seconds={"fit_s": fitted - began, "predict_s": ended - fitted},
    )
    labels = table.keys[task.experiment]
    arrays = FoldArrays(
        experiment=(labels.codes[split.test], labels.names),
        step_id=table.step_id[split.test],
        actual=actual,
        predicted=predicted,
        model=predictor.serialize(),
    )
    return record, arrays


def _score_experiments(
    task: FoldTask, table: FeatureTable, test: NDArray[np.intp], predicted: NDArray[np.float64]
) -> list[dict[str, Any]]:
    """Score each held-out experiment on its own, in name order."""
    labels = table.keys[task.experiment]
    codes = labels.codes[test]
    rows = []
    for code in np.unique(codes):
        here = codes == code
        scores = score(table.y[test[here]], predicted[here]).named("test")
        del scores["test_p99_ape"]
        first = test[np.flatnonzero(here)[0]]
        rows.append(
            {
                "experiment_id": labels.names[code],
                "model": _label_at(table, schema.MODEL, first),
                "workload": _label_at(table, schema.WORKLOAD, first),
                "n_test": int(here.sum()),
                **scores,
            }
        )
    return rows


def _label_at(table: FeatureTable, column: str, row: np.intp) -> str:
    labels = table.keys.get(column)
    return labels.names[labels.codes[row]] if labels else ""


def _importance(predictor: Predictor, names: tuple[str, ...]) -> dict[str, float]:
    shares = predictor.importance()
    return {} if shares is None else dict(zip(names, shares.tolist(), strict=True))
