#!/usr/bin/env python3
"""Measure folds on a GPU: together against in turn, against a plain loop, and against the CPU.

Four questions, answered by commands run in turn and compared pair by pair:

1. The embedded study's 8 folds: at 1, 2, 4 and 8 at once on one GPU, and by a plain loop of
   ``XGBRegressor(device="cuda")`` over the same splits.
2. One fold of many rows: the GPU against 4 CPU cores.
3. gpucv's whole fold against bare ``xgboost.train`` on a ready matrix, per round.
4. The GPU memory that fold took, against what the planner said it would.

Writes ``bench/results/<device>/gpu_folds.json`` with device, date and command. Ends with 0,
saying so, where there is no GPU; ``--device cpu`` tries the script itself, and writes nothing.

Usage: .venv/bin/python bench/gpu_folds.py [--device cpu] [--rows 7800000] [--repeats 5]
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xgboost

from gpucv.errors import EnvironmentFaultError
from gpucv.folds import RunRequest, run_folds
from gpucv.machine import describe_machine, resolve_device
from gpucv.splits import make_split
from gpucv.study import LoadedStudy, load_study, study_from_dict
from gpucv.workflow import prepare
from gpucv.workflow.execution import Silent

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpucv.workflow import PreparedStudy

REPOSITORY = Path(__file__).resolve().parents[1]
CPU_CORES = 4
FEATURES = 30
ONE_SPLIT = {"n_splits": 1, "test_size": 0.1}


def main() -> int:
    """Measure, print and write."""
    options = _options()
    try:
        device = resolve_device(options.device)
    except EnvironmentFaultError as error:
        print(f"skipped: {error}")
        return 0
    print(f"device {device.device}: {device.reason}")
    found = {
        "device": device.device,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join(["bench/gpu_folds.py", *sys.argv[1:]]),
        "machine": describe_machine(),
        "together": _together(options.device, options.repeats),
        "against_cpu": _against_cpu(options.device, options.rows, options.rounds),
        "per_round": _per_round(options.device, options.rows, options.rounds),
    }
    if device.device == "cpu":
        print("nothing written: this was not a GPU")
        return 0
    name = re.sub(r"[^a-z0-9]+", "-", found["machine"]["gpus"][0].split(",")[0].lower())
    out = REPOSITORY / "bench" / "results" / name.strip("-") / "gpu_folds.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(f"written  {out}")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Folds on a GPU.")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--rows", type=int, default=7_800_000)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=5)
    return parser.parse_args()


def _together(device: str, repeats: int) -> dict[str, Any]:
    """Time the embedded study's folds at several numbers at once, interleaved."""
    loaded = load_study(REPOSITORY / "examples" / "h3-generalization.toml", ())
    ways: dict[str, Callable[[], float]] = {"plain loop": lambda: _plain_loop(plain)}
    prepared = {count: prepare(_with(loaded, device, count)) for count in (1, 2, 4, 8)}
    plain = prepared[1]
    for count, each in prepared.items():
        ways[f"gpucv, {count} at once"] = lambda each=each: _folds(each)
    for way in ways.values():  # contexts, kernels and caches
        way()
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            seconds[name].append(way())
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    in_turn = seconds["gpucv, 1 at once"]
    ratios = {
        name: statistics.median(a / b for a, b in zip(in_turn, times, strict=True))
        for name, times in seconds.items()
    }
    for name, median in medians.items():
        print(f"{name:20s} {median:7.2f} s   in turn / this {ratios[name]:5.2f}")
    return {"seconds": seconds, "in_turn_over_this": ratios}


def _with(loaded: LoadedStudy, device: str, at_once: int) -> LoadedStudy:
    """Return the study with so many folds at once on the device."""
    settings = loaded.study.model_dump(mode="json", by_alias=True, exclude_none=True)
    key = "workers" if device == "cpu" else "folds_per_gpu"
    settings["execution"] = {"device": device, "backend": "threads", key: at_once}
    return study_from_dict(settings, base=loaded.base)


def _folds(prepared: PreparedStudy) -> float:
    """Return the seconds of all folds of a prepared study."""
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        (root / "folds").mkdir()
        request = RunRequest(root, prepared.tasks, prepared.study.execution)
        request = replace(request, placement=prepared.placement)
        began = time.perf_counter()
        records = run_folds(request, prepared.table, Silent())
        seconds = time.perf_counter() - began
    failed = [record.error for record in records if record.status != "ok"]
    if failed:
        raise SystemExit(f"{len(failed)} folds failed: {failed[0]}")
    return seconds


def _plain_loop(prepared: PreparedStudy) -> float:
    """Return the seconds of the same folds as most would write them."""
    table = prepared.table
    began = time.perf_counter()
    for task in prepared.tasks:
        split = make_split(task.scheme, table.keys, task.index, n_rows=len(table), seed=task.seed)
        known = {k: v for k, v in task.predictor.params.items() if k not in ("max_leaves",)}
        regressor = xgboost.XGBRegressor(**known, device=task.device, random_state=task.seed)
        fit = split.train[: int(len(split.train) * (1 - task.validation.fraction))]
        regressor.fit(table.X[fit], table.y[fit])
        regressor.predict(table.X[split.test])
    return time.perf_counter() - began


def _many_rows(rows: int, rounds: int, device: str) -> LoadedStudy:
    """Return a study of one fold over a table of its own, written into a temporary folder."""
    folder = Path(tempfile.mkdtemp(prefix="gpucv-bench-"))
    draw = np.random.default_rng(1)
    frame = pd.DataFrame(
        {f"x{at:02d}": draw.random(rows, dtype=np.float32) for at in range(FEATURES)}
    )
    frame["time_us"] = 50 + 100 * frame["x00"] * frame["x01"] + 20 * np.sin(6 * frame["x02"])
    frame.to_parquet(folder / "rows.parquet", index=False)
    return study_from_dict(
        {
            "data": {"steps": [str(folder)], "target": "time_us", "audit": "off"},
            "features": {"columns": [name for name in frame if name.startswith("x")]},
            "validation": {"fraction": 0.0},
            "schemes": [{"name": "one", "splitter": "ShuffleSplit", "params": ONE_SPLIT}],
            "predictors": [{"params": {"n_estimators": rounds}}],
            "execution": {"device": device, "backend": "threads"},
        },
        base=folder,
    )


def _against_cpu(device: str, rows: int, rounds: int) -> dict[str, Any]:
    """Time the folds of a large table on the GPU and on 4 CPU cores."""
    seconds = {}
    for name, where in (("device", device), (f"{CPU_CORES} CPU cores", "cpu")):
        before = os.sched_getaffinity(0)
        if where == "cpu":
            os.sched_setaffinity(0, sorted(before)[:CPU_CORES])
        try:
            prepared = prepare(_many_rows(rows, rounds, where))
            seconds[name] = _folds(prepared)
        finally:
            os.sched_setaffinity(0, before)
        print(f"{rows:,} rows, {rounds} rounds on {name}: {seconds[name]:.1f} s")
    ratio = seconds[f"{CPU_CORES} CPU cores"] / seconds["device"]
    print(f"{CPU_CORES} CPU cores / device {ratio:.1f}")
    return {"rows": rows, "rounds": rounds, "seconds": seconds, "cpu_over_device": ratio}


def _per_round(device: str, rows: int, rounds: int) -> dict[str, Any]:
    """Time one fold against bare training on a matrix that is ready."""
    prepared = prepare(_many_rows(rows, rounds, device))
    task = prepared.tasks[0]
    table = prepared.table
    split = make_split(task.scheme, table.keys, task.index, n_rows=len(table), seed=task.seed)
    params = {k: v for k, v in task.predictor.params.items() if k != "n_estimators"}
    matrix = xgboost.QuantileDMatrix(
        table.X[split.train], label=table.y[split.train], max_bin=params["max_bin"]
    )
    whole = {**params, "tree_method": "hist", "device": task.device, "seed": task.seed}
    xgboost.train(whole, matrix, num_boost_round=2)
    began = time.perf_counter()
    xgboost.train(whole, matrix, num_boost_round=rounds)
    bare = time.perf_counter() - began
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        (root / "folds").mkdir()
        request = RunRequest(root, (task,), prepared.study.execution)
        (record,) = run_folds(request, table, Silent())
    if record.status != "ok":
        raise SystemExit(f"the fold failed: {record.error}")
    ours = record.seconds["fit_s"] - record.seconds.get("quantise_s", 0.0)
    peak, said = record.gpu.get("memory_peak_bytes", 0.0), prepared.placement.at_once_bytes
    print(f"memory: peak {peak / 2**20:,.0f} MiB, said {said / 2**20:,.0f} MiB")
    print(f"per round: gpucv {1e3 * ours / rounds:.2f} ms, bare {1e3 * bare / rounds:.2f} ms")
    return {
        "rows": rows,
        "gpucv_s": ours,
        "bare_s": bare,
        "ratio": ours / bare,
        "memory_peak_bytes": peak,
        "memory_said_bytes": said,
    }


if __name__ == "__main__":
    sys.exit(main())
