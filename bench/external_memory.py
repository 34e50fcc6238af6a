#!/usr/bin/env python3
"""Measure one large fold on the CPU: its matrix in memory, against paged in from disk.

Each way runs in a process of its own, over one table of random rows that lies on disk and is
mapped, so that what is counted is the fold's. Anonymous memory is what cannot be dropped:
mapped pages of the table and of XGBoost's cache can, and are counted apart.

Ends with 1 where paging needs more than its promised share of the memory, or where the two
ways predict differently.

Usage: .venv/bin/python bench/external_memory.py [--rows 5000000] [--features 30] [--rounds 20]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from gpucv.features import FeatureTable
from gpucv.folds import plan_folds, run_fold
from gpucv.folds.sharing import shared_table
from gpucv.splits import GroupLabels
from gpucv.study import study_from_dict

PROMISED = 0.6
"""Anonymous memory that paging adds, by what a matrix in memory adds."""
WAYS = ("in-memory", "external-memory")
GROUPS = 5
BLOCK = 500_000


def main() -> int:
    """Measure both ways, print, and say whether the promise is kept."""
    options = _options()
    if options.child:
        print(json.dumps(_fold(options)))
        return 0
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="gpucv-bench-") as folder:
        _write_rows(Path(folder) / "X.npy", options.rows, options.features)
        for way in WAYS:
            given = [sys.executable, __file__, "--child", way, "--folder", folder]
            for name in ("rows", "features", "rounds", "threads"):
                given += [f"--{name}", str(getattr(options, name))]
            done = subprocess.run(given, check=True, capture_output=True, text=True)
            found[way] = json.loads(done.stdout.splitlines()[-1])
            told = found[way]
            print(
                f"{way:16s} fit {told['fit_s']:6.1f} s (binning {told['quantise_s']:.1f} s)  "
                f"predict {told['predict_s']:5.1f} s  memory before {told['before_mib']:5.0f} MiB, "
                f"added {told['added_mib']:5.0f} MiB anonymous, VmHWM {told['hwm_mib']:5.0f} MiB"
            )
    memory, paged = (found[way] for way in WAYS)
    share = paged["added_mib"] / memory["added_mib"]
    same = memory["predictions"] == paged["predictions"]
    print(f"paged / in memory: {share:.2f} of the memory, ", end="")
    print(f"{paged['fit_s'] / memory['fit_s']:.2f} times the fit; predictions ", end="")
    print("equal to the bit" if same else "DIFFERENT")
    return int(not same or share > PROMISED)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A fold in memory, and paged.")
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--features", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--child", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def _write_rows(path: Path, rows: int, features: int) -> None:
    X = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(rows, features))
    draw = np.random.default_rng(1)
    for start in range(0, rows, BLOCK):
        X[start : start + BLOCK] = draw.random((min(BLOCK, rows - start), features), np.float32)
    X.flush()


def _fold(options: argparse.Namespace) -> dict[str, Any]:
    """Run one fold of five; return how long it took and what memory it needed."""
    X = np.asarray(np.load(options.folder / "X.npy", mmap_mode="r"))
    n = len(X)
    study = study_from_dict(
        {
            "data": {"target": "time_us", "experiment": "model"},
            "features": {"columns": [f"f{at}" for at in range(options.features)]},
            "schemes": [{"name": "lomo", "hold_out": "model"}],
            "validation": {"fraction": 0.0},
            "predictors": [{"params": {"n_estimators": options.rounds}}],
        },
        base=options.folder,
    ).study
    groups = GroupLabels((np.arange(n) % GROUPS).astype(np.int32), tuple("abcde"))
    table = FeatureTable(
        X=X,
        y=100 + 50 * X[:, 0].astype(np.float64) + np.random.default_rng(2).random(n),
        feature_names=study.features.columns,
        keys={"model": groups},
        step_id=np.arange(n),
        fingerprint="bench",
    )
    task = replace(plan_folds(study, table)[0], training=options.child, threads=options.threads)
    import_module("xgboost")  # whose own memory is not the fold's

    before = _status("RssAnon")
    with shared_table(table), _Peak() as peak:
        record, arrays = run_fold(task)
    if arrays is None:
        raise SystemExit(record.traceback)
    return {
        **record.seconds,
        "before_mib": before / 1024,
        "added_mib": (peak.kib - before) / 1024,
        "hwm_mib": _status("VmHWM") / 1024,
        "predictions": hashlib.sha256(arrays.predicted.tobytes()).hexdigest(),
    }


class _Peak:
    """The most anonymous memory this process has had, looked at every 10 ms."""

    def __enter__(self) -> _Peak:
        self.kib = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.is_set():
            self.kib = max(self.kib, _status("RssAnon"))
            time.sleep(0.01)


def _status(name: str) -> int:
    """Return a line of this process's status, KiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise SystemExit(f"/proc/self/status has no {name}")


if __name__ == "__main__":
    sys.exit(main())
