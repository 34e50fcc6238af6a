from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from gpucv.traces.audit.drift import drift

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpucv.traces.audit.subject import Subject

    Make = Callable[..., pd.DataFrame]
    Subjects = Callable[..., Subject]

TARGET = "step.duration_us"


def drifting(steps: Make, change: float, **columns: object) -> pd.DataFrame:
    """600 steps of two batch sizes; the last third takes `1 + change` times as long."""
    large = np.arange(600) % 2 == 1
    times = np.where(large, 30_000.0, 20_000.0) * np.where(np.arange(600) >= 400, 1 + change, 1)
    tokens = np.where(large, 64, 8)
    batch = {"batch.decode_tokens": tokens, "batch.num_decode_reqs": tokens}
    return steps(600, **{**batch, TARGET: times, **columns})


@pytest.mark.parametrize(("change", "level"), [(0.2, "warn"), (-0.2, "warn"), (0.09, "info")])
def test_a_target_that_drifts_is_told(
    change: float, level: str, steps: Make, subject_of: Subjects
) -> None:
    shuffled = drifting(steps, change).sample(frac=1, random_state=1)
    judged = drift(subject_of(shuffled), TARGET)
    assert judged is not None
    assert judged.level == level
    assert judged.figures["drift"]["e1"] == pytest.approx(change)
    assert (f"(e1 {change:+.0%})" in judged.reason) == (level == "warn")


def test_a_change_of_load_is_no_drift(steps: Make, subject_of: Subjects) -> None:
    # Small batches at first, then mostly large ones: times rise, not at equal batches.
    large = np.random.default_rng(1).random(600) < np.linspace(0.1, 0.9, 600)
    tokens = np.where(large, 64, 8)
    table = drifting(steps, 0.0, **{"batch.decode_tokens": tokens, "batch.num_decode_reqs": tokens})
    table[TARGET] = np.where(large, 30_000.0, 20_000.0)
    judged = drift(subject_of(table), TARGET)
    assert judged is not None
    assert judged.figures["drift"]["e1"] == pytest.approx(0.0)


def test_each_recording_drifts_on_its_own(steps: Make, subject_of: Subjects) -> None:
    table = pd.concat([drifting(steps, 0.5), drifting(steps, 0.0, experiment_id="e2")])
    judged = drift(subject_of(table), TARGET)
    assert judged is not None
    assert judged.figures["drift"] == {"e1": pytest.approx(0.5), "e2": pytest.approx(0.0)}
    assert "e2" not in judged.reason


def test_rows_without_order_or_equal_batches_do_not_drift(
    steps: Make, gemms: Make, subject_of: Subjects
) -> None:
    assert drift(subject_of(drifting(steps, 0.5).drop(columns="step.id")), TARGET) is None
    assert drift(subject_of(steps(40)), TARGET) is None
    assert drift(subject_of(gemms(600)), "latency_us") is None
