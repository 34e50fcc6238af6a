from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from gpucv.traces.audit.wall_time import explained

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from gpucv.traces.audit.subject import Subject

    Make = Callable[..., pd.DataFrame]
    Subjects = Callable[..., Subject]

TARGET = "step.duration_us"


@pytest.mark.parametrize(
    ("share", "level"),
    [(0.24, "fail"), (0.26, "warn"), (0.59, "warn"), (0.61, "pass"), (1.0, "pass"), (1.2, "warn")],
)
def test_a_target_is_judged_by_its_share_of_the_wall_time(
    share: float, level: str, steps: Make, subject_of: Subjects
) -> None:
    # Twice the cycle in half the rows: sums count, not the mean of ratios.
    cycle = np.array([10_000.0, 20_000.0] * 10)
    times = share * cycle.mean() * np.ones(20)
    table = steps(20, **{TARGET: times, "step.cycle_us": cycle})
    judged = explained(subject_of(table), TARGET)
    assert judged is not None
    assert (judged.level, judged.decides) == (level, True)
    assert judged.figures["explained_share"] == pytest.approx(share)
    assert f"it explains {share:.1%} of the wall time" in judged.reason


def test_only_rows_with_a_cycle_count(steps: Make, subject_of: Subjects) -> None:
    cycle = [100.0, np.nan, 300.0, np.nan]
    table = steps(4, **{TARGET: [80.0, 1e9, 240.0, 1e9], "step.cycle_us": cycle})
    judged = explained(subject_of(table), TARGET)
    assert judged is not None
    assert judged.figures["explained_share"] == pytest.approx(0.8)
    assert judged.figures["explained_share_by_experiment"] == {"e1": pytest.approx(0.8)}
    assert judged.figures["explained_rows"] == 2


def test_of_the_cycle_the_coverage_is_told(steps: Make, subject_of: Subjects) -> None:
    table = steps(4, **{"step.cycle_us": [100.0, np.nan, 300.0, np.nan]})
    judged = explained(subject_of(table), "step.cycle_us")
    assert judged is not None
    assert (judged.level, judged.figures["coverage"]) == ("pass", 0.5)
    nothing = explained(subject_of(steps(4, **{"step.cycle_us": np.nan})), "step.cycle_us")
    assert nothing is not None
    assert nothing.level == "unknown"


def test_without_a_cycle_nothing_is_said(steps: Make, subject_of: Subjects) -> None:
    assert explained(subject_of(steps(4)), TARGET) is None
    judged = explained(subject_of(steps(4, **{"step.cycle_us": np.nan})), TARGET)
    assert judged is not None
    assert judged.level == "unknown"


def test_real_durations_explain_a_seventh_of_the_wall_time(
    real_steps: pd.DataFrame, raw_steps: pd.DataFrame, subject_of: Subjects
) -> None:
    judged = explained(subject_of(real_steps), TARGET)
    assert judged is not None
    assert judged.level == "fail"
    paired = raw_steps[raw_steps["cycle"].notna()]
    sums = paired.groupby("name")[[TARGET, "cycle"]].sum()
    shares = (sums[TARGET] / sums["cycle"]).to_dict()
    assert judged.figures["explained_share_by_experiment"] == pytest.approx(shares)
    assert sorted(shares.values()) == pytest.approx([0.135, 0.142], abs=5e-4)
