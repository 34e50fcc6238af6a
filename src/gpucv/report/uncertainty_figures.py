"""Intervals, coverage and errors by out-of-domain score, drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from gpucv.analysis import LEVELS
from gpucv.report.cells import clean, count, percent
from gpucv.report.svg import LogAxis, drawing, line, number, path, text, tick_label

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from gpucv.analysis import ScoreBin
    from gpucv.report.uncertainty import SchemeUncertainty

__all__ = ["UncertaintyFigures", "coverage_figure", "interval_figure", "score_figure"]

_LEFT, _RIGHT, _TOP, _STEP = 118.0, 352.0, 8.0, 17.0
_MOST_ROWS = 24
_LONGEST_NAME = 18


@dataclass(frozen=True, slots=True)
class UncertaintyFigures:
    """The figures of one scheme, None where there is nothing to draw."""

    intervals: Markup | None
    coverage: Markup | None
    scores: Markup | None
    legend: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, said: SchemeUncertainty, mape_max: float) -> UncertaintyFigures:
        """Draw everything there is to say about a scheme."""
        title = said.title
        return cls(
            intervals=interval_figure(said.rows, mape_max, title),
            coverage=coverage_figure(said.covered, title),
            scores=score_figure(said.bins, title),
            legend=tuple(
                (f"u{index}", f"meant {100 * level:g}%") for index, level in enumerate(LEVELS)
            ),
        )


def interval_figure(rows: pd.DataFrame, mape_max: float, title: str) -> Markup | None:
    """Draw the MAPE of every fold and their average, each with its 95 % interval.

    Parameters
    ----------
    rows : pandas.DataFrame
        `INTERVAL_COLUMNS` of one scheme of one formulation. Of more than 24 folds, those
        with the largest errors are drawn.
    mape_max : float
        Where the threshold line stands, in percent.
    title : str
    """
    drawn = rows[np.isfinite(rows["test_mape"]) & (rows["test_mape"] > 0)]
    folds = drawn[drawn["over"] == "steps"]
    kept = folds.nlargest(_MOST_ROWS, "test_mape").index
    shown = [*folds[folds.index.isin(kept)].to_dict("records")]
    shown += drawn[drawn["over"] == "folds"].to_dict("records")
    if not shown:
        return None
    ends = [each[f"test_mape{part}"] for each in shown for part in ("", "_low", "_high")]
    positive = [end for end in [*ends, mape_max] if 0 < end < np.inf]
    axis = LogAxis(min(positive) / 1.2, max(positive) * 1.2, _LEFT + 4, _RIGHT - 4)
    bottom = _TOP + _STEP * len(shown) + 4
    parts = [_frame(bottom)]
    labelled = -np.inf
    for tick in axis.ticks(5):
        at = float(axis.at(tick))
        parts.append(line("grid", at, _TOP, at, bottom))
        if at - labelled > 36:  # labels closer than that run into each other
            parts.append(text("mid", at, bottom + 13, _percent(tick)))
            labelled = at
    at = float(axis.at(mape_max))
    parts.append(line("limit", at, _TOP, at, bottom))
    for index, each in enumerate(shown):
        parts += _interval(each, axis, _TOP + _STEP * (index + 0.5) + 2)
    told = "; ".join(f"{_name(each)} {_in_words(each)}" for each in shown)
    parts.append(text("mid", (_LEFT + _RIGHT) / 2, bottom + 27, "test MAPE"))
    return drawing(362, bottom + 33, f"Test MAPE with 95% intervals, {title}: {told}", parts)


def _interval(row: dict[Any, Any], axis: LogAxis, y: float) -> list[Markup]:
    average = row["over"] == "folds"
    parts = [text("end", _LEFT - 5, y + 3.5, _short(_name(row)))]
    low, high = row["test_mape_low"], row["test_mape_high"]
    if np.isfinite([low, high]).all():
        css = "whisker average" if average else "whisker"
        parts.append(line(css, float(axis.at(low)), y, float(axis.at(high)), y))
    at = float(axis.at(row["test_mape"]))
    if average:
        parts.append(path("diamond", f"M{number(at)} {number(y - 5)}l5 5l-5 5l-5-5z"))
    else:
        parts.append(_dot("dot", at, y, 3))
    return parts


def coverage_figure(covered: pd.DataFrame, title: str) -> Markup | None:
    """Draw what share of each fold's rows its prediction intervals hold, level by level.

    Parameters
    ----------
    covered : pandas.DataFrame
        `COVERAGE_COLUMNS` of one scheme of one formulation. Of more than 24 folds, those
        covered least are drawn.
    title : str
    """
    known = covered[covered["coverage"].notna()]
    if known.empty:
        return None
    least = known.groupby("holdout", sort=False)["coverage"].min().nsmallest(_MOST_ROWS).index
    shown = [(name, of) for name, of in known.groupby("holdout", sort=False) if name in least]
    bottom = _TOP + _STEP * len(shown) + 4
    parts = [_frame(bottom)]
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        at = _across(share)
        parts += [line("grid", at, _TOP, at, bottom)]
        parts += [text("mid", at, bottom + 13, f"{100 * share:g}%")]
    for index, level in enumerate(LEVELS):
        at = _across(level)
        parts.append(line(f"meant u{index}", at, _TOP, at, bottom))
    told = []
    for place, (name, of) in enumerate(shown):
        y = _TOP + _STEP * (place + 0.5) + 2
        parts.append(text("end", _LEFT - 5, y + 3.5, _short(clean(name))))
        for index, level in enumerate(LEVELS):
            found = of.loc[of["level"] == level, "coverage"]
            parts += [_dot(f"covered u{index}", _across(share), y, 3.4) for share in found]
        shares = ", ".join(percent(100 * share) for share in of["coverage"])
        told.append(f"{clean(name)} {shares}")
    parts.append(text("mid", (_LEFT + _RIGHT) / 2, bottom + 27, "rows inside their interval"))
    meant = ", ".join(f"{100 * level:g}" for level in LEVELS)
    label = f"Rows inside intervals meant to hold {meant} percent, {title}: {'; '.join(told)}"
    return drawing(362, bottom + 33, label, parts)


def score_figure(bins: Sequence[ScoreBin], title: str) -> Markup | None:
    """Draw the median error by out-of-domain score, up to where 90 % of the rows lie."""
    finite = [each for each in bins if 0 < each.median < np.inf]
    if not finite:
        return None
    ends = [end for each in finite for end in (each.median, each.upper) if end < np.inf]
    axis = LogAxis(min(ends) / 1.5, max(ends) * 1.5, 150.0, _TOP)
    parts = [path("frame", f"M46 {number(_TOP)}H352V150H46Z")]
    for tick in axis.ticks(5):
        at = float(axis.at(tick))
        parts += [line("grid", 46, at, 352, at), text("end", 41, at + 3.5, _percent(tick))]
    width = 306 / len(finite)
    for index, each in enumerate(finite):
        x = 46 + width * (index + 0.5)
        median = float(axis.at(each.median))
        parts.append(line("whisker", x, median, x, float(axis.at(each.upper))))
        parts += [_dot("dot", x, median, 3.4)]
        parts += [text("mid", x, 163, f"{each.high:.2g}"), text("mid", x, 175, _rows(each.n))]
    parts.append(text("mid", 199, 190, "out-of-domain score up to; rows"))
    told = "; ".join(
        f"score {each.low:.3g} to {each.high:.3g}: median {percent(each.median)}%, n = {each.n}"
        for each in finite
    )
    return drawing(362, 196, f"Error against out-of-domain score, {title}: {told}", parts)


def _frame(bottom: float) -> Markup:
    left, right, top, end = (number(at) for at in (_LEFT, _RIGHT, _TOP, bottom))
    return path("frame", f"M{left} {top}H{right}V{end}H{left}Z")


def _across(share: float) -> float:
    return _LEFT + 8 + (_RIGHT - _LEFT - 16) * share


def _dot(css: str, x: float, y: float, radius: float) -> Markup:
    return Markup('<circle class="{}" cx="{}" cy="{}" r="{}"/>').format(
        css, number(x), number(y), number(radius)
    )


def _name(row: dict[Any, Any]) -> str:
    return f"average of {row['n']} folds" if row["over"] == "folds" else clean(row["holdout"])


def _in_words(row: dict[Any, Any]) -> str:
    value, low, high = (percent(row[f"test_mape{part}"]) for part in ("", "_low", "_high"))
    return f"{value}%" if low == "-" else f"{value}% [{low}, {high}]"


def _short(name: str) -> str:
    """Keep the end of a long name: recordings mostly begin with their date."""
    return name if len(name) <= _LONGEST_NAME else f"…{name[-(_LONGEST_NAME - 1) :]}"


def _rows(n: int) -> str:
    """Write a number of rows shortly: ``34k``."""
    return count(n) if n < 10_000 else f"{n / 1000:.0f}k"


def _percent(value: float) -> str:
    return f"{tick_label(value)}%"
