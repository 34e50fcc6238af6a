from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from gpucv.traces.audit.queue import follows_queue, pearson

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpucv.traces.audit.subject import Subject

    Make = Callable[..., pd.DataFrame]
    Subjects = Callable[..., Subject]

TARGET = "step.duration_us"


def queued(
    steps: Make, *, follows: str, experiment: str = "e1", level: float = 0.0
) -> pd.DataFrame:
    """200 steps whose time follows one column; depth and tokens are independent."""
    rng = np.random.default_rng(5)
    columns = {
        "queue.running_depth": rng.integers(1, 100, 200),
        "queue.waiting_depth": rng.integers(0, 10, 200),
        "batch.scheduled_tokens": rng.integers(1, 100, 200),
    }
    times = level + 5.0 * columns[follows] + rng.normal(0, 20, 200)
    return steps(200, experiment_id=experiment, **columns, **{TARGET: times + 1000})


def test_r_is_numpys(steps: Make) -> None:
    table = queued(steps, follows="queue.running_depth")
    x, y = (table[name].to_numpy(float) for name in ("queue.running_depth", TARGET))
    assert pearson(x, y) == pytest.approx(np.corrcoef(x, y)[0, 1])
    assert np.isnan(pearson(np.ones(5), np.arange(5.0)))


def test_a_target_that_follows_the_queue_is_bookkeeping(steps: Make, subject_of: Subjects) -> None:
    judged = follows_queue(subject_of(queued(steps, follows="queue.running_depth")), TARGET)
    assert judged is not None
    assert judged.level == "warn"
    assert "it follows queue.running_depth (r 0.9" in judged.reason
    assert "more than batch.scheduled_tokens" in judged.reason
    judged = follows_queue(subject_of(queued(steps, follows="batch.scheduled_tokens")), TARGET)
    assert judged is not None
    assert (judged.level, judged.reason) == ("info", "")


def test_r_is_averaged_over_experiments_not_pooled(steps: Make, subject_of: Subjects) -> None:
    # Another level per experiment hides in the pool what holds in each of them.
    parts = [
        queued(steps, follows="queue.running_depth", experiment=f"e{n}", level=1e4 * n)
        for n in range(3)
    ]
    judged = follows_queue(subject_of(pd.concat(parts)), TARGET)
    assert judged is not None
    assert judged.level == "warn"
    assert judged.figures["r_pooled"]["queue.running_depth"] < 0.1
    each = [r["queue.running_depth"] for r in judged.figures["r_by_experiment"].values()]
    assert judged.figures["r"]["queue.running_depth"] == pytest.approx(np.mean(each))
    assert len(each) == 3


def test_without_depths_or_tokens_nothing_is_said(steps: Make, subject_of: Subjects) -> None:
    assert follows_queue(subject_of(steps(30)), TARGET) is None


def test_real_durations_follow_the_queue_and_real_cycles_do_not(
    real_steps: pd.DataFrame, raw_steps: pd.DataFrame, subject_of: Subjects
) -> None:
    subject = subject_of(real_steps)
    duration, cycle = (follows_queue(subject, name) for name in (TARGET, "step.cycle_us"))
    assert duration is not None
    assert cycle is not None
    assert (duration.level, cycle.level) == ("warn", "info")
    columns = ["queue.running_depth", "batch.scheduled_tokens"]
    for judged, name in ((duration, TARGET), (cycle, "cycle")):
        for experiment, rows in raw_steps.groupby("name"):
            expected = rows[columns].corrwith(rows[name]).to_dict()
            found = judged.figures["r_by_experiment"][experiment]
            assert {column: found[column] for column in columns} == pytest.approx(expected)
