"""Error against rows measured, with the luck of the draw as a band: the mean, then each group."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from gpucv.report.cells import clean, count, percent
from gpucv.report.few_shot_tables import curve_name
from gpucv.report.figures import Panel
from gpucv.report.svg import LogAxis, drawing, line, number, path, text, tick_label

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gpucv.analysis import Curve, CurveAt, Learning

__all__ = ["LearningFigure", "learning_figure"]

_MOST_GROUPS = 12
"""Groups drawn, those with the highest errors first where there are more."""
_STARTS = {"warm": "c1", "alone": "c0"}
_RANGE = (0.01, 100_000.0)
"""Errors in percent beyond these lie on the edge."""


@dataclass(frozen=True, slots=True)
class LearningFigure:
    """The curves of one scheme.

    Attributes
    ----------
    average : Panel
        The mean over groups; of a single group, that group.
    groups : tuple of Panel
        One per group, none where there is only one.
    legend : tuple of (class, name)
    n_left_out : int
        Groups not drawn.
    """

    average: Panel
    groups: tuple[Panel, ...]
    legend: tuple[tuple[str, str], ...]
    n_left_out: int


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where a panel's values lie; all panels of a scheme share their axes.

    Attributes
    ----------
    left, right, top, bottom : float
        Edges of the frame.
    x, y : LogAxis
        Rows measured from the fewest above 0; errors in percent.
    zero : float or None
        Where no row measured stands, left of the logarithmic axis; None where no curve
        begins there.
    every_k : tuple of int
    """

    left: float
    right: float
    top: float
    bottom: float
    x: LogAxis
    y: LogAxis
    zero: float | None
    every_k: tuple[int, ...]

    def at(self, k: int) -> float:
        """Return where `k` rows measured lie."""
        return self.zero if k == 0 and self.zero is not None else float(self.x.at(k))


def learning_figure(learning: Learning, mape_max: float) -> LearningFigure:
    """Draw the curves of one scheme of one formulation.

    Parameters
    ----------
    learning : Learning
    mape_max : float
        Where the threshold line stands, in percent, if it lies among the errors.
    """
    several = len(learning.groups) > 1
    curves = learning.average if several else learning.groups[0][1]
    named = f"mean of {len(learning.groups)} groups" if several else clean(learning.groups[0][0])
    everything = [curves, *(each for _, each in learning.groups)]
    shown = sorted(learning.groups, key=lambda group: _highest([group[1]]), reverse=True)
    kept = {holdout for holdout, _ in shown[:_MOST_GROUPS]}
    groups = tuple(
        _panel(clean(holdout), each, _frame(everything, 228, 202), mape_max)
        for holdout, each in learning.groups
        if several and holdout in kept
    )
    return LearningFigure(
        average=_panel(named, curves, _frame(everything, 374, 236), mape_max),
        groups=groups,
        legend=tuple((_css(curve, curves), curve_name(curve, curves)) for curve in curves),
        n_left_out=len(learning.groups) - len(groups) if several else 0,
    )


def _frame(everything: Iterable[Sequence[Curve]], width: float, height: float) -> _Frame:
    points = [point for curves in everything for curve in curves for point in curve.points]
    every_k = tuple(sorted({point.k for point in points}))
    left, right, top, bottom = 40.0, width - 14, 6.0, height - 34
    measured = [k for k in every_k if k] or [1]
    zero = left + 14 if 0 in every_k else None
    low, high = (measured[0], measured[-1]) if len(measured) > 1 else (0.5, measured[0] * 2.0)
    x = LogAxis(low, high, left + (46 if zero else 14), right - 12)
    errors = [e for p in points for e in (p.low, p.median, p.high) if 0 < e < math.inf]
    least, most = min(errors, default=1.0), max(errors, default=10.0)
    y = LogAxis(_step(least, down=True), _step(most), bottom, top)
    return _Frame(left, right, top, bottom, x, y, zero, every_k)


def _step(value: float, *, down: bool = False) -> float:
    """Return the next of 1, 2, 5, 10, ... above a value (or below): where an axis may end."""
    inside = float(np.clip(value, *_RANGE))
    power = 10.0 ** math.floor(math.log10(inside))
    steps = [power / 2, *(m * power for m in (1.0, 2.0, 5.0, 10.0, 20.0))]
    if down:
        return max(step for step in steps if step < inside)
    return min(step for step in steps if step > inside)


def _panel(title: str, curves: Sequence[Curve], frame: _Frame, mape_max: float) -> Panel:
    parts = [*_axes(frame)]
    if frame.y.low < mape_max < frame.y.high:
        at = float(frame.y.at(mape_max))
        parts.append(line("limit", frame.left, at, frame.right, at))
    for band in (True, False):
        for curve in curves:
            parts += _band(curve, frame) if band else _line(curve, curves, frame)
    told = "; ".join(f"{curve_name(curve, curves)}: {_in_words(curve)}" for curve in curves)
    label = f"Test MAPE by rows measured, {title}. {told}"
    width, height = frame.right + 14, frame.bottom + 34
    return Panel(title, "", drawing(width, height, label, parts))


def _axes(frame: _Frame) -> list[Markup]:
    left, right, top, bottom = (
        number(each) for each in (frame.left, frame.right, frame.top, frame.bottom)
    )
    parts = [path("frame", f"M{left} {top}H{right}V{bottom}H{left}Z")]
    for tick in frame.y.ticks():
        at = float(frame.y.at(tick))
        parts.append(line("grid", frame.left, at, frame.right, at))
        parts.append(text("end", frame.left - 4, at + 3.5, f"{tick_label(tick)}%"))
    last = -math.inf
    for k in frame.every_k:
        at = frame.at(k)
        parts.append(line("grid", at, frame.top, at, frame.bottom))
        if at - last > 22:  # labels closer than that run into each other
            parts.append(text("mid", at, frame.bottom + 12, tick_label(k)))
            last = at
    middle = (frame.left + frame.right) / 2
    return [*parts, text("mid", middle, frame.bottom + 27, "rows measured")]


def _band(curve: Curve, frame: _Frame) -> list[Markup]:
    """Draw the 10 to 90 % band along the axis; what no draw decides has none."""
    measured = [point for point in curve.scored if point.k]
    if len(measured) < 2:
        return []
    upper = [_place(frame, point.k, point.high) for point in measured]
    lower = [_place(frame, point.k, point.low) for point in reversed(measured)]
    return [path(f"band {_STARTS[curve.start]}", f"M{'L'.join(upper + lower)}Z")]


def _line(curve: Curve, curves: Sequence[Curve], frame: _Frame) -> list[Markup]:
    css = _css(curve, curves)
    parts = []
    measured = [point for point in curve.scored if point.k]
    if len(measured) > 1:
        places = (_place(frame, point.k, point.median) for point in measured)
        parts.append(path(f"curve {css}", f"M{'L'.join(places)}"))
    first = [point for point in curve.scored if not point.k] + measured[:1]
    if len(first) == 2:  # across the gap where the axis is no longer logarithmic
        places = (_place(frame, point.k, point.median) for point in first)
        parts.append(path(f"curve leap {css}", f"M{'L'.join(places)}"))
    return parts + [_knot(frame, point, css) for point in curve.scored]


def _knot(frame: _Frame, point: CurveAt, css: str) -> Markup:
    at = number(frame.at(point.k)), number(float(frame.y.at(point.median)))
    return Markup('<circle class="knot {}" cx="{}" cy="{}" r="2.4"/>').format(css, *at)


def _place(frame: _Frame, k: int, error: float) -> str:
    return f"{number(frame.at(k))} {number(float(frame.y.at(error)))}"


def _css(curve: Curve, curves: Sequence[Curve]) -> str:
    """Return a curve's classes: its colour by start, broken where it is not the first draw."""
    first = curve.draw == curves[0].draw
    return _STARTS[curve.start] + ("" if first else " broken")


def _in_words(curve: Curve) -> str:
    if not curve.scored:
        return "no score"
    return ", ".join(f"{percent(each.median)}% at {count(each.k)}" for each in curve.scored)


def _highest(groups: Iterable[Sequence[Curve]]) -> float:
    return max(
        (point.median for curves in groups for curve in curves for point in curve.scored),
        default=0.0,
    )
