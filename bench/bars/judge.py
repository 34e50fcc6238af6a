"""The bars: what is divided by what, where it should be, and where it is."""

from __future__ import annotations

import heapq
import math
import statistics
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from gpucv.benchmark import median_interval, ratios

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gpucv.benchmark import Sample

__all__ = ["Bar", "equality", "judge", "longest_first", "not_measured", "on_gpu", "start_up"]

Verdict = Literal["pass", "short", "not run", "not judged"]

_SKLEARN = ("sklearn-loky", "sklearn-threading", "sklearn-longest-first", "sklearn-1xn")
_LONGEST_START_S = 0.3


@dataclass(frozen=True, slots=True)
class Bar:
    """One promise, and what was measured of it.

    Attributes
    ----------
    name : str
    asked : str
        Where it should be, as told: "at least 1.15".
    found, low, high : float
        The median and its interval; NaN where it was not measured.
    verdict : {"pass", "short", "not run", "not judged"}
        The last of a table too small to tell.
    note : str
        What else should be known of it.
    """

    name: str
    asked: str
    found: float
    low: float
    high: float
    verdict: Verdict
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data; what was not measured is null."""
        held = asdict(self)
        numbers = {name: held[name] for name in ("found", "low", "high")}
        return held | {name: None if math.isnan(v) else v for name, v in numbers.items()}


def judge(samples: Sequence[Sample], cores: int) -> list[Bar]:
    """Return the bars that the main contenders decide.

    Parameters
    ----------
    samples : sequence of Sample
        Of `gpucv.benchmark.measure`, of peers by their names.
    cores : int
        What each contender had.
    """
    best = _best(samples, _SKLEARN)
    return [
        _ratio(f"best scikit-learn ({best}) / gpucv", samples, (best, "gpucv"), 1.15),
        _ratio(f"best scikit-learn ({best}) / gpucv-shared", samples, (best, "gpucv-shared"), 1.25),
        _ratio("study-loop / gpucv", samples, ("study-loop", "gpucv"), 2.5),
        _ratio("xgb-cv / gpucv", samples, ("xgb-cv", "gpucv"), 1.8),
        _bound(samples, cores),
        _memory(samples, "sklearn-loky", 0.5),
        _memory(samples, "xgb-cv", 0.45),
    ]


def start_up(samples: Sequence[Sample], name: str) -> Bar:
    """Return the bar of how long a command takes from start to end."""
    took = [each.process_s for each in samples if each.contender == name and not each.error]
    low, high, _ = median_interval(took)
    found = statistics.median(took) if took else math.nan
    return Bar(
        f"{name}, s",
        f"under {_LONGEST_START_S:g}",
        found,
        low,
        high,
        _verdict(found, most=_LONGEST_START_S),
    )


def _verdict(found: float, *, least: float = -math.inf, most: float = math.inf) -> Verdict:
    """Say whether a figure is where it should be; a figure that is NaN was not run."""
    if math.isnan(found):
        return "not run"
    return "pass" if least <= found <= most else "short"


def longest_first(seconds: Sequence[float], cores: int) -> float:
    """Return how long folds take that are handed out longest first, one per core.

    Examples
    --------
    >>> longest_first([3.0, 2.0, 2.0], cores=2)
    4.0
    """
    free = [0.0] * cores
    for each in sorted(seconds, reverse=True):
        heapq.heappush(free, heapq.heappop(free) + each)
    return max(free)


def _best(samples: Sequence[Sample], names: Sequence[str]) -> str:
    """Return the contender of the lowest median; the first, where none was run."""
    medians = {}
    for name in names:
        took = [each.wall_s for each in samples if each.contender == name and not each.error]
        medians[name] = statistics.median(took) if took else math.inf
    return min(names, key=medians.__getitem__)


def _ratio(name: str, samples: Sequence[Sample], pair: tuple[str, str], least: float) -> Bar:
    found = ratios(samples, *pair)
    verdict = _verdict(found.median, least=least)
    return Bar(name, f"at least {least:g}", found.median, found.low, found.high, verdict)


def _memory(samples: Sequence[Sample], peer: str, most: float) -> Bar:
    found = ratios(samples, "gpucv", peer, value=lambda each: float(each.peak_bytes))
    verdict = _verdict(found.median, most=most)
    name = f"peak memory of gpucv / {peer}"
    return Bar(name, f"at most {most:g}", found.median, found.low, found.high, verdict)


def _bound(samples: Sequence[Sample], cores: int) -> Bar:
    """Divide how long the folds would take, each as fast as alone, by how long they took."""
    alone = _bounds(samples, "gpucv-single", cores)
    here = _bounds(samples, "gpucv", cores)
    walls = {each.repeat: each.wall_s for each in samples if each.contender == "gpucv"}
    pairs = [alone[repeat] / walls[repeat] for repeat in sorted(alone.keys() & here.keys())]
    low, high, _ = median_interval(pairs)
    found = statistics.median(pairs) if pairs else math.nan
    kept = [here[repeat] / walls[repeat] for repeat in here]
    note = (
        f"with the folds' times of the run itself {statistics.median(kept):.3f}: the rest is "
        "that folds run slower beside each other"
        if kept
        else ""
    )
    name = "longest-first bound of single folds / gpucv"
    return Bar(name, "at least 0.95", found, low, high, _verdict(found, least=0.95), note)


def _bounds(samples: Sequence[Sample], name: str, cores: int) -> dict[int, float]:
    return {
        each.repeat: longest_first(each.told["fold_s"], cores)
        for each in samples
        if each.contender == name and not each.error
    }


def equality(hashes: Mapping[str, Sequence[str]]) -> Bar:
    """Return the bar of equal folds.

    Parameters
    ----------
    hashes : mapping of str to sequence of str
        Of every fold, by the way the folds were run; empty where that failed.
    """
    folds = max((len(each) for each in hashes.values()), default=0)
    name = f"folds bit-equal over {', '.join(hashes)}"
    failed = [way for way, each in hashes.items() if len(each) < folds]
    ran = [each for way, each in hashes.items() if way not in failed]
    equal = sum(len(set(each)) == 1 for each in zip(*ran, strict=True)) if len(ran) > 1 else 0
    found = float(equal) if folds else math.nan
    verdict = _verdict(found, least=folds)
    if failed:
        verdict = "short"
    note = f"failed: {', '.join(failed)}" if failed else ""
    return Bar(name, f"{folds} of {folds}", found, math.nan, math.nan, verdict, note)


def on_gpu(samples: Sequence[Sample]) -> list[Bar]:
    """Return the bars that contenders on a GPU decide."""
    loop = _ratio(_GPU_LOOP, samples, ("xgb-loop-cuda", "gpucv-cuda"), 2.0)
    took = [each.wall_s for each in samples if each.contender == "gpucv-cuda" and not each.error]
    low, high, _ = median_interval(took)
    found = statistics.median(took) if took else math.nan
    whole = Bar(_GPU_WALL, "at most 1.5", found, low, high, _verdict(found, most=1.5))
    return [loop, whole]


def not_measured(bars: Sequence[Bar]) -> list[Bar]:
    """Return the bars that are decided elsewhere, or on a GPU, and are not among `bars`."""
    nan = math.nan
    there = {bar.name for bar in bars}
    every = [Bar(name, asked, nan, nan, nan, "not run", note) for name, asked, note in _ELSEWHERE]
    return [bar for bar in every if bar.name not in there]


_GPU_LOOP = "xgb-loop-cuda / gpucv-cuda"
_GPU_WALL = "gpucv-cuda after warm-up, s"
_ELSEWHERE = (
    (
        "whole run / bare XGBoost on ready matrices, 7.8 M rows",
        "at most 1.05",
        "another benchmark's, see docs/scaling.md",
    ),
    (_GPU_LOOP, "at least 2", "needs a GPU"),
    (_GPU_WALL, "at most 1.5", "needs a GPU"),
    (
        "gpucv / bare xgboost.train per round on a GPU, 10^7 rows",
        "at most 1.03",
        "needs a GPU: bench/gpu_folds.py",
    ),
)
