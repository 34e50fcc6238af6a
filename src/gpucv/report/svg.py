"""The few SVG elements the figures need, escaped, and a logarithmic axis.

Figures are written by hand rather than drawn by a plotting library: colours come
from the page's style sheet, so light, dark and paper share one drawing; the same
numbers always give the same bytes; and a density panel takes a few kilobytes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import ArrayLike, NDArray

__all__ = ["LogAxis", "drawing", "line", "path", "text"]


@dataclass(frozen=True, slots=True)
class LogAxis:
    """A logarithmic axis from value `low` to `high`, drawn from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float

    def at(self, values: ArrayLike) -> NDArray[np.float64]:
        """Return drawing coordinates; values outside, 0 and below too, lie on the edge."""
        inside = np.clip(np.asarray(values, dtype=np.float64), self.low, self.high)
        share = (np.log(inside) - math.log(self.low)) / (math.log(self.high) - math.log(self.low))
        return self.start + share * (self.end - self.start)

    def ticks(self, most: int = 6) -> list[float]:
        """Return round values to label: powers of ten, thinned to `most`, or 1, 2, 5 steps."""
        first, last = math.ceil(math.log10(self.low)), math.floor(math.log10(self.high))
        powers = [10.0**power for power in range(first, last + 1)]
        if len(powers) > most:
            return powers[:: math.ceil(len(powers) / most)]
        if len(powers) >= 3:
            return powers
        steps = [m * 10.0**power for power in range(first - 1, last + 1) for m in (1, 2, 5)]
        return [step for step in steps if self.low <= step <= self.high]


def number(value: float) -> str:
    """Write a coordinate to a tenth of a unit, without a trailing zero."""
    return f"{value:.1f}".removesuffix(".0")


def tick_label(value: float) -> str:
    """Write an axis value shortly: ``0.1``, ``200``, ``10k``, ``2M``."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if value >= size:
            return f"{value / min(size, 1e3 if letter == 'k' else size):g}{letter}"
    return f"{value:g}"


def drawing(width: float, height: float, label: str, parts: Iterable[Markup]) -> Markup:
    """Return an ``<svg>`` that scales with its place; `label` describes it in words."""
    return Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        number(width), number(height), label, Markup("").join(parts)
    )


def path(css: str, commands: str) -> Markup:
    """Return a path of the style sheet's class `css`."""
    return Markup('<path class="{}" d="{}"/>').format(css, commands)


def line(css: str, x1: float, y1: float, x2: float, y2: float) -> Markup:
    """Return a straight line."""
    return path(css, f"M{number(x1)} {number(y1)}L{number(x2)} {number(y2)}")


def text(css: str, x: float, y: float, content: str) -> Markup:
    """Return a line of text whose anchor the class `css` decides."""
    return Markup('<text class="{}" x="{}" y="{}">{}</text>').format(
        css, number(x), number(y), content
    )
