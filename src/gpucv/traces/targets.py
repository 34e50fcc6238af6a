"""Times of a step that a recording holds only indirectly: its cycle and its scheduler call.

``step.duration_us`` is the CPU time of the scheduler call. What a step takes is the time
from its start to the start of the next one, which every recording with time stamps holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gpucv.errors import TraceError
from gpucv.schema import (
    CYCLE_US,
    EXPERIMENT,
    NUM_FINISHED,
    RUNNING_DEPTH,
    SCHEDULE_US,
    SCHEDULED_TOKENS,
    STEP_ID,
    TS_END_NS,
    TS_START_NS,
    WAITING_DEPTH,
)
from gpucv.traces.provenance import Note

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["IDLE_FACTOR", "derive_targets"]

IDLE_FACTOR = 20.0
"""Times an experiment's median cycle that no step of a usual size takes.

The longest cycle of the public recordings is 2.5 times the median of its recording. The
rule serves recordings that do not count requests; a step of more tokens than the median
one may take longer in proportion, so that a long prompt is not taken for an idle engine.
"""
_NS_PER_US = 1000.0


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Rows whose successor is recorded: positions in the frame, and each one's cycle in us."""

    this: NDArray[np.int64]
    following: NDArray[np.int64]
    repeated: NDArray[np.bool_]
    cycle: NDArray[np.float64]


@np.errstate(over="ignore", invalid="ignore")  # of an infinite clock or count nothing follows
def derive_targets(
    frame: pd.DataFrame, experiment: str = EXPERIMENT, order_by: str = STEP_ID
) -> tuple[pd.DataFrame, tuple[Note, ...]]:
    """Return the table with ``step.cycle_us`` and ``step.schedule_us``, and what was left out.

    ``step.schedule_us`` is the end minus the start of the scheduler call.
    ``step.cycle_us`` is the start of the step with the next number in the same experiment
    minus this one's; NaN where

    - the next step was not recorded;
    - the step scheduled no token: the model did not run;
    - the engine was idle in between: the next step counts as many requests finished as
      this one had running (it counts those the previous step finished), and none was
      waiting; or, where a recording does not count them, nothing is known to wait and the
      gap exceeds `IDLE_FACTOR` times the experiment's median cycle;
    - a step number stands twice, or the clock went backwards.

    Nanoseconds are subtracted as whole numbers and then divided. Columns already there
    are kept as they are; without time stamps nothing is added.

    Parameters
    ----------
    frame : pandas.DataFrame
        A step table, its rows in any order.
    experiment : str
        Column that names the recording; without it, the table is one recording.
    order_by : str
        Column that numbers the steps of a recording.

    Raises
    ------
    TraceError
        If time stamps or step numbers are no numbers.
    """
    derived: dict[str, NDArray[np.float64]] = {}
    notes: tuple[Note, ...] = ()
    if SCHEDULE_US not in frame.columns and {TS_START_NS, TS_END_NS} <= set(frame.columns):
        taken = _numbers(frame, TS_END_NS) - _numbers(frame, TS_START_NS)
        derived[SCHEDULE_US] = taken / _NS_PER_US
    if CYCLE_US not in frame.columns and {TS_START_NS, order_by} <= set(frame.columns):
        cycle, note = _cycle(frame, experiment, order_by)
        derived[CYCLE_US] = cycle
        notes = (note,)
    return (frame.assign(**derived) if derived else frame), notes


def _cycle(frame: pd.DataFrame, experiment: str, order_by: str) -> tuple[NDArray[np.float64], Note]:
    recording = _recordings(frame, experiment)
    pairs = _successors(frame, recording, order_by)
    backwards = ~pairs.repeated & ~(pairs.cycle > 0)
    usable = ~pairs.repeated & ~backwards
    runs_nothing = usable & (_counts(frame, SCHEDULED_TOKENS, pairs.this) == 0)
    usable &= ~runs_nothing
    idle = usable & _idle(frame, recording, pairs, usable)
    usable &= ~idle
    cycle = np.full(len(frame), np.nan)
    cycle[pairs.this[usable]] = pairs.cycle[usable]
    left_out = {
        "idle gaps": int(idle.sum()),
        "steps without a token": int(runs_nothing.sum()),
        "repeated step numbers": int(pairs.repeated.sum()),
        "where the clock went backwards": int(backwards.sum()),
    }
    return cycle, _note(len(frame), len(pairs.this), int(usable.sum()), left_out)


def _note(rows: int, pairs: int, kept: int, left_out: dict[str, int]) -> Note:
    message = f"{CYCLE_US}: {pairs:,} of {rows:,} steps have their successor recorded"
    if pairs < rows:
        message += f"; {rows - pairs:,} have not"
    if pairs < rows / 2:
        message += " (a 10 % sample keeps one pair in ten)"
    told = [f"{count:,} {what}" for what, count in left_out.items() if count]
    if told:
        message += f"; of the pairs {', '.join(told)} are left out, {kept:,} remain"
    unsound = left_out["repeated step numbers"] + left_out["where the clock went backwards"]
    return Note("cycle_us", message, kept, "warning" if unsound or not kept else "info")


def _recordings(frame: pd.DataFrame, experiment: str) -> NDArray[np.int64]:
    """Return the number of each row's recording; -1 for rows that name none."""
    import pandas as pd

    if experiment not in frame.columns:
        return np.zeros(len(frame), dtype=np.int64)
    return pd.factorize(frame[experiment])[0].astype(np.int64)


def _successors(frame: pd.DataFrame, recording: NDArray[np.int64], order_by: str) -> _Pairs:
    number, start = _numbers(frame, order_by), _numbers(frame, TS_START_NS)
    order = np.lexsort((number, recording))
    this, following = order[:-1], order[1:]
    same = (recording[this] == recording[following]) & (recording[this] >= 0)
    twice = same & (number[this] == number[following])
    of_repeated = np.zeros(len(frame), dtype=bool)
    of_repeated[this[twice]] = of_repeated[following[twice]] = True
    # A step rebuilt from its requests may have no time stamp.
    timed = ~np.isnan(start.astype(np.float64, copy=False))
    paired = same & (number[following] - number[this] == 1) & timed[this] & timed[following]
    this, following = this[paired], following[paired]
    cycle = (start[following] - start[this]) / _NS_PER_US
    return _Pairs(this, following, of_repeated[this] | of_repeated[following], cycle)


def _idle(
    frame: pd.DataFrame,
    recording: NDArray[np.int64],
    pairs: _Pairs,
    usable: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """Return after which pairs' first step the engine had nothing left to do."""
    finished = _counts(frame, NUM_FINISHED, pairs.following)
    running = _counts(frame, RUNNING_DEPTH, pairs.this)
    waiting = _counts(frame, WAITING_DEPTH, pairs.this)
    recordings = int(recording.max(initial=-1)) + 1
    counted = np.zeros(recordings + 1, dtype=bool)
    # A recording in which nothing ever finishes does not count the requests finished.
    counted[recording[pairs.this[finished > 0]]] = True
    told = counted[recording[pairs.this]] & np.isfinite(finished + running + waiting)
    emptied = told & (finished >= running) & (waiting == 0)
    limit = np.full(len(pairs.this), np.inf)
    tokens = _counts(frame, SCHEDULED_TOKENS, pairs.this)
    for each in range(recordings):
        mine = usable & (recording[pairs.this] == each)
        if not mine.any():
            continue
        size = tokens[mine] / max(float(np.median(tokens[mine])), 1.0)
        larger = np.fmax(size, 1.0)  # of two, the one that is not NaN
        limit[mine] = IDLE_FACTOR * float(np.median(pairs.cycle[mine])) * larger
    idle: NDArray[np.bool_] = emptied | (~told & ~(waiting > 0) & (pairs.cycle > limit))
    return idle


def _numbers(frame: pd.DataFrame, name: str) -> NDArray[Any]:
    """Return a column as int64 where it is whole, else as float64 with NaN where missing."""
    import pandas as pd

    column = frame[name]
    if not pd.api.types.is_numeric_dtype(column.dtype):
        msg = f"column {name!r} holds {column.dtype}, not numbers; {CYCLE_US} needs them"
        raise TraceError(msg)
    if pd.api.types.is_integer_dtype(column.dtype) and not column.hasnans:
        return column.to_numpy(dtype="int64")
    return column.to_numpy(dtype="float64", na_value=np.nan)


def _counts(frame: pd.DataFrame, name: str, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return a column of some rows as float64; NaN where it is missing."""
    if name not in frame.columns:
        return np.full(len(rows), np.nan)
    return frame[name].to_numpy(dtype="float64", na_value=np.nan)[rows]
