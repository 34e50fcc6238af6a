"""Stays: from when to when a request was in the running batch, and what it did there.

A request stays from the step that schedules it until it ends or is preempted, and comes
back for another stay. In each it first computes its context (the prompt and, after a
preemption, the outputs so far) in one step or several, then one output token per step.

An engine that *schedules ahead* chooses the batch of step n + 1 before the tokens of
step n are known. A request that ended in step n is then still running in n + 1: with
nothing to do if its length ended it, with a token in vain if its text did.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gpucv.traces.formats.otel.journeys import Moment
    from gpucv.traces.formats.otel.lifecycle import Lifecycle

__all__ = ["Stay", "gone_in", "schedules_ahead", "stays_of", "steps_waiting"]

_ENDED_FROM_OUTSIDE = {"aborted", "error", "ignored"}


@dataclass(frozen=True, slots=True)
class Stay:
    """One stay of a request in the running batch.

    Attributes
    ----------
    request : str
    admitted_ns : int
        When it began; requests are served in this order.
    start : int
        The step that scheduled it.
    work_end, end : int or None
        First step that had no token for it, and that it was not in; None where the
        recording ends before.
    first_output : int or None
        The step that computed its first output token of the stay; None if there was none,
        or it is not `told`.
    told : bool
        Whether the journey tells `first_output`.
    off_pace : bool
        Whether its output tokens are not one per step.
    prompt, outputs : int
        Prompt tokens, and output tokens it had when the stay began.
    """

    request: str
    admitted_ns: int
    start: int
    work_end: int | None
    end: int | None
    first_output: int | None
    told: bool
    off_pace: bool
    prompt: int
    outputs: int


def schedules_ahead(lives: Sequence[Lifecycle], starts_ns: Mapping[int, int]) -> bool:
    """Whether the engine chose a step's batch before it knew the tokens of the one before.

    Tokens of step n are then reported after step n + 1 was scheduled.

    Parameters
    ----------
    lives : sequence of Lifecycle
    starts_ns : mapping of int to int
        When scheduling a step began, of the steps where it is recorded.
    """
    scheduled_ns = dict(starts_ns)
    for life in lives:
        for moment in (*life.scheduled, *life.preempted):
            known = scheduled_ns.get(moment.step, moment.ts_ns)
            scheduled_ns[moment.step] = min(known, moment.ts_ns)
    after = before = 0
    for life in lives:
        ended = None if _ended_from_outside(life.finished) else life.finished
        for moment in (each for each in (life.first_token, ended) if each):
            next_ns = scheduled_ns.get(moment.step + 1)
            if next_ns is not None:
                after += moment.ts_ns > next_ns
                before += moment.ts_ns <= next_ns
    return after > before


def stays_of(life: Lifecycle, *, ahead: bool) -> list[Stay]:
    """Return a request's stays in order.

    Parameters
    ----------
    life : Lifecycle
        Every SCHEDULED with its prompt tokens.
    ahead : bool
        Whether the engine schedules ahead.
    """
    stays = []
    for index, scheduled in enumerate(life.scheduled):
        preempted = life.preempted[index] if index < len(life.preempted) else None
        after = life.scheduled[index + 1] if index + 1 < len(life.scheduled) else life.finished
        outputs = scheduled.output or 0
        gained = after.output - outputs if after and after.output is not None else None
        work_end, end = _work_end(life.finished, ahead=ahead), gone_in(life, ahead=ahead)
        last_token = _last_token(life.finished, ahead=ahead)
        if preempted is not None:
            work_end = end = preempted.step
            last_token = preempted.step - 1
        told, first_output, off_pace = _first_output(life, scheduled, work_end, gained, last_token)
        stay = Stay(
            request=life.request,
            admitted_ns=scheduled.ts_ns,
            start=scheduled.step,
            work_end=work_end,
            end=end,
            first_output=first_output,
            told=told,
            off_pace=off_pace,
            prompt=scheduled.prompt or 0,
            outputs=outputs,
        )
        stays.append(stay)
    return stays


def steps_waiting(life: Lifecycle, *, ahead: bool) -> list[tuple[int, int | None]]:
    """Return the spans of steps, end excluded, in which a request waited to be scheduled."""
    gone = gone_in(life, ahead=ahead)
    spans: list[tuple[int, int | None]] = []
    if life.queued is not None:
        spans.append((life.queued.step + 1, life.scheduled[0].step if life.scheduled else gone))
    for index, preempted in enumerate(life.preempted):
        more = index + 1 < len(life.scheduled)
        spans.append((preempted.step, life.scheduled[index + 1].step if more else gone))
    return spans


def gone_in(life: Lifecycle, *, ahead: bool) -> int | None:
    """Return the first step after the request's end was known, which counts it as finished."""
    if life.finished is None:
        return None
    late = ahead and not _ended_from_outside(life.finished)
    return life.finished.step + (2 if late else 1)


def _ended_from_outside(finished: Moment | None) -> bool:
    """Whether a request was ended between two steps, not by its own last token."""
    return finished is not None and finished.status in _ENDED_FROM_OUTSIDE


def _work_end(finished: Moment | None, *, ahead: bool) -> int | None:
    if finished is None:
        return None
    # Only the length of an output is known before the output is.
    in_vain = ahead and finished.status == "stopped"
    return finished.step + (2 if in_vain else 1)


def _last_token(finished: Moment | None, *, ahead: bool) -> int | None:
    """Return the step whose token is the last that FINISHED counts."""
    if finished is None:
        return None
    unseen = ahead and _ended_from_outside(finished)
    return finished.step - (1 if unseen else 0)


def _first_output(
    life: Lifecycle,
    scheduled: Moment,
    work_end: int | None,
    gained: int | None,
    last_token: int | None,
) -> tuple[bool, int | None, bool]:
    """Return whether it is told, the step of the stay's first output, and if it is off pace.

    A request has one FIRST_TOKEN. For later stays the step follows from the tokens gained
    in the stay, at one per step.
    """
    known = gained is not None and last_token is not None
    derived = None
    if gained and last_token is not None:
        derived = last_token - gained + 1
    token = life.first_token
    here = token is not None and not scheduled.output and token.step >= scheduled.step
    if token is not None and here and (work_end is None or token.step < work_end):
        return True, token.step, known and derived != token.step
    if derived is not None and derived < scheduled.step:
        return False, None, True
    return known, derived, False
