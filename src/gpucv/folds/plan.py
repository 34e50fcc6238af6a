"""Every fold of a study, as a list of tasks with stable ids."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gpucv.errors import SplitError
from gpucv.folds.sharing import TableRef
from gpucv.folds.task import FoldTask
from gpucv.predictors import check_params
from gpucv.schema import PROTOCOL
from gpucv.splits import make_splits, split_validation
from gpucv.transforms import check_domain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpucv.features import FeatureTable
    from gpucv.machine import Device
    from gpucv.splits import Split
    from gpucv.study import ExecutionSpec, SchemeSpec, Study

__all__ = ["assign", "plan_folds", "plan_rows", "worker_count"]

_FOLDS_PER_GPU = 4
"""Small folds overlap on one GPU, whose time goes into launches; not yet measured on one."""


def plan_folds(study: Study, table: FeatureTable, device: Device = "cpu") -> list[FoldTask]:
    """Return the folds of `study` over `table`: scheme by scheme, holdout by holdout.

    Nothing is trained; every fault of schemes, validation, transforms and predictors
    shows here.

    Raises
    ------
    SplitError
        If a scheme's groups cannot be held out, or validation leaves nothing to fit on.
    DataError
        If a transform is not defined for the targets.
    StudyError
        If a predictor or one of its parameters is unknown.
    """
    params = [
        (spec, check_params(spec.name, spec.params).model_dump()) for spec in study.predictors
    ]
    for spec in study.predictors:
        check_domain(spec.transform, table.y)
    tasks: list[FoldTask] = []
    for scheme in study.schemes:
        for index, split in enumerate(make_splits(scheme, table.keys, len(table), study.seed)):
            _must_leave_rows(scheme, split)
            split_validation(
                split.train,
                study.validation,
                table.keys,
                experiment=study.data.experiment,
                seed=study.seed,
            )
            for spec, whole in params:
                task = FoldTask(
                    fold_id=len(tasks),
                    key="",
                    scheme=scheme,
                    index=index,
                    holdout=split.holdout,
                    predictor=spec.model_copy(update={"params": whole}),
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
                tasks.append(replace(task, key=_key(task)))
    return tasks


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
            "seed": task.seed,
            "n_train": task.n_train,
            "n_test": task.n_test,
            **({"n_left_out": task.n_left_out or 0} if disjoint else {}),
        }
        for task in tasks
    ]


def worker_count(execution: ExecutionSpec, tasks: Sequence[FoldTask], cores: int) -> int:
    """Return how many folds run at once: one per core, a few per GPU, at most one per fold."""
    on_gpu = any(task.device == "cuda" for task in tasks)
    at_once = execution.workers or (min(cores, _FOLDS_PER_GPU) if on_gpu else cores)
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
    """Estimate a fold's length: rows trained on x rounds."""
    return task.n_train * int(task.predictor.params.get("n_estimators", 1))


def _key(task: FoldTask) -> str:
    """Hash everything that decides a fold's result."""
    what = {
        "protocol": PROTOCOL,
        "device": task.device,
        "table": task.table.fingerprint,
        "scheme": task.scheme.model_dump(mode="json", exclude={"name"}),
        "index": task.index,
        "holdout": task.holdout,
        "predictor": task.predictor.model_dump(mode="json", exclude={"label"}),
        "validation": task.validation.model_dump(mode="json"),
        "target": task.target,
        "seed": task.seed,
    }
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]
