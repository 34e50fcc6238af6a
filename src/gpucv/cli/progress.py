"""How a run is watched: a live view on a terminal, a line per fold elsewhere, on stderr."""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from gpucv.cli.visible import say, visible

if TYPE_CHECKING:
    from rich.console import RenderableType

    from gpucv.folds import FoldTask, Progress
    from gpucv.runs import FoldRecord

__all__ = ["Lines", "Live", "choose_progress"]


def choose_progress(*, quiet: bool) -> Progress:
    """Return a live view on a terminal, plain lines elsewhere, nothing if `quiet`.

    A terminal that cannot move its cursor (``TERM=dumb``) gets lines, too.
    """
    from gpucv.workflow.execution import Silent

    if quiet:
        return Silent()
    dumb = os.environ.get("TERM", "").lower() in ("dumb", "unknown")
    return Live() if sys.stderr.isatty() and not dumb else Lines()


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

    def begin(self, task: FoldTask, worker: str) -> None:
        """Say nothing: a log is read for what came of a fold."""

    def advance(self, record: FoldRecord) -> None:
        """Say how this fold ended, and when the last one may."""
        self._ended += 1
        self._done += record.n_train + record.n_test
        seconds = max(time.perf_counter() - self._began, 1e-9)
        rate = self._done / seconds
        left = (self._rows - self._done) / rate
        eta = f", about {left:.0f} s left" if self._ended < self._planned else ""
        say(f"[{self._ended}/{self._planned}] {_told(record)} ({rate:,.0f} rows/s{eta})")

    def stop(self) -> None:
        """Say nothing: every line is complete."""


class Live:
    """The folds under way, one line each with its worker, above a bar of the whole run."""

    def __init__(self) -> None:
        self._view: Any = None
        self._bar: Any = None
        self._console: Any = None
        self._planned = self._ended = 0
        self._lock = threading.Lock()
        self._under_way: dict[int, tuple[str, str, float]] = {}

    def start(self, planned: int, finished: int, rows: int) -> None:
        """Draw the view."""
        from rich.console import Console
        from rich.live import Live as RichLive
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._planned, self._ended = planned, finished
        if not rows:
            return
        self._console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("folds {task.fields[ended]}/{task.fields[planned]}"),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=self._console,
        )
        self._bar.add_task("folds", total=rows, planned=planned, ended=finished, rate="")
        # What is printed on stdout meanwhile stays there.
        self._view = RichLive(
            get_renderable=self._drawn, console=self._console, redirect_stdout=False
        )
        self._view.start()

    def begin(self, task: FoldTask, worker: str) -> None:
        """Add the fold's line, or move it to its new worker."""
        fold = _named(
            task.scheme.name, task.holdout, task.predictor.title, task.predictor.transform
        )
        with self._lock:
            self._under_way[task.fold_id] = (visible(worker), visible(fold), time.monotonic())
        if self._view is not None:
            self._view.refresh()

    def advance(self, record: FoldRecord) -> None:
        """Take the fold's line away, move the bar, and print how the fold ended above both."""
        from rich.text import Text

        self._ended += 1
        with self._lock:
            self._under_way.pop(record.fold_id, None)
        if self._view is None:
            return
        task = self._bar.tasks[0]
        done = task.completed + record.n_train + record.n_test
        rate = done / max(task.elapsed or 0.0, 1e-9)
        self._bar.update(task.id, completed=done, ended=self._ended, rate=f"{rate:,.0f} rows/s")
        self._console.print(Text(visible(_told(record))))

    def stop(self) -> None:
        """Leave the bar as it is, and the terminal as it was."""
        with self._lock:
            self._under_way.clear()
        if self._view is not None:
            self._view.stop()

    def _drawn(self) -> RenderableType:
        """Draw the longest folds under way, as many as the terminal has lines for, and the bar."""
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        with self._lock:
            folds = sorted(self._under_way.values(), key=lambda fold: fold[2])
        room = max(1, self._console.height - 4)
        shown = sorted(folds[:room])
        grid = Table.grid(padding=(0, 2), expand=True)
        grid.add_column(no_wrap=True, style="dim")
        grid.add_column(no_wrap=True, ratio=1)
        grid.add_column(no_wrap=True, justify="right")
        for worker, fold, began in shown:
            seconds = int(time.monotonic() - began)
            grid.add_row(Text(worker), Text(fold), f"{seconds // 60}:{seconds % 60:02d}")
        more = [Text(f"and {len(folds) - room} more")] if len(folds) > room else []
        return Group(grid, *more, self._bar.get_renderable())


def _told(record: FoldRecord) -> str:
    """Return one line on how a fold ended."""
    fold = _named(record.scheme, record.holdout, record.predictor, record.transform)
    if record.status != "ok":
        return f"{fold}: {record.status}: {record.error}"
    return (
        f"{fold}: MAPE {record.scores['test_mape']:.1f} % on {record.n_test:,} rows, "
        f"fit {record.seconds['fit_s']:.2f} s"
    )


def _named(scheme: str, holdout: str, predictor: str, transform: str) -> str:
    named = f"{scheme} {holdout} {predictor}"
    return named if transform == "raw" else f"{named}/{transform}"
