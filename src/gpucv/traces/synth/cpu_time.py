"""How long the scheduler itself takes: what ``step.duration_us`` records.

It is CPU time of the scheduling call, not GPU time. Its distribution within an
experiment follows the published quantiles; which step gets a long one is decided by a
latent pressure: queue depth above all, the work of this step, a slowly drifting state
of the host process, and chance.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gpucv.traces.synth.noise import autocorrelated, bounded_normal
from gpucv.traces.synth.settings import DURATION_LEVELS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gpucv.traces.synth.scheduler import StepLog
    from gpucv.traces.synth.settings import Experiment

__all__ = ["PUBLISHED_WINDOW", "schedule_us", "typical_schedule_us"]

PUBLISHED_WINDOW = 0.2
"""The published quantiles describe this last share of every experiment's steps."""

DEPTH_WEIGHT = 1.0
WORK_WEIGHT = 0.25
DRIFT_WEIGHT = 0.40
CHANCE_WEIGHT = 0.25
DRIFT_RHO = 0.97


def typical_schedule_us(
    experiment: Experiment, steps: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Draw durations of the right distribution before the run's pressure is known."""
    return _quantile(experiment, rng.random(steps))


def schedule_us(
    experiment: Experiment, log: StepLog, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return each step's scheduling time in whole microseconds, at least 1.

    Steps are ranked by pressure within the published window and, apart from it, within
    the steps before; the rank is the level of the published quantile a step gets.
    """
    steps = len(log.running)
    pressure = (
        DEPTH_WEIGHT * _standard(log.running)
        + WORK_WEIGHT * _standard(np.minimum(log.num_prefill + log.finished, 8))
        + DRIFT_WEIGHT * autocorrelated(rng, steps, DRIFT_RHO)
        + CHANCE_WEIGHT * bounded_normal(rng, steps)
    )
    pressure = np.round(pressure, 6)
    window = round(steps * (1.0 - PUBLISHED_WINDOW))
    levels = np.concatenate([_levels(pressure[:window]), _levels(pressure[window:])])
    return np.maximum(np.rint(_quantile(experiment, levels)), 1.0).astype(np.int64)


def _quantile(experiment: Experiment, levels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Interpolate the published quantiles in log space."""
    log_us = np.interp(levels, DURATION_LEVELS, np.log(experiment.duration_us))
    return np.asarray(np.round(np.exp(log_us), 3))


def _levels(pressure: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return each value's rank as a level in (0, 1)."""
    levels = np.empty(len(pressure))
    levels[np.argsort(pressure, kind="stable")] = (np.arange(len(pressure)) + 0.5) / len(pressure)
    return levels


def _standard(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Centre and scale to variance 1; zeros where all counts are equal."""
    spread = float(np.std(counts))
    return (
        np.asarray((counts - float(np.mean(counts))) / spread) if spread else np.zeros(len(counts))
    )
