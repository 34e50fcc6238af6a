from __future__ import annotations

import numpy as np
import pytest

from gpucv.traces.synth.noise import (
    BOUND,
    autocorrelated,
    bounded_normal,
    exponential,
    stream,
)


def test_the_stream_is_the_upper_53_bits_of_pcg64() -> None:
    raw = np.random.PCG64(np.random.SeedSequence(42, spawn_key=(1, 2))).random_raw(5)
    assert stream(42, 1, 2).random(5).tolist() == [int(bits >> 11) / 2**53 for bits in raw]


def test_streams_of_different_keys_are_independent() -> None:
    correlation = np.corrcoef(stream(42, 0).random(20_000), stream(42, 1).random(20_000))[0, 1]
    assert abs(correlation) < 0.03


def test_bounded_normal_has_mean_0_variance_1_and_never_leaves_its_bound() -> None:
    draws = bounded_normal(stream(1), 200_000)
    assert np.mean(draws) == pytest.approx(0.0, abs=0.01)
    assert np.var(draws) == pytest.approx(1.0, abs=0.01)
    assert np.abs(draws).max() <= 2 * np.sqrt(3.0)


@pytest.mark.parametrize("rho", [0.0, 0.9, 0.98])
def test_autocorrelated_noise_forgets_at_the_rate_asked_for(rho: float) -> None:
    draws = autocorrelated(stream(2), 200_000, rho)
    assert np.corrcoef(draws[:-1], draws[1:])[0, 1] == pytest.approx(rho, abs=0.01)
    assert np.var(draws) == pytest.approx(1.0, abs=0.1)
    assert np.abs(draws).max() <= BOUND


def test_exponential_draws_have_mean_and_deviation_1() -> None:
    draws = exponential(stream(3), 200_000)
    assert draws.min() >= 0.0
    assert np.mean(draws) == pytest.approx(1.0, abs=0.01)
    assert np.std(draws) == pytest.approx(1.0, abs=0.02)
