"""Every fold of a study, as a list of tasks with stable ids."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from gpucv.errors import SplitError
from gpucv.folds.refusals import must_know_inputs, must_suit_target
from gpucv.folds.sharing import TableRef
from gpucv.folds.task import FoldTask
from gpucv.pipelines import check_candidates, columns_of, n_fits
from gpucv.predictors import check_params
from gpucv.schema import PROTOCOL
from gpucv.splits import combine, make_splits, split_validation
from gpucv.transforms import check_domain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from gpucv.features import FeatureTable
    from gpucv.machine import Device
    from gpucv.splits import GroupLabels, Split
    from gpucv.study import ExecutionSpec, PredictorSpec, SchemeSpec, Study, Training

__all__ = ["assign", "plan_folds", "plan_rows", "trained", "worker_count"]


def plan_folds(study: Study, table: FeatureTable, device: Device = "cpu") -> list[FoldTask]:
    """Return the folds of `study` over `table`: scheme by scheme, holdout by holdout.

    Nothing is trained; every fault of schemes, validation, transforms and predictors
    shows here.

    Raises
    ------
    SplitError
        If a scheme's groups cannot be held out, or validation leaves nothing to fit on.
    DataError
        If a transform is not defined for the targets, or an input of a predictor of a
        fixed form is missing.
    StudyError
        If a predictor or one of its parameters is unknown, or its form does not suit the
        transform or the target's unit.
    """
    predictors = [_checked(spec, study.data.target, table) for spec in study.predictors]
    apart = {
        spec.per_columns: combine([table.keys[column] for column in spec.per_columns])
        for spec in predictors
        if spec.per_columns
    }
    tasks: list[FoldTask] = []
    for scheme in study.schemes:
        if scheme.temporal:
            _must_hold_out_recordings(scheme, study.data.experiment, table)
        for index, split in enumerate(make_splits(scheme, table.keys, len(table), study.seed)):
            _must_leave_rows(scheme, split)
            fit, valid = split_validation(
                split,
                study.validation,
                table.keys,
                experiment=study.data.experiment,
                seed=study.seed,
            )
            _must_have_rows_to_choose_by(study, scheme, len(valid))
            for columns, groups in apart.items():
                _must_fit_every_group(columns, groups, split, fit)
            for spec in predictors:
                task = FoldTask(
                    fold_id=len(tasks),
                    key="",
                    scheme=scheme,
                    index=index,
                    holdout=split.holdout,
                    predictor=spec,
                    validation=study.validation,
                    target=study.data.target,
                    experiment=study.data.experiment,
                    seed=study.seed,
                    n_train=len(split.train),
                    n_test=len(split.test),
                    n_left_out=split.n_left_out if scheme.shape else None,
                    table=TableRef(table.fingerprint),
                    device=device,
                )
                tasks.append(replace(task, key=_key(task, table)))
    return tasks


def trained(
    tasks: Sequence[FoldTask], table: FeatureTable, training: Training
) -> tuple[FoldTask, ...]:
    """Return the folds with how their boosters are trained, and the keys that follow.

    In memory they keep the keys they have.
    """
    told = [replace(task, training=training) for task in tasks]
    return tuple(replace(task, key=_key(task, table)) for task in told)


def _checked(spec: PredictorSpec, target: str, table: FeatureTable) -> PredictorSpec:
    """Return `spec` with every default written out, if `table` lets it be fitted."""
    whole = _with_defaults(spec)
    must_suit_target(whole, target)
    must_know_inputs(whole, table)
    columns_of(whole, table)
    check_candidates(whole)
    if whole.transform != "auto":
        light = table.sol_us if whole.transform == "utilisation" else None
        check_domain(whole.transform, table.y, light)
    return whole


def _with_defaults(spec: PredictorSpec) -> PredictorSpec:
    """Return `spec` with every default written out, its baseline's too."""
    whole = {"params": check_params(spec.name, spec.params).model_dump()}
    if spec.baseline:
        known = check_params(spec.baseline, spec.baseline_params)
        whole["baseline_params"] = known.model_dump()
    return spec.model_copy(update=whole)


def _must_leave_rows(scheme: SchemeSpec, split: Split) -> None:
    if len(split.train):
        return
    msg = f"scheme {scheme.name!r}: holding {split.holdout!r} out leaves no row to train on"
    if split.n_left_out:
        msg += (
            f": all {split.n_left_out:,} rows not held out share {' x '.join(scheme.shape)} with "
            "it; name more columns in disjoint, or drop the scheme"
        )
    raise SplitError(msg)


def _must_hold_out_recordings(scheme: SchemeSpec, experiment: str, table: FeatureTable) -> None:
    """Refuse tails of groups of several recordings: the last recording is no tail in time."""
    groups = combine([table.keys[column] for column in scheme.columns])
    recordings = table.keys[experiment]
    for name, rows in zip(groups.names, groups.rows_by_group(), strict=True):
        found = len(np.unique(recordings.codes[rows]))
        if found > 1:
            msg = (
                f"scheme {scheme.name!r}: temporal takes the tail of a recording, and group "
                f"{name!r} of {' x '.join(scheme.columns)} holds {found:,} of them; hold_out = "
                f"{experiment!r}"
            )
            raise SplitError(msg)


def _must_have_rows_to_choose_by(study: Study, scheme: SchemeSpec, n_valid: int) -> None:
    by_validation = [p for p in study.predictors if p.choose and p.choose.by == "validation"]
    if n_valid or not by_validation:
        return
    msg = (
        f"predictor {by_validation[0].title!r} chooses by validation rows, and scheme "
        f"{scheme.name!r} has none; raise validation.fraction (now "
        f"{study.validation.fraction:g}), or choose by = 'groups'"
    )
    raise SplitError(msg)


def _must_fit_every_group(
    columns: tuple[str, ...], groups: GroupLabels, split: Split, fit: NDArray[np.intp]
) -> None:
    """Refuse a validation that takes a whole group from a predictor fitted group by group.

    The group would count as one never seen, and another's fit would answer for it.
    """
    known = np.bincount(groups.codes[split.train], minlength=len(groups.names)) > 0
    known[groups.codes[fit]] = False
    if known.any():
        name = groups.names[int(np.argmax(known))]
        msg = (
            f"a predictor is fitted per {' x '.join(columns)}, and validation takes all training "
            f"rows of {name!r} (holding {split.holdout!r} out); use validation.order = 'time', "
            "or fraction = 0"
        )
        raise SplitError(msg)


def plan_rows(tasks: Sequence[FoldTask]) -> list[dict[str, Any]]:
    """Return the rows of ``plan.csv``: one per fold, in the order of the plan.

    ``n_left_out`` is the last column where some scheme names ``disjoint``.
    """
    disjoint = any(task.scheme.shape for task in tasks)
    return [
        {
            "fold_id": task.fold_id,
            "key": task.key,
            "scheme": task.scheme.name,
            "holdout": task.holdout,
            "predictor": task.predictor.title,
            "transform": task.predictor.transform,
            "target": task.target,
            "seed": task.predictor_seed,
            "n_train": task.n_train,
            "n_test": task.n_test,
            **({"n_left_out": task.n_left_out or 0} if disjoint else {}),
        }
        for task in tasks
    ]


def worker_count(execution: ExecutionSpec, tasks: Sequence[FoldTask], cores: int) -> int:
    """Return how many folds run at once without a placement: one per core, at most one per fold.

    No look at memory: `gpucv.folds.placement` has that. So on a GPU it is one fold, or as
    many as the study asks for.
    """
    on_gpu = any(task.device == "cuda" for task in tasks)
    at_once = execution.folds_per_gpu or 1 if on_gpu else execution.workers or cores
    return max(1, min(at_once, len(tasks)))


def assign(tasks: Sequence[FoldTask], execution: ExecutionSpec, cores: int) -> list[FoldTask]:
    """Give every task its threads, longest fold first.

    XGBoost gains little from a second thread on one fold and almost everything
    from a second fold, so cores are shared out by folds first.
    """
    workers = worker_count(execution, tasks, cores)
    threads = execution.threads_per_fold or max(1, cores // workers)
    placed = [replace(task, threads=threads) for task in tasks]
    return sorted(placed, key=_work, reverse=True)


def _work(task: FoldTask) -> int:
    """Estimate a fold's length: rows trained on x rounds x fits, a few-shot curve's with them."""
    rounds = int(task.predictor.params.get("n_estimators", 1))
    rows, few = task.n_train, task.scheme.few_shot
    if few:
        rows += sum(few.k) * len(few.start) * len(few.draw) * few.repeats
    return rows * rounds * n_fits(task.predictor)


def _key(task: FoldTask, table: FeatureTable) -> str:
    """Hash everything that decides a fold's result."""
    predictor = task.predictor.model_dump(mode="json", exclude={"label"})
    if task.predictor.seed == task.seed:
        del predictor["seed"]  # as if it had none of its own
    what: dict[str, Any] = {
        "protocol": PROTOCOL,
        "device": task.device,
        "table": task.table.fingerprint,
        "scheme": task.scheme.model_dump(mode="json", exclude={"name"}),
        "index": task.index,
        "holdout": task.holdout,
        "predictor": predictor,
        "validation": task.validation.model_dump(mode="json"),
        "target": task.target,
        "seed": task.seed,
    }
    if task.training != "in-memory":
        what["training"] = task.training
    if task.predictor.monotone:
        what["directions"] = columns_of(task.predictor, table).directions
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]
