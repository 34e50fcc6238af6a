"""Folds: planned, run anywhere, published one by one."""

from gpucv.folds.capacity import TableShape, told
from gpucv.folds.placement import Placement, place
from gpucv.folds.plan import plan_folds, plan_rows, trained
from gpucv.folds.resources import Resources, local_resources, survey
from gpucv.folds.room import counted
from gpucv.folds.runner import Progress, RunRequest, finished_folds, run_folds
from gpucv.folds.task import FoldTask, run_fold

__all__ = [
    "FoldTask",
    "Placement",
    "Progress",
    "Resources",
    "RunRequest",
    "TableShape",
    "counted",
    "finished_folds",
    "local_resources",
    "place",
    "plan_folds",
    "plan_rows",
    "run_fold",
    "run_folds",
    "survey",
    "told",
    "trained",
]
