"""``gpucv synth``: write the synthetic study, at its published size or any other."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

if TYPE_CHECKING:
    from gpucv.traces.synth import SynthReport

__all__ = ["synth"]

_SECONDS_BETWEEN_LINES = 5.0


def synth(
    *,
    out: Annotated[Path, Parameter(help="Parquet file to write.")],
    rows: Annotated[
        int | None, Parameter(help="Rows in all; the published 122,752 by default.")
    ] = None,
    seed: Annotated[int, Parameter(help="Seed: the same one gives the same values.")] = 42,
    as_json: Annotated[
        bool, Parameter(name="--json", negative=(), help="Print the result as JSON.")
    ] = False,
) -> int:
    """Simulate the sixteen serving experiments and write their steps as one table.

    The table is synthetic and says so to every reader. Memory does not grow with --rows.

    Examples
    --------
    gpucv synth --out study.parquet
    gpucv synth --out large.parquet --rows 8000000 --seed 7
    """
    from gpucv.traces.synth import synthesize

    report = synthesize(out, seed=seed, rows=rows, progress=_Progress())
    print(_as_json(report) if as_json else _as_text(report))
    return 0


class _Progress:
    """Says on stderr how far the writing is, every few seconds."""

    def __init__(self) -> None:
        self._start = self._said = time.monotonic()

    def __call__(self, written: int, total: int) -> None:
        now = time.monotonic()
        if now - self._said < _SECONDS_BETWEEN_LINES and written < total:
            return
        self._said = now
        rate = written / max(now - self._start, 1e-9)
        left = (total - written) / rate
        print(
            f"synth: {written:,} of {total:,} rows, {rate:,.0f} rows/s, {left:,.0f} s left",
            file=sys.stderr,
            flush=True,
        )


def _as_json(report: SynthReport) -> str:
    return json.dumps({**asdict(report), "path": str(report.path), "synthetic": True}, indent=1)


def _as_text(report: SynthReport) -> str:
    return "\n".join(
        [
            f"wrote {report.path}: SYNTHETIC step table",
            f"rows            {report.rows:,} from {report.recordings:,} recordings",
            f"steps simulated {report.steps:,}",
            f"seed            {report.seed} (generator {report.generator})",
            f"size            {report.bytes / 1e6:,.1f} MB",
            f"content sha256  {report.content_sha256}",
        ]
    )
