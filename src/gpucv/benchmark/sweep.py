"""How many rows per second a machine trains: phases and whole studies over growing tables."""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpucv.benchmark.floor import Work, floor_seconds
from gpucv.benchmark.harness import Contender, measure
from gpucv.benchmark.record import new_result
from gpucv.benchmark.workload import BYTES_PER_ROW, Workload, most_rows, simulate_steps
from gpucv.errors import EnvironmentFaultError, StudyError
from gpucv.machine import cpu_count, free_memory_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gpucv.benchmark.harness import Sample
    from gpucv.benchmark.record import BenchmarkResult
    from gpucv.machine import Device

__all__ = ["SUITE", "SweepRequest", "default_rows", "parse_rows", "run_sweep", "summarise"]

SUITE = "sweep"
LEAST_ROWS = 1_000
MOST_ROWS = 100_000_000
_DEFAULT = {"cpu": (10_000, 100_000, 1_000_000), "cuda": (10_000, 100_000, 1_000_000, 10_000_000)}
_RATES = ("features", "quantise", "predict", "metrics")


@dataclass(frozen=True, slots=True)
class SweepRequest:
    """What to measure.

    Attributes
    ----------
    rows : tuple of int
        Sizes of tables, smallest first.
    features, rounds, folds, repeats : int
    device : {"cpu", "cuda"}
    """

    rows: tuple[int, ...]
    device: Device
    features: int = 30
    rounds: int = 100
    folds: int = 8
    repeats: int = 5

    def workloads(self) -> list[Workload]:
        """Return one workload per size."""
        return [
            Workload(rows, self.features, self.rounds, self.folds, self.device)
            for rows in self.rows
        ]


def parse_rows(texts: Sequence[str]) -> tuple[int, ...]:
    """Read sizes such as ``1e6`` or ``10_000,200_000``, sorted, each once.

    Raises
    ------
    StudyError
        If one is no whole number, or outside 1,000 to 100,000,000.
    """
    found = set()
    for word in (word for text in texts for word in text.split(",")):
        try:
            rows = float(word)
        except ValueError:
            raise StudyError(f"--rows {word!r} is no number; write 1e6 or 100000") from None
        if not (LEAST_ROWS <= rows <= MOST_ROWS and rows.is_integer()):
            raise StudyError(f"--rows {word}: use whole numbers from {LEAST_ROWS} to {MOST_ROWS:g}")
        found.add(int(rows))
    return tuple(sorted(found))


def default_rows(device: Device, features: int) -> tuple[int, ...]:
    """Return the usual sizes that fit into the memory that is free now."""
    fit = most_rows(free_memory_bytes() or 0, features)
    return tuple(rows for rows in _DEFAULT[device] if rows <= fit)


def run_sweep(
    request: SweepRequest, tell: Callable[[Sample, int], None] | None = None
) -> BenchmarkResult:
    """Measure every size, phases and study in processes of their own, in turn.

    Parameters
    ----------
    request : SweepRequest
    tell : callable, optional
        Told of each run as it ends, and of how many there will be.

    Raises
    ------
    StudyError
        If a number makes no sense.
    EnvironmentFaultError
        If memory does not suffice, or nothing could be measured.
    """
    _must_make_sense(request)
    with tempfile.TemporaryDirectory(prefix="gpucv-bench-") as folder:
        steps = Path(folder) / "steps.parquet"
        simulate_steps(steps)
        contenders = [
            Contender(f"{part} {workload.rows}", command=_command(part, workload, steps))
            for workload in request.workloads()
            for part in ("phases", "study")
        ]
        planned = len(contenders) * (request.repeats + 1)
        found = measure(
            contenders,
            repeats=request.repeats,
            tell=None if tell is None else lambda sample: tell(sample, planned),
        )
    decisive = ("rows", "features", "rounds", "folds")
    settings = {name: getattr(request, name) for name in decisive} | {"cores": cpu_count()}
    result = new_result(SUITE, request.device, settings, found.samples, found.warmups)
    if not any(not sample.error for sample in found.samples):
        why = next(iter(found.failures().values()), "nothing was run")
        raise EnvironmentFaultError(f"nothing could be measured: {why}; see gpucv doctor")
    result.summary["sizes"] = summarise(result)
    return result


def _command(part: str, workload: Workload, steps: Path) -> tuple[str, ...]:
    told = json.dumps(workload.to_json())
    return (sys.executable, "-m", "gpucv.benchmark.phases", part, told, str(steps))


def _must_make_sense(request: SweepRequest) -> None:
    for name, least in (("features", 1), ("rounds", 1), ("folds", 2), ("repeats", 1)):
        if getattr(request, name) < least:
            raise StudyError(f"--{name} {getattr(request, name)}: use at least {least}")
    free = free_memory_bytes() or 0
    most = most_rows(free, request.features)
    if not request.rows or request.rows[-1] > most:
        asked = request.rows[-1] if request.rows else LEAST_ROWS
        needed = asked * BYTES_PER_ROW / 2**30
        msg = (
            f"{asked:,} rows take about {needed:.1f} GiB, and {free / 2**30:.1f} GiB are free; "
            f"use at most --rows {most}"
        )
        raise EnvironmentFaultError(msg)


def summarise(result: BenchmarkResult) -> list[dict[str, Any]]:
    """Return one row of medians per size of a sweep.

    Returns
    -------
    list of dict
        ``rows``; rows per second of features, quantise, predict and metrics;
        ``fit_s_per_round`` of one booster on all rows, on one core or the GPU, and
        ``fit_over_floor``, that over the least it can take (`floor`); of the study
        ``study_s``, ``folds_per_min``, ``row_rounds_per_s`` (rows trained x rounds, all folds) and
        ``peak_bytes``; each with its least and greatest as ``<name>_low`` and ``_high``.
        What failed is left out.
    """
    return [_size(result, rows) for rows in result.settings["rows"]]


def _size(result: BenchmarkResult, rows: int) -> dict[str, Any]:
    settings = result.settings
    phases = [each for each in result.samples if each.contender == f"phases {rows}"]
    studies = [each for each in result.samples if each.contender == f"study {rows}"]
    phases, studies = ([each for each in runs if not each.error] for runs in (phases, studies))
    told: dict[str, Any] = {"rows": rows}
    for name in _RATES:
        told |= _spread(f"{name}_rows_per_s", [rows / each.phases[name] for each in phases])
    per_round = [each.phases["fit"] / settings["rounds"] for each in phases]
    told |= _spread("fit_s_per_round", per_round)
    least = floor_seconds(Work(rows, settings["features"], rounds=1), result.device)
    told |= _spread("fit_over_floor", [each / least for each in per_round])
    told |= _spread("study_s", [each.wall_s for each in studies])
    rates: Mapping[str, list[float]] = {
        "folds_per_min": [60 * settings["folds"] / each.wall_s for each in studies],
        "row_rounds_per_s": [each.told["row_rounds"] / each.wall_s for each in studies],
        "peak_bytes": [each.peak_bytes for each in studies],
        "gpu_peak_bytes": [each.gpu_peak_bytes for each in studies if each.gpu_peak_bytes],
    }
    for name, values in rates.items():
        told |= _spread(name, values)
    return told


def _spread(name: str, values: list[float]) -> dict[str, float]:
    if not values:
        return {}
    return {
        name: statistics.median(values),
        f"{name}_low": min(values),
        f"{name}_high": max(values),
    }
