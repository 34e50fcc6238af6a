"""``gpucv bench``: how many rows per second this machine trains."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from gpucv.cli.options import OutputOptions, switch

if TYPE_CHECKING:
    from gpucv.benchmark import BenchmarkResult, Sample
    from gpucv.benchmark.sweep import SweepRequest

__all__ = ["bench"]

_QUICK: dict[str, Any] = {"rows": ("1e4", "1e5"), "rounds": 20, "folds": 4, "repeats": 3}


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class SweepOptions:
    """What is measured, and how often."""

    rows: Annotated[
        tuple[str, ...],
        Parameter(
            negative="",
            show_default=False,
            consume_multiple=False,
            help="Rows of a table, 1e3 to 1e8: 1e4,1e6. Repeatable; by default what fits of 1e4, "
            "1e5, 1e6 (a GPU: 1e7, too).",
        ),
    ] = ()
    features: Annotated[int, Parameter(help="Columns trained on.")] = 30
    rounds: Annotated[int | None, Parameter(help="Rounds of boosting: 100, with --quick 20.")] = (
        None
    )
    folds: Annotated[int | None, Parameter(help="Folds of a study: 8, with --quick 4.")] = None
    repeats: Annotated[int | None, Parameter(help="Runs that count: 5, with --quick 3.")] = None


def bench(
    *,
    device: Annotated[
        str, Parameter(help="Where boosters train: auto, cpu, cuda or cuda:N.")
    ] = "auto",
    out: Annotated[
        Path, Parameter(help="Folder of results; a folder per machine is made in it.")
    ] = Path("bench/results"),
    quick: Annotated[bool, switch("Small tables, few rounds: a first look in a minute.")] = False,
    sweep: SweepOptions = SweepOptions(),
    output: OutputOptions = OutputOptions(),
) -> int:
    """Measure how many rows per second this machine trains.

    Times each phase of one fold (features, binning, fit, predictions, metrics) and a whole
    study with its folds side by side, over growing synthetic tables of the study's shape. A
    warm-up comes first and counts nowhere. Writes every run as JSON, and a page of plots; two
    such files can be set against each other with gpucv compare.

    Examples
    --------
    gpucv bench --quick
    gpucv bench --rows 1e5,1e6,1e7 --device cuda --out bench/results
    """
    from gpucv.benchmark import write_result
    from gpucv.benchmark.page import render_page
    from gpucv.benchmark.sweep import run_sweep
    from gpucv.cli.output import print_json
    from gpucv.runs import atomic_write, make_folder, read_json

    request = _request(sweep, device, quick=quick)
    make_folder(out)  # a place that cannot be written to is told of before an hour of work
    result = run_sweep(request, None if output.quiet else _Lines())
    path = write_result(result, out)
    page = path.with_suffix(".html")
    atomic_write(page, render_page(result))
    if output.json:
        print_json({**read_json(path), "path": str(path), "page": str(page)})
    else:
        _print(result, path, page)
    return 0 if not any(each.error for each in result.samples) else 1


def _request(sweep: SweepOptions, device: str, *, quick: bool) -> SweepRequest:
    from gpucv.benchmark.sweep import SweepRequest, default_rows, parse_rows
    from gpucv.machine import resolve_device

    asked = {
        name: getattr(sweep, name)
        for name in ("rounds", "folds", "repeats")
        if getattr(sweep, name) is not None
    }
    settled = {name: value for name, value in _QUICK.items() if quick and name != "rows"} | asked
    texts = sweep.rows or (_QUICK["rows"] if quick else ())
    sizes = parse_rows(texts)
    used = resolve_device(device).device
    rows = sizes or default_rows(used, sweep.features)
    return SweepRequest(rows, used, features=sweep.features, **settled)


class _Lines:
    """Says on stderr what each run took."""

    def __init__(self) -> None:
        self._done = 0

    def __call__(self, sample: Sample, planned: int) -> None:
        from gpucv.cli.output import say

        self._done += 1
        told = sample.error or f"{sample.wall_s:.3g} s"
        say(f"[{self._done}/{planned}] {sample.contender} rows: {told}")


def _print(result: BenchmarkResult, path: Path, page: Path) -> None:
    from rich.console import Console, Group

    from gpucv.benchmark.told import busy, failures, headline, machine_said, sweep_table
    from gpucv.report.terminal import plain_text, titled_table

    console = Console(highlight=False)
    parts = [plain_text(machine_said(result), "bold"), plain_text(headline(result))]
    parts += titled_table(sweep_table(result), console.width)
    parts += [plain_text(line, "yellow") for line in (busy(result), *failures(result)) if line]
    console.print(Group(*parts))
    print(f"\nresults  {path}\npage     {page}")
