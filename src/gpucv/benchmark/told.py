"""A sweep in words and as a table: the same on a terminal and on the page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpucv.report.cells import ABSENT, clean, count
from gpucv.report.svg import tick_label
from gpucv.report.tables import Column, Table

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpucv.benchmark.record import BenchmarkResult

__all__ = ["busy", "failures", "headline", "machine_said", "sweep_table", "written"]

_BUSY = 0.5
"""Load per core beside the benchmark's own from which other work is worth a word."""


def written(value: float) -> str:
    """Write a figure with three digits, and a letter where it is large: ``17.5M``."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if value >= size:
            return f"{value / min(size, 1e3 if letter == 'k' else size):.3g}{letter}"
    return f"{value:.3g}" if value < 1000 else count(value)


def _mib(value: float) -> str:
    return count(value / 2**20)


def _ms(value: float) -> str:
    return f"{1e3 * value:.3g}"


_ROWS: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("features, rows/s", "features_rows_per_s", written),
    ("quantise, rows/s", "quantise_rows_per_s", written),
    ("fit, ms a round", "fit_s_per_round", _ms),
    ("fit, times its floor", "fit_over_floor", written),
    ("predict, rows/s", "predict_rows_per_s", written),
    ("metrics, rows/s", "metrics_rows_per_s", written),
    ("study, s", "study_s", written),
    ("study, folds a minute", "folds_per_min", written),
    ("study, row-rounds/s", "row_rounds_per_s", written),
    ("study, peak memory MiB", "peak_bytes", _mib),
    ("study, peak GPU MiB", "gpu_peak_bytes", _mib),
)


def headline(result: BenchmarkResult) -> str:
    """Say how much the machine trains, of the size at which it trains most."""
    sizes = [each for each in result.summary["sizes"] if "row_rounds_per_s" in each]
    if not sizes:
        return "No study could be measured."
    best = max(sizes, key=lambda each: each["row_rounds_per_s"])
    settings = result.settings
    return (
        f"Trains {written(best['row_rounds_per_s'])} row-rounds a second: a study of "
        f"{settings['folds']} folds over {count(best['rows'])} rows x {settings['features']} "
        f"features, {settings['rounds']} rounds each, takes {best['study_s']:.3g} s."
    )


def machine_said(result: BenchmarkResult) -> str:
    """Name what did the work."""
    machine = result.machine
    cpu = f"{clean(machine['cpu'])}, {machine['cores']} cores"
    if result.device == "cpu":
        return cpu
    return f"{clean(machine['gpus'][0])} ({cpu})"


def busy(result: BenchmarkResult) -> str:
    """Say that the machine had other work before the first run, if it had; "" if not."""
    first = (*result.warmups, *result.samples)[:1]
    load, cores = (first[0].load_before if first else 0.0), result.machine["cores"]
    if load < _BUSY * cores:
        return ""
    return (
        f"The machine was busy: load {load:.1f} on {cores} cores before the first run. "
        "Figures of a busy machine compare with nothing."
    )


def failures(result: BenchmarkResult) -> list[str]:
    """Return a line per contender that failed."""
    runs = (*result.warmups, *result.samples)
    failed = {each.contender: each.error for each in runs if each.error}
    return [f"{clean(name)}: {clean(error, 300)}" for name, error in failed.items()]


def sweep_table(result: BenchmarkResult) -> Table:
    """Return the medians of a sweep, a column per size."""
    sizes: list[dict[str, Any]] = result.summary["sizes"]
    known = [row for row in _ROWS if any(row[1] in size for size in sizes)]
    settings = result.settings
    one = "one core" if result.device == "cpu" else "the whole GPU"
    n = len({each.repeat for each in result.samples})
    return Table(
        title=(
            f"{settings['features']} features, {settings['rounds']} rounds, "
            f"{settings['folds']} folds, device {result.device}"
        ),
        columns=(
            Column("", numeric=False),
            *(Column(f"{tick_label(size['rows'])} rows") for size in sizes),
        ),
        rows=tuple(
            (name, *(write(size[key]) if key in size else ABSENT for size in sizes))
            for name, key, write in known
        ),
        note=(
            f"Medians of {n} runs. Up to metrics: one booster on all rows, on {one}. Study: all "
            "folds, placed as gpucv run places them; memory of the whole process tree (PSS), "
            "reading and features included."
        ),
    )
