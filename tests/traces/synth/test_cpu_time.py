from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gpucv.traces.synth.cpu_time import PUBLISHED_WINDOW, schedule_us, typical_schedule_us
from gpucv.traces.synth.noise import autocorrelated, stream
from gpucv.traces.synth.scheduler import StepLog
from gpucv.traces.synth.settings import DURATION_LEVELS, Experiment, load_settings

STEPS = 40_000
EXPERIMENTS = load_settings().experiments


def log_of_depth(depth: np.ndarray) -> StepLog:
    nothing = np.zeros(len(depth), dtype=np.int64)
    return StepLog(*([nothing] * 8), *([nothing.astype(float)] * 3))._replace(running=depth)


def drifting_depth() -> np.ndarray:
    return np.rint(60 + 15 * autocorrelated(stream(7), STEPS, 0.99)).astype(np.int64)


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda e: e.id)
def test_durations_have_the_published_quantiles_in_the_window_and_before(
    experiment: Experiment,
) -> None:
    durations = schedule_us(experiment, log_of_depth(drifting_depth()), stream(1))
    window = round(STEPS * (1 - PUBLISHED_WINDOW))
    for part in (durations[:window], durations[window:]):
        drawn = np.quantile(part, DURATION_LEVELS[1:-1])
        assert drawn == pytest.approx(experiment.duration_us[1:-1], rel=0.02, abs=1.0)


def test_durations_follow_the_queue_but_not_exactly() -> None:
    depth = drifting_depth()
    durations = schedule_us(EXPERIMENTS[0], log_of_depth(depth), stream(1))
    ranks = [np.argsort(np.argsort(values)) for values in (depth, durations)]
    assert 0.6 < np.corrcoef(*ranks)[0, 1] < 0.95


def test_neighbouring_steps_resemble_each_other_at_equal_depth() -> None:
    durations = schedule_us(
        EXPERIMENTS[0], log_of_depth(np.full(STEPS, 64, dtype=np.int64)), stream(1)
    )
    logs = np.log(durations)
    assert np.corrcoef(logs[:-1], logs[1:])[0, 1] > 0.4


def test_durations_are_whole_and_at_least_one() -> None:
    tiny = replace(EXPERIMENTS[0], duration_us=(1,) * len(DURATION_LEVELS))
    durations = schedule_us(tiny, log_of_depth(drifting_depth()), stream(1))
    assert durations.dtype == np.int64
    assert durations.min() == 1


def test_typical_durations_have_the_same_median() -> None:
    drawn = typical_schedule_us(EXPERIMENTS[3], STEPS, stream(1))
    assert np.median(drawn) == pytest.approx(EXPERIMENTS[3].duration_us[5], rel=0.03)
