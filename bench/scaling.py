#!/usr/bin/env python3
"""Measure what a study costs against rows, folds, features and workers, and fit exponents.

Every point is a whole study as ``gpucv run`` places it (`gpucv.benchmark.phases`), in a process
of its own; one quantity varies, the others stay. All points run in turn, so that a busy minute
slows a little of each. ``cost = a x quantity ** b`` is fitted by least squares of logarithms,
with the 95 % interval of b (Student's t); b = 1 is proportional, and for workers -1 is
perfect. Writes ``bench/results/<machine>/scaling-<UTC>.json`` and a drawing per quantity
beside it. Wants an idle machine.

Usage: .venv/bin/python bench/scaling.py [--repeats 3] [--rounds 50] [--quick]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup
from scipy import stats

from gpucv.benchmark import Contender, measure, new_result, write_result
from gpucv.benchmark.floor import Work, floor_seconds
from gpucv.benchmark.phases import folds_of
from gpucv.benchmark.workload import Workload, simulate_steps
from gpucv.machine import cpu_count
from gpucv.report.svg import LogAxis, drawing, line, number, path, text, tick_label
from gpucv.runs import atomic_write

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpucv.benchmark import Sample

SUITE = "scaling"
BASE = {"rows": 200_000, "features": 30, "folds": 8}
POINTS: dict[str, tuple[int, ...]] = {
    "rows": (25_000, 50_000, 100_000, 200_000, 400_000, 800_000),
    "folds": (2, 4, 8, 16),
    "features": (5, 10, 20, 30, 60),
    "workers": (1, 2, 4, 8, 16),
}
FIGURES = {"wall_s": "s", "peak_bytes": "bytes"}
_STYLE = (
    "text{font:10px system-ui,sans-serif}.frame{fill:none;stroke:currentColor;opacity:.4}"
    ".dot{fill:#0072b2}.fit{fill:none;stroke:#d55e00;stroke-width:1.5}"
)


def main() -> int:
    """Measure every point, fit, draw and write."""
    options = _options()
    if options.child:
        told = json.loads(options.child)
        cores = sorted(os.sched_getaffinity(0))[: told.pop("workers")]
        os.sched_setaffinity(0, cores)
        print(json.dumps(folds_of(Workload.from_json(told), options.steps)))
        return 0
    points = _points(options)
    with tempfile.TemporaryDirectory(prefix="gpucv-bench-") as folder:
        steps = Path(folder) / "steps.parquet"
        simulate_steps(steps)
        contenders = [_contender(name, point, steps) for name, point in points.items()]
        found = measure(contenders, repeats=options.repeats, warmup=0, tell=_tell)
    settings = {**BASE, "rounds": options.rounds, "workers": _cores()}
    result = new_result(SUITE, "cpu", settings, found.samples)
    summary = summarise(found.samples, points)
    written = write_result(replace(result, summary=summary), options.out)
    for quantity, known in summary.items():
        for figure, fit in known["fits"].items():
            print(f"{quantity:9s} {figure:10s} {told_exponent(fit)}")
        drawn = draw(quantity, known)
        atomic_write(written.with_name(f"{written.stem}-{quantity}.svg"), drawn)
    print(f"written  {written}")
    return int(bool(found.failures()))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Cost against rows, folds, features, workers.")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows, 10 rounds")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--steps", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.rounds = 10 if options.quick else options.rounds
    return options


def _cores() -> int:
    return min(4, cpu_count())


def _points(options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Return every point by its name: what varies, and what a child is told."""
    points: dict[str, dict[str, Any]] = {}
    for quantity, values in POINTS.items():
        for value in values:
            if quantity == "workers" and value > cpu_count():
                continue
            told = {**BASE, "workers": _cores(), quantity: value}
            if options.quick:
                told["rows"] //= 10
            shown = told[quantity]
            told |= {"rounds": options.rounds, "device": "cpu"}
            points[f"{quantity} {shown}"] = told
    return points


def _contender(name: str, point: dict[str, Any], steps: Path) -> Contender:
    command = (sys.executable, __file__, "--child", json.dumps(point), "--steps", str(steps))
    return Contender(name, command)


def summarise(
    samples: Sequence[Sample], points: dict[str, dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Return for each quantity its points, as medians, and the fits through them."""
    told: dict[str, dict[str, Any]] = {}
    for name, point in points.items():
        mine = [each for each in samples if each.contender == name and not each.error]
        if not mine:
            continue
        quantity, value = name.split()
        work = Work(
            rows=point["rows"] * (point["folds"] - 1) // point["folds"],
            features=point["features"],
            rounds=point["rounds"],
            folds=point["folds"],
        )
        row: dict[str, Any] = {"at": int(value)}
        row |= {each: statistics.median(getattr(s, each) for s in mine) for each in FIGURES}
        row["over_floor"] = row["wall_s"] / floor_seconds(work, "cpu", point["workers"])
        told.setdefault(quantity, {"points": []})["points"].append(row)
    for known in told.values():
        at = [row["at"] for row in known["points"]]
        known["fits"] = {
            figure: fit_exponent(at, [row[figure] for row in known["points"]])
            for figure in FIGURES
            if len(at) >= 3
        }
    return told


def fit_exponent(at: Sequence[float], cost: Sequence[float]) -> dict[str, float]:
    """Fit ``cost = factor x at ** exponent``; with the 95 % interval of the exponent."""
    fitted = stats.linregress(np.log(at), np.log(cost))
    reach = stats.t.ppf(0.975, len(at) - 2) * fitted.stderr
    return {
        "exponent": float(fitted.slope),
        "low": float(fitted.slope - reach),
        "high": float(fitted.slope + reach),
        "factor": float(np.exp(fitted.intercept)),
    }


def told_exponent(fit: dict[str, float]) -> str:
    """Write an exponent with its interval."""
    return f"{fit['exponent']:+.2f} ({fit['low']:+.2f} to {fit['high']:+.2f})"


def draw(quantity: str, known: dict[str, Any]) -> str:
    """Return an SVG file: seconds and MiB against the quantity, with the fitted lines."""
    panels = [("wall_s", "s", 1.0), ("peak_bytes", "MiB", 2.0**-20)]
    parts: list[Markup] = []
    for place, (figure, unit, scale) in enumerate(panels):
        left = 50.0 + 240 * place
        at = [float(row["at"]) for row in known["points"]]
        cost = [scale * row[figure] for row in known["points"]]
        x = LogAxis(min(at) / 1.3, max(at) * 1.3, left, left + 175)
        y = LogAxis(min(cost) / 2, max(cost) * 2, 150.0, 10.0)
        parts.append(path("frame", f"M{number(left)} 10H{number(left + 175)}V150H{number(left)}Z"))
        parts += [text("", float(x.at(each)) - 8, 165, tick_label(each)) for each in at]
        for tick in y.ticks(4):
            parts.append(text("", left - 40, float(y.at(tick)) + 3, f"{tick_label(tick)} {unit}"))
        for each, value in zip(at, cost, strict=True):
            a, b = float(x.at(each)), float(y.at(value))
            parts.append(path("dot", f"M{number(a - 3)} {number(b)}a3 3 0 1 0 6 0a3 3 0 1 0 -6 0"))
        if fit := known["fits"].get(figure):
            ends = [
                (float(x.at(e)), float(y.at(scale * fit["factor"] * e ** fit["exponent"])))
                for e in (min(at), max(at))
            ]
            parts.append(line("fit", *ends[0], *ends[1]))
            parts.append(text("", left + 6, 22, f"exponent {told_exponent(fit)}"))
        parts.append(text("", left + 70, 182, quantity))
    drawn = drawing(480, 190, f"Cost against {quantity}", parts).removeprefix("<svg ")
    opening, _, rest = drawn.partition(">")
    head = Markup('<svg xmlns="http://www.w3.org/2000/svg" ')
    return f"{head}{opening}><style>{_STYLE}</style>{rest}\n"


def _tell(sample: Sample) -> None:
    told = sample.error or f"{sample.wall_s:7.2f} s, peak {sample.peak_bytes / 2**20:5.0f} MiB"
    print(f"{sample.repeat:2d} {sample.contender:16s} {told}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
