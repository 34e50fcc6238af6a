"""Runs set against their baseline: the same tables on a terminal, in a pull request, as JSON."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from gpucv.analysis import Formulation
from gpucv.report.cells import ABSENT, clean, clean_sentence, count, decimal
from gpucv.report.findings import markdown, markdown_grid
from gpucv.report.tables import Column, Table
from gpucv.report.terminal import plain_text, titled_table
from gpucv.schema import RUN_SCHEMA

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping, Sequence

    from rich.console import RenderableType

    from gpucv.analysis.comparison import Comparison

    Row = Mapping[Hashable, Any]

__all__ = [
    "comparison_json",
    "failed_lines",
    "print_comparison",
    "render_comparison",
    "render_comparison_terminal",
]

ACCURACY_SAID = (
    "Change: mean difference fold by fold, in percentage points with a 95% interval. Over "
    "rows: blocks of consecutive steps drawn again; about these groups, not about others. Over "
    "folds: the folds drawn again."
)
SPEED_SAID = (
    "Seconds are medians over folds, the ratio a geometric mean over pairs of folds. Its 95% "
    "interval is as wide as single folds scatter: folds of one run share the machine's state."
)
FEW_SAID = (
    "Fewer than six folds drawn again tell equal runs apart in one case of four to six, not in "
    "one of twenty."
)
_NAMES = {
    "mape": "MAPE",
    "wape": "WAPE",
    "p99_ape": "P99 APE",
    "time_error": "time error",
}
_STYLES = {"fail": "bold red", "undecided": "yellow", "pass": "green"}
_MOST_MOVED = 5
_PASSED = 6
_MOST_ROWS = 100
"""Rows of a table in a pull request, whose comment may have 65,536 characters."""


@dataclass(frozen=True, slots=True)
class _Story:
    """One run against the baseline, as text.

    `first` are the tables that answer the question, `more` the ones behind them.
    """

    title: str
    headline: str
    gates: tuple[tuple[str, str], ...]
    first: tuple[Table, ...]
    more: tuple[Table, ...]


def render_comparison(found: Comparison) -> str:
    """Render a comparison as Markdown (GitHub flavour): what failed first, details folded."""
    blocks = []
    for story in _stories(found, _MOST_ROWS):
        blocks += [f"### gpucv: {markdown(story.title)}", f"**{markdown(story.headline)}**"]
        if story.gates:
            marked = (f"- **{status}** {markdown(said)}" for status, said in story.gates)
            blocks.append("\n".join(marked))
        blocks += _markdown_tables(story.first)
        titles = ", ".join(table.title.partition(":")[0] for table in story.more)
        blocks += [f"<details>\n<summary>Details: {titles}</summary>"]
        blocks += [*_markdown_tables(story.more), "</details>"]
    return "\n\n".join(blocks) + "\n"


def _markdown_tables(tables: Iterable[Table]) -> list[str]:
    blocks = []
    for table in tables:
        blocks += [f"#### {markdown(table.title)}", markdown_grid(table)]
        blocks += [markdown(table.note)] if table.note else []
    return blocks


def render_comparison_terminal(found: Comparison, *, width: int = 80) -> RenderableType:
    """Render a comparison for a rich console, in `width` columns."""
    from rich.console import Group

    parts: list[RenderableType] = []
    for story in _stories(found, _MOST_MOVED):
        parts += [plain_text(story.title, "bold"), plain_text(story.headline)]
        parts += [plain_text(f"{mark}: {said}", _STYLES[mark]) for mark, said in story.gates]
        for table in (*story.first, *story.more):
            parts += titled_table(table, width)
        parts.append(plain_text(""))
    return Group(*parts[:-1])


def print_comparison(found: Comparison) -> None:
    """Print a comparison on stdout, as wide as the terminal is, 80 columns elsewhere."""
    from rich.console import Console

    console = Console(highlight=False)
    console.print(render_comparison_terminal(found, width=console.width))


def comparison_json(found: Comparison) -> dict[str, Any]:
    """Return a comparison as JSON-ready values, its tables as lists of rows."""
    tables = {
        name: getattr(found, name)
        for name in ("gates", "accuracy", "speed", "folds", "plan", "differences")
    }
    return {
        **{"schema": RUN_SCHEMA, "baseline": found.baseline, "runs": list(found.runs)},
        "ok": found.ok,
        **{name: table.to_dict("records") for name, table in tables.items()},
    }


def failed_lines(found: Comparison) -> list[str]:
    """Return a line per failed gate."""
    return [
        f"{clean(gate['run'])}: {_gate_said(gate)}"
        for gate in found.gates.to_dict("records")
        if gate["status"] == "fail"
    ]


def _stories(found: Comparison, most: int) -> list[_Story]:
    return [_story(found, run, most) for run in found.runs]


def _story(found: Comparison, run: str, most: int) -> _Story:
    of = {
        name: table[table["run"] == run].to_dict("records")
        for name in ("accuracy", "speed", "folds", "plan", "differences", "gates")
        if not (table := getattr(found, name)).empty
    }
    gates, accuracy = of.get("gates", []), of["accuracy"]
    gated = {str(gate["gate"]).partition(":")[0] for gate in gates}
    shown = [metric for metric in _NAMES if metric == "mape" or metric in gated]
    more = [_accuracy_table(accuracy, m) for m in _NAMES if m not in shown]
    more += [_fold_table(of.get("folds", []), most), _plan_table(of.get("plan", []), most)]
    more.append(_difference_table(of.get("differences", []), max(most, 20)))
    first = [_accuracy_table(accuracy, metric) for metric in shown]
    first[-1] = replace(first[-1], note=f"{first[-1].note} {ACCURACY_SAID}".strip())
    return _Story(
        title=f"{clean(run)} against {clean(found.baseline)}",
        headline=_headline(gates, accuracy),
        gates=tuple(_told_gates(gates)),
        first=(*first, _speed_table(of["speed"])),
        more=tuple(table for table in more if table.rows),
    )


def _headline(gates: Sequence[Row], accuracy: Sequence[Row]) -> str:
    told = []
    if gates:
        states = [gate["status"] for gate in gates]
        failed, undecided = states.count("fail"), states.count("undecided")
        told.append(
            f"{failed} of {_counted(len(gates), 'check')} failed."
            if failed
            else f"{_counted(len(gates), 'check')}: none failed."
        )
        if undecided:
            told.append(f"{undecided} could not be decided.")
    standings = [row["standing"] for row in accuracy if row["metric"] == "mape"]
    same = standings.count("same")
    if same == len(standings):
        return " ".join([*told, "Every fold has the same MAPE, to the last bit."])
    words = ("worse", "better", "same", "tied", "not told apart")
    counts = [f"{n} {word}" for word in words if (n := standings.count(word))]
    whole = _counted(len(standings), "mean")
    return " ".join([*told, f"MAPE: of {whole} per scheme and predictor, {', '.join(counts)}."])


def _told_gates(gates: Sequence[Row]) -> Iterable[tuple[str, str]]:
    """Yield what is said of each gate, failures first; of many that pass, only the first."""
    for status in ("fail", "undecided", "pass"):
        said = [_gate_said(gate) for gate in gates if gate["status"] == status]
        most = _PASSED if status == "pass" else len(said)
        yield from ((status, line) for line in said[:most])
        if len(said) > most:
            yield status, f"{len(said) - most} more"


def _counted(n: int, what: str) -> str:
    return f"{n} {what}{'s'[: n != 1]}"


def _gate_said(gate: Row) -> str:
    where = f"{clean(gate['scheme'])} " if gate["scheme"] else ""
    return clean_sentence(f"{gate['gate']}: {where}{_label(gate)}: {gate['said']}")


def _label(row: Row) -> str:
    return clean(Formulation(str(row["predictor"]), str(row["transform"]), "").label)


def _accuracy_table(rows: Sequence[Row], metric: str) -> Table:
    of = [row for row in rows if row["metric"] == metric]
    few = any(row["method"] == "folds" and row["n_folds"] < 6 for row in of)
    return Table(
        title=f"{_NAMES[metric]}: mean over folds, %",
        columns=(
            Column("scheme", numeric=False),
            Column("predictor", numeric=False),
            Column("folds"),
            Column("baseline"),
            Column("run"),
            Column("change"),
            Column("relative %", spare=3),
            Column("95% interval", spare=1),
            Column("over", numeric=False, spare=2),
            Column("standing", numeric=False),
        ),
        rows=tuple(
            (
                *(clean(row["scheme"]), _label(row), count(row["n_folds"])),
                *(_figure(row["baseline"]), _figure(row["value"])),
                *(_signed(row["change"]), _signed(row["percent"])),
                *(_interval(row), str(row["method"]), str(row["standing"])),
            )
            for row in of
        ),
        note=FEW_SAID if few and any(row["standing"] != "same" for row in of) else "",
    )


def _figure(value: float) -> str:
    """Write an error in percent, to two decimals where that is not more than four digits."""
    return decimal(value, 2 if abs(value) < 100 else 1)


def _signed(value: float) -> str:
    return f"{'+' * (value > 0)}{_figure(value)}"


def _interval(row: Row) -> str:
    if row["low"] != row["low"]:
        return ABSENT
    return f"{_signed(row['low'])} to {_signed(row['high'])}"


def _speed_table(rows: Sequence[Row]) -> Table:
    told = []
    for row in rows:
        interval = ABSENT
        if row["low"] == row["low"]:
            interval = f"{decimal(row['low'], 2)} to {decimal(row['high'], 2)}"
        whole = row["time"] == "wall"
        told.append(
            (
                "all" if whole else _label(row),
                *(str(row["time"]), "" if whole else count(row["n_folds"])),
                *(decimal(row["baseline_s"], 3), decimal(row["value_s"], 3)),
                *(decimal(row["ratio"], 2), interval, ABSENT if whole else str(row["standing"])),
            )
        )
    return Table(
        title="Speed: seconds",
        columns=(
            Column("predictor", numeric=False),
            Column("time", numeric=False),
            Column("folds"),
            Column("baseline"),
            Column("run"),
            Column("ratio"),
            Column("95% interval", spare=1),
            Column("standing", numeric=False),
        ),
        rows=tuple(told),
        note=SPEED_SAID,
    )


def _fold_table(rows: Sequence[Row], most: int) -> Table:
    """List the folds whose MAPE moved, those that moved most first."""
    moved = [row for row in rows if row["mape"] != row["baseline_mape"]]
    moved.sort(key=lambda row: -abs(row["mape"] - row["baseline_mape"]))
    return Table(
        title=f"Folds: MAPE % of the {len(moved)} of {len(rows)} that moved",
        columns=(
            Column("scheme", numeric=False),
            Column("held out", numeric=False),
            Column("predictor", numeric=False),
            Column("n test", spare=1),
            Column("baseline"),
            Column("run"),
            Column("change"),
            Column("same rows", numeric=False, spare=2),
        ),
        rows=tuple(
            (
                *(clean(row["scheme"]), clean(row["holdout"]), _label(row)),
                *(count(row["n_test"]), _figure(row["baseline_mape"]), _figure(row["mape"])),
                _signed(row["mape"] - row["baseline_mape"]),
                "yes" if row["same_rows"] else "no",
            )
            for row in moved[:most]
        ),
        note=_left(len(moved), most),
    )


def _plan_table(rows: Sequence[Row], most: int) -> Table:
    return Table(
        title="Plan: folds that only one run planned or finished",
        columns=(
            Column("scheme", numeric=False),
            Column("held out", numeric=False),
            Column("predictor", numeric=False),
            Column("baseline", numeric=False),
            Column("run", numeric=False),
        ),
        rows=tuple(
            (
                *(clean(row["scheme"]), clean(row["holdout"]), _label(row)),
                *(clean(row["baseline"]), clean(row["value"])),
            )
            for row in rows[:most]
        ),
        note=_left(len(rows), most),
    )


def _difference_table(rows: Sequence[Row], most: int) -> Table:
    return Table(
        title="Differences: what else is not the same",
        columns=(
            Column("about", numeric=False, spare=1),
            Column("what", numeric=False),
            Column("baseline", numeric=False),
            Column("run", numeric=False),
        ),
        rows=tuple(
            tuple(clean(row[name], 60) for name in ("about", "what", "baseline", "value"))
            for row in rows[:most]
        ),
        note=_left(len(rows), most),
    )


def _left(n: int, most: int) -> str:
    return f"{n - most} more with --json." if n > most else ""
