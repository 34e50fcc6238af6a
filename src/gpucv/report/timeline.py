"""Where the time of a run went: folds as bars in lanes, and what that comes to."""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib import resources
from itertools import groupby
from typing import TYPE_CHECKING

from markupsafe import Markup

from gpucv.analysis import timeline_of
from gpucv.report.cells import clean, count
from gpucv.report.svg import drawing, line, number, path, text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pandas as pd

    from gpucv.analysis import Bar, Timeline

__all__ = ["TIMELINE_HEADING", "TimelineFigure", "render_timeline", "timeline_figure"]

TIMELINE_HEADING = "Where the time went"

_LEFT, _RIGHT, _TOP = 128.0, 748.0, 6.0
_MOST_BARS = 400
"""Folds drawn one by one; of more, neighbours in a lane run together."""
_MOST_LANES = 96
_FONT = "svg{font-family:system-ui,sans-serif}"
_LETTER = 5.7  # width of a character of the figures' 10 px text
_LEGEND = (
    ("tl-wait", "M0 6H28", "waiting"),
    ("tl-load", "M2 1H26V11H2Z", "loading rows"),
    ("tl-quantise", "M2 1H26V11H2Z", "binning"),
    ("tl-fit", "M2 1H26V11H2Z", "fitting"),
    ("tl-predict", "M2 1H26V11H2Z", "predicting"),
    ("tl-bar", "M2 1H26V11H2Z", "scoring, writing"),
    ("tl-busy", "M2 1H26V11H2Z", "folds"),
    ("tl-again", "M2 1H12L2 11Z", "begun more than once"),
    ("tl-cross", "M4 1L24 11M24 1L4 11", "did not finish"),
    ("tl-pause", "M14 0V12", "pause left out"),
)


@dataclass(frozen=True, slots=True)
class TimelineFigure:
    """The drawing, the marks in it as (class, shape, name), and the numbers in words."""

    figure: Markup
    legend: tuple[tuple[str, str, str], ...]
    said: str


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where seconds and lanes lie."""

    seconds: float
    lane: float
    lanes: int

    def x(self, at: float) -> float:
        """Return where a second of the axis lies; those before the first fold at the edge."""
        return _LEFT + (_RIGHT - _LEFT) * max(at, 0.0) / self.seconds

    def top(self, lane: int) -> float:
        """Return the upper edge of a lane's bars."""
        return _TOP + self.lane * lane + 2

    @property
    def height(self) -> float:
        """Height of a bar."""
        return self.lane - 4

    @property
    def bottom(self) -> float:
        """Lower edge of the last lane."""
        return _TOP + self.lane * self.lanes


def timeline_figure(table: pd.DataFrame | None) -> TimelineFigure | None:
    """Draw the folds of a run over time.

    Parameters
    ----------
    table : pandas.DataFrame or None
        With the columns of ``timeline.csv``.

    Returns
    -------
    TimelineFigure or None
        None where no fold's times are known.
    """
    timeline = None if table is None else timeline_of(table)
    if timeline is None:
        return None
    lanes = min(len(timeline.lanes), _MOST_LANES)
    frame = _Frame(max(timeline.wall_s, 1e-3), 18.0 if lanes <= 32 else 11.0, lanes)
    drawn = [bar for bar in timeline.bars if bar.lane < lanes]
    one_by_one = len(drawn) <= _MOST_BARS
    shapes = _single_bars(drawn, frame) if one_by_one else _merged_bars(drawn, frame)
    shapes["tl-again"] = [_corner(bar, frame) for bar in drawn if bar.attempts > 1]
    shapes["tl-cross"] = [_cross(bar, frame) for bar in drawn if not bar.ok]
    shapes["tl-pause"] = [
        f"M{number(frame.x(at))} {number(_TOP)}V{number(frame.bottom)}" for at, _ in timeline.pauses
    ]
    parts = _axes(timeline, frame)
    parts += [path(css, "".join(each)) for css, each in shapes.items() if each]
    parts += [_label(bar, frame) for bar in drawn if one_by_one and _fits(bar, frame)]
    told = f"Folds over time: {count(len(timeline.bars))} in {count(len(timeline.lanes))} lanes"
    return TimelineFigure(
        figure=drawing(_RIGHT + 12, frame.bottom + 32, told, parts),
        legend=tuple(each for each in _LEGEND if shapes.get(each[0])),
        said=_said(timeline, hidden=len(timeline.lanes) - lanes, merged=not one_by_one),
    )


def render_timeline(table: pd.DataFrame | None) -> str | None:
    """Return ``timeline.svg``: the page's figure with its styles inside; None where it has none."""
    drawn = timeline_figure(table)
    if drawn is None:
        return None
    folder = resources.files("gpucv.report")
    style = "".join(
        (folder / name).read_text(encoding="utf-8") for name in ("page.css", "timeline_page.css")
    )
    head = Markup('<svg xmlns="http://www.w3.org/2000/svg" ')
    inner = drawn.figure.removeprefix("<svg ")
    opening, _, rest = inner.partition(">")
    return f"{head}{opening}><style>{Markup.escape(style + _FONT)}</style>{rest}\n"


def _single_bars(bars: Iterable[Bar], frame: _Frame) -> dict[str, list[str]]:
    """Return the shapes of each class: waits, outlines, and the parts of every fold."""
    names = ("wait", "bar", "lost", "load", "quantise", "fit", "predict")
    shapes: dict[str, list[str]] = {f"tl-{name}": [] for name in names}
    for bar in bars:
        middle = number(frame.top(bar.lane) + frame.height / 2)
        since, began, ended = (frame.x(at) for at in (bar.waited, bar.began, bar.ended))
        if began - since > 1:
            shapes["tl-wait"].append(f"M{number(since)} {middle}H{number(began)}")
        shapes["tl-bar" if bar.ok else "tl-lost"].append(_box(began, ended, bar.lane, frame))
        for name, left, right in _spans(bar, frame):
            shapes[f"tl-{name}"].append(_box(left, right, bar.lane, frame))
    return shapes


def _spans(bar: Bar, frame: _Frame) -> list[tuple[str, float, float]]:
    """Return where the parts of a fold lie, from its begin on and never beyond its end."""
    spans, at = [], bar.began
    for name, seconds in bar.parts:
        end = min(at + seconds, bar.ended)
        if frame.x(end) - frame.x(at) >= 0.05:
            spans.append((name, frame.x(at), frame.x(end)))
        at = end
    return spans


def _merged_bars(bars: Sequence[Bar], frame: _Frame) -> dict[str, list[str]]:
    """Return one box per stretch without a gap that could be seen; failed folds stand alone."""
    boxes = []
    finished = sorted((bar for bar in bars if bar.ok), key=lambda bar: (bar.lane, bar.began))
    for lane, mine in groupby(finished, _lane_of):
        left, right = math.nan, -math.inf
        for bar in mine:
            began, ended = frame.x(bar.began), frame.x(bar.ended)
            if began - right > 1:
                boxes += [] if math.isnan(left) else [_box(left, right, lane, frame)]
                left = began
            right = max(right, ended)
        boxes.append(_box(left, right, lane, frame))
    lost = [_box(frame.x(b.began), frame.x(b.ended), b.lane, frame) for b in bars if not b.ok]
    return {"tl-busy": boxes, "tl-lost": lost}


def _lane_of(bar: Bar) -> int:
    return bar.lane


def _box(left: float, right: float, lane: int, frame: _Frame) -> str:
    width, height = number(max(right - left, 0.4)), number(frame.height)
    return f"M{number(left)} {number(frame.top(lane))}h{width}v{height}h-{width}z"


def _corner(bar: Bar, frame: _Frame) -> str:
    return f"M{number(frame.x(bar.began))} {number(frame.top(bar.lane))}h7l-7 7z"


def _cross(bar: Bar, frame: _Frame) -> str:
    """Cross a bar out; a short one by a cross of a bar's height."""
    left, right = frame.x(bar.began), frame.x(bar.ended)
    if right - left < frame.height:
        middle = (left + right) / 2
        left, right = middle - frame.height / 2, middle + frame.height / 2
    start, end, top = number(left), number(right), number(frame.top(bar.lane))
    bottom = number(frame.top(bar.lane) + frame.height)
    return f"M{start} {top}L{end} {bottom}M{end} {top}L{start} {bottom}"


def _place(bar: Bar, frame: _Frame) -> tuple[str, float, float]:
    """Return the part of a bar its name stands on: the fit, else all of it."""
    whole = ("", frame.x(bar.began), frame.x(bar.ended))
    return next((span for span in _spans(bar, frame) if span[0] == "fit"), whole)


def _name(bar: Bar) -> str:
    return (
        f"{bar.fold_id} \N{MULTIPLICATION SIGN}{bar.attempts}"
        if bar.attempts > 1
        else str(bar.fold_id)
    )


def _fits(bar: Bar, frame: _Frame) -> bool:
    _, left, right = _place(bar, frame)
    room = right - left - (16 if bar.attempts > 1 else 4)
    return frame.height >= 11 and room >= _LETTER * len(_name(bar))


def _label(bar: Bar, frame: _Frame) -> Markup:
    part, left, right = _place(bar, frame)
    css = "tl-id" if part else "tl-id plain"
    return text(css, (left + right) / 2, frame.top(bar.lane) + frame.height / 2 + 3.5, _name(bar))


def _axes(timeline: Timeline, frame: _Frame) -> list[Markup]:
    left, right, top, bottom = (number(at) for at in (_LEFT, _RIGHT, _TOP, frame.bottom))
    parts = [path("frame", f"M{left} {top}H{right}V{bottom}H{left}Z")]
    step = _step(frame.seconds)
    for index in range(int(frame.seconds / step) + 1):
        at = frame.x(index * step)
        parts.append(line("grid", at, _TOP, at, frame.bottom))
        parts.append(text("mid", at, frame.bottom + 12, f"{index * step:g}"))
    shown = list(enumerate(timeline.lanes[: frame.lanes]))
    for name, lanes in groupby(shown, key=lambda lane: lane[1]):
        first = next(lanes)[0]
        at = frame.top(first) + min(frame.height, 14) / 2 + 3.5
        parts.append(text("end", _LEFT - 5, at, _worker(name)))
        if first:
            edge = _TOP + frame.lane * first
            parts.append(line("grid", _LEFT, edge, _RIGHT, edge))
    told = "seconds since the first fold began" + (", pauses left out" if timeline.pauses else "")
    return [*parts, text("mid", (_LEFT + _RIGHT) / 2, frame.bottom + 27, told)]


def _step(seconds: float) -> float:
    """Return the distance of 4 to 10 round ticks over so many seconds."""
    power = 10.0 ** math.floor(math.log10(seconds))
    return next(step * power for step in (0.1, 0.2, 0.5, 1.0) if seconds / (step * power) <= 10)


def _worker(name: str) -> str:
    """Return a worker's name short enough for the margin: of an address, its end."""
    plain = clean(f"worker {name}" if name.isdigit() else name.rpartition("://")[2], 60)
    return plain if len(plain) <= 21 else f"…{plain[-20:]}"


def _said(timeline: Timeline, *, hidden: int, merged: bool) -> str:
    bars = timeline.bars
    longest = max(bars, key=lambda bar: bar.ended - bar.began)
    workers, lanes = len(set(timeline.lanes)), len(timeline.lanes)
    share = timeline.longest_first_s / timeline.wall_s if timeline.wall_s else 1.0
    said = [
        f"{_many(len(bars), 'fold')} on {_many(workers, 'worker')}, {_many(lanes, 'lane')}: "
        f"{_seconds(timeline.wall_s)} from the first begin to the last end, with the lanes busy "
        f"{100 * timeline.busy:.0f}% of it. The longest was fold {longest.fold_id} "
        f"({clean(longest.name)}): {_seconds(longest.ended - longest.began)}. Begun longest "
        f"first and without a wait, the same folds would fill these lanes for "
        f"{_seconds(timeline.longest_first_s)}, {100 * share:.0f}% of what they took."
    ]
    if retried := sum(bar.attempts > 1 for bar in bars):
        said.append(f"{_many(retried, 'fold')} begun more than once.")
    if lost := sum(not bar.ok for bar in bars):
        said.append(f"{_many(lost, 'fold')} did not finish.")
    for _, length in timeline.pauses:
        said.append(f"A pause of {_seconds(length)}, when nothing ran or waited, is left out.")
    if timeline.n_unknown:
        said.append(f"{_many(timeline.n_unknown, 'fold')} without times not drawn.")
    if hidden:
        said.append(f"{_many(hidden, 'lane')} more not drawn.")
    if merged:
        said.append(f"Of more than {_MOST_BARS} folds, those that touch are drawn as one.")
    return " ".join(said)


def _many(number_of: int, thing: str) -> str:
    return f"{count(number_of)} {thing}{'' if number_of == 1 else 's'}"


def _seconds(seconds: float) -> str:
    if seconds >= 7200:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds:.0f} s" if seconds >= 100 else f"{seconds:.3g} s"
