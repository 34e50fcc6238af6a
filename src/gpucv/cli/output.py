"""What commands print: results on stdout, progress on stderr, JSON when asked for."""

from __future__ import annotations

import contextlib
import sys
import time
from typing import TYPE_CHECKING, Any

from gpucv.cli.visible import visible
from gpucv.runs import to_json

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.progress import Progress as RichProgress

    from gpucv.folds import Progress
    from gpucv.runs import FoldRecord
    from gpucv.traces import Note
    from gpucv.workflow import PreparedStudy

__all__ = ["choose_progress", "print_json", "say", "tell_notes", "tell_plan"]


def print_json(value: Any) -> None:
    """Print one JSON object and nothing else to stdout."""
    sys.stdout.write(to_json(value))


def say(message: str, *, quiet: bool = False) -> None:
    """Print one line to stderr; a reader who has left must not end a run."""
    if not quiet:
        with contextlib.suppress(OSError):
            print(visible(message), file=sys.stderr, flush=True)


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


def choose_progress(*, quiet: bool) -> Progress:
    """Return a bar on a terminal, plain lines elsewhere, nothing if `quiet`."""
    from gpucv.workflow.execution import Silent

    if quiet:
        return Silent()
    return Bar() if sys.stderr.isatty() else Lines()


class Lines:
    """One plain line for every fold that ends."""

    def __init__(self) -> None:
        self._planned = self._ended = self._rows = self._done = 0
        self._began = time.perf_counter()

    def start(self, planned: int, finished: int, rows: int) -> None:
        """Say what is there already."""
        self._planned, self._ended, self._rows = planned, finished, rows
        self._began = time.perf_counter()
        if finished:
            say(f"{finished} of {planned} folds are finished already")

    def advance(self, record: FoldRecord) -> None:
        """Say how this fold ended, and when the last one may."""
        self._ended += 1
        self._done += record.n_train + record.n_test
        seconds = max(time.perf_counter() - self._began, 1e-9)
        rate = self._done / seconds
        left = (self._rows - self._done) / rate
        eta = f", about {left:.0f} s left" if self._ended < self._planned else ""
        say(f"[{self._ended}/{self._planned}] {describe(record)} ({rate:,.0f} rows/s{eta})")

    def stop(self) -> None:
        """Say nothing: every line is complete."""


class Bar:
    """A progress bar with rows per second and the time left."""

    def __init__(self) -> None:
        self._bar: RichProgress | None = None
        self._planned = self._ended = 0

    def start(self, planned: int, finished: int, rows: int) -> None:
        """Draw the bar."""
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._planned, self._ended = planned, finished
        if not rows:
            return
        self._bar = Progress(
            TextColumn("folds {task.fields[ended]}/{task.fields[planned]}"),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._bar.add_task("folds", total=rows, planned=planned, ended=finished, rate="")
        self._bar.start()

    def advance(self, record: FoldRecord) -> None:
        """Move the bar; print how this fold ended above it."""
        from rich.text import Text

        self._ended += 1
        if self._bar is None:
            return
        task = self._bar.tasks[0]
        done = task.completed + record.n_train + record.n_test
        rate = done / max(task.elapsed or 0.0, 1e-9)
        self._bar.update(task.id, completed=done, ended=self._ended, rate=f"{rate:,.0f} rows/s")
        self._bar.console.print(Text(visible(describe(record))))

    def stop(self) -> None:
        """Leave the bar as it is, and the terminal as it was."""
        if self._bar is not None:
            self._bar.stop()


def describe(record: FoldRecord) -> str:
    """Return one line on how a fold ended."""
    fold = f"{record.scheme} {record.holdout} {record.predictor}"
    if record.transform != "raw":
        fold += f"/{record.transform}"
    if record.status != "ok":
        return f"{fold}: {record.status}: {record.error}"
    return (
        f"{fold}: MAPE {record.scores['test_mape']:.1f} % on {record.n_test:,} rows, "
        f"fit {record.seconds['fit_s']:.2f} s"
    )
