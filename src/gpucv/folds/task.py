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
from gpucv.folds.memory import shortage
from gpucv.folds.sharing import TableRef, open_table
from gpucv.folds.telemetry import Witness
from gpucv.frames import is_on_device, take, to_host
from gpucv.injection import inject
from gpucv.machine import gpu_fault, memory_fault
from gpucv.metrics import mape, score
from gpucv.pipelines import (
    PerGroup,
    Setting,
    answer,
    examples_of,
    explain,
    few_shot_curve,
    fit_pipeline,
    inputs_of_rows,
    learning_curve,
    next_rows,
    outside_training,
    phases_of,
)
from gpucv.predictors.distributed import WHOLE
from gpucv.runs import FoldArrays, FoldRecord
from gpucv.splits import Split, make_split, split_validation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gpucv.features import FeatureTable
    from gpucv.frames import Array
    from gpucv.machine import Device
    from gpucv.pipelines import Examples, Fitted, Inputs
    from gpucv.predictors.distributed import Share
    from gpucv.study import PredictorSpec, SchemeSpec, Training, ValidationSpec

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
    training : Training
        How its boosters are trained; other than in memory, part of the key.
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
    training: Training = "in-memory"

    @property
    def named(self) -> str:
        """What messages call it: its number, scheme and holdout."""
        return f"fold {self.fold_id} ({self.scheme.name} {self.holdout})"

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
            training=self.training,
        )


def run_fold(task: FoldTask, share: Share = WHOLE) -> tuple[FoldRecord, FoldArrays | None]:
    """Train on the rows kept, predict the rows held out, score them.

    A fold that cannot be trained or scored is an outcome, not an exception: its
    record says why. Only a fault of the machine itself is raised. But for who ran it, when
    and how long it took, the outcome follows from the task alone.

    Parameters
    ----------
    task : FoldTask
    share : Share
        Which part of the training rows this process trains on, together with others; all of
        them end with the same predictor, and the first part predicts and is scored for all.

    Raises
    ------
    EnvironmentFaultError
        If the device asked for did not do the work or failed, or a library is missing; such
        a fold has no result, and a resumed run tries it again.
    MemoryError
        If memory ran out, with the sizes; whoever handed the fold out may try it once more
        where nothing else runs.
    """
    with Witness(task.device) as witness:
        record, arrays = _outcome(task, share)
    return replace(record, **witness.account()), arrays


def _outcome(task: FoldTask, share: Share) -> tuple[FoldRecord, FoldArrays | None]:
    table: FeatureTable | None = None
    try:
        inject("fold", task.fold_id)
        began = perf_counter()
        # A table too large for a GPU stays on the host, and its rows go there in blocks.
        held_on = task.device if task.training == "in-memory" else "cpu"
        table = open_table(task.table, held_on)
        loaded = perf_counter() - began
        split = make_split(task.scheme, table.keys, task.index, n_rows=len(table), seed=task.seed)
        if not len(split.test):
            return replace(task.blank_record(), status="skipped", error="no rows held out"), None
        record, arrays = _train_and_score(task, table, split, share)
        return replace(record, seconds={"load_s": loaded, **record.seconds}), arrays
    except EnvironmentFaultError:
        raise
    except SplitError as error:
        return replace(task.blank_record(), status="skipped", error=str(error)), None
    except ImportError as error:
        msg = f"{task.named}: cannot load: {error}; see gpucv doctor, then resume"
        raise EnvironmentFaultError(msg) from error
    except Exception as error:
        if memory_fault(error):
            why = str(error).partition("\n")[0]
        elif failed := gpu_fault(error):
            msg = (
                f"{task.named}: the GPU failed: {failed}; look at nvidia-smi and the kernel's "
                "log, then resume"
            )
            raise EnvironmentFaultError(msg) from error
        else:
            told = f"{type(error).__name__}: {error}".splitlines()[0]
            record = replace(task.blank_record(), error=told, traceback=traceback.format_exc())
            return record, None
    # Out of the handler: the error met holds the rows of this try, and whoever tries the fold
    # again needs their memory.
    raise shortage(task, table, why)


def _train_and_score(
    task: FoldTask, table: FeatureTable, split: Split, share: Share
) -> tuple[FoldRecord, FoldArrays | None]:
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
        training=task.training,
    )
    watching = examples_of(table, valid)
    asked = inputs_of_rows(table, split.test)

    began = perf_counter()
    with share.joined():
        learnt, watched = (examples_of(table, share.of(rows)) for rows in (fit, valid))
        fitted = fit_pipeline(task.predictor, learnt, watched, setting, asked)
    trained = perf_counter()
    if share.part:
        return replace(task.blank_record(), status="ok", seconds={"fit_s": trained - began}), None
    answers = answer(fitted, asked)
    predicted = to_host(answers)  # which also waits for a GPU to be done
    ended = perf_counter()

    measured = _targets(table, split.test, answers)
    report = fitted.report()
    record = replace(
        task.blank_record(),
        status="ok",
        n_train=len(split.train),
        n_valid=len(valid),
        n_test=len(split.test),
        device=report.device,
        scores={
            "valid_mape": _valid_mape(fitted, watching, table),
            **score(measured, answers).named("test"),
        },
        best_iteration=report.best_iteration,
        experiments=_score_experiments(task, table, split.test, measured, answers),
        importance=report.importance,
        seconds={**report.seconds, "fit_s": trained - began, "predict_s": ended - trained},
        chosen=report.chosen,
        donors=_score_donors(fitted, asked, table.y[split.test]),
    )
    held_out = examples_of(table, split.test)
    record = _with_curve(task, record, fitted, held_out, setting)
    record = _with_rounds(task, record, fitted, watching, held_out)
    arrays = _arrays(task, table, split.test, predicted, report.model)
    learnt_from = inputs_of_rows(table, fit)
    return _explained((record, arrays), task, fitted, learnt_from, held_out, setting)


def _arrays(
    task: FoldTask,
    table: FeatureTable,
    rows: NDArray[np.intp],
    predicted: NDArray[np.float64],
    model: bytes | None,
) -> FoldArrays:
    labels = table.keys[task.experiment]
    return FoldArrays(
        experiment=(labels.codes[rows], labels.names),
        step_id=table.step_id[rows],
        actual=table.y[rows],
        predicted=predicted,
        model=model,
    )


def _targets(table: FeatureTable, rows: NDArray[np.intp], answers: Array) -> Array:
    """Return the targets of some rows where their predictions lie, to be scored there."""
    if is_on_device(answers) and table.device is not None:
        return take(table.device.y, rows)
    return table.y[rows]


def _valid_mape(fitted: Fitted, watching: Examples, table: FeatureTable) -> float:
    """Score the validation rows, of a predictor per group those of groups it has an answer for."""
    if isinstance(fitted, PerGroup):
        watching = watching.take(fitted.knows(watching.inputs))
    answers = answer(fitted, watching.inputs) if len(watching) else np.empty(0)
    return mape(_targets(table, watching.inputs.rows, answers), answers)


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


def _with_rounds(
    task: FoldTask, record: FoldRecord, fitted: Fitted, watching: Examples, held_out: Examples
) -> FoldRecord:
    """Return the record with its errors round by round, where the study asks for them."""
    if not task.validation.curve:
        return record
    began = perf_counter()
    curve = learning_curve(fitted, watching, held_out)
    seconds = {**record.seconds, "curve_s": perf_counter() - began}
    return replace(record, learning_curve=curve, seconds=seconds)


def _explained(
    outcome: tuple[FoldRecord, FoldArrays],
    task: FoldTask,
    fitted: Fitted,
    learnt: Inputs,
    held_out: Examples,
    setting: Setting,
) -> tuple[FoldRecord, FoldArrays]:
    """Return the outcome with what its errors may go with; nothing in it decides a prediction."""
    record, arrays = outcome
    columns = setting.columns(task.predictor)
    outside = outside_training(learnt, held_out.inputs, columns, task.device)
    explained = explain(
        fitted, held_out, columns, n_learnt=len(learnt), seed=task.seed, device=task.device
    )
    phases = phases_of(held_out.inputs, setting.table.feature_names, task.device)
    return (
        replace(record, outside=outside.features if outside else [], explanations=explained),
        replace(arrays, phase=phases, outside=outside.rows if outside else None),
    )


def _score_experiments(
    task: FoldTask, table: FeatureTable, test: NDArray[np.intp], actual: Array, answers: Array
) -> list[dict[str, Any]]:
    """Score each held-out experiment on its own, in name order, where the predictions lie."""
    labels = table.keys[task.experiment]
    codes = labels.codes[test]
    rows = []
    for code in np.unique(codes):
        here = np.flatnonzero(codes == code)
        scores = score(take(actual, here), take(answers, here)).named("test")
        for of_folds_alone in ("test_p99_ape", "test_time_error"):
            del scores[of_folds_alone]
        first = test[here[0]]
        rows.append(
            {
                "experiment_id": labels.names[code],
                "model": _label_at(table, schema.MODEL, first),
                "workload": _label_at(table, schema.WORKLOAD, first),
                "n_test": len(here),
                **scores,
            }
        )
    return rows


def _label_at(table: FeatureTable, column: str, row: np.intp) -> str:
    labels = table.keys.get(column)
    return labels.names[labels.codes[row]] if labels else ""
