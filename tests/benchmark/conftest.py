from __future__ import annotations

from typing import Any

import pytest

from gpucv.benchmark import BenchmarkResult, Sample
from gpucv.benchmark.sweep import summarise

PHASES = {"features": 0.5, "quantise": 1.0, "fit": 2.0, "predict": 0.25, "metrics": 0.1}


def sweep_result(**change: Any) -> BenchmarkResult:
    """Three runs of two sizes; the larger study takes 9, 10 and 11 s."""
    samples = []
    for rows, wall in ((1_000, 1.0), (100_000, 10.0)):
        for repeat in range(3):
            at = wall * (0.9 + 0.1 * repeat)
            samples += [
                Sample(f"phases {rows}", repeat, 0, wall_s=at, phases=dict(PHASES)),
                Sample(
                    f"study {rows}",
                    repeat,
                    1,
                    wall_s=at,
                    peak_bytes=300 << 20,
                    peak_kind="pss",
                    told={"row_rounds": 80 * rows},
                ),
            ]
    made: dict[str, Any] = {
        "suite": "sweep",
        "device": "cpu",
        "date": "2026-11-23T17:00:00+00:00",
        "command": "gpucv bench",
        "revision": "abc",
        "machine": {
            "host": "node",
            "system": "Linux",
            "cpu": "Some CPU",
            "cores": 4,
            "memory_bytes": 1,
            "gpus": [],
            "versions": {"numpy": "2.4.6"},
        },
        "settings": {"rows": [1_000, 100_000], "features": 30, "rounds": 20, "folds": 4},
        "samples": tuple(samples),
    }
    result = BenchmarkResult(**{**made, **change})
    result.summary["sizes"] = summarise(result)
    return result


@pytest.fixture
def sweep() -> BenchmarkResult:
    return sweep_result()
