"""How long a step takes: roofline physics, plus effects no feature encodes.

Physics: weights are read once a step, or the matrix products are limited by compute,
whichever is slower; the KV cache of every decoding request is read; tensor parallelism
pays two all-reduces a layer; the host prepares each request. Not encoded by any feature:
which kernel a padded batch size selects (an efficiency that jumps from one batch bucket to
the next, different for each model), wave quantisation of matrix tiles over the
multiprocessors, uneven load on the experts, per-model host time, drifting noise and
stalls. No term can undercut reading the weights at peak bandwidth.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gpucv.traces.synth.noise import autocorrelated, bounded_normal, exponential, stream

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gpucv.catalog import GpuSpec
    from gpucv.traces.synth.settings import ServedModel

__all__ = ["StepCost", "StepNoise", "step_cost", "step_noise", "weight_floor_us"]

BF16_BYTES = 2
MULTIPROCESSORS = 132
PADDING = 8  # batches are padded to the captured CUDA graphs: multiples of eight,
SMALLEST_BATCH = 16  # from sixteen up, at which all experts of a layer are in use
TILE = 128
COMPUTE_EFFICIENCY = 0.70
ATTENTION_COMPUTE_EFFICIENCY = 0.45
BUCKET = 32  # padded tokens that share a kernel choice
KERNEL_SPREAD = 0.05
ALL_REDUCE_LATENCY_US = 12.0
LINK_BYTES_PER_S = 300e9
EXPERT_IMBALANCE = 0.05
DRIFT, DRIFT_RHO = 0.010, 0.98
JITTER = 0.006
IMBALANCE_RHO = 0.90
STALL_SHARE, STALL_MEAN_US = 0.004, 2500.0


@dataclass(frozen=True, slots=True)
class StepCost:
    """What one step costs on the GPU and the host, in microseconds.

    Attributes
    ----------
    by_tokens : tuple of float
        Weights, matrix products and all-reduces, by scheduled tokens.
    kv_us : float
        Per token of context read by the decoding requests.
    prefill_us : float
        Per (prompt token computed x context it attends to).
    host_us, host_us_per_request : float
        The engine's own time around the GPU's.
    """

    by_tokens: tuple[float, ...]
    kv_us: float
    prefill_us: float
    host_us: float
    host_us_per_request: float


@dataclass(frozen=True, slots=True)
class StepNoise:
    """Per step: the factor on GPU time, and a stall in microseconds (mostly 0)."""

    gpu_factor: NDArray[np.float64]
    stall_us: NDArray[np.float64]


def weight_floor_us(served: ServedModel, gpu: GpuSpec) -> float:
    """Return the time to read every weight once at peak bandwidth: no step is faster."""
    dense, experts = _parameters(served)
    return (dense + experts) * BF16_BYTES / served.tp / gpu.memory_bandwidth * 1e6


def step_cost(served: ServedModel, gpu: GpuSpec, max_tokens: int) -> StepCost:
    """Return the cost of steps of 0..`max_tokens` scheduled tokens for one served model."""
    spec = served.spec
    tokens = np.arange(max_tokens + 1, dtype=np.float64)
    padded = np.maximum(np.ceil(tokens / PADDING) * PADDING, SMALLEST_BATCH)
    bandwidth = gpu.memory_bandwidth * served.bandwidth_efficiency * _kernel_choice(served, padded)
    flops = gpu.peak_bf16_flops * COMPUTE_EFFICIENCY
    dense, experts = _parameters(served)
    idle_expert = (1.0 - spec.active_expert_ratio) ** padded
    weight_bytes = (dense + experts * (1.0 - idle_expert)) * BF16_BYTES / served.tp
    products = 2.0 * padded * (dense + experts * spec.active_expert_ratio) / served.tp
    matrix_s = np.maximum(weight_bytes / bandwidth, products * _wave_factor(served, padded) / flops)
    seconds = matrix_s + _all_reduce_s(served, padded)
    kv_bytes = 2.0 * spec.num_hidden_layers * spec.kv_width * BF16_BYTES / served.tp
    attention = 4.0 * spec.hidden_size * spec.num_hidden_layers / served.tp
    return StepCost(
        by_tokens=tuple(np.round(seconds * 1e6, 3).tolist()),
        kv_us=round(kv_bytes / (gpu.memory_bandwidth * served.kv_efficiency) * 1e6, 9),
        prefill_us=round(
            attention / (gpu.peak_bf16_flops * ATTENTION_COMPUTE_EFFICIENCY) * 1e6, 12
        ),
        host_us=served.host_us,
        host_us_per_request=served.host_us_per_request,
    )


def step_noise(served: ServedModel, steps: int, rng: np.random.Generator) -> StepNoise:
    """Draw a run's noise: slow drift and jitter of the GPU, expert imbalance, stalls."""
    drift = DRIFT * autocorrelated(rng, steps, DRIFT_RHO)
    jitter = JITTER * bounded_normal(rng, steps)
    imbalance = np.abs(autocorrelated(rng, steps, IMBALANCE_RHO)) * EXPERT_IMBALANCE
    factor = 1.0 + drift + jitter + (imbalance if served.spec.is_moe else 0.0)
    stalled = rng.random(steps) < STALL_SHARE
    stall = STALL_MEAN_US * exponential(rng, steps) * stalled
    return StepNoise(
        gpu_factor=np.asarray(np.round(factor, 6)), stall_us=np.asarray(np.round(stall, 3))
    )


def _parameters(served: ServedModel) -> tuple[float, float]:
    """Return the parameters every step reads, and those of all experts (dense: 0)."""
    spec = served.spec
    attention = spec.hidden_size * (2 * spec.hidden_size + 2 * spec.kv_width)
    feed_forward = 3 * spec.hidden_size * spec.intermediate_size
    head = spec.hidden_size * spec.vocab_size
    layers = spec.num_hidden_layers
    if not spec.is_moe:
        return float(layers * (attention + feed_forward) + head), 0.0
    return float(layers * attention + head), float(layers * feed_forward * spec.num_local_experts)


def _kernel_choice(served: ServedModel, padded: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the efficiency jump of each batch bucket: fixed for a model, within +-5 %."""
    bucket = (padded // BUCKET).astype(np.int64)
    rng = stream(zlib.crc32(served.spec.name.encode()))
    jumps = 1.0 + KERNEL_SPREAD * (2.0 * rng.random(int(bucket.max()) + 1) - 1.0)
    return np.asarray(jumps[bucket])


def _wave_factor(served: ServedModel, padded: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return tiles run (whole waves over the multiprocessors) / tiles of work."""
    columns = 2.0 * served.spec.intermediate_size / served.tp / TILE
    tiles = np.ceil(padded / TILE) * columns
    return np.asarray(np.ceil(tiles / MULTIPROCESSORS) * MULTIPROCESSORS / tiles)


def _all_reduce_s(served: ServedModel, padded: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the seconds of two all-reduces a layer; 0 on one GPU."""
    if served.tp == 1:
        return np.zeros_like(padded)
    message = padded * served.spec.hidden_size * BF16_BYTES
    transfer = message * 2.0 * (served.tp - 1) / served.tp / LINK_BYTES_PER_S
    return 2.0 * served.spec.num_hidden_layers * (ALL_REDUCE_LATENCY_US * 1e-6 + transfer)
