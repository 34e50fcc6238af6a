"""Read forward-pass metrics from JSON lines, plain or gzip: one pass on each line.

A line holds the metrics of one iteration of a serving engine, bare or inside a trace
record, which Dynamo's writer puts into an envelope::

    {"timestamp": …, "event": {"schema": "dynamo.fpm.trace.v1", "source": {…},
     "capture_mode": …, "observed_at_unix_ms": …, "fpm": {"version": 1, "worker_id": …,
     "dp_rank": …, "counter_id": …, "wall_time": …, "scheduled_requests": {…},
     "queued_requests": {…}}}}

``wall_time`` is in seconds. An idle engine reports passes of no work and no time, which
are left out; so are passes with work and no time, which no predictor can learn from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpucv.schema import (
    EXPERIMENT,
    LATENCY_US,
    NUM_DECODE_REQS,
    NUM_PREFILL_REQS,
    SCHEDULED_TOKENS,
    STEP_ID,
)
from gpucv.traces.formats.base import Reading, table_of
from gpucv.traces.formats.fpm.columns import COLUMNS, UnitCheck
from gpucv.traces.formats.fpm.record import Batch
from gpucv.traces.formats.fpm.work import with_physics
from gpucv.traces.formats.json_lines import JsonLines
from gpucv.traces.provenance import Note

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gpucv.traces.provenance import SourceFile
    from gpucv.traces.sources import Source

__all__ = ["Passes"]

_PHASES = ("idle", "prefill", "decode", "mixed")


class Passes:
    """One file being read: tables of passes, then what was read."""

    def __init__(self, source: Source, reading: Reading) -> None:
        self._source = source
        self._catalog = reading.catalog
        self._lines = JsonLines(source, reading.on_bytes)
        self._rows = 0
        self._unit = UnitCheck()
        self._latest: dict[str, int] = {}
        self._repeated = self._idle = self._untimed = self._workless = self._sampled = 0

    def batches(self) -> Iterator[Any]:
        """Yield tables of up to 16,384 passes; an empty one for a file of idle reports.

        Raises
        ------
        TraceError
            With the line number, at a record of another version or form; if most passes
            took longer than any GPU does.
        """
        for lines, records in self._lines.batches():
            batch = Batch(self._source)
            for line, record in zip(lines, records, strict=True):
                batch.add(line, record)
            yield self._table(batch)
        mend = ("milliseconds: divide it by 1000", "microseconds: divide it by 1,000,000")
        self._unit.refuse_long(self._source.name, "wall_time in s", mend)

    def source_file(self) -> SourceFile:
        """Return what the rows were read from."""
        return self._lines.source_file(self._rows)

    def notes(self) -> tuple[Note, ...]:
        """Return what was left out, and what of the rest to be wary of."""
        name = self._source.name
        told = (
            ("idle_passes", self._idle, "info", "reports of an idle engine were left out"),
            (
                "untimed_passes",
                self._untimed,
                "warning",
                "passes with work scheduled have wall_time 0 and were left out",
            ),
            (
                "workless_passes",
                self._workless,
                "warning",
                "passes took time with nothing scheduled; they are kept, as phase idle",
            ),
            (
                "repeated_counter",
                self._repeated,
                "warning",
                "passes do not raise their rank's counter_id: a part of the trace stands twice, "
                "or the worker was restarted under its name",
            ),
            (
                "sampled",
                self._sampled,
                "info",
                "passes were captured by sampling, so following rows are not following passes",
            ),
        )
        notes = [
            Note(code, f"{name}: {count:,} {message}", count, level)  # type: ignore[arg-type]
            for code, count, level, message in told
            if count
        ]
        return (*self._lines.notes(), *notes, *self._unit.note_short(name))

    def _table(self, batch: Batch) -> Any:
        import numpy as np
        import pyarrow as pa

        columns = batch.columns(self._catalog)
        seconds = batch.seconds()
        prefills, decodes = (
            columns[each].to_numpy() > 0 for each in (NUM_PREFILL_REQS, NUM_DECODE_REQS)
        )
        tokens = columns[SCHEDULED_TOKENS].to_numpy()
        working = prefills | decodes | (tokens > 0)
        timed = seconds > 0
        self._idle += int((~working & ~timed).sum())
        self._untimed += int((working & ~timed).sum())
        self._workless += int((~working & timed).sum())
        self._unit.count(seconds[working & timed], tokens[working & timed])
        self._count_repeats(columns[EXPERIMENT], columns[STEP_ID].to_pylist())
        phases = np.asarray(_PHASES)[prefills + 2 * decodes.astype(int)]
        columns["phase"] = pa.array(phases.tolist(), pa.string())
        columns[LATENCY_US] = seconds * 1e6
        columns = with_physics(columns, self._catalog)
        kept = table_of(COLUMNS, columns, len(seconds)).filter(pa.array(timed))
        self._sampled += (
            columns["capture_mode"].filter(pa.array(timed)).to_pylist().count("sampled")
        )
        self._rows += kept.num_rows
        return kept

    def _count_repeats(self, streams: Any, counters: Sequence[int | None]) -> None:
        """Count reports that do not raise the counter of their worker and rank."""
        for stream, counter in zip(streams.to_pylist(), counters, strict=True):
            if counter is None:
                continue
            self._repeated += counter <= self._latest.get(stream, -1)
            self._latest[stream] = max(counter, self._latest.get(stream, -1))
