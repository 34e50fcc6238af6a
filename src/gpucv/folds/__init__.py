"""Folds: planned, run anywhere, published one by one."""

from gpucv.folds.plan import plan_folds, plan_rows
from gpucv.folds.runner import Progress, RunRequest, finished_folds, run_folds
from gpucv.folds.task import FoldTask, run_fold

__all__ = [
    "FoldTask",
    "Progress",
    "RunRequest",
    "finished_folds",
    "plan_folds",
    "plan_rows",
    "run_fold",
    "run_folds",
]
