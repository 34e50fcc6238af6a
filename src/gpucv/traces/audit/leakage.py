"""Whether a feature holds the answer.

A column that is the target in another unit, or a time stamp from which it is computed,
makes any predictor look perfect and is not there when one has to predict. Looked for are
affine relations: |Pearson's r| of the values or of their logarithms above 0.9999. The
speed of light and the other physics columns are computed from shapes, and are no leak.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gpucv.schema import (
    CYCLE_US,
    DURATION_US,
    PHYSICS_COLUMNS,
    SCHEDULE_US,
    TS_END_NS,
    TS_START_NS,
)
from gpucv.traces.audit.queue import pearson
from gpucv.traces.audit.result import Finding

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gpucv.traces.audit.subject import Subject

__all__ = ["leakage"]

DETERMINES = 0.9999
"""|r| above which one column is the other in other words."""
FEWEST_ROWS = 20
_CLOCKS = (TS_START_NS, TS_END_NS, DURATION_US, SCHEDULE_US, CYCLE_US)
"""Readings of the clock that measured the step: known only once it is over."""
_STEP_TARGETS = (DURATION_US, SCHEDULE_US, CYCLE_US)


def leakage(subject: Subject, target: str) -> list[Finding]:
    """Find features that determine the target.

    A warning for a column the scope lists as a feature; for any other numeric column, an
    information, since nobody learns from it yet.
    """
    physics = {column.name for column in PHYSICS_COLUMNS}
    listed = set(subject.scope.features)
    times = subject.times(target)
    found = []
    for name in subject.candidates:
        if name in physics:
            continue
        relation, figures = _relation(subject.numbers(name), times)
        if not relation and name in listed and name in _CLOCKS and target in _STEP_TARGETS:
            relation = "measured by the same clock"
        if relation:
            found.append(_finding(target, name, relation, figures, listed=name in listed))
    return found


def _relation(
    values: NDArray[np.float64], times: NDArray[np.float64]
) -> tuple[str, dict[str, Any]]:
    """Return how a column determines the times, "" if it does not, and its r."""
    both = np.isfinite(values) & np.isfinite(times)
    if int(both.sum()) < FEWEST_ROWS:
        return "", {}
    x, y = values[both], times[both]
    if (x == y).all():
        return "equal to it", {"r": 1.0}
    straight = pearson(x, y)
    if abs(straight) > DETERMINES:
        return f"a straight line of it (r {straight:.6f})", {"r": straight}
    if (x > 0).all():
        logarithmic = pearson(np.log(x), np.log(y))
        if abs(logarithmic) > DETERMINES:
            return f"a power of it (r of logs {logarithmic:.6f})", {"r_of_logs": logarithmic}
    return "", {}


def _finding(
    target: str, name: str, relation: str, figures: dict[str, Any], *, listed: bool
) -> Finding:
    told = f"{name} gives {target} away: {target} is {relation}"
    figures = {"target": target, "column": name, **figures}
    if listed:
        return Finding("leakage", "warning", f"{told}; take it out of the features", figures)
    return Finding("leakage", "info", f"{told}; do not make it a feature", figures)
