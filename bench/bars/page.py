"""Tables of contenders and bars, for a terminal and for ``docs/benchmarks.md``."""

from __future__ import annotations

import math
import re
import statistics
from typing import TYPE_CHECKING, Any

from peers.registry import PEERS

from gpucv.benchmark import median_interval, ratios, read_result

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bars.judge import Bar
    from gpucv.benchmark import BenchmarkResult, Sample

__all__ = ["bar_lines", "peer_lines", "write_page"]

_BEGIN, _END = "<!-- measured: begin -->", "<!-- measured: end -->"
_FILE = re.compile(r"side-by-side-\d+-cores-\d{8}T\d{6}Z\.json")
_MIB = 2**20
_HEAD = ("", "s", "interval", "/ gpucv", "start-up s", "CPU s", "peak MiB", "lomo", "lowo", "RMSE")
_BAR_HEAD = ("bar", "asked", "found", "interval", "")


def peer_lines(samples: Sequence[Sample]) -> list[str]:
    """Return a Markdown table of every peer that ran: time, memory and accuracy."""
    names = [name for name in PEERS if any(_of(samples, name))]
    return _table(_HEAD, [_peer_row(samples, name) for name in names])


def bar_lines(bars: Sequence[Bar]) -> list[str]:
    """Return a Markdown table of the bars, and their notes below it."""
    rows = [
        (bar.name, bar.asked, _figure(bar.found), _interval(bar.low, bar.high), bar.verdict)
        for bar in bars
    ]
    notes = [f"{bar.name}: {bar.note}" for bar in bars if bar.note]
    return [*_table(_BAR_HEAD, rows), "", *notes]


def write_page(repository: Path) -> Path:
    """Put the tables of the newest results into ``docs/benchmarks.md``; return its path.

    Of each machine and number of cores the newest result counts.

    Raises
    ------
    SystemExit
        If nothing was measured yet, or the page has no place for it.
    """
    newest: dict[tuple[str, str], Path] = {}
    for path in sorted((repository / "bench" / "results").glob("*/side-by-side-*.json")):
        if _FILE.fullmatch(path.name):
            newest[path.parent.name, path.name.rpartition("-")[0]] = path
    if not newest:
        raise SystemExit("bench/results holds no side-by-side result; measure first")
    page = repository / "docs" / "benchmarks.md"
    before, begin, rest = page.read_text(encoding="utf-8").partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not (begin and end):
        raise SystemExit(f"{page} lacks the lines {_BEGIN} and {_END} to put tables between")
    tables = "\n".join(line for path in newest.values() for line in _section(read_result(path)))
    page.write_text(f"{before}{_BEGIN}\n{tables}\n{_END}{after}", encoding="utf-8")
    return page


def _section(result: BenchmarkResult) -> list[str]:
    """Return one result as the page shows it: where and when, contenders, bars."""
    asked, machine = result.settings, result.machine
    loads = [each.load_before for each in result.samples]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return [
        "",
        f"### {machine['cpu']}, {asked['cores']} of {machine['cores']} cores, {result.date[:10]}",
        "",
        f"`{result.command}`, revision {(result.revision or 'unknown')[:12]}; "
        f"{asked['folds']} folds of {asked['rows']:,} rows x {asked['features']} features, "
        f"{asked['rounds']} rounds; load average before a run {min(loads):.1f} to "
        f"{max(loads):.1f}; {versions}.",
        "",
        *peer_lines(result.samples),
        "",
        *_table(_BAR_HEAD, [_kept_row(bar) for bar in result.summary["bars"]]),
        "",
        *(f"- {bar['name']}: {bar['note']}" for bar in result.summary["bars"] if bar["note"]),
        "",
    ]


def _kept_row(bar: dict[str, Any]) -> tuple[str, ...]:
    found, low, high = (math.nan if bar[n] is None else bar[n] for n in ("found", "low", "high"))
    return bar["name"], bar["asked"], _figure(found), _interval(low, high), bar["verdict"]


def _peer_row(samples: Sequence[Sample], name: str) -> tuple[str, ...]:
    mine = _of(samples, name)
    walls = [each.wall_s for each in mine]
    low, high, _ = median_interval(walls)
    over = ratios(samples, name, "gpucv").median

    def middle(values: Sequence[float], digits: int) -> str:
        return f"{statistics.median(values):.{digits}f}"

    scores = [mine[-1].scores.get(key) for key in ("lomo_mape", "lowo_mape", "rmse")]
    return (
        f"{name} ({len(mine)} runs)",
        middle(walls, 2),
        _interval(low, high),
        _figure(over),
        middle([each.process_s - each.wall_s for each in mine], 1),
        middle([each.cpu_s for each in mine], 1),
        middle([each.peak_bytes / _MIB for each in mine], 0),
        *("" if each is None else f"{each:.2f}" for each in scores),
    )


def _of(samples: Sequence[Sample], name: str) -> list[Sample]:
    return [each for each in samples if each.contender == name and not each.error]


def _figure(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.2f}"


def _interval(low: float, high: float) -> str:
    return "" if math.isnan(low) else f"{low:.2f} to {high:.2f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    rule = ["-" * width for width in widths]
    lines = (head, rule, *rows)
    return [
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)) + " |"
        for line in lines
    ]
