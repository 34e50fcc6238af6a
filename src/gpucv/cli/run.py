"""``gpucv run``: a study from file to findings."""

from __future__ import annotations

import contextlib
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from gpucv.cli.options import OutputOptions, RunOptions, StudyFile, StudyOptions, Track
from gpucv.errors import EnvironmentFaultError

if TYPE_CHECKING:
    from gpucv.study import LoadedStudy
    from gpucv.workflow import PreparedStudy, Result

__all__ = ["plan", "print_plan", "run", "show", "summary", "tell_tracker", "train"]


def run(
    study: StudyFile,
    *,
    where: RunOptions = RunOptions(),
    options: StudyOptions = StudyOptions(),
    output: OutputOptions = OutputOptions(),
) -> int:
    """Run a study: every fold, the tables, the findings, the page.

    Examples
    --------
    gpucv run examples/h3-generalization.toml --out runs/h3
    gpucv run study.toml --set predictors.0.params.max_depth=4 --limit 200
    """
    from gpucv.study import load_study

    prepared, out = plan(load_study(study, options.overrides()), where, options, output)
    if where.dry_run:
        print_plan(prepared, json=output.json)
        return 0
    result = train(prepared, out, output)
    tell_tracker(result, where.track)
    return show(result, output)


def plan(
    loaded: LoadedStudy, where: RunOptions, options: StudyOptions, output: OutputOptions
) -> tuple[PreparedStudy, Path]:
    """Do all that comes before a fold, and tell of it; return that and the run folder's path."""
    from gpucv.cli.output import tell_notes, tell_plan
    from gpucv.runs import new_run_folder
    from gpucv.workflow import prepare
    from gpucv.workflow.tracking import must_have

    if where.track:
        must_have(where.track)
    limit = options.checked_limit()
    folder = new_run_folder(loaded.study.name, where.out)
    prepared = prepare(loaded, limit)
    tell_notes(prepared.notes, quiet=output.quiet)
    tell_plan(prepared, quiet=output.quiet)
    return prepared, folder


def train(prepared: PreparedStudy, out: Path, output: OutputOptions) -> Result:
    """Run the folds; where that is interrupted, or the machine fails, say how to finish them."""
    from gpucv.cli.output import choose_progress, say
    from gpucv.runs import RunLayout
    from gpucv.workflow import start

    try:
        return start(prepared, out=out, progress=choose_progress(quiet=output.quiet))
    except (KeyboardInterrupt, EnvironmentFaultError):
        if RunLayout(out).manifest.exists():
            say(f"to finish this run: gpucv resume {shlex.quote(str(out))}")
        raise


def tell_tracker(result: Result, tracker: Track) -> None:
    """Log a finished run; where that fails say so, for nothing is lost."""
    from gpucv.cli.output import say
    from gpucv.workflow.tracking import track

    if tracker is None:
        return
    try:
        track(result, tracker)
    except EnvironmentFaultError as fault:
        say(f"warning: {fault}; the run itself is complete")


def show(result: Result, output: OutputOptions) -> int:
    """Print what a run found, and return the exit code it earns."""
    from gpucv.cli.output import print_json

    with contextlib.suppress(BrokenPipeError):  # a reader that left changes no outcome
        if output.json:
            print_json(summary(result))
        else:
            print_result(result)
    return 0 if result.ok else 1


def print_result(result: Result) -> None:
    """Print a run's tables and verdict, and where its files are."""
    from rich.console import Console

    from gpucv.cli.visible import visible
    from gpucv.report import render_terminal
    from gpucv.runs import RunLayout
    from gpucv.workflow.rendering import report_input

    console = Console()
    console.print(render_terminal(report_input(result), width=console.width, full=False))
    layout = RunLayout(result.path)
    print(f"\nfindings  {visible(str(layout.findings))}")
    print(f"report    {visible(str(layout.page))}")
    print(f"tables    {visible(str(layout.folds_csv))}")


def summary(result: Result) -> dict[str, object]:
    """Return what ``--json`` prints: the verdicts, the folds, where the files are."""
    from gpucv.analysis import verdicts_json

    return {
        **verdicts_json(result.verdicts),
        "run": str(result.path),
        "name": result.manifest["name"],
        "synthetic": result.manifest["synthetic"],
        "device": result.manifest["device"],
        "notes": result.manifest["notes"],
        "folds": result.folds.astype(object).to_dict("records"),
    }


def print_plan(prepared: PreparedStudy, *, json: bool) -> None:
    """Print the folds that would run, and how they would be laid out."""
    from gpucv.cli.output import print_json
    from gpucv.cli.visible import visible
    from gpucv.folds import plan_rows

    folds = plan_rows(prepared.tasks)
    if json:
        print_json(
            {
                "device": prepared.device.device,
                "folds": folds,
                "placement": {
                    **prepared.placement.to_json(),
                    "reason": prepared.device.reason,
                    "gpus": [gpu.name for gpu in prepared.device.gpus],
                    "features_on": prepared.table.features_on,
                },
            }
        )
        return
    for fold in folds:
        named = f"{fold['scheme']}  {fold['holdout']}  {fold['predictor']}/{fold['transform']}"
        counts = f"train {fold['n_train']:,}  test {fold['n_test']:,}"
        print(f"{fold['fold_id']:4d}  {visible(named)}  {counts}")
    print()
    for line in _placement_lines(prepared):
        print(visible(line))


def _placement_lines(prepared: PreparedStudy) -> list[str]:
    """Return the device, the placement, its memory and the reasons, in at most 80 columns."""
    import textwrap

    from gpucv.cli.output import placement_line
    from gpucv.folds import told

    placement, device = prepared.placement, prepared.device
    where = "each GPU" if placement.device == "cuda" else "the host"
    usable = told(placement.memory_bytes) if placement.memory_bytes else "an unknown amount"
    parts = [
        ("device", f"{device.device}: {device.reason}"),
        ("features", f"computed by {prepared.table.features_on}"),
        ("placement", placement_line(placement).removeprefix("placement: ")),
        (
            "memory",
            f"of {where}, estimated: table {told(placement.table_bytes)}, largest fold "
            f"{told(placement.fold_bytes)}, at once {told(placement.at_once_bytes)} of "
            f"{usable} a process may use",
        ),
        *(("why" if not at else "", reason) for at, reason in enumerate(placement.why)),
    ]
    lines: list[str] = []
    for name, text in parts:
        lines += textwrap.wrap(
            text, width=80, initial_indent=f"{name:10s} ", subsequent_indent=" " * 11
        )
    return lines
