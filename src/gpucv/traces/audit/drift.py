"""Whether the target changes along a recording, at equal batches.

Clocks fall as a GPU warms up, caches fill, contexts grow. The first and the last third of
each recording are compared bucket by bucket, a bucket being batches of about equal shape,
so that a change of load is not taken for a change of the machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gpucv.schema import TS_START_NS
from gpucv.traces.audit.groupwise import medians
from gpucv.traces.audit.result import Judgement

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gpucv.traces.audit.subject import Subject

__all__ = ["drift"]

TOLERATED = 0.10
"""Relative change from the first to the last third that is worth a warning."""
FEWEST_IN_BUCKET = 5
"""Rows of a bucket in each third, so that its medians mean something."""
FEWEST_COMPARED = 50
"""Rows in the buckets compared, in each third."""
BUCKETS_PER_DOUBLING = 4
"""Shapes within 19 % of each other share a bucket."""


def drift(subject: Subject, target: str) -> Judgement | None:
    """Measure each recording's drift: only of rows that are ordered, so of step tables.

    The drift is exp of the mean log ratio of a bucket's medians in the last and the first
    third, each bucket weighted by the rows of its smaller third; minus one.
    """
    scope = subject.scope
    order_by = next((name for name in (TS_START_NS, scope.order_by) if name in subject), None)
    if not subject.is_steps or order_by is None or scope.experiment not in subject:
        return None
    times, order = subject.times(target), subject.numbers(order_by)
    codes, names = subject.codes(scope.experiment)
    rows = np.flatnonzero(np.isfinite(times) & np.isfinite(order) & (codes >= 0))
    rows = rows[np.lexsort((order[rows], codes[rows]))]
    ends = np.cumsum(np.bincount(codes[rows], minlength=len(names)))[:-1]
    bucket = _buckets(subject)
    changes = {}
    for name, mine in zip(names, np.split(rows, ends), strict=True):
        change = _change(times[mine], bucket[mine])
        if change is not None:
            changes[subject.shown(name)] = change
    if not changes:
        return None
    figures = {"drift": changes}
    drifting = {name: change for name, change in changes.items() if abs(change) > TOLERATED}
    if not drifting:
        return Judgement("info", "", figures)
    told = ", ".join(f"{name} {change:+.0%}" for name, change in list(drifting.items())[:5])
    more = f" and {len(drifting) - 5} more" if len(drifting) > 5 else ""
    reason = (
        f"at equal batches it drifts from the first to the last third of a recording ({told}{more})"
        ": hold out the end of each recording to see what that costs, or record in a steady state"
    )
    return Judgement("warn", reason, figures)


def _buckets(subject: Subject) -> NDArray[np.int64]:
    """Return the number of each row's shape: quarters of a doubling of each count."""
    bucket = np.zeros(subject.rows, dtype=np.int64)
    for name in subject.shapes:
        counts = np.nan_to_num(subject.numbers(name), nan=0.0, posinf=0.0, neginf=0.0)
        level = np.round(BUCKETS_PER_DOUBLING * np.log2(1 + np.maximum(counts, 0.0)))
        # Counts below 2^60 have levels below 256: each takes eight bits of the number.
        bucket = bucket * 256 + np.minimum(level, 255).astype(np.int64)
    return bucket


def _change(times: NDArray[np.float64], bucket: NDArray[np.int64]) -> float | None:
    third = len(times) // 3
    first = medians(bucket[:third], times[:third])
    last = medians(bucket[len(times) - third :], times[len(times) - third :])
    _, at_first, at_last = np.intersect1d(first[0], last[0], return_indices=True)
    weight = np.minimum(first[2][at_first], last[2][at_last])
    enough = weight >= FEWEST_IN_BUCKET
    if weight[enough].sum() < FEWEST_COMPARED:
        return None
    ratio = np.log(last[1][at_last] / first[1][at_first])[enough]
    return float(np.exp(np.average(ratio, weights=weight[enough])) - 1)
