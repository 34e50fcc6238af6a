"""Format ``otel-batches``: the batch of every engine step, rebuilt from journeys.

Step summaries are a sample, usually of one step in ten. Journeys tell of every step, so
all batches can be rebuilt; the summaries then check them, and give their steps the
times that journeys do not have.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from gpucv.errors import TraceError
from gpucv.schema import (
    DECODE_TOKENS,
    DURATION_US,
    EXPERIMENT_COLUMNS,
    KV_TOKENS_MAX,
    KV_TOKENS_MEAN,
    KV_TOKENS_SUM,
    NUM_DECODE_REQS,
    NUM_PREFILL_REQS,
    PREFILL_TOKENS,
    RUNNING_DEPTH,
    SCHEDULED_TOKENS,
    SNAPSHOT_COLUMNS,
    STEP_COLUMNS,
    STEP_ID,
    TS_END_NS,
    TS_START_NS,
)
from gpucv.traces.formats.base import table_of
from gpucv.traces.formats.otel.attributes import count
from gpucv.traces.formats.otel.exports import STEP_EVENT, Exports
from gpucv.traces.formats.otel.journeys import gather
from gpucv.traces.formats.otel.lifecycle import lifecycles
from gpucv.traces.formats.otel.rebuild import Engine, rebuild
from gpucv.traces.formats.otel.snapshots import Snapshots, cached_prefix
from gpucv.traces.formats.otel.stays import schedules_ahead
from gpucv.traces.provenance import Note

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from gpucv.traces.formats.otel.attributes import Attributes
    from gpucv.traces.formats.otel.lifecycle import Lifecycle
    from gpucv.traces.formats.otel.rebuild import Batches
    from gpucv.traces.formats.otel.recording import Recording
    from gpucv.traces.provenance import SourceFile
    from gpucv.traces.sources import Source

__all__ = ["BATCH_COLUMNS", "BatchReader"]

BATCH_COLUMNS = (
    *(column for column in STEP_COLUMNS if not column.name.startswith("kv.")),
    *SNAPSHOT_COLUMNS,
)
"""The step table's columns that journeys tell, and the contexts."""

_DEFAULT_BUDGET = 2048
"""Tokens of a step that vLLM allows unless told otherwise."""
_MOST_STEPS = 1 << 24
"""Two days of the fastest steps; more is a damaged step number."""
_ENOUGH = 0.95
"""Share of recorded steps that the rebuilt ones should agree with."""

_TIMES = (TS_START_NS, TS_END_NS, DURATION_US)
_COUNTS = (PREFILL_TOKENS, DECODE_TOKENS, NUM_PREFILL_REQS, NUM_DECODE_REQS)
_RECORDED = (STEP_ID, *_TIMES, *_COUNTS, RUNNING_DEPTH)


class BatchReader:
    """One recording being read: its rebuilt steps, then what was read.

    The journeys and the rebuilt steps are held in memory: about a kilobyte per request
    and a hundred bytes per step.

    Parameters
    ----------
    source : Source
        The ``traces.json``.
    recording : Recording
        Labels of every step, and the token budget.
    on_bytes : callable, optional
        Called with the number of bytes of each line read.
    """

    def __init__(
        self, source: Source, recording: Recording, on_bytes: Callable[[int], None] | None = None
    ) -> None:
        self._exports = Exports(source, on_bytes)
        self._recording = recording
        self._summaries: list[list[int | None]] = []
        self._snapshots = Snapshots()
        self._cached: dict[str, int] = {}
        self._rows = 0
        self._noticed: list[Note] = []

    def batches(self) -> Iterator[Any]:
        """Yield one ``pyarrow.Table`` with a row for every step.

        Raises
        ------
        TraceError
            If a line is damaged, there are no journeys, they lack their tokens, or steps
            and times disagree.
        """
        name = self._exports.name
        journeys = gather(self._exports, self._on_step)
        lives, notes = lifecycles(journeys.all(), name)
        self._noticed += [journeys.identity_note(name), *notes]
        steps = _range(lives, name)
        starts = {
            step: ts for step, ts, *_ in self._summaries if step is not None and ts is not None
        }
        _check_clock(lives, starts, name)
        engine = Engine(
            self._recording.token_budget or _DEFAULT_BUDGET,
            schedules_ahead(lives, starts),
            self._cached,
        )
        rebuilt = rebuild(lives, steps, engine)
        self._rows = len(steps)
        recorded = self._recorded(steps)
        self._report(rebuilt, recorded, engine)
        yield table_of(BATCH_COLUMNS, self._values(rebuilt, recorded), len(steps))

    def source_file(self) -> SourceFile:
        """Return size, digest and rows of the trace; to be asked after the last batch."""
        return self._exports.source_file(self._rows, "otel-batches")

    def notes(self) -> tuple[Note, ...]:
        """Return what was noticed; to be asked after the last batch."""
        return (*self._recording.notes, *self._noticed, *self._exports.notes())

    def _on_step(self, name: str, values: Attributes, where: str) -> None:
        if name == STEP_EVENT:
            self._summaries.append([count(values, key, where) for key in _RECORDED])
            return
        self._snapshots.add(values, where)
        found = cached_prefix(values, where)
        if found is not None:
            self._cached[found[0]] = found[1]

    def _recorded(self, steps: range) -> dict[str, NDArray[np.int64]]:
        """Return the complete step summaries within `steps`, one value each."""
        rows = [row for row in self._summaries if None not in row and row[0] in steps]
        table = np.array(rows, dtype=np.int64).reshape(len(rows), len(_RECORDED))
        return {name: table[:, index] for index, name in enumerate(_RECORDED)}

    def _values(self, rebuilt: Batches, recorded: dict[str, NDArray[np.int64]]) -> dict[str, Any]:
        import pyarrow as pa

        labels = {
            column.name: getattr(self._recording, column.name) for column in EXPERIMENT_COLUMNS
        }
        columns = rebuilt.columns
        rows, place = self._rows, recorded[STEP_ID] - rebuilt.first_step
        values: dict[str, Any] = {**labels, **columns}
        values[STEP_ID] = rebuilt.first_step + np.arange(rows)
        values[SCHEDULED_TOKENS] = columns[PREFILL_TOKENS] + columns[DECODE_TOKENS]
        unknown = np.ones(rows, dtype=bool)
        unknown[place] = False
        for name in _TIMES:
            times = np.zeros(rows, dtype=np.int64)
            times[place] = recorded[name]
            values[name] = pa.array(times, mask=unknown)
        running = columns[RUNNING_DEPTH]
        idle = running == 0
        means = columns[KV_TOKENS_SUM] / np.maximum(running, 1)
        values[KV_TOKENS_MEAN] = pa.array(means, mask=idle)
        for name in (KV_TOKENS_SUM, KV_TOKENS_MAX):
            values[name] = pa.array(columns[name], mask=idle)
        return values

    def _report(
        self, rebuilt: Batches, recorded: dict[str, NDArray[np.int64]], engine: Engine
    ) -> None:
        """Note how the steps were rebuilt, and how they agree with those recorded."""
        name = self._exports.name
        if self._recording.token_budget is None:
            message = f"{name}: no max_num_batched_tokens in exp-config.yaml; {engine.budget} taken"
            self._noticed.append(Note("budget_assumed", message, 1, "warning"))
        off = rebuilt.reconciled
        moved = off.earlier + off.later
        if moved:
            message = (
                f"{name}: filling the token budget ends {off.later:,} prompts later than recorded "
                f"(part of them was cached) and {off.earlier:,} earlier; the recording is followed"
            )
            self._noticed.append(Note("prefill_reconciled", message, moved, "info"))
        if off.off_pace:
            message = (
                f"{name}: {off.off_pace:,} requests do not gain one output token per step "
                "(speculative decoding?); their tokens are not rebuilt as they were"
            )
            self._noticed.append(Note("off_pace", message, off.off_pace, "warning"))
        self._noticed.append(self._agreement(rebuilt, recorded, engine))

    def _agreement(
        self, rebuilt: Batches, recorded: dict[str, NDArray[np.int64]], engine: Engine
    ) -> Note:
        how = "schedules ahead" if engine.ahead else "waits for each step's tokens"
        told = f"{self._exports.name}: rebuilt {self._rows:,} steps of an engine that {how}"
        place = recorded[STEP_ID] - rebuilt.first_step
        agree = np.ones(len(place), dtype=bool)
        for name in _COUNTS:
            agree &= rebuilt.columns[name][place] == recorded[name]
        if not len(agree):
            message = f"{told}; no step of them is recorded, so nothing checks them"
            return Note("rebuilt_batches", message, self._rows, "warning")
        share = float(agree.mean())
        message = (
            f"{told}; {share:.1%} of the {len(agree):,} recorded ones agree in tokens and requests"
            f"{self._contexts_agree(rebuilt, recorded)}"
        )
        wrong = int((~agree).sum())
        return Note("rebuilt_batches", message, wrong, "info" if share >= _ENOUGH else "warning")

    def _contexts_agree(self, rebuilt: Batches, recorded: dict[str, NDArray[np.int64]]) -> str:
        """Say how many steps have the contexts that their snapshots have, if there are any."""
        same = known = 0
        for step, running in zip(
            recorded[STEP_ID].tolist(), recorded[RUNNING_DEPTH].tolist(), strict=True
        ):
            contexts = self._snapshots.take(step, running)
            if contexts is not None:
                known += 1
                same += contexts[0] == rebuilt.columns[KV_TOKENS_SUM][step - rebuilt.first_step]
        return f", and {same / known:.1%} of {known:,} in their contexts" if known else ""


def _range(lives: Sequence[Lifecycle], name: str) -> range:
    """Return the steps from the first SCHEDULED to the last FINISHED."""
    scheduled = [moment for life in lives for moment in life.scheduled]
    if not scheduled:
        msg = f"{name}: journeys, but no SCHEDULED event: no request ever ran; record it again"
        raise TraceError(msg)
    lacking = [life.request for life in lives if any(m.prompt is None for m in life.scheduled)]
    if lacking:
        msg = (
            f"{name}: journey.SCHEDULED without prefill.total_tokens in {len(lacking):,} requests "
            f"(first: {lacking[0]}); batches cannot be rebuilt without it"
        )
        raise TraceError(msg)
    first = min(moment.step for moment in scheduled)
    finished = [life.finished.step for life in lives if life.finished]
    last = max([first, *finished]) if finished else max(moment.step for moment in scheduled)
    if last - first >= _MOST_STEPS:
        msg = (
            f"{name}: scheduler.step runs from {first} to {last}, more than {_MOST_STEPS:,} steps; "
            "a step number is damaged"
        )
        raise TraceError(msg)
    return range(first, last + 1)


def _check_clock(lives: Sequence[Lifecycle], starts_ns: dict[int, int], name: str) -> None:
    """Raise TraceError if later steps have earlier times: then they are not of one engine."""
    times = [(moment.step, 1, moment.ts_ns) for life in lives for moment in life.scheduled]
    times += [(step, 0, ts_ns) for step, ts_ns in starts_ns.items()]
    times.sort()
    wrong = [(before, after) for before, after in pairwise(times) if after[2] < before[2]]
    if wrong:
        (step, _, ts_ns), (next_step, _, next_ns) = wrong[0]
        msg = (
            f"{name}: steps and times disagree in {len(wrong):,} of {len(times):,} cases (step "
            f"{next_step} at {next_ns} ns, step {step} at {ts_ns} ns): several engines, or one "
            "that was restarted; record each by itself"
        )
        raise TraceError(msg)
