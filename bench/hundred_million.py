#!/usr/bin/env python3
"""Run a study of 100 million rows end to end, from a parquet file to its report.

The rows are made up and written in row groups; every matrix is paged from disk
(``training = "external-memory"``), one fold at a time. What is asked is memory: the peak of
the whole process tree (PSS) must stay within 16 GiB. So rounds are few, and errors mean
nothing. Smaller sizes come first, and the line through their peaks says what the largest
should take. Writes ``bench/results/<machine>/hundred-million-<UTC>.json``; exits with 1 where
the peak is above 16 GiB. Wants 16 GiB of memory, 8 GB of disk and, on four cores, some half an
hour.

Usage: .venv/bin/python bench/hundred_million.py [--rows 1e6 1e7 1e8] [--features 5] [--rounds 3]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gpucv.benchmark import Contender, Sample, measure, new_result, write_result
from gpucv.benchmark.process_tree import TreeWatch
from gpucv.study import study_from_dict
from gpucv.workflow import execution

LARGEST_BYTES = 16 * 2**30
GROUPS = 4
RECORDINGS = 100
ROW_GROUP = 1_000_000
SUITE = "hundred-million"


def main() -> int:
    """Measure each size in a process of its own, draw the line, and judge the largest."""
    options = _options()
    if options.child:
        print(json.dumps(_study(options.child, options.features, options.rounds)))
        return 0
    samples: list[Sample] = []
    for rows in sorted(int(float(text)) for text in options.rows):
        with tempfile.TemporaryDirectory(prefix="gpucv-bench-", dir=options.scratch) as folder:
            began = time.perf_counter()
            path = Path(folder) / "rows.parquet"
            write_rows(path, rows, options.features)
            print(
                f"{rows:>11,} rows written in {time.perf_counter() - began:.0f} s, "
                f"{path.stat().st_size / 1e9:.2f} GB",
                flush=True,
            )
            samples += _measured(path, rows, options)
    settings = {"features": options.features, "rounds": options.rounds, "groups": GROUPS}
    result = new_result(SUITE, "cpu", settings, tuple(samples))
    line = memory_line(samples)
    result = replace(result, summary={"sizes": [_size(each) for each in samples], "line": line})
    if line:
        print(
            f"peak = {line['base_bytes'] / 2**20:,.0f} MiB + {line['bytes_per_row']:.0f} B a row; "
            f"1e8 rows: {line['at_1e8_bytes'] / 2**30:.1f} GiB"
        )
    print(f"written  {write_result(result, options.out)}")
    failed = [each.error for each in samples if each.error]
    for why in failed:
        print(f"failed: {why}")
    return int(bool(failed) or max(each.peak_bytes for each in samples) > LARGEST_BYTES)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A study of 100 million rows.")
    parser.add_argument("--rows", nargs="+", default=["1e6", "1e7", "1e8"])
    parser.add_argument("--features", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--scratch", type=Path, help="where rows, pages and the run lie")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def write_rows(path: Path, rows: int, features: int) -> None:
    """Write random features and a time that follows from three of them, a row group at a time."""
    labels = {
        name: pa.array([f"{name} {number:02d}" for number in range(count)])
        for name, count in (("group", GROUPS), ("recording", RECORDINGS))
    }
    fields = [(name, pa.dictionary(pa.int8(), pa.string())) for name in labels]
    fields += [(name, pa.float32()) for name in ("time_us", *_features(features))]
    schema = pa.schema(fields)
    with pq.ParquetWriter(path, schema, compression="none") as writer:
        for start in range(0, rows, ROW_GROUP):
            n = min(ROW_GROUP, rows - start)
            draw = np.random.default_rng(start)
            columns = [draw.random(n, dtype=np.float32) for _ in range(features)]
            time_us = 10 + 5 * columns[0] + 3 * columns[-1] * columns[len(columns) // 2]
            time_us += 0.1 * draw.standard_normal(n, dtype=np.float32)
            place = np.arange(start, start + n)
            coded = [
                pa.DictionaryArray.from_arrays(
                    pa.array((place * len(names) // rows).astype(np.int8)), names
                )
                for names in labels.values()
            ]
            arrays = [*coded, pa.array(time_us), *map(pa.array, columns)]
            writer.write_table(pa.table(arrays, schema=schema))


def _features(count: int) -> list[str]:
    return [f"f{at}" for at in range(count)]


def _measured(path: Path, rows: int, options: argparse.Namespace) -> list[Sample]:
    command = (sys.executable, __file__, "--child", str(path))
    command += ("--features", str(options.features), "--rounds", str(options.rounds))
    contender = Contender(f"study {rows}", command, environment={"TMPDIR": str(path.parent)})
    (sample,) = measure([contender], repeats=1, warmup=0).samples
    sample = replace(sample, told={**sample.told, "rows": rows})
    stages = sample.told.get("stages", {})
    print(
        f"{rows:>11,} rows  {sample.process_s:7.1f} s, peak {sample.peak_bytes / 2**30:5.2f} GiB  "
        + "  ".join(
            f"{name} {stage['s']:.0f} s {stage['peak_bytes'] / 2**30:.2f} GiB"
            for name, stage in stages.items()
        ),
        flush=True,
    )
    return [sample]


def _study(path: Path, features: int, rounds: int) -> dict[str, Any]:
    """Run the whole study in this process; tell seconds and peak memory of each stage."""
    study = study_from_dict(
        {
            "name": SUITE,
            "data": {
                "steps": [str(path)],
                "target": "time_us",
                "experiment": "recording",
                "audit": "off",
            },
            "features": {"columns": _features(features)},
            "validation": {"fraction": 0},
            "schemes": [{"name": "groups", "hold_out": "group"}],
            "predictors": [{"name": "xgboost", "params": {"n_estimators": rounds}}],
            "execution": {
                "device": "cpu",
                "training": "external-memory",
                "workers": 1,
            },
        },
        base=path.parent,
    )
    stages: dict[str, dict[str, float]] = {}
    with TreeWatch(os.getpid()) as watch:

        def ended(stage: str, began: float) -> float:
            watch.look()
            stages[stage] = {"s": time.perf_counter() - began, "peak_bytes": watch.peak_bytes}
            watch.peak_bytes = 0
            return time.perf_counter()

        began = time.perf_counter()
        prepared = execution.prepare(study)
        began = ended("prepare", began)
        at_end = _Told(lambda: ended("folds", began))
        result = execution.start(prepared, out=path.parent / "run", progress=at_end)
        ended("report", at_end.at)
    folds = result.folds
    if not (folds["status"] == "ok").all():
        raise RuntimeError("; ".join(sorted({str(status) for status in folds["status"]})))
    return {"stages": stages, "scores": {"mape": float(folds["test_mape"].mean())}}


class _Told:
    """Progress that says when the last fold is done."""

    def __init__(self, done: Any) -> None:
        self._done = done
        self.at = 0.0

    def start(self, planned: int, finished: int, rows: int) -> None:
        """Say nothing."""

    def begin(self, task: Any, worker: str) -> None:
        """Say nothing."""

    def advance(self, record: Any) -> None:
        """Say nothing."""

    def stop(self) -> None:
        """Note the moment: folds end here, and the report begins."""
        self.at = self._done()


def memory_line(samples: list[Sample]) -> dict[str, float]:
    """Return the straight line through the peaks of the two largest sizes."""
    known = sorted((each.told["rows"], each.peak_bytes) for each in samples if not each.error)
    if len(known) < 2:
        return {}
    (rows, peak), (more, higher) = known[-2:]
    each = (higher - peak) / (more - rows)
    base = peak - each * rows
    return {"base_bytes": base, "bytes_per_row": each, "at_1e8_bytes": base + 1e8 * each}


def _size(sample: Sample) -> dict[str, Any]:
    return {
        "rows": sample.told["rows"],
        "s": sample.process_s,
        "peak_bytes": sample.peak_bytes,
        "stages": sample.told.get("stages", {}),
        "error": sample.error,
    }


if __name__ == "__main__":
    sys.exit(main())
