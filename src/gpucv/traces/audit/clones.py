"""Groups that were computed from another group, not measured.

Two GPUs, models or versions that were each measured never differ by one factor to six
digits. For each group column and each two of its values, rows that agree on every other
label and on the shape are matched (medians of repeats), block by block, and where the ratio
of the targets is one number in a block, the two are clones there. A block is an operator of
one engine version: operators have factors of their own, and one version may be copied
while the others are measured. Where that finds nothing, blocks are one combination of all
labels, which finds a single copied model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gpucv.schema import ENGINE, ENGINE_VERSION, GPU, MODEL, OP, TP, WORKLOAD
from gpucv.traces.audit.groupwise import medians
from gpucv.traces.audit.result import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from gpucv.traces.audit.subject import Subject

__all__ = ["clones"]

FEWEST_POINTS = 20
"""Matched points of a block that make its ratio more than chance."""
SAME_RATIO = 1e-6
"""Relative difference of two ratios that counts as none: six digits, as files print them."""
STEADY_SHARE = 0.95
"""Share of a block's points with that ratio: a few may have been measured again."""
SAMPLED_ABOVE = 1_000_000
"""Rows above which pairs are first looked for in a sample of the points."""
SAMPLED_ONE_IN = 8
FEWEST_SAMPLED = 3
"""Points of a block in the sample that make it worth all its points.

So in tables of more than a million rows, a block below some fifty points may be missed.
"""
COMPARED = (GPU, MODEL, TP, ENGINE_VERSION, ENGINE, WORKLOAD)
"""Group columns whose values are compared."""
RESTATED = ("device",)
"""Labels that say in the measuring machine's words what the group columns say."""
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True)
class _Rows:
    """One group column's rows: which point each measures, its group and its time."""

    point: NDArray[np.int64]
    group: NDArray[np.int64]
    value: NDArray[np.float64]
    usable: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class _Points:
    """Medians of one column's groups at each point, sorted by point, then group."""

    point: NDArray[np.int64]
    group: NDArray[np.int64]
    block: NDArray[np.int64]
    value: NDArray[np.float64]


def clones(subject: Subject, target: str) -> list[Finding]:
    """Find groups whose target is another group's times one factor."""
    times = subject.times(target)
    if not subject.shapes or not np.isfinite(times).any():
        return []
    columns = [name for name in COMPARED if name in subject and len(subject.codes(name)[1]) > 1]
    return [each for column in columns for each in _of_column(subject, target, column)]


def _of_column(subject: Subject, target: str, column: str) -> list[Finding]:
    apart = (column, subject.scope.experiment)
    every = dict.fromkeys((*subject.groups, *subject.labels))
    labels = tuple(
        name
        for name in every
        # A label that only one group has would keep every two groups apart.
        if name not in (*apart, *RESTATED) and not subject.is_settled(name, column)
    )
    times = subject.times(target)
    group = subject.codes(column)[0].astype(np.int64)
    rows = _Rows(
        subject.key((*labels, *subject.shapes)), group, times, np.isfinite(times) & (group >= 0)
    )
    found: dict[tuple[int, int], Finding] = {}
    operators = tuple(name for name in labels if name in (OP, ENGINE, ENGINE_VERSION))
    for blocked in dict.fromkeys((operators, labels)):
        numbers, blocks = subject.combinations(blocked)
        named = [dict(zip(blocked, map(subject.shown, each), strict=True)) for each in blocks]
        for pair, told, smaller in _pairs(rows, numbers):
            values = subject.codes(column)[1]
            names = (subject.shown(values[pair[0]]), subject.shown(values[pair[1]]))
            places = [{**named[at], **figures} for at, figures in told]
            found.setdefault(pair, _finding(target, column, names, places, smaller))
    return list(found.values())


def _pairs(
    rows: _Rows, block: NDArray[np.int64]
) -> Iterator[tuple[tuple[int, int], list[tuple[int, dict[str, Any]]], int]]:
    """Yield two groups, each block they are clones in, and the points of the smaller one."""
    large = int(rows.usable.sum()) > SAMPLED_ABOVE
    looked_at = rows.usable & _sampled(rows.point) if large else rows.usable
    fewest = FEWEST_SAMPLED if large else FEWEST_POINTS
    pairs = {(a, b) for a, b, *_ in _steady(_points(rows, block, looked_at), fewest)}
    for a, b in sorted(pairs):
        points = _points(rows, block, rows.usable & ((rows.group == a) | (rows.group == b)))
        told = [
            (at, {"factor": _tidy(factor), "points": same, "matched_points": count})
            for _, _, at, factor, same, count in _steady(points, FEWEST_POINTS)
        ]
        if told:
            smaller = int(min((points.group == a).sum(), (points.group == b).sum()))
            yield (a, b), told, smaller


def _sampled(key: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return one point in eight, all its rows or none."""
    mixed = (key.astype(np.uint64) * _GOLDEN) >> np.uint64(40)
    sampled: NDArray[np.bool_] = mixed % np.uint64(SAMPLED_ONE_IN) == 0
    return sampled


def _points(rows: _Rows, block: NDArray[np.int64], chosen: NDArray[np.bool_]) -> _Points:
    """Return one value for each point and group among `chosen`: the median of its repeats."""
    key, group, value = rows.point[chosen], rows.group[chosen], rows.value[chosen]
    points, dense = np.unique(key, return_inverse=True)
    groups = int(group.max(initial=0)) + 1
    cells, middle, _ = medians(dense * groups + group, value)
    block_of_point = np.zeros(len(points), dtype=np.int64)
    block_of_point[dense] = block[chosen]
    point = cells // groups
    return _Points(point, cells % groups, block_of_point[point], middle)


def _steady(points: _Points, fewest: int) -> list[tuple[int, int, int, float, int, int]]:
    """Return (group, group, block, factor, points of that factor, points matched)."""
    groups = int(points.group.max(initial=0)) + 1
    blocks = int(points.block.max(initial=0)) + 1
    cells, ratios = [], []
    for distance in range(1, groups):
        same = np.flatnonzero(points.point[distance:] == points.point[:-distance])
        if not len(same):
            break
        other = same + distance
        pair = points.group[same] * groups + points.group[other]
        cells.append(pair * blocks + points.block[same])
        ratios.append(points.value[other] / points.value[same])
    if not cells:
        return []
    cell, ratio = np.concatenate(cells), np.concatenate(ratios)
    named, factor, count = medians(cell, ratio)
    at = np.searchsorted(named, cell)
    near = np.abs(ratio / factor[at] - 1) <= SAME_RATIO
    same_factor = np.bincount(at[near], minlength=len(named))
    steady = (count >= fewest) & (same_factor >= STEADY_SHARE * count)
    return [
        (
            int(named[row] // blocks // groups),
            int(named[row] // blocks % groups),
            int(named[row] % blocks),
            float(factor[row]),
            int(same_factor[row]),
            int(count[row]),
        )
        for row in np.flatnonzero(steady)
    ]


def _tidy(factor: float) -> float:
    """Return a factor without the noise of its last digits: 1.3, not 1.2999999999999998."""
    short = float(f"{factor:.6g}")
    return short if abs(short / factor - 1) <= SAME_RATIO else factor


def _finding(
    target: str, column: str, names: tuple[str, str], told: list[dict[str, Any]], smaller: int
) -> Finding:
    matched = sum(each["points"] for each in told)
    first, second = names
    factors: dict[str, None] = {}
    for each in told:
        where = f" for {each[OP]}" if each.get(OP, "none") != "none" else ""
        factors[f"x {each['factor']:g}{where}"] = None
    shown = ", ".join(list(factors)[:4]) + (f" and {len(factors) - 4} more" * (len(factors) > 4))
    message = (
        f"{column} {second} = {first} {shown}, to six digits, in {matched:,} of {smaller:,} points "
        f"({target}): one was computed or copied from the other; never hold it out on its own, "
        "hold both out together or drop one"
    )
    where = _where(told)
    if where and matched < smaller:
        message += f" (in {where})"
    figures = {
        "target": target,
        "column": column,
        "groups": [first, second],
        "blocks": told[:50],
        "points": matched,
        "points_of_the_smaller": smaller,
    }
    return Finding("clone", "warning", message, figures)


def _where(told: list[dict[str, Any]]) -> str:
    """Return the engine versions a partial clone is in."""
    places = {
        f"{each.get(ENGINE, '')} {each.get(ENGINE_VERSION, '')}".strip(): None for each in told
    }
    return ", ".join(name for name in list(places)[:4] if name)
