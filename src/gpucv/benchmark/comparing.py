"""Two results of one benchmark on one machine: what became slower, and whether it may."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gpucv.analysis.gates import Gate, parse_gate
from gpucv.benchmark.record import BenchmarkResult, read_result
from gpucv.errors import RunError, StudyError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

__all__ = ["ComparedBenchmark", "ComparedResults", "compare_results"]

_FEWEST_RUNS = 3
_HARDWARE = ("cpu", "cores", "gpus")
_NOT_DECISIVE = ("rows", "repeats")
"""Settings that may differ: what both measured is compared."""
_ALL, _MEMORY = "wall", "memory"


@dataclass(frozen=True, slots=True)
class ComparedBenchmark:
    """One figure of one contender in both results.

    Attributes
    ----------
    run : str
        The result set against the baseline.
    benchmark : str
        The contender's name.
    figure : str
        ``wall``, ``memory``, or a phase.
    n_baseline, n_run : int
        How often it was measured; 0 where it failed or was not measured.
    baseline, value : float
        Medians: seconds, or bytes of ``memory``.
    ratio : float
        Geometric mean of the run over that of the baseline.
    low, high : float
        95 % interval; NaN below three runs of either.
    error : str
        Why it failed in the run; "".
    """

    run: str
    benchmark: str
    figure: str
    n_baseline: int
    n_run: int
    baseline: float
    value: float
    ratio: float
    low: float
    high: float
    error: str

    @property
    def standing(self) -> str:
        """``slower``, ``faster`` or ``tied`` (more, less of memory); what cannot be told."""
        if self.error or not self.n_run:
            return "failed" if self.error else "not measured"
        if math.isnan(self.low):
            return "not told apart"
        worse, better = ("more", "less") if self.figure == _MEMORY else ("slower", "faster")
        return worse if self.low > 1 else better if self.high < 1 else "tied"


@dataclass(frozen=True, slots=True)
class ComparedResults:
    """Results set against a baseline.

    Attributes
    ----------
    baseline : str
    runs : tuple of str
    figures : tuple of ComparedBenchmark
    differences : tuple of dict
        ``run, about, what, baseline, value``: what else is not the same.
    gates : tuple of dict
        ``run, gate, benchmark, figure, status, said``.
    """

    baseline: str
    runs: tuple[str, ...]
    figures: tuple[ComparedBenchmark, ...]
    differences: tuple[dict[str, Any], ...]
    gates: tuple[dict[str, Any], ...]

    @property
    def ok(self) -> bool:
        """Whether no gate failed."""
        return all(gate["status"] != "fail" for gate in self.gates)


def compare_results(
    baseline: Path, *others: Path, fail: Sequence[str] = (), force: bool = False
) -> ComparedResults:
    """Set results of `gpucv bench`, or of a suite under ``bench/``, against a baseline.

    Parameters
    ----------
    baseline, *others : Path
        Files that `write_result` wrote; at least one other.
    fail : sequence of str
        Gates: ``"wall:+10%"``, ``"fit:+10%"`` (any phase), ``"memory:+5%"``.
    force : bool
        Compare other machines, devices and settings all the same.

    Raises
    ------
    StudyError
        Too few results, or a gate that cannot be read.
    RunError
        A file is no result, or the results differ in what `force` allows, or share nothing.
    """
    if not others:
        msg = "comparing takes two results or more: the baseline, then what is set against it"
        raise StudyError(msg)
    paths = (baseline, *others)
    if missing := [path for path in paths if not path.is_file()]:
        msg = f"{missing[0]}: no such file; results of benchmarks compare with each other alone"
        raise StudyError(msg)
    before, *after = map(read_result, paths)
    alike = len({path.name for path in paths}) < len(paths)
    first, *names = [str(path) if alike else path.name for path in paths]
    told = [
        {"run": name, **row}
        for name, result in zip(names, after, strict=True)
        for row in _differences(before, result)
    ]
    if not force:
        _refuse(first, told)
    figures = [
        each
        for name, result in zip(names, after, strict=True)
        for each in _compared(name, before, result)
    ]
    phases = sorted({each.figure for each in figures} - {_ALL, _MEMORY})
    gates = [parse_gate(text, (), (_ALL, _MEMORY, *phases)) for text in fail]
    return ComparedResults(
        baseline=first,
        runs=tuple(names),
        figures=tuple(figures),
        differences=tuple(told),
        gates=tuple(row for gate in gates for row in _judged(gate, figures)),
    )


def _differences(before: BenchmarkResult, after: BenchmarkResult) -> Iterable[dict[str, Any]]:
    """Yield what is not the same; `refused` is whether that makes it another measurement."""

    def differing(about: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterable[Any]:
        for what in dict.fromkeys([*old, *new]):
            if old.get(what) != new.get(what):
                yield {
                    "about": about,
                    "what": what,
                    "baseline": str(old.get(what, "-")),
                    "value": str(new.get(what, "-")),
                    "refused": about != "versions" and what not in _NOT_DECISIVE,
                }

    def hardware(result: BenchmarkResult) -> dict[str, Any]:
        return {name: result.machine.get(name) for name in _HARDWARE}

    def versions(result: BenchmarkResult) -> dict[str, Any]:
        return {**result.machine.get("versions", {}), "gpucv's revision": result.revision}

    whole = ({"suite": each.suite, "device": each.device} for each in (before, after))
    yield from differing("benchmark", *whole)
    yield from differing("hardware", hardware(before), hardware(after))
    # As JSON has them: a tuple that was never written is a list once it is read.
    yield from differing("settings", before.settings, after.settings)
    yield from differing("versions", versions(before), versions(after))


def _refuse(baseline: str, told: Iterable[Mapping[str, Any]]) -> None:
    refused = [row for row in told if row["refused"]]
    if refused:
        listed = "; ".join(
            f"{row['run']}: {row['what']} is {row['value']}, not {row['baseline']}"
            for row in refused
        )
        msg = f"not comparable with {baseline}: {listed}; --force compares all the same"
        raise RunError(msg)


def _figures(result: BenchmarkResult) -> dict[tuple[str, str], list[float]]:
    """Return what was measured: seconds or bytes of each run, by contender and figure."""
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for each in result.samples:
        if each.error:
            continue
        seen = {_ALL: each.wall_s, **each.phases, _MEMORY: float(each.peak_bytes)}
        for figure, value in seen.items():
            if value > 0:
                found[each.contender, figure].append(value)
    return found


def _compared(
    name: str, before: BenchmarkResult, after: BenchmarkResult
) -> Iterable[ComparedBenchmark]:
    old, new = _figures(before), _figures(after)
    failed = {each.contender: each.error for each in after.samples + after.warmups if each.error}
    measured = {each.contender for each in after.samples} | failed.keys()
    shared = [key for key in old if key[0] in measured]
    if not shared:
        msg = f"{name} measured nothing that the baseline did; name two results of one suite"
        raise RunError(msg)
    for benchmark, figure in shared:
        first, second = old[benchmark, figure], new.get((benchmark, figure), [])
        ratio, low, high = _ratio(first, second)
        yield ComparedBenchmark(
            run=name,
            benchmark=benchmark,
            figure=figure,
            n_baseline=len(first),
            n_run=len(second),
            baseline=statistics.median(first),
            value=statistics.median(second) if second else math.nan,
            ratio=ratio,
            low=low,
            high=high,
            error=failed.get(benchmark, ""),
        )


def _ratio(before: Sequence[float], after: Sequence[float]) -> tuple[float, float, float]:
    """Return the ratio of geometric means, with an interval as wide as single runs scatter.

    The runs of a result share the machine's state, so many of them say little more than one.
    The interval is therefore that of one further run of each: the prediction interval of
    Student's t over the logarithms, as `gpucv compare` has it for the folds of studies.
    """
    from scipy.special import stdtrit

    if not before or not after:
        return math.nan, math.nan, math.nan
    old, new = ([math.log(value) for value in each] for each in (before, after))
    middle = statistics.fmean(new) - statistics.fmean(old)
    n, m = len(old), len(new)
    if min(n, m) < _FEWEST_RUNS:
        return math.exp(middle), math.nan, math.nan
    squares = (n - 1) * statistics.variance(old) + (m - 1) * statistics.variance(new)
    pooled = math.sqrt(squares / (n + m - 2))
    half = float(stdtrit(n + m - 2, 0.975)) * pooled * math.sqrt(2 + 1 / n + 1 / m)
    return math.exp(middle), math.exp(middle - half), math.exp(middle + half)


def _judged(gate: Gate, figures: Iterable[ComparedBenchmark]) -> Iterable[dict[str, Any]]:
    """Hold a gate against every figure of its name, as `gpucv compare` judges times of folds."""
    for each in figures:
        if each.figure == gate.metric:
            status, said = _status(gate, each)
            yield {
                "run": each.run,
                "gate": gate.text,
                "benchmark": each.benchmark,
                "figure": each.figure,
                "status": status,
                "said": said,
            }


def _status(gate: Gate, each: ComparedBenchmark) -> tuple[str, str]:
    if each.error or not each.n_run:
        return "fail", f"it was measured for the baseline, and failed: {each.error or 'no run'}"
    told = f"x{each.ratio:.2f}, {each.n_baseline} and {each.n_run} runs"
    if math.isnan(each.low):
        return "undecided", f"{told}; too few to tell noise from change"
    told += f"; 95% interval x{each.low:.2f} to x{each.high:.2f}"
    limit = 1 + gate.threshold / 100
    if each.low > limit:
        return "fail", told
    if each.ratio > limit:
        return "pass", f"{told}: beyond the threshold, but the interval holds it"
    return "pass", told
