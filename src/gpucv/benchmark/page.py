"""A sweep as one HTML file that opens anywhere, without scripts and without the network."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from gpucv.benchmark.told import busy, failures, headline, machine_said, sweep_table
from gpucv.report.cells import clean
from gpucv.report.svg import LogAxis, drawing, line, number, path, text, tick_label

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpucv.benchmark.record import BenchmarkResult

__all__ = ["QUESTION", "Plot", "render_page"]

QUESTION = "How many rows per second does this machine train?"

_LEFT, _RIGHT, _TOP, _BOTTOM = 46.0, 352.0, 8.0, 188.0
_STRETCH = 1.3
_LEAST_SPAN = 6.0
"""From the lowest to the highest value of an axis, so that it has two round values or more."""
_RATES = ("features", "quantise", "predict", "metrics")


@dataclass(frozen=True, slots=True)
class Plot:
    """One figure: the drawing, a legend of (class, name), and what it shows in words."""

    title: str
    figure: Markup
    legend: tuple[tuple[str, str], ...]
    caption: str


def render_page(result: BenchmarkResult) -> str:
    """Render the page of a sweep.

    Returns
    -------
    str
        A complete HTML document with its styles and figures inside, the same bytes for the
        same result. All text is escaped; the page's own policy forbids scripts and every
        request.
    """
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    source = resources.files("gpucv.benchmark") / "page.html.j2"
    style = resources.files("gpucv.report") / "page.css"
    versions = result.machine["versions"]
    return environment.from_string(source.read_text(encoding="utf-8")).render(
        style=Markup(style.read_text(encoding="utf-8")),
        question=QUESTION,
        headline=headline(result),
        machine=machine_said(result),
        warnings=[*filter(None, [busy(result)]), *failures(result)],
        table=sweep_table(result),
        plots=_plots(result),
        provenance=[
            ("command", clean(result.command, 400)),
            ("measured", result.date),
            ("revision", result.revision or "not a checkout"),
            ("host", clean(f"{result.machine['host']} ({result.machine['system']})")),
            ("versions", ", ".join(f"{name} {version}" for name, version in versions.items())),
        ],
    )


def _plots(result: BenchmarkResult) -> list[Plot]:
    sizes = result.summary["sizes"]
    one = "on one core" if result.device == "cpu" else "on the GPU"
    drawn = [
        _plot(
            ("Rows per second by phase", f"Features, binning, prediction and scoring, {one}."),
            sizes,
            {name: f"{name}_rows_per_s" for name in _RATES},
        ),
        _plot(
            ("Milliseconds per round", f"One booster on all rows, {one}."),
            sizes,
            {"fit": "fit_s_per_round"},
            1e3,
        ),
        _plot(
            (
                "Row-rounds per second",
                "All folds of a study at once: rows trained times rounds, over the wall clock.",
            ),
            sizes,
            {"study": "row_rounds_per_s"},
        ),
        _plot(
            ("Peak memory, MiB", "Of the study's whole process tree."),
            sizes,
            {"host": "peak_bytes", "GPU": "gpu_peak_bytes"},
            2.0**-20,
        ),
    ]
    return [plot for plot in drawn if plot.legend]


def _plot(
    said: tuple[str, str],
    sizes: Sequence[dict[str, Any]],
    series: dict[str, str],
    scale: float = 1.0,
) -> Plot:
    """Draw figures against rows, both axes logarithmic, with the least and greatest run."""
    title, caption = said
    known = {
        name: [_Point.of(size, key, scale) for size in sizes if key in size]
        for name, key in series.items()
        if any(key in size for size in sizes)
    }
    points = [point for each in known.values() for point in each]
    if not points:
        return Plot(title, Markup(""), (), caption)
    x = _axis([point.rows for point in points], _LEFT, _RIGHT)
    y = _axis([each for point in points for each in (point.low, point.high)], _BOTTOM, _TOP)
    parts = [path("frame", f"M{number(_LEFT)} {number(_TOP)}H{number(_RIGHT)}V188H46Z")]
    for tick in x.ticks():
        at = float(x.at(tick))
        parts += [line("grid", at, _TOP, at, _BOTTOM), text("mid", at, 202, tick_label(tick))]
    for tick in y.ticks():
        at = float(y.at(tick))
        parts += [line("grid", _LEFT, at, _RIGHT, at), text("end", 41, at + 3.5, tick_label(tick))]
    for index, each in enumerate(known.values()):
        parts += _curve(f"curve c{index}", each, x, y)
    parts.append(text("mid", 199, 217, "rows"))
    legend = tuple((f"c{index}", name) for index, name in enumerate(known))
    return Plot(title, drawing(374, 222, f"{title} against rows", parts), legend, caption)


@dataclass(frozen=True, slots=True)
class _Point:
    """A figure at one size: its median, its least and its greatest."""

    rows: float
    value: float
    low: float
    high: float

    @classmethod
    def of(cls, size: dict[str, Any], key: str, scale: float) -> _Point:
        value, low, high = (scale * size[name] for name in (key, f"{key}_low", f"{key}_high"))
        return cls(size["rows"], value, low, high)


def _axis(values: Sequence[float], start: float, end: float) -> LogAxis:
    low, high = min(values) / _STRETCH, max(values) * _STRETCH
    more = max(1.0, _LEAST_SPAN * low / high) ** 0.5
    return LogAxis(low / more, high * more, start, end)


def _curve(css: str, points: Sequence[_Point], x: LogAxis, y: LogAxis) -> list[Markup]:
    places = [(float(x.at(point.rows)), float(y.at(point.value))) for point in points]
    parts = [path(css, "M" + "L".join(f"{number(a)} {number(b)}" for a, b in places))]
    for point, (across, up) in zip(points, places, strict=True):
        parts.append(line(css, across, float(y.at(point.low)), across, float(y.at(point.high))))
        parts.append(path(css, f"M{number(across - 2)} {number(up)}a2 2 0 1 0 4 0a2 2 0 1 0 -4 0"))
    return parts
