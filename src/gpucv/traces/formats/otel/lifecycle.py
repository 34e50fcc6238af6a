"""A journey put in order, or why it cannot be.

A sound journey is QUEUED, then SCHEDULED and PREEMPTED in turn, with one FIRST_TOKEN
after the first SCHEDULED, and FINISHED last. An engine that schedules ahead may report
a token, or the end, after it has preempted the request: those carry the earlier step.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from gpucv.errors import TraceError
from gpucv.traces.piece import one_line
from gpucv.traces.provenance import Note

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gpucv.traces.formats.otel.journeys import Journey, Moment

__all__ = ["Lifecycle", "lifecycles"]

_TOLERATED = 0.1
"""Share of journeys out of order that stray events may explain; beyond it, the clock."""


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """A request's events by kind, in order of time.

    Attributes
    ----------
    request : str
        How the request is known.
    queued, first_token, finished : Moment or None
    scheduled, preempted : tuple of Moment
        As many as times scheduled; of `preempted` as many, or one fewer.
    """

    request: str
    queued: Moment | None
    scheduled: tuple[Moment, ...]
    preempted: tuple[Moment, ...]
    first_token: Moment | None
    finished: Moment | None


def lifecycles(journeys: Iterable[Journey], name: str) -> tuple[list[Lifecycle], list[Note]]:
    """Return every sound journey in order, and notes on the others.

    Raises
    ------
    TraceError
        If so many are out of order that the recording cannot be trusted.
    """
    sound: list[Lifecycle] = []
    faults: Counter[str] = Counter()
    example = ""
    for journey in journeys:
        lifecycle, fault = _in_order(journey)
        if lifecycle is not None:
            sound.append(lifecycle)
        else:
            example = example or journey.request
            faults[fault] += 1
    broken = faults.total()
    notes = []
    if broken:
        kinds = ", ".join(f"{fault} in {count:,}" for fault, count in faults.most_common())
        message = (
            f"{name}: {broken:,} of {broken + len(sound):,} journeys cannot be so: {kinds} "
            f"(first: request {one_line(example, 60)})"
        )
        if broken > _TOLERATED * (broken + len(sound)):
            msg = f"{message}; the recorder or its clock is at fault, record it again"
            raise TraceError(msg)
        notes.append(Note("journeys_broken", f"{message}; left out", broken, "warning"))
    return sound, [*notes, *_gaps(sound, name)]


def _gaps(sound: Sequence[Lifecycle], name: str) -> list[Note]:
    """Note what sound journeys lack."""
    notes = []
    unqueued = sum(each.queued is None for each in sound)
    if unqueued:
        message = (
            f"{name}: {unqueued:,} of {len(sound):,} journeys have no QUEUED event; how long those "
            "requests waited is not known"
        )
        notes.append(Note("journeys_without_queued", message, unqueued, "warning"))
    unfinished = sum(each.finished is None for each in sound)
    if unfinished:
        message = (
            f"{name}: {unfinished:,} of {len(sound):,} requests have no FINISHED event; the "
            "recording ends before they do"
        )
        notes.append(Note("requests_unfinished", message, unfinished, "warning"))
    return notes


def _in_order(journey: Journey) -> tuple[Lifecycle | None, str]:
    """Return the journey in order, or None and what is wrong with it."""
    if journey.unordered:
        return None, "times that run backwards"
    moments = sorted(journey.moments, key=lambda moment: moment.ts_ns)
    by_kind: dict[str, list[Moment]] = {}
    for moment in moments:
        by_kind.setdefault(moment.kind, []).append(moment)
    single = {}
    for kind in ("QUEUED", "FIRST_TOKEN", "FINISHED"):
        found = by_kind.get(kind, [])
        if len(found) > 1:
            return None, f"more than one {kind}"
        single[kind] = found[0] if found else None
    lifecycle = Lifecycle(
        journey.request,
        single["QUEUED"],
        tuple(by_kind.get("SCHEDULED", ())),
        tuple(by_kind.get("PREEMPTED", ())),
        single["FIRST_TOKEN"],
        single["FINISHED"],
    )
    fault = _turns(lifecycle) or _bounds(lifecycle, moments[-1]) or _tokens(lifecycle)
    return (None, fault) if fault else (lifecycle, "")


def _turns(life: Lifecycle) -> str:
    """Say where SCHEDULED and PREEMPTED do not come in turn."""
    turns: list[Moment] = []
    for index, scheduled in enumerate(life.scheduled):
        turns += [scheduled, *life.preempted[index : index + 1]]
    if len(life.scheduled) - len(life.preempted) not in (0, 1):
        return "SCHEDULED and PREEMPTED not in turn"
    if any(b.ts_ns < a.ts_ns or b.step <= a.step for a, b in pairwise(turns)):
        return "SCHEDULED and PREEMPTED not in turn"
    return ""


def _bounds(life: Lifecycle, last: Moment) -> str:
    """Say where an event comes before one that it follows from."""
    scheduled = life.scheduled[0] if life.scheduled else None
    first, finished, queued = life.first_token, life.finished, life.queued
    if queued and scheduled and (scheduled.ts_ns < queued.ts_ns or scheduled.step < queued.step):
        return "SCHEDULED before QUEUED"
    if first and (scheduled is None or _before(first, scheduled)):
        return "FIRST_TOKEN before SCHEDULED"
    # A request preempted meanwhile may end in an earlier step, whose token came late, but
    # never before the step that scheduled it last.
    steps = [each.step for each in (first, *life.scheduled) if each]
    if finished and (finished.ts_ns < last.ts_ns or finished.step < max(steps, default=0)):
        return "an event after FINISHED"
    return ""


def _before(moment: Moment, other: Moment) -> bool:
    return moment.ts_ns < other.ts_ns or moment.step < other.step


def _tokens(life: Lifecycle) -> str:
    """Say where output tokens become fewer, or a prompt changes its length."""
    moments = [*life.scheduled, *life.preempted, *([life.finished] if life.finished else [])]
    moments.sort(key=lambda moment: moment.ts_ns)
    outputs = [each.output for each in moments if each.output is not None]
    if any(after < before for before, after in pairwise(outputs)):
        return "fewer output tokens than before"
    if len({each.prompt for each in moments if each.prompt is not None}) > 1:
        return "a prompt of two lengths"
    return ""
