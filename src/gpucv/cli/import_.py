"""``gpucv import``: turn recordings into one step table."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from gpucv.cli.options import OutputOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gpucv.traces.importing import Progress

__all__ = ["import_"]

_SECONDS_BETWEEN_LINES = 5.0


def import_(
    kind: Annotated[Literal["otel"], Parameter(help="otel: recordings with a traces.json.")],
    sources: Annotated[
        list[str],
        Parameter(negative="", help="Recordings, folders of recordings, or globs."),
    ],
    *,
    out: Annotated[Path, Parameter(name=["--out", "-o"], help="Parquet file to write.")],
    output: OutputOptions = OutputOptions(),
) -> int:
    """Turn recordings of serving-engine steps into one parquet step table.

    Recordings are streamed: their size does not matter. A study may also name them
    directly; the table is read far sooner.
    """
    from gpucv.catalog import load_catalog
    from gpucv.cli.output import print_json, say, tell_notes
    from gpucv.traces import import_recordings

    with _progress(quiet=output.quiet) as on_progress:
        table = import_recordings(
            sources, out, base=Path.cwd(), catalog=load_catalog(), on_progress=on_progress
        )
    tell_notes(table.notes, quiet=output.quiet)
    if output.json:
        print_json({**asdict(table), "path": str(table.path), "kind": kind})
    else:
        for source in table.sources:
            say(f"{source.rows:>12,} steps in {source.path}", quiet=output.quiet)
        say(f"{table.rows:>12,} steps in all", quiet=output.quiet)
        print(table.path)
    return 0


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Callable[[Progress], None]]:
    """Yield what shows the progress: a bar on a terminal, a line now and then elsewhere."""
    from rich.console import Console
    from rich.progress import Progress as Bar

    bar = Bar(
        console=Console(stderr=True), transient=True, disable=quiet or not sys.stderr.isatty()
    )
    lines = _Lines()
    with bar:
        task = bar.add_task("recordings", total=None)

        def on_progress(progress: Progress) -> None:
            bar.update(task, completed=progress.bytes, total=progress.bytes_total)
            if bar.disable and not quiet:
                lines.show(progress)

        yield on_progress


class _Lines:
    """Says every few seconds how far the reading is."""

    def __init__(self) -> None:
        self._start = self._said = time.monotonic()

    def show(self, progress: Progress) -> None:
        from gpucv.cli.output import say

        now = time.monotonic()
        if now - self._said < _SECONDS_BETWEEN_LINES:
            return
        self._said = now
        rate = progress.bytes / (now - self._start)
        left = (progress.bytes_total - progress.bytes) / rate
        say(
            f"{progress.recordings} of {progress.recordings_total} recordings, "
            f"{rate / 1e6:,.0f} MB/s, about {left:,.0f} s left"
        )
