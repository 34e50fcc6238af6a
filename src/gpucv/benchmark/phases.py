"""One child process of `gpucv bench`: a workload made, its phases or its folds timed.

Run as ``python -m gpucv.benchmark.phases PART WORKLOAD STEPS``; prints one JSON object, as
`gpucv.benchmark.harness` reads it. On a GPU every clock is read after the device is done.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gpucv.benchmark.workload import Workload, build, draw_steps, study_of
from gpucv.errors import EnvironmentFaultError
from gpucv.features import move_arrays
from gpucv.folds import (
    RunRequest,
    TableShape,
    local_resources,
    place,
    plan_folds,
    run_folds,
    trained,
)
from gpucv.machine import resolve_device
from gpucv.metrics import score
from gpucv.predictors import FitContext, WithSeconds, make_predictor
from gpucv.workflow.execution import Silent

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpucv.features import FeatureTable
    from gpucv.machine import Device

__all__ = ["PHASES", "folds_of", "main", "phases_of", "run_study", "timed", "wait_for"]

PHASES = ("features", "quantise", "fit", "predict", "metrics")

_SHORTEST_S = 0.2
"""A phase that is done sooner is repeated until so much time has passed."""
_MOST_CALLS = 50
_TINY = 2_000


def main() -> int:
    """Measure what the arguments ask for, and print it."""
    part, told, steps = sys.argv[1:]
    workload = Workload.from_json(json.loads(told))
    measured = {"phases": phases_of, "study": folds_of}[part]
    print(json.dumps(measured(workload, Path(steps))))
    return 0


def phases_of(workload: Workload, steps: Path) -> dict[str, Any]:
    """Time features, binning, training, predicting and scoring on all rows.

    One booster, as one fold trains it: on one core of a CPU, or on the whole GPU. Whatever
    loads at its first use has been used before.

    Returns
    -------
    dict
        ``phases`` holds seconds by the names of `PHASES`; ``wall_s`` is their sum.
    """
    _phases(Workload(**{**workload.to_json(), "rows": _TINY, "rounds": 2}), steps)
    phases = _phases(workload, steps)
    return {"wall_s": sum(phases.values()), "phases": phases}


def _phases(workload: Workload, path: Path) -> dict[str, float]:
    table, features_s = _features(workload, path)
    context = FitContext(seed=0, threads=1, device=workload.device)
    X, y = table.X, table.y
    if workload.device == "cuda":
        moved = table.device or move_arrays(X, y)
        X, y = moved.X, moved.y
    made: dict[str, list[float]] = {"quantise": [], "fit": []}

    def fit() -> Any:
        predictor = make_predictor("xgboost", {"n_estimators": workload.rounds}, context)
        # By column, as a fold's rows come on a CPU: they are binned in half the time.
        rows = np.asfortranarray(X) if workload.device == "cpu" else X
        began = time.perf_counter()
        predictor.fit(rows, table.y, None)
        wait_for(workload.device)
        took = time.perf_counter() - began
        assert isinstance(predictor, WithSeconds)
        made["quantise"].append(predictor.seconds["quantise_s"])
        made["fit"].append(took - predictor.seconds["quantise_s"])
        return predictor

    predictor, _ = timed(fit, workload)
    predicted, predict_s = timed(lambda: predictor.predict(X), workload)
    _, metrics_s = timed(lambda: score(y, predicted), workload)
    medians = {name: statistics.median(each) for name, each in made.items()}
    return {"features": features_s, **medians, "predict": predict_s, "metrics": metrics_s}


def _features(workload: Workload, path: Path) -> tuple[FeatureTable, float]:
    """Return the table and the seconds it took; the steps it came from are let go."""
    steps = draw_steps(path, workload)
    return timed(lambda: build(steps, workload), workload)


def timed(work: Callable[[], Any], workload: Workload) -> tuple[Any, float]:
    """Return what `work` returns and the seconds a call takes: a median where calls are short."""
    seconds: list[float] = []
    while True:
        began = time.perf_counter()
        made = work()
        wait_for(workload.device)
        seconds.append(time.perf_counter() - began)
        if sum(seconds) >= _SHORTEST_S or len(seconds) == _MOST_CALLS:
            return made, statistics.median(seconds)


def wait_for(device: Device) -> None:
    """Wait for the GPU, where that is the device: its work goes on after a call has returned."""
    if device == "cuda":
        from gpucv.frames import gpu

        gpu.synchronise()


def folds_of(workload: Workload, steps: Path) -> dict[str, Any]:
    """Run a whole study, after a small one that loads what a study loads; see `run_study`."""
    small = Workload(**{**workload.to_json(), "rows": _TINY, "rounds": 2})
    for each in (small, workload):
        told = run_study(build(draw_steps(steps, each), each), each)
    return told


def run_study(table: FeatureTable, workload: Workload) -> dict[str, Any]:
    """Time the folds of a study, placed on the machine as `gpucv run` places them.

    Planned, placed, trained, predicted, scored, explained and written; each as in any run.

    Returns
    -------
    dict
        ``wall_s``, ``scores`` (the mean MAPE), ``row_rounds`` (rows trained times rounds, of
        all folds), and how the folds were laid out.

    Raises
    ------
    EnvironmentFaultError
        If a fold fails.
    """
    study, resources = study_of(workload), local_resources()
    device = resolve_device(workload.device)
    with tempfile.TemporaryDirectory(prefix="gpucv-bench-") as scratch:
        root = Path(scratch)
        (root / "folds").mkdir()
        began = time.perf_counter()
        tasks = plan_folds(study, table, device.device)
        placement = place(tasks, TableShape.of(table), study.execution, resources, device)
        ready = trained(tasks, table, placement.training)
        request = RunRequest(root, ready, study.execution, placement=placement)
        records = run_folds(request, table, Silent())
        wall_s = time.perf_counter() - began
    failed = [record.error for record in records if record.status != "ok"]
    if failed:
        msg = f"{len(failed)} of {len(records)} folds failed: {failed[0]}"
        raise EnvironmentFaultError(msg)
    return {
        "wall_s": wall_s,
        "scores": {"mape": statistics.fmean(each.scores["test_mape"] for each in records)},
        "row_rounds": sum((each.n_train - each.n_valid) * workload.rounds for each in records),
        "at_once": placement.at_once,
        "threads_per_fold": placement.threads_per_fold,
        "backend": placement.backend,
        "training": placement.training,
    }


if __name__ == "__main__":
    sys.exit(main())
