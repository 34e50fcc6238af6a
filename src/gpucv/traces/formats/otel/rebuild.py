"""Every step's batch, rebuilt from the stays of its requests.

What a stay computes is known but for the sizes of its chunks. The engine serves
requests in the order it admitted them, each with the tokens it still needs or what is
left of the step's token budget. So the stays are laid down in that order: one after the
other, each takes its tokens from the budgets of its steps. Where this *greedy* filling
ends earlier or later than the recording says, the recording is right:

- later: some of the prompt was found in the prefix cache, and is not computed;
- earlier: something else held the request back, and chunks are made smaller.

What a prompt finds in the prefix cache is told by snapshots of its request alone; where
there are none, and whenever a preempted request comes back, nothing is taken as found
unless the recording leaves no other way.

The context of a request is what it has in the KV cache before the step, as in
`snapshots`. Prompt and output tokens are told apart as the engine's own records do: by
whether an output token of the request is known when the step is scheduled. So outputs
computed again after a preemption count as decode tokens, and so does one more step as
prefill where the engine schedules ahead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gpucv.schema import (
    DECODE_TOKENS,
    KV_TOKENS_MAX,
    KV_TOKENS_SUM,
    NUM_DECODE_REQS,
    NUM_FINISHED,
    NUM_PREEMPTED,
    NUM_PREFILL_REQS,
    PREFILL_TOKENS,
    RUNNING_DEPTH,
    WAITING_DEPTH,
)
from gpucv.traces.formats.otel.stays import gone_in, stays_of, steps_waiting

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from gpucv.traces.formats.otel.lifecycle import Lifecycle
    from gpucv.traces.formats.otel.stays import Stay

__all__ = ["Batches", "Engine", "Reconciled", "rebuild"]


@dataclass(frozen=True, slots=True)
class Engine:
    """How the engine of a recording makes its batches.

    Attributes
    ----------
    budget : int
        Tokens per step, at most.
    ahead : bool
        Whether it schedules ahead.
    cached : mapping of str to int
        Prompt tokens found in the prefix cache, by request, where that is recorded.
    """

    budget: int
    ahead: bool
    cached: Mapping[str, int]


@dataclass(slots=True)
class Reconciled:
    """Stays that the greedy filling does not explain, where the recording is followed."""

    earlier: int = 0
    later: int = 0
    off_pace: int = 0


@dataclass(frozen=True, slots=True)
class Batches:
    """The rebuilt steps, one value per step.

    Attributes
    ----------
    first_step : int
        The step of the first value.
    columns : dict of str to array
        Counts by the step table's names, int64, and the contexts.
    reconciled : Reconciled
    """

    first_step: int
    columns: dict[str, NDArray[np.int64]]
    reconciled: Reconciled


def rebuild(lives: Sequence[Lifecycle], steps: range, engine: Engine) -> Batches:
    """Return the batch of every one of `steps`.

    Parameters
    ----------
    lives : sequence of Lifecycle
        Every request of the recording.
    steps : range
        Step numbers; tokens of other steps are left out.
    engine : Engine
    """
    filling = _Filling(steps, engine)
    stays = [stay for life in lives for stay in stays_of(life, ahead=engine.ahead)]
    for stay in sorted(stays, key=lambda stay: (stay.start, stay.admitted_ns)):
        filling.lay(stay)
    for life in lives:
        for begin, end in steps_waiting(life, ahead=engine.ahead):
            filling.count(WAITING_DEPTH, begin, end)
        for preempted in life.preempted:
            filling.count(NUM_PREEMPTED, preempted.step, preempted.step + 1)
        gone = gone_in(life, ahead=engine.ahead)
        if gone is not None:
            filling.count(NUM_FINISHED, gone, gone + 1)
    return Batches(steps.start, filling.columns, filling.reconciled)


class _Filling:
    """The steps being filled."""

    def __init__(self, steps: range, engine: Engine) -> None:
        names = (
            RUNNING_DEPTH,
            WAITING_DEPTH,
            PREFILL_TOKENS,
            DECODE_TOKENS,
            NUM_PREFILL_REQS,
            NUM_DECODE_REQS,
            NUM_FINISHED,
            NUM_PREEMPTED,
            KV_TOKENS_SUM,
            KV_TOKENS_MAX,
        )
        self.columns = {name: np.zeros(len(steps), dtype=np.int64) for name in names}
        self.reconciled = Reconciled()
        self._first = steps.start
        self._stop = steps.stop
        self._engine = engine
        self._left = np.full(len(steps), engine.budget, dtype=np.int64)

    def count(self, name: str, begin: int, end: int | None, amount: int = 1) -> None:
        """Add `amount` to the steps from `begin` to before `end`."""
        self.columns[name][self._place(begin) : self._place(end)] += amount

    def lay(self, stay: Stay) -> None:
        """Take one stay's tokens from the budgets of its steps."""
        self.reconciled.off_pace += stay.off_pace
        work_stop = self._place(stay.work_end) + self._first
        chunks, cached = self._chunks(stay, work_stop)
        first_output = stay.first_output
        if not stay.told and sum(chunks) == self._needed(stay):
            first_output = stay.start + len(chunks) - 1
        self._compute(stay, chunks)
        if first_output is not None:
            self._decode(stay, first_output, work_stop)
        self._hold(stay, chunks, cached, first_output)

    def _place(self, step: int | None) -> int:
        """Return the index of a step, moved to the nearest there is; None is the end."""
        step = self._stop if step is None else step
        return min(max(step, self._first), self._stop) - self._first

    def _needed(self, stay: Stay) -> int:
        """Return the tokens a stay has to compute before its first output."""
        cached = 0 if stay.outputs else self._engine.cached.get(stay.request, 0)
        return stay.prompt + stay.outputs - min(cached, max(stay.prompt - 1, 0))

    def _chunks(self, stay: Stay, work_stop: int) -> tuple[list[int], int]:
        """Return the tokens of each step of the stay's prefill, and those found cached."""
        rest = self._needed(stay)
        cached = stay.prompt + stay.outputs - rest
        last = work_stop - 1 if stay.first_output is None else stay.first_output
        chunks: list[int] = []
        held_back = False
        for step in range(stay.start, min(last + 1, work_stop)):
            if not rest:
                break
            fits = min(max(int(self._left[step - self._first]), 0), rest)
            # Every step still to come has at least one token of the prompt.
            chunk = fits if not stay.told else max(min(fits, rest - (last - step)), 0)
            held_back |= chunk < fits
            chunks.append(chunk)
            rest -= chunk
        self.reconciled.earlier += held_back
        if rest and stay.first_output is not None and stay.first_output < work_stop:
            self.reconciled.later += 1
            cached += rest
        return chunks, cached

    def _compute(self, stay: Stay, chunks: list[int]) -> None:
        """Enter the stay's prefill."""
        place = self._place(stay.start)
        taken = np.array(chunks, dtype=np.int64)
        span = slice(place, place + len(taken))
        self._left[span] -= taken
        tokens, requests = (
            (DECODE_TOKENS, NUM_DECODE_REQS) if stay.outputs else (PREFILL_TOKENS, NUM_PREFILL_REQS)
        )
        self.columns[tokens][span] += taken
        self.columns[requests][span] += taken > 0

    def _decode(self, stay: Stay, first_output: int, work_stop: int) -> None:
        """Enter one token for every step after the stay's first output."""
        begin = first_output + 1
        if self._engine.ahead and not stay.outputs and begin < work_stop:
            # The first output is not known yet: the engine calls this prefill, too.
            for name in (PREFILL_TOKENS, NUM_PREFILL_REQS):
                self.count(name, begin, begin + 1)
            self._left[self._place(begin)] -= 1
            begin += 1
        if begin < work_stop:
            for name in (DECODE_TOKENS, NUM_DECODE_REQS):
                self.count(name, begin, work_stop)
            self._left[self._place(begin) : self._place(work_stop)] -= 1

    def _hold(self, stay: Stay, chunks: list[int], cached: int, first_output: int | None) -> None:
        """Enter the stay's context, step by step."""
        begin, stop = self._place(stay.start), self._place(stay.end)
        contexts = np.full(stop - begin, cached + sum(chunks), dtype=np.int64)
        before = cached + np.cumsum([0, *chunks])[: len(contexts)]
        contexts[: len(before)] = before
        if first_output is not None:
            decoding = first_output + 1 - stay.start
            full = stay.prompt + stay.outputs
            contexts[decoding:] = full + np.arange(max(len(contexts) - decoding, 0))
        span = slice(begin, stop)
        self.columns[RUNNING_DEPTH][span] += 1
        self.columns[KV_TOKENS_SUM][span] += contexts
        largest = self.columns[KV_TOKENS_MAX][span]
        np.maximum(largest, contexts, out=largest)
