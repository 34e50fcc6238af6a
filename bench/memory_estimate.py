#!/usr/bin/env python3
"""Measure the peak memory of a fold on a CPU, and set the planner's estimate beside it.

Each fold runs in a process of its own over made-up rows: what it takes is the most that
process ever held (``VmHWM``, set back before the fold) less what it held before. Exits with
1 where an estimate for boosted trees is more than 15 % off. How deep a forest grows depends
on the data, so its lines are shown and not judged; nor are those of folds paged from disk,
whose estimate is meant to be high (`gpucv.folds.capacity.paged_host_need`). Linux only.

Usage: .venv/bin/python bench/memory_estimate.py
"""

from __future__ import annotations

import ctypes
import gc
import json
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from gpucv.features import FeatureTable
from gpucv.folds import plan_folds, run_fold
from gpucv.folds.capacity import TableShape, host_need, paged_host_need, told
from gpucv.folds.sharing import shared_table
from gpucv.splits import GroupLabels
from gpucv.study import study_from_dict

LARGEST_ERROR = 0.15
GROUPS = 4
GRID: list[dict[str, Any]] = [
    {"rows": rows, "features": features, "missing": missing}
    for features in (10, 30, 60)
    for rows in (100_000, 400_000, 1_000_000, 2_000_000)
    for missing in (False, True)
]
VARIANTS: list[dict[str, Any]] = [
    {"params": {"n_estimators": 300}, "rows": 100_000},
    {"params": {"n_estimators": 5, "max_depth": 10}},
    {"params": {"n_estimators": 5, "max_depth": 10}, "threads": 4},
    {"params": {"n_estimators": 5, "max_bin": 1024}},
    {"params": {"n_estimators": 5}, "early_stopping_rounds": 3},
]
PAGED: list[dict[str, Any]] = [
    {"params": {"n_estimators": 5}, "training": "external-memory", **size}
    for size in (
        {"rows": 3_000_000, "features": 10},
        {"rows": 3_000_000, "features": 30},
        {"rows": 1_500_000, "features": 60},
    )
]
FORESTS: list[dict[str, Any]] = [
    {"name": "random-forest", "params": {"n_estimators": 5}, "rows": rows, "features": 5}
    for rows in (100_000, 400_000, 1_000_000)
]


def main() -> int:
    """Run every fold in a process of its own, and judge the estimates."""
    if len(sys.argv) > 1:
        print(json.dumps(measure(json.loads(sys.argv[1]))))
        return 0
    worst = 0.0
    for case in [*GRID, *VARIANTS, *PAGED, *FORESTS]:
        command = [sys.executable, __file__, json.dumps(case)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            print(f"{case} ended with {done.returncode}: {done.stderr[-500:]}")
            return 1
        found = json.loads(done.stdout.splitlines()[-1])
        error = found["estimated"] / found["measured"] - 1
        judged = case.get("name", "xgboost") == "xgboost" and case not in PAGED
        worst = max(worst, abs(error)) if judged else worst
        print(
            f"{json.dumps(case):75} measured {told(found['measured']):>9}, {error:+.0%}", flush=True
        )
    print(f"largest error for boosted trees {worst:.0%}")
    return 0 if worst <= LARGEST_ERROR else 1


def measure(case: dict[str, Any]) -> dict[str, int]:
    """Return the peak bytes of one fold of trees, and what the planner says of it."""
    features = case.get("features", 30)
    predictor = {
        "name": case.get("name", "xgboost"),
        "params": case.get("params", {"n_estimators": 5}),
    }
    stopping = case.get("early_stopping_rounds", 0)
    study = study_from_dict(
        {
            "data": {"target": "time_us"},
            "features": {"columns": [f"f{position}" for position in range(features)]},
            "schemes": [{"name": "lomo", "hold_out": "model"}],
            "validation": {"fraction": 0.25, "early_stopping_rounds": stopping},
            "predictors": [predictor],
        },
        base=Path(),
    ).study

    def fold_of(table: FeatureTable) -> int:
        training = case.get("training", "in-memory")
        task = replace(
            plan_folds(study, table)[0], threads=case.get("threads", 1), training=training
        )
        with shared_table(table):
            record, _ = run_fold(task)
        if record.status != "ok":
            raise RuntimeError(record.error)
        need = paged_host_need if training == "external-memory" else host_need
        return need(task, TableShape.of(table))

    fold_of(rows_of(2_000, features, missing=False))  # loads what a fold loads
    table = rows_of(case.get("rows", 1_000_000), features, case.get("missing", False))
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    if case.get("training") == "external-memory":
        with _Anonymous() as seen:
            estimated = fold_of(table)
        return {"measured": seen.peak, "estimated": estimated}
    before = status("VmRSS")
    estimated = fold_of(table)
    return {"measured": status("VmHWM") - before, "estimated": estimated}


class _Anonymous:
    """The most anonymous memory this process takes meanwhile; mapped pages can be dropped."""

    def __init__(self) -> None:
        self.peak = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> _Anonymous:
        self._before = status("RssAnon")
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(0.005):
            self.peak = max(self.peak, status("RssAnon") - self._before)


def rows_of(rows: int, features: int, missing: bool) -> FeatureTable:
    """Return a table in which two features tell something of the target, and noise the rest."""
    draw = np.random.default_rng(1)
    X = np.empty((rows, features), dtype=np.float32)
    for position in range(features):
        X[:, position] = draw.random(rows, dtype=np.float32)
    y = 1.0 + X[:, 0] + X[:, 1] + draw.random(rows)
    if missing:
        X[::10, 1] = np.nan
    groups = GroupLabels((np.arange(rows) * GROUPS // rows).astype(np.int32), tuple("abcd"))
    return FeatureTable(
        X=X,
        y=y,
        feature_names=tuple(f"f{position}" for position in range(features)),
        keys={"model": groups, "experiment_id": groups},
        step_id=np.arange(rows),
        fingerprint=str(rows),
    )


def status(field: str) -> int:
    """Return a line of this process's status, in bytes."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    msg = f"/proc/self/status has no {field}"
    raise RuntimeError(msg)


if __name__ == "__main__":
    sys.exit(main())
