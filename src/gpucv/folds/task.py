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
from gpucv.pipelines import (
    PerGroup,
    Setting,
    examples_of,
    few_shot_curve,
    fit_pipeline,
    inputs_of_rows,
    next_rows,
)
from gpucv.runs import FoldArrays, FoldRecord
from gpucv.splits import Split, make_split, split_validation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gpucv.features import FeatureTable
    from gpucv.machine import Device
    from gpucv.pipelines import Examples, Fitted, Inputs
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
        Hash of all that decides the result: the device among it, threads and labels not.
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

    @property
    def predictor_seed(self) -> int:
        """What the predictor draws by: its own seed, or the study's."""
        return self.seed if self.predictor.seed is None else self.predictor.seed

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
            seed=self.predictor_seed,
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
    fit, valid = split_validation(
        split, task.validation, table.keys, experiment=task.experiment, seed=task.seed
    )
    setting = Setting(
        seed=task.seed,
        threads=task.threads,
        device=task.device,
        early_stopping_rounds=task.validation.early_stopping_rounds,
        group=task.scheme.columns,
        experiment=task.experiment,
        table=table,
    )
    watching = examples_of(table, valid)
    asked = inputs_of_rows(table, split.test)

    began = perf_counter()
    fitted = fit_pipeline(task.predictor, examples_of(table, fit), watching, setting, asked)
    trained = perf_counter()
    predicted = fitted.predict(asked)
    ended = perf_counter()

    actual = table.y[split.test]
    report = fitted.report()
    record = replace(
        task.blank_record(),
        status="ok",
        n_train=len(split.train),
        n_valid=len(valid),
        n_test=len(split.test),
        device=report.device,
        scores={
            "valid_mape": _valid_mape(fitted, watching),
            **score(actual, predicted).named("test"),
        },
        best_iteration=report.best_iteration,
        experiments=_score_experiments(task, table, split.test, predicted),
        importance=report.importance,
        seconds={"fit_s": trained - began, "predict_s": ended - trained},
        chosen=report.chosen,
        donors=_score_donors(fitted, asked, actual),
    )
    record = _with_curve(task, record, fitted, examples_of(table, split.test), setting)
    labels = table.keys[task.experiment]
    arrays = FoldArrays(
        experiment=(labels.codes[split.test], labels.names),
        step_id=table.step_id[split.test],
        actual=actual,
        predicted=predicted,
        model=report.model,
    )
    return record, arrays


def _valid_mape(fitted: Fitted, watching: Examples) -> float:
    """Score the validation rows, of a predictor per group those of groups it has an answer for."""
    if isinstance(fitted, PerGroup):
        watching = watching.take(fitted.knows(watching.inputs))
    predicted = fitted.predict(watching.inputs) if len(watching) else np.empty(0)
    return mape(watching.y, predicted)


def _score_donors(
    fitted: Fitted, asked: Inputs, actual: NDArray[np.float64]
) -> list[dict[str, Any]]:
    """Score every donor on the rows of groups never seen; labels are read here alone."""
    if not isinstance(fitted, PerGroup):
        return []
    return [
        {
            "group": each.group,
            "donor": each.donor,
            "by_rule": each.by_rule,
            "n_test": len(each.rows),
            "test_mape": mape(actual[each.rows], each.predicted),
        }
        for each in fitted.donors(asked)
    ]


def _with_curve(
    task: FoldTask, record: FoldRecord, fitted: Fitted, held_out: Examples, setting: Setting
) -> FoldRecord:
    """Return the record with its few-shot curve, where the scheme asks for one."""
    few = task.scheme.few_shot
    if few is None:
        return record
    curve = few_shot_curve(few, task.predictor, fitted, held_out, setting)
    rows = next_rows(task.predictor, held_out.inputs, setting)
    return replace(
        record,
        curve=[point.to_json() for point in curve],
        next_rows=[
            {
                "experiment_id": _label_at(setting.table, task.experiment, row),
                "step_id": int(setting.table.step_id[row]),
                "features": features,
            }
            for row, features in rows
        ],
    )


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
        for of_folds_alone in ("test_p99_ape", "test_time_error"):
            del scores[of_folds_alone]
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
