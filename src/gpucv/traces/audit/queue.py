"""Whether the target follows the queue rather than the batch.

A GPU step takes longer with the tokens it processes. Bookkeeping takes longer with the
requests that are managed. Pearson's r of the target with the depths of the queues is
held against r with the scheduled tokens, in each experiment and then averaged, since one
experiment's level says nothing about another's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gpucv.schema import RUNNING_DEPTH, SCHEDULED_TOKENS, WAITING_DEPTH
from gpucv.traces.audit.result import Judgement

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gpucv.traces.audit.subject import Subject

__all__ = ["follows_queue", "pearson"]

STRONG = 0.7
"""r with a queue's depth above which it may be what is measured."""
CLEARLY_MORE = 0.1
"""By how much r with the depth must exceed r with the tokens."""
FEWEST_ROWS = 20
"""Rows of one experiment below which r says little."""


def pearson(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Return Pearson's r of two arrays without NaN; NaN where either is constant.

    NaN, too, where their squares are beyond float64.
    """
    if len(x) < 2 or (x == x[0]).all() or (y == y[0]).all():
        return float("nan")
    with np.errstate(over="ignore", invalid="ignore"):  # numbers whose squares have no float64
        x, y = x - x.mean(), y - y.mean()
        scale = float(np.sqrt((x @ x) * (y @ y)))
        return float(x @ y) / scale if 0 < scale < np.inf else float("nan")


def follows_queue(subject: Subject, target: str) -> Judgement | None:
    """Warn where the depth of a queue explains the target clearly more than the tokens do."""
    present = [name for name in (RUNNING_DEPTH, WAITING_DEPTH) if name in subject]
    if not present or SCHEDULED_TOKENS not in subject or not target.endswith("_us"):
        return None
    times = subject.times(target)
    columns = [*present, SCHEDULED_TOKENS]
    values = {name: subject.numbers(name) for name in columns}
    known = np.isfinite(times)
    for each in values.values():
        known &= np.isfinite(each)
    by_experiment = {
        name: {column: pearson(each[rows], times[rows]) for column, each in values.items()}
        for name, rows in _experiments(subject, known)
    }
    average = {
        column: _mean([each[column] for each in by_experiment.values()]) for column in columns
    }
    pooled = {column: pearson(values[column][known], times[known]) for column in columns}
    figures = {"r": average, "r_by_experiment": by_experiment, "r_pooled": pooled}
    return _judge(average, present, figures)


def _judge(r: dict[str, float], depths: list[str], figures: dict[str, Any]) -> Judgement:
    tokens = r[SCHEDULED_TOKENS]
    level = 0.0 if np.isnan(tokens) else tokens
    follows = [name for name in depths if r[name] > STRONG and r[name] > level + CLEARLY_MORE]
    if not follows:
        return Judgement("info", "", figures)
    shown = "not defined" if np.isnan(tokens) else f"{tokens:.2f}"
    told = " and ".join(f"{name} (r {r[name]:.2f})" for name in follows)
    reason = (
        f"it follows {told} more than {SCHEDULED_TOKENS} (r {shown}): a time of bookkeeping, "
        "not of computing"
    )
    return Judgement("warn", reason, figures)


def _experiments(subject: Subject, known: NDArray[np.bool_]) -> list[tuple[str, NDArray[np.int64]]]:
    """Return the rows of each experiment with enough of them; all as one where none is named."""
    if subject.scope.experiment not in subject:
        rows = np.flatnonzero(known)
        return [("all rows", rows)] if len(rows) >= FEWEST_ROWS else []
    codes, names = subject.codes(subject.scope.experiment)
    rows = np.flatnonzero(known & (codes >= 0))
    rows = rows[np.argsort(codes[rows], kind="stable")]
    ends = np.cumsum(np.bincount(codes[rows], minlength=len(names)))[:-1]
    parts = zip(names, np.split(rows, ends), strict=True)
    return [(subject.shown(name), part) for name, part in parts if len(part) >= FEWEST_ROWS]


def _mean(values: list[float]) -> float:
    defined = [value for value in values if not np.isnan(value)]
    return sum(defined) / len(defined) if defined else float("nan")
