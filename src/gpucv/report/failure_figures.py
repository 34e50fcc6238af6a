"""The figures of why a predictor fails: bias bars, and rank slopes of the features."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from gpucv.analysis import MEASURES, measure_ranks
from gpucv.report.cells import clean
from gpucv.report.svg import drawing, line, number, path, text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from gpucv.analysis import StudyTables, Verdict

__all__ = ["Slopes", "bias_bar", "fold_slopes", "measure_slopes", "slope_chart"]

N_LINES = 8
"""Features drawn: one for each colour there is."""
N_FOLDS = 12
"""Folds side by side; with more, lines can no longer be followed."""
_MEASURED = {"importance": "gain", "shap": "SHAP", "permutation": "permuted"}
_LONGEST = 25
_TOP, _BOTTOM, _LEFT, _RIGHT, _LABELS = 22.0, 200.0, 34.0, 208.0, 216.0


@dataclass(frozen=True, slots=True)
class Slopes:
    """One slope chart: its title, the drawing, and what its columns stand for."""

    title: str
    figure: Markup
    note: str = ""


def bias_bar(mspe: float) -> Markup:
    """Draw one mean signed error as a bar to either side of 0, logarithmic beyond 1 %."""
    if not math.isfinite(mspe):
        return Markup("")
    reach = min(1.0, math.log10(1.0 + abs(mspe)) / 4.0)
    end = 60.0 + math.copysign(58.0 * reach, mspe)
    css = "over" if mspe > 0 else "under"
    parts = [path(css, f"M60 3H{number(end)}V11H60Z"), line("zero", 60, 0, 60, 14)]
    side = "too high" if mspe > 0 else "too low"
    return drawing(120, 14, f"predicted {abs(mspe):.1f}% {side} on average", parts)


def fold_slopes(tables: StudyTables, verdict: Verdict, scheme: str) -> Slopes | None:
    """Draw how the rank of the features changes from fold to fold.

    Returns
    -------
    Slopes or None
        None without importance, and of fewer than two folds. Of more than `N_FOLDS`, the
        first ones are drawn.
    """
    importance = verdict.formulation.rows(tables.importance)
    importance = importance[importance["scheme"] == scheme]
    folds = list(dict.fromkeys(importance["holdout"]))
    if len(folds) < 2:
        return None
    ranks = importance.pivot(index="feature", columns="holdout", values="rank")[folds]
    shown = ranks.loc[ranks.mean(axis=1).sort_values(kind="stable").index[:N_LINES]]
    drawn = folds[:N_FOLDS]
    letters = [chr(ord("A") + at) for at in range(len(drawn))]
    note = "; ".join(f"{a}: {clean(name, 40)}" for a, name in zip(letters, drawn, strict=True))
    if len(folds) > len(drawn):
        note += f"; {len(folds) - len(drawn)} more folds not drawn"
    title = f"Rank by gain in each fold, n = {len(folds)}"
    return Slopes(title, slope_chart(title, letters, _rows(shown[drawn])), f"{note}.")


def measure_slopes(tables: StudyTables, verdict: Verdict, scheme: str) -> Slopes | None:
    """Draw the average rank of the features by gain, by SHAP values and by permutation.

    Returns
    -------
    Slopes or None
        None where fewer than two of the measures are known.
    """
    of = verdict.formulation
    importance = of.rows(tables.importance)
    known = None if tables.explanations is None else of.rows(tables.explanations)
    means = measure_ranks(
        importance[importance["scheme"] == scheme],
        None if known is None else known[known["scheme"] == scheme],
    )
    found = [name for name in MEASURES if means[f"{name}_rank"].notna().any()]
    if len(found) < 2:
        return None
    ranks = means[[f"{name}_rank" for name in found]]
    shown = ranks.loc[ranks.mean(axis=1).sort_values(kind="stable").index[:N_LINES]]
    title = "Average rank by each measure"
    return Slopes(title, slope_chart(title, [_MEASURED[name] for name in found], _rows(shown)))


def _rows(ranks: pd.DataFrame) -> dict[str, list[float]]:
    return {str(name): row.tolist() for name, row in ranks.astype(float).iterrows()}


def slope_chart(label: str, columns: Sequence[str], ranks: Mapping[str, Sequence[float]]) -> Markup:
    """Draw one line for each feature through its rank in every column, 1 at the top.

    Parameters
    ----------
    label : str
        What the drawing shows, in words.
    columns : sequence of str
        Two or more.
    ranks : mapping of str to sequence of float
        A rank for each column; where it is NaN, the line is broken.
    """
    lowest = max((r for row in ranks.values() for r in row if math.isfinite(r)), default=1.0)
    x = np.linspace(_LEFT, _RIGHT, len(columns))

    def y(rank: float) -> float:
        return _TOP + (_BOTTOM - _TOP) * (rank - 1.0) / max(lowest - 1.0, 1.0)

    parts = [line("grid", at, _TOP, at, _BOTTOM) for at in x]
    parts += [text("mid", at, _TOP - 9, name) for at, name in zip(x, columns, strict=True)]
    parts += [text("end", _LEFT - 8, y(rank) + 3.5, f"{rank:.3g}") for rank in (1.0, lowest)]
    ends = [_last(row) for row in ranks.values()]
    labels = _apart([y(rank) for rank in ends])
    for index, (name, row) in enumerate(ranks.items()):
        css = f"c{index % N_LINES}"
        points = [(at, y(rank)) for at, rank in zip(x, row, strict=True)]
        parts.append(path(f"curve {css}", _broken(points)))
        parts += [
            Markup('<circle class="knot {}" cx="{}" cy="{}" r="2.6"/>').format(
                css, number(float(px)), number(py)
            )
            for px, py in points
            if math.isfinite(py)
        ]
        parts.append(line("grid", _RIGHT + 3, y(ends[index]), _LABELS - 2, labels[index]))
        parts.append(text("start", _LABELS, labels[index] + 3.5, _short(name)))
    return drawing(374, 214, label, parts)


def _last(row: Sequence[float]) -> float:
    return next((rank for rank in reversed(row) if math.isfinite(rank)), 1.0)


def _broken(points: Sequence[tuple[float, float]]) -> str:
    """Join points by a line that is interrupted where one is not known."""
    commands, pen = [], "M"
    for at, height in points:
        if math.isfinite(height):
            commands.append(f"{pen}{number(float(at))} {number(height)}")
        pen = "L" if math.isfinite(height) else "M"
    return "".join(commands)


def _apart(heights: Sequence[float]) -> NDArray[np.float64]:
    """Move labels so far apart that each can be read, the order kept, none below the edge."""
    step, order = 11.5, np.argsort(heights, kind="stable")
    placed = np.asarray(heights, dtype=float)
    for before, after in pairwise(order):
        placed[after] = max(placed[after], placed[before] + step)
    limit = _BOTTOM + 6
    for index in order[::-1]:
        placed[index] = min(placed[index], limit)
        limit = placed[index] - step
    return placed


def _short(name: str) -> str:
    shown = clean(name)
    return shown if len(shown) <= _LONGEST else f"{shown[: _LONGEST - 1]}…"
