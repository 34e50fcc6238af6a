#!/usr/bin/env python3
"""Set gpucv's whole run of 7.8 million rows against bare XGBoost on ready matrices.

gpucv holds out each of the 10 GPU systems of aiconfigurator's GEMM latencies in turn: from the
parquet tree to the report, with all it computes on the way (work, features, groups, hashes,
scores, explanations, intervals, pages). The bare contenders get X (float32) and log y as
arrays that lie in memory, and do no more than gather, bin, train and predict the same ten folds
with the same parameters: ``in turn`` with all cores in each fold, ``in threads`` with a core
for each. The bar is set against the faster: gpucv's whole run takes at most 1.05 times as long.

Boosting 300 rounds takes an hour on four cores, so fewer are run: what gpucv does beside
boosting is the same then and weighs more. ``at_300_rounds`` scales the fit alone. Writes
``bench/results/<machine>/leave-one-system-out-<UTC>.json``; exits with 1 where the bar is
broken, with 0 where the data is absent. Wants an idle machine and 12 GiB.

Usage: .venv/bin/python bench/leave_one_system_out.py [--rounds 20] [--repeats 1] [--cores 4]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import xgboost

from gpucv.benchmark import Contender, Sample, measure, new_result, ratios, write_result
from gpucv.machine import cpu_count
from gpucv.study import LoadedStudy, study_from_dict
from gpucv.workflow import execution

REPOSITORY = Path(__file__).resolve().parents[1]
SUITE = "leave-one-system-out"
MOST = 1.05
BARE = ("bare in turn", "bare in threads")
ROUNDS = 300
"""Of the published study, for which the ratio is worked out."""


def main() -> int:
    """Make the matrices, measure all in turn, and judge."""
    options = _options()
    if options.child:
        told = _gpucv(options) if options.child == "gpucv" else _bare(options)
        print(json.dumps(told))
        return 0
    tree = _tree()
    if not tree.is_dir():
        print(f"skipped: no public data at {tree}; set GPUCV_SHARED_DATA to its folder")
        return 0
    with tempfile.TemporaryDirectory(prefix="gpucv-bench-", dir=options.scratch) as folder:
        rows, features = _write_matrices(Path(folder))
        print(f"{rows:,} rows x {features}, {options.rounds} rounds, {options.cores} cores")
        contenders = [_contender(name, folder, options) for name in ("gpucv", *BARE)]
        found = measure(contenders, repeats=options.repeats, warmup=0, tell=_tell)
    settings = {"rows": rows, "features": features, "rounds": options.rounds}
    result = new_result(SUITE, "cpu", settings | {"cores": options.cores}, found.samples)
    summary = judge(list(found.samples), options.rounds)
    for name, value in summary.items():
        print(f"{name:24s} {value:.3f}")
    print(f"written  {write_result(replace(result, summary=summary), options.out)}")
    return int(summary.get("whole_over_bare", np.inf) > MOST)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A whole run against bare XGBoost.")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--cores", type=int, default=cpu_count())
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--scratch", type=Path, help="where matrices and the run lie")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def _tree() -> Path:
    folder = os.environ.get("GPUCV_SHARED_DATA", REPOSITORY.parent / "shared" / "data")
    return Path(folder) / "aiconfigurator"


def _contender(name: str, folder: str, options: argparse.Namespace) -> Contender:
    command = (sys.executable, __file__, "--child", name, "--folder", folder)
    command += ("--rounds", str(options.rounds), "--cores", str(options.cores))
    # OpenMP threads that wait in a spin would take the cores of the folds beside them.
    return Contender(name, command, environment={"OMP_WAIT_POLICY": "PASSIVE", "TMPDIR": folder})


def study_of(rounds: int) -> LoadedStudy:
    """Return the study: every GPU system held out once."""
    return study_from_dict(
        {
            "name": SUITE,
            "data": {
                "steps": [str(_tree())],
                "format": "aiconfigurator",
                "target": "latency_us",
                "experiment": "source_file",
                "where": {"op": "gemm"},
                "audit": "warn",
            },
            "features": {"set": "transfer", "columns": ["m", "n", "k", "flops", "bytes"]},
            "validation": {"fraction": 0},
            "schemes": [{"name": "leave-one-gpu-out", "hold_out": "gpu"}],
            "predictors": [
                {"name": "xgboost", "transform": "log", "params": {"n_estimators": rounds}}
            ],
            "execution": {"device": "cpu"},
        },
        base=REPOSITORY,
    )


def _write_matrices(folder: Path) -> tuple[int, int]:
    """Write what a bare contender finds ready."""
    prepared = execution.prepare(study_of(1))
    table = prepared.table
    np.save(folder / "X.npy", table.X)
    np.save(folder / "y.npy", np.log(table.y).astype(np.float32))
    np.save(folder / "group.npy", table.keys["gpu"].codes)
    rows, features = table.X.shape
    return rows, features


def _gpucv(options: argparse.Namespace) -> dict[str, Any]:
    """Run the study; the clock starts before the data is looked at, XGBoost is loaded."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.cores])
    began = time.perf_counter()
    prepared = execution.prepare(study_of(options.rounds))
    ready = time.perf_counter()
    watch = _Watch()
    result = execution.start(prepared, out=options.folder / f"run-{os.getpid()}", progress=watch)
    ended = time.perf_counter()
    seconds = {
        name: sum(record.seconds.get(name, 0.0) for record in watch.records)
        for name in ("quantise_s", "fit_s", "predict_s")
    }
    if not (result.folds["status"] == "ok").all():
        raise RuntimeError("a fold failed")
    return {
        "wall_s": ended - began,
        "phases": {
            "prepare": ready - began,
            "folds": watch.ended - ready,
            "report": ended - watch.ended,
        },
        "scores": {"mape": float(result.folds["test_mape"].mean())},
        "folds": seconds,
        "at_once": prepared.placement.at_once,
    }


class _Watch:
    """Progress that keeps every fold's record, and the moment the last one ended."""

    def __init__(self) -> None:
        self.records: list[Any] = []
        self.ended = 0.0

    def start(self, planned: int, finished: int, rows: int) -> None:
        """Say nothing."""

    def begin(self, task: Any, worker: str) -> None:
        """Say nothing."""

    def advance(self, record: Any) -> None:
        """Keep the record."""
        self.records.append(record)

    def stop(self) -> None:
        """Note the moment."""
        self.ended = time.perf_counter()


def _bare(options: argparse.Namespace) -> dict[str, Any]:
    """Train and predict the ten folds with nothing but XGBoost and NumPy."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.cores])
    X, y, group = (np.load(options.folder / f"{name}.npy") for name in ("X", "y", "group"))
    at_once = options.cores if options.child == "bare in threads" else 1
    threads = max(1, options.cores // at_once)
    params = {
        **{"objective": "reg:squarederror", "tree_method": "hist", "max_depth": 6, "seed": 42},
        **{"learning_rate": 0.05, "min_child_weight": 5, "subsample": 0.8},
        **{"colsample_bytree": 0.8, "nthread": threads, "device": "cpu"},
    }

    def fold(held_out: int) -> tuple[float, float, float]:
        train, test = np.flatnonzero(group != held_out), np.flatnonzero(group == held_out)
        began = time.perf_counter()
        matrix = xgboost.QuantileDMatrix(X[train], y[train], nthread=threads, max_bin=256)
        binned = time.perf_counter()
        booster = xgboost.train(params, matrix, options.rounds, verbose_eval=False)
        fitted = time.perf_counter()
        predicted = booster.inplace_predict(X[test])
        error = np.abs(np.exp(predicted - y[test]) - 1).mean()
        return binned - began, fitted - binned, 100 * float(error)

    began = time.perf_counter()
    # The longest first, as gpucv does.
    order = np.argsort(np.bincount(group), kind="stable")
    with ThreadPoolExecutor(at_once) as pool:
        told = list(pool.map(fold, order.tolist()))
    wall_s = time.perf_counter() - began
    binning, training, errors = zip(*told, strict=True)
    return {
        "wall_s": wall_s,
        "scores": {"mape": float(np.mean(errors))},
        "folds": {"quantise_s": sum(binning), "train_s": sum(training)},
        "at_once": at_once,
    }


def judge(samples: list[Sample], rounds: int) -> dict[str, float]:
    """Return the ratios, and how many seconds gpucv spends outside its folds.

    `at_300_rounds` adds to both sides what boosting takes more, by the share of the bare run's
    own time that is boosting.
    """
    known = {each.contender: each for each in samples if not each.error}
    if "gpucv" not in known or not set(BARE) & known.keys():
        return {}
    faster = min((name for name in BARE if name in known), key=lambda name: known[name].wall_s)
    bare, ours = known[faster], known["gpucv"]
    ratio = ratios(samples, "gpucv", faster).median
    folds = bare.told["folds"]
    boosting = bare.wall_s * folds["train_s"] / (folds["train_s"] + folds["quantise_s"])
    more = boosting * (ROUNDS / rounds - 1)
    return {
        "whole_over_bare": ratio,
        "folds_over_bare": ours.phases["folds"] / bare.wall_s,
        "outside_folds_s": ours.phases["prepare"] + ours.phases["report"],
        "at_300_rounds": (ours.wall_s + more) / (bare.wall_s + more),
    }


def _tell(sample: Sample) -> None:
    phases = "  ".join(f"{name} {seconds:.1f}" for name, seconds in sample.phases.items())
    told = sample.error or (
        f"{sample.wall_s:7.1f} s, cpu {sample.cpu_s:7.1f} s, peak "
        f"{sample.peak_bytes / 2**30:5.2f} GiB, load {sample.load_before:.1f}, "
        f"mape {sample.scores.get('mape', np.nan):.2f}  {phases}"
    )
    print(f"{sample.contender:16s} {told}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
