"""Random draws that come out the same on every machine and NumPy version.

Only `Generator.random` on PCG64 is used: its stream is the 53 upper bits of the
raw output and has never changed, while NumPy reserves the right to change how
normals and exponentials are drawn. What a transcendental function touches is
rounded, since its last bit differs between processors.
"""

from __future__ import annotations

import math
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["BOUND", "autocorrelated", "bounded_normal", "exponential", "stream"]

BOUND = 3.5
"""No draw of `bounded_normal` or `autocorrelated` is further from zero than this."""


def stream(seed: int, *key: int) -> np.random.Generator:
    """Return the independent random stream that `key` names under `seed`."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key)))


def bounded_normal(rng: np.random.Generator, size: int) -> NDArray[np.float64]:
    """Return draws of mean 0 and variance 1, close to normal, within +-2 sqrt(3).

    The sum of four uniforms (Irwin-Hall): bounded, so that a floor under a sum of
    times holds by construction, and free of transcendental functions.
    """
    uniform = rng.random((4, size))
    total = uniform[0] + uniform[1] + uniform[2] + uniform[3]
    return np.asarray((total - 2.0) * math.sqrt(3.0))


def autocorrelated(rng: np.random.Generator, size: int, rho: float) -> NDArray[np.float64]:
    """Return a stationary first-order autoregression of variance 1, clipped to +-`BOUND`."""
    innovations = bounded_normal(rng, size)
    innovations[1:] *= math.sqrt(1.0 - rho * rho)
    walk = accumulate(innovations.tolist(), lambda level, step: rho * level + step)
    return np.clip(np.fromiter(walk, dtype=np.float64, count=size), -BOUND, BOUND)


def exponential(rng: np.random.Generator, size: int) -> NDArray[np.float64]:
    """Return exponential draws of mean 1, rounded to 1e-9."""
    return np.asarray(np.round(-np.log1p(-rng.random(size)), 9), dtype=np.float64)
