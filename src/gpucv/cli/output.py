"""What commands print: results on stdout, notes on stderr, JSON when asked for."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from gpucv.cli.progress import choose_progress
from gpucv.cli.visible import say, visible_json
from gpucv.runs import to_json

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gpucv.folds import Placement
    from gpucv.traces import Note
    from gpucv.workflow import PreparedStudy

__all__ = [
    "choose_progress",
    "placement_line",
    "print_json",
    "say",
    "tell_notes",
    "tell_plan",
]


def print_json(value: Any) -> None:
    """Print one JSON object and nothing else to stdout."""
    sys.stdout.write(visible_json(to_json(value)))


def tell_notes(notes: Iterable[Note], *, quiet: bool = False) -> None:
    """Print what reading the data had to say."""
    for note in notes:
        say(f"{note.level}: {note.message}", quiet=quiet)


def tell_plan(prepared: PreparedStudy, *, quiet: bool = False) -> None:
    """Print what is about to run, on which device and why."""
    table, device = prepared.table, prepared.device
    synthetic = "synthetic " if prepared.synthetic else ""
    say(
        f"{prepared.study.name}: {len(prepared.tasks)} folds over {len(table):,} {synthetic}rows "
        f"x {len(table.feature_names)} features, device {device.device} ({device.reason})",
        quiet=quiet,
    )
    say(placement_line(prepared.placement), quiet=quiet)


def placement_line(placement: Placement) -> str:
    """Return how folds are laid out, in one line."""
    from gpucv.folds import counted

    where: str = placement.backend
    if placement.backend == "dask":
        where += f" on {counted(placement.processes, 'worker')}"
    folds = f"{counted(placement.at_once, 'fold')} at once"
    threads = counted(placement.threads_per_fold, "thread")
    return f"placement: {where}, {folds}, {threads} each, trained {placement.training}"
