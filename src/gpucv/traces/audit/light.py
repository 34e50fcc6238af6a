"""Whether a measured operator is slower than light.

The speed of light of a row is max(flops / peak, bytes / bandwidth). Being faster than
*memory* is possible where the operands stay in a cache: worth a warning, since such times
do not carry over to a real model, whose weights do not fit. Being faster than *compute*
is not possible: the clock, the unit, the shape or the peak is wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gpucv.schema import DTYPE, FLOPS, GPU, LATENCY_US, PEAK_FLOPS, SOL_US, SOURCE_FILE
from gpucv.traces.audit.groupwise import shares
from gpucv.traces.audit.result import Judgement

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gpucv.traces.audit.result import Verdict
    from gpucv.traces.audit.subject import Subject

__all__ = ["level_of", "speed_of_light"]

TOLERATED = 0.05
"""Share of rows faster than compute above which the measurement as a whole is wrong."""
FASTEST_CACHE = 10.0
"""Times the memory's bandwidth that no last-level cache reaches: those of the GPUs known
deliver two to six times as much."""
WORST_FILES = 10
"""Files listed in the figures."""


def speed_of_light(subject: Subject, target: str) -> Judgement | None:
    """Judge a measured latency by the rows faster than light.

    ``fail`` where more than 5 % of the rows with a known speed of light are faster than
    compute allows; ``warn`` where any row is faster than compute or than memory.
    """
    if target != LATENCY_US or subject.is_steps:
        return None
    if SOL_US not in subject:
        return Judgement("unknown", f"no speed of light: the table has no column {SOL_US!r}")
    times, least = subject.times(target), subject.numbers(SOL_US)
    known = np.isfinite(times) & np.isfinite(least) & (least > 0)
    if not known.any():
        reason = "no speed of light for any row: its GPU or number format is not in the catalog"
        return Judgement("unknown", reason)
    faster = known & (times < least)
    compute = np.zeros(subject.rows, dtype=bool)
    if FLOPS in subject and PEAK_FLOPS in subject:
        with np.errstate(invalid="ignore", divide="ignore"):
            compute = faster & (times < subject.numbers(FLOPS) / subject.numbers(PEAK_FLOPS) * 1e6)
    beyond = faster & (times * FASTEST_CACHE < least)
    figures: dict[str, Any] = {
        "rows_with_speed_of_light": int(known.sum()),
        "rows_without_speed_of_light": int(subject.rows - known.sum()),
        "rows_faster_than_light": int(faster.sum()),
        "share_faster_than_light": float(faster.sum() / known.sum()),
        "rows_faster_than_compute": int(compute.sum()),
        "share_faster_than_compute": float(compute.sum() / known.sum()),
        "rows_faster_than_memory_only": int(faster.sum() - compute.sum()),
        "rows_faster_than_any_cache": int((beyond & ~compute).sum()),
        "max_utilisation": float((least[known] / times[known]).max()),
    }
    if faster.any():
        utilisation = np.where(faster, least / np.where(known, times, 1.0), 0.0)
        marks = _Faster(known, faster, compute, utilisation)
        figures["faster_than_light_by_file"] = _worst(subject, (SOURCE_FILE,), marks)[:WORST_FILES]
        by_kind = tuple(name for name in (GPU, DTYPE) if name in subject)
        figures["faster_than_light_by_gpu_and_dtype"] = _worst(subject, by_kind, marks)
    return _judge(figures)


def level_of(faster: float, faster_than_compute: float) -> Verdict:
    """Return the level of the shares of rows faster than light and faster than compute."""
    if faster_than_compute > TOLERATED:
        return "fail"
    return "warn" if faster > 0 else "pass"


def _judge(figures: dict[str, Any]) -> Judgement:
    rows, faster = figures["rows_with_speed_of_light"], figures["rows_faster_than_light"]
    compute, memory = figures["rows_faster_than_compute"], figures["rows_faster_than_memory_only"]
    level = level_of(figures["share_faster_than_light"], figures["share_faster_than_compute"])
    if level == "pass":
        reason = f"none of {rows:,} rows is faster than light"
        return Judgement(level, reason, figures, decides=True)
    reason = f"{faster:,} of {rows:,} rows ({faster / rows:.2%}) are faster than light, up to "
    utilisation = figures["max_utilisation"]
    reason += f"{utilisation:,.0f} x: " if utilisation >= 10 else f"{utilisation:.2f} x: "
    parts = []
    if compute:
        parts.append(
            f"{compute:,} faster than the peak FLOP rate, which no kernel is (a wrong clock, unit, "
            "shape or peak: drop them)"
        )
    if memory:
        parts.append(
            f"{memory:,} only faster than memory (operands in a cache: fit for kernels, too fast "
            "for a model whose weights come from memory)"
        )
    if figures["rows_faster_than_any_cache"]:
        parts.append(
            f"{figures['rows_faster_than_any_cache']:,} of these more than {FASTEST_CACHE:.0f} x "
            "faster, which no cache is: drop them"
        )
    reason += "; ".join(parts)
    files = figures.get("faster_than_light_by_file", [])
    if files:
        reason += f"; most in {files[0]['source_file']} ({files[0]['faster_than_light']:,})"
    return Judgement(level, reason, figures, decides=True)


@dataclass(frozen=True, slots=True)
class _Faster:
    """Which rows are judged, which are faster than light and compute, and how much."""

    known: NDArray[np.bool_]
    light: NDArray[np.bool_]
    compute: NDArray[np.bool_]
    utilisation: NDArray[np.float64]


def _worst(subject: Subject, columns: tuple[str, ...], marks: _Faster) -> list[dict[str, Any]]:
    """Return the counts of each combination of labels that has any, most first."""
    if not columns or not all(name in subject for name in columns):
        return []
    numbers, found = subject.combinations(columns)
    by_compute = shares(numbers, marks.compute, len(found))
    rows = shares(numbers[marks.known], marks.light[marks.known], len(found))
    most = np.zeros(len(found))
    np.maximum.at(most, numbers[marks.light], marks.utilisation[marks.light])
    counted: list[tuple[int, dict[str, Any]]] = []
    for at, (labels, (hits, total)) in enumerate(zip(found, rows, strict=True)):
        if hits:
            named = {name: subject.shown(each) for name, each in zip(columns, labels, strict=True)}
            figures = {
                "rows": total,
                "faster_than_light": hits,
                "faster_than_compute": by_compute[at][0],
                "max_utilisation": float(most[at]),
            }
            counted.append((hits, {**named, **figures}))
    return [entry for _, entry in sorted(counted, key=lambda each: -each[0])]
