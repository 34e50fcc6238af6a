"""``gpucv import``: turn the files of another system into one table."""

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

FormatName = Literal[
    "otel",
    "otel-batches",
    "otel-requests",
    "vidur",
    "splitwise",
    "aiconfigurator",
    "blis",
    "llm-d",
    "fpm",
    "csv",
]
_SECONDS_BETWEEN_LINES = 5.0


def import_(
    format: Annotated[FormatName, Parameter(help="What wrote the files.")],
    sources: Annotated[list[str], Parameter(negative="", help="Files, folders of them, or globs.")],
    *,
    out: Annotated[Path, Parameter(name=["--out", "-o"], help="Parquet file to write.")],
    repeats: Annotated[
        Literal["keep", "median"],
        Parameter(help="What becomes of repeated measurements, where a format has them."),
    ] = "keep",
    output: OutputOptions = OutputOptions(),
) -> int:
    """Turn the files of another system, or CSV tables, into one parquet table.

    otel: recordings of vLLM's scheduler (folders with a traces.json). otel-batches: every
    step of such a recording, rebuilt from its requests' journeys. otel-requests: its
    requests, with queue time, TTFT, TPOT and end-to-end time. vidur: operator profiles
    (mlp.csv, attention.csv). splitwise: perf_model.csv. aiconfigurator: GEMM, attention
    and MoE latencies (*_perf.parquet). blis: defaults.yaml. llm-d: the latency
    predictor's samples (JSON lines). fpm: forward-pass metrics of Dynamo and vLLM (JSON
    lines). csv: any table with a header line, as it stands. Files are streamed, whatever
    their size; only those of vidur, splitwise and blis are held whole. A study may also name
    them directly; the table is read far sooner.

    Examples
    --------
    gpucv import vidur profiles/ --out vidur.parquet
    gpucv import aiconfigurator gemm_perf.parquet -o gemm.parquet --repeats median
    gpucv import csv measured.csv -o measured.parquet
    """
    from gpucv.catalog import load_catalog
    from gpucv.cli.output import print_json, say, tell_notes
    from gpucv.cli.visible import visible
    from gpucv.traces import Importing, format_named, import_csv, import_tables
    from gpucv.traces.formats import refuse_repeats_kept

    with _progress(quiet=output.quiet) as on_progress:
        if format == "csv":
            refuse_repeats_kept([format], repeats)
            table = import_csv(sources, out, base=Path.cwd(), on_progress=on_progress)
        else:
            how = Importing(format_named(format), load_catalog(), repeats, on_progress)
            table = import_tables(sources, out, base=Path.cwd(), how=how)
    tell_notes(table.notes, quiet=output.quiet)
    if output.json:
        print_json({**asdict(table), "path": str(table.path), "format": format})
    else:
        for source in table.sources:
            say(f"{source.rows:>12,} rows in {source.path}", quiet=output.quiet)
        say(f"{table.rows:>12,} rows in all", quiet=output.quiet)
        print(visible(str(table.path)))
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
        task = bar.add_task("files", total=None)

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
            f"{progress.files} of {progress.files_total} files, "
            f"{rate / 1e6:,.0f} MB/s, about {left:,.0f} s left"
        )
