"""``gpucv ls``: the runs of a folder, and what can be finished."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from gpucv.cli.options import OutputOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpucv.report.tables import Table
    from gpucv.workflow.listing import ListedRun

__all__ = ["ls"]

_RUNS = Path("runs")


def ls(
    folder: Annotated[Path, Parameter(help="A folder of run folders, or one run folder.")] = _RUNS,
    *,
    output: OutputOptions = OutputOptions(),
) -> int:
    """List the runs of a folder, newest first, and say how to finish what is not.

    Examples
    --------
    gpucv ls
    gpucv ls /scratch/runs --json
    """
    from gpucv.cli.output import print_json, say
    from gpucv.workflow.listing import list_runs

    # Nothing was run here yet: no fault of whoever asks.
    runs = list_runs(folder) if folder != _RUNS or folder.exists() else []
    if output.json:
        print_json({"runs": [run.to_json() for run in runs]})
        return 0
    if not runs:
        say(f"no runs in {folder}; `gpucv run STUDY` makes one", quiet=output.quiet)
        return 0
    _print(runs, folder)
    return 0


def _print(runs: Sequence[ListedRun], folder: Path) -> None:
    from rich.console import Console, Group

    from gpucv.cli.visible import visible
    from gpucv.report.terminal import plain_text, titled_table

    console = Console(highlight=False)
    sound = [run for run in runs if not run.fault]
    if sound:
        console.print(Group(*titled_table(_table(sound, folder), console.width)))
    for run in runs:
        if run.holder:
            console.print(plain_text(visible(f"{run.path}: being written by {run.holder}")))
        if run.fault:
            console.print(plain_text(visible(f"{run.path}: damaged: {run.fault}"), "yellow"))
    if finish := [run.finish for run in runs if run.finish]:
        console.print(plain_text("\nTo finish:", "bold"))
        for command in finish:
            print(f"  {visible(command)}")  # as one line, to be copied


def _table(runs: Sequence[ListedRun], folder: Path) -> Table:
    """Return the runs as a table: the narrower the terminal, the fewer columns."""
    from rich.filesize import decimal

    from gpucv.report.cells import clean
    from gpucv.report.tables import Column, Table

    return Table(
        title=f"{clean(folder)}: {len(runs)} run{'s' if len(runs) > 1 else ''}",
        columns=(
            Column("run", numeric=False),
            Column("study", numeric=False, spare=4),
            Column("started (UTC)", numeric=False, spare=3),
            Column("status", numeric=False),
            Column("folds"),
            Column("verdict", numeric=False),
            Column("device", numeric=False, spare=1),
            Column("size", spare=2),
        ),
        rows=tuple(
            (
                clean(Path(run.path).name or run.path),
                clean(run.name, longest=30),
                clean(run.started[:16].replace("T", " ")),
                _status(run),
                f"{run.n_done}/{run.n_planned}",
                clean(run.verdict) + (", synthetic" if run.synthetic and run.verdict else ""),
                clean(run.device),
                decimal(run.size_bytes),
            )
            for run in runs
        ),
    )


def _status(run: ListedRun) -> str:
    from gpucv.report.cells import clean

    return f"{run.n_failed} failed" if run.n_failed else clean(run.status)
