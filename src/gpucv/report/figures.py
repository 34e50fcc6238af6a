"""The figures of the page, drawn from single predictions and from the folds' ranks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from gpucv.report.cells import clean, count
from gpucv.report.svg import LogAxis, drawing, line, number, path, text, tick_label

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from gpucv.analysis import Verdict

__all__ = [
    "Curves",
    "Panel",
    "error_curves",
    "formulation_curves",
    "mape_bar",
    "prediction_panels",
    "rank_strip",
]

_CELLS = 48
_SHADES = 5
_FRAME = LogAxis(0.1, 10000.0, 46.0, 352.0)
"""Absolute percentage errors from 0.1 % to 10,000 %, on every error figure alike."""
N_CURVES = 8


@dataclass(frozen=True, slots=True)
class Panel:
    """One small figure and the caption below it."""

    title: str
    caption: str
    figure: Markup


def prediction_panels(predictions: pd.DataFrame, holdouts: Sequence[str]) -> list[Panel]:
    """Draw predicted against actual, one density panel per holdout of one scheme.

    Parameters
    ----------
    predictions : pandas.DataFrame
        Rows of one formulation and scheme, with ``holdout, actual, predicted``.
    holdouts : sequence of str
        Which panels, in which order. All share their axes.

    Returns
    -------
    list of Panel
        Holdouts without a positive actual value, which a logarithmic axis
        cannot show, are left out.
    """
    positive = predictions[(predictions["actual"] > 0) & np.isfinite(predictions["predicted"])]
    if positive.empty:
        return []
    above = positive.loc[positive["predicted"] > 0, "predicted"]
    low = float(min(positive["actual"].min(), above.min() if len(above) else np.inf))
    high = float(max(positive["actual"].max(), positive["predicted"].max()))
    # A few predictions next to 0 must not stretch the axis; they are counted on its edge.
    low = max(low, float(positive["actual"].min()) / 10)
    low, high = low / 1.1, high * 1.1
    by_holdout = dict(tuple(positive.groupby("holdout", sort=False, observed=True)))
    return [
        _panel(str(holdout), by_holdout[holdout], low, high)
        for holdout in holdouts
        if holdout in by_holdout
    ]


def _panel(holdout: str, rows: pd.DataFrame, low: float, high: float) -> Panel:
    x, y = LogAxis(low, high, 34.0, 214.0), LogAxis(low, high, 186.0, 6.0)
    parts = [path("frame", "M34 6H214V186H34Z")]
    for tick in x.ticks(4):
        at_x, at_y = float(x.at(tick)), float(y.at(tick))
        parts += [line("grid", at_x, 6, at_x, 186), line("grid", 34, at_y, 214, at_y)]
        parts += [text("mid", at_x, 198, tick_label(tick))]
        parts += [text("end", 30, at_y + 3.5, tick_label(tick))]
    actual, predicted = rows["actual"].to_numpy(float), rows["predicted"].to_numpy(float)
    parts += _density(x.at(actual), y.at(predicted))
    parts.append(line("exact", 34, 186, 214, 6))
    below = int((predicted <= low).sum())
    caption = f"n = {count(len(rows))}"
    if below:
        caption += f"; {count(below)} at or below {tick_label(float(f'{low:.2g}'))} on the edge"
    label = f"Predicted against actual, {clean(holdout)} held out, {len(rows)} rows"
    return Panel(clean(holdout), caption, drawing(228, 202, label, parts))


def _density(x: NDArray[np.float64], y: NDArray[np.float64]) -> list[Markup]:
    """Count points per cell and draw each shade of the logarithmic scale as one path."""
    edges_x, edges_y = np.linspace(34, 214, _CELLS + 1), np.linspace(6, 186, _CELLS + 1)
    counts, _, _ = np.histogram2d(x, y, bins=(edges_x, edges_y))
    top = np.log1p(counts.max()) or 1.0
    shade = np.ceil(np.log1p(counts) / top * _SHADES).astype(int)
    size = number(edges_x[1] - edges_x[0] + 0.05)
    paths = []
    for level in range(1, _SHADES + 1):
        cells = np.argwhere(shade == level)
        squares = (
            f"M{number(edges_x[i])} {number(edges_y[j])}h{size}v{size}h-{size}z" for i, j in cells
        )
        if len(cells):
            paths.append(path(f"d{level}", "".join(squares)))
    return paths


@dataclass(frozen=True, slots=True)
class Curves:
    """The error curves of one scheme: the drawing and a legend of (class, name)."""

    figure: Markup
    legend: tuple[tuple[str, str], ...]
    note: str


def error_curves(
    predictions: pd.DataFrame, holdouts: Sequence[str], mape_max: float, title: str
) -> Curves:
    """Draw which share of the rows stays below an error, one curve per holdout.

    Parameters
    ----------
    predictions : pandas.DataFrame
        Rows of one formulation and scheme.
    holdouts : sequence of str
        Worst first; the first eight are drawn.
    mape_max : float
        Where the threshold line stands, in percent.
    title : str
        What the figure shows, in words.
    """
    rows = predictions[predictions["actual"] != 0]
    error = 100.0 * (rows["predicted"] / rows["actual"] - 1.0).abs()
    parts = [path("frame", "M46 8H352V188H46Z")]
    for tick in (0.1, 1.0, 10.0, 100.0, 1000.0, 10000.0):
        at = float(_FRAME.at(tick))
        parts += [line("grid", at, 8, at, 188), text("mid", at, 202, f"{tick_label(tick)}%")]
    for quarter in range(5):
        height = 188 - 45 * quarter
        parts += [line("grid", 46, height, 352, height)]
        parts += [text("end", 41, height + 3.5, f"{25 * quarter}%")]
    at = float(_FRAME.at(mape_max))
    parts.append(line("limit", at, 8, at, 188))
    shown = [name for name in holdouts if (rows["holdout"] == name).any()][:N_CURVES]
    for index, name in enumerate(shown):
        parts.append(path(f"curve c{index}", _curve(error[rows["holdout"] == name])))
    parts.append(text("mid", 199, 217, "absolute percentage error of a row"))
    hidden = len(set(holdouts)) - len(shown)
    return Curves(
        figure=drawing(374, 222, title, parts),
        legend=tuple((f"c{index}", clean(name)) for index, name in enumerate(shown)),
        note=f"The {len(shown)} worst holdouts; {hidden} more not drawn." if hidden else "",
    )


def formulation_curves(
    predictions: pd.DataFrame,
    formulations: Sequence[tuple[str, Verdict]],
    scheme: str,
    title: str,
) -> Curves | None:
    """Draw the error curves of several formulations over all rows of one scheme.

    Parameters
    ----------
    predictions : pandas.DataFrame
        ``predictions.parquet``.
    formulations : sequence of (name, Verdict)
        Best first where there are too many: the first eight with rows are drawn.
    scheme : str
    title : str
        The scheme's, in words.

    Returns
    -------
    Curves or None
        None where fewer than two formulations have rows.
    """
    import pandas as pd

    predictions = predictions[predictions["scheme"] == scheme]
    parts = []
    for name, verdict in formulations:
        rows = verdict.formulation.rows(predictions)[["actual", "predicted"]]
        if len(rows):
            parts.append(rows.assign(holdout=pd.Categorical([name] * len(rows))))
    if len(parts) < 2:
        return None
    frame = pd.concat(parts[:N_CURVES], ignore_index=True)
    names = [str(part["holdout"].iloc[0]) for part in parts]
    limit = formulations[0][1].thresholds.mape_max
    curves = error_curves(
        frame, names[:N_CURVES], limit, f"Share of rows below an error by predictor, {title}"
    )
    hidden = len(names) - N_CURVES
    note = f"The first {N_CURVES} predictors; {hidden} more not drawn." if hidden > 0 else ""
    return Curves(curves.figure, curves.legend, note)


def _curve(error: pd.Series[float]) -> str:
    grid = np.geomspace(_FRAME.low, _FRAME.high, 121)
    below = np.searchsorted(np.sort(error.to_numpy(float)), grid, side="right") / len(error)
    points = zip(_FRAME.at(grid), 188 - 180 * below, strict=True)
    return "M" + "L".join(f"{number(x)} {number(y)}" for x, y in points)


def mape_bar(mape: float, mape_max: float) -> Markup:
    """Draw one MAPE as a bar on a logarithmic scale from 1 % to 10,000 %, threshold marked."""
    if not mape > 0:
        return Markup("")
    axis = LogAxis(1.0, 10000.0, 0.0, 120.0)
    css = "good" if mape < mape_max else "bad"
    at = float(axis.at(mape_max))
    width = number(max(1.0, float(axis.at(mape))))
    parts = [path(css, f"M0 3H{width}V11H0Z"), line("limit", at, 0, at, 14)]
    return drawing(120, 14, f"{mape:.1f}% against a threshold of {mape_max:g}%", parts)


def rank_strip(ranks: Sequence[float], mean: float, spread: float, lowest: float) -> Markup:
    """Draw a feature's rank in every fold as dots, its mean as a bar, its spread as a line.

    Parameters
    ----------
    ranks : sequence of float
        One per fold, 1 = most important.
    mean, spread : float
        Average rank and its sample standard deviation (NaN for one fold).
    lowest : float
        The last rank there is: the right end of the strip.
    """

    def at(rank: float) -> float:
        inside = min(max(rank, 1.0), lowest)
        return 5.0 + 150.0 * (inside - 1.0) / max(lowest - 1.0, 1.0)

    parts = [line("grid", 5, 8, 155, 8)]
    if spread > 0:
        parts.append(line("spread", at(mean - spread), 8, at(mean + spread), 8))
    parts += [
        Markup('<circle class="dot" cx="{}" cy="8" r="3"/>').format(number(at(rank)))
        for rank in sorted(ranks)
    ]
    parts.append(line("mean", at(mean), 2, at(mean), 14))
    label = f"average rank {mean:.2f}, in the folds " + ", ".join(f"{r:g}" for r in sorted(ranks))
    return drawing(160, 16, label, parts)
