"""Compared results on a terminal, in a pull request, and as JSON."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from gpucv.benchmark.told import written
from gpucv.report.cells import ABSENT, clean, clean_sentence, decimal
from gpucv.report.findings import markdown, markdown_grid
from gpucv.report.tables import Column, Table
from gpucv.report.terminal import plain_text, titled_table
from gpucv.schema import BENCHMARK_SCHEMA

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gpucv.benchmark.comparing import ComparedBenchmark, ComparedResults

__all__ = ["compared_json", "failed_benchmarks", "print_compared", "render_compared"]

_SAID = (
    "Ratio: geometric mean of the run's times over the baseline's, with an interval as wide as "
    "single runs scatter."
)
_STYLES = {"fail": "bold red", "undecided": "yellow", "pass": "green"}


def render_compared(found: ComparedResults) -> str:
    """Render compared results as Markdown (GitHub flavour)."""
    blocks = [f"### gpucv: benchmarks against {markdown(clean(found.baseline))}"]
    if found.gates:
        lines = (f"- **{gate['status']}** {markdown(_gate_said(gate))}" for gate in found.gates)
        blocks.append("\n".join(lines))
    for table in _tables(found):
        blocks += [f"#### {markdown(table.title)}", markdown_grid(table)]
        blocks += [markdown(table.note)] if table.note else []
    return "\n\n".join(blocks) + "\n"


def print_compared(found: ComparedResults) -> None:
    """Print compared results on stdout, as wide as the terminal is, 80 columns elsewhere."""
    from rich.console import Console, Group

    console = Console(highlight=False)
    parts = [plain_text(f"Benchmarks against {clean(found.baseline)}", "bold")]
    parts += [
        plain_text(f"{gate['status']}: {_gate_said(gate)}", _STYLES[gate["status"]])
        for gate in found.gates
    ]
    for table in _tables(found):
        parts += titled_table(table, console.width)
    console.print(Group(*parts))


def compared_json(found: ComparedResults) -> dict[str, Any]:
    """Return compared results as JSON-ready values."""
    return {
        **{"schema": BENCHMARK_SCHEMA, "baseline": found.baseline, "runs": list(found.runs)},
        "ok": found.ok,
        "figures": [{**asdict(each), "standing": each.standing} for each in found.figures],
        "gates": list(found.gates),
        "differences": list(found.differences),
    }


def failed_benchmarks(found: ComparedResults) -> list[str]:
    """Return a line per failed gate."""
    return [
        f"{clean(gate['run'])}: {_gate_said(gate)}"
        for gate in found.gates
        if gate["status"] == "fail"
    ]


def _gate_said(gate: Mapping[str, Any]) -> str:
    return clean_sentence(f"{gate['gate']}: {gate['benchmark']}: {gate['said']}")


def _tables(found: ComparedResults) -> list[Table]:
    tables = [
        _figure_table(run, [each for each in found.figures if each.run == run])
        for run in found.runs
    ]
    differing = Table(
        title="Differences: what else is not the same",
        columns=tuple(Column(name, numeric=False) for name in ("what", "baseline", "run")),
        rows=tuple(
            tuple(clean(row[name], 60) for name in ("what", "baseline", "value"))
            for row in found.differences
        ),
    )
    return [*tables, differing] if found.differences else tables


def _figure_table(run: str, figures: list[ComparedBenchmark]) -> Table:
    return Table(
        title=clean(run),
        columns=(
            Column("benchmark", numeric=False),
            Column("figure", numeric=False),
            Column("baseline"),
            Column("run"),
            Column("ratio"),
            Column("95% interval", spare=1),
            Column("standing", numeric=False),
        ),
        rows=tuple(
            (
                *(clean(each.benchmark), clean(each.figure)),
                *(_value(each, each.baseline), _value(each, each.value)),
                *(decimal(each.ratio, 2), _interval(each), each.standing),
            )
            for each in figures
        ),
        note=_SAID,
    )


def _value(each: ComparedBenchmark, value: float) -> str:
    if math.isnan(value):
        return ABSENT
    return f"{value / 2**20:,.0f} MiB" if each.figure == "memory" else f"{written(value)} s"


def _interval(each: ComparedBenchmark) -> str:
    if math.isnan(each.low):
        return ABSENT
    return f"{each.low:.2f} to {each.high:.2f}"
