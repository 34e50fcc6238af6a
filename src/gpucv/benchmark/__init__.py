"""Measuring gpucv and its peers: one harness, its records, and what a node can train.

`harness` runs contenders in turn and samples the memory of their process trees; `ratios` sets
them against each other pair by pair; `record` keeps the results.
"""

from gpucv.benchmark.harness import Contender, Measurement, Sample, measure
from gpucv.benchmark.ratios import Ratio, median_interval, ratios
from gpucv.benchmark.record import (
    BenchmarkResult,
    machine_slug,
    new_result,
    read_result,
    write_result,
)

__all__ = [
    "BenchmarkResult",
    "Contender",
    "Measurement",
    "Ratio",
    "Sample",
    "machine_slug",
    "measure",
    "median_interval",
    "new_result",
    "ratios",
    "read_result",
    "write_result",
]
