from __future__ import annotations

import numpy as np
import pytest

from gpucv.catalog import load_catalog
from gpucv.traces.synth.gpu_time import step_cost, step_noise, weight_floor_us
from gpucv.traces.synth.noise import stream
from gpucv.traces.synth.settings import ServedModel, load_settings

H100 = load_catalog().gpus.get("h100")
SERVED = {e.served.spec.name: e.served for e in load_settings().experiments}


@pytest.mark.parametrize(
    ("model", "parameters", "tp"),
    [
        ("llama-2-7b", 6.74e9 - 32000 * 4096, 1),
        ("codellama-34b", 33.74e9 - 32000 * 8192, 2),
        ("llama-2-70b", 68.98e9 - 32000 * 8192, 4),
        ("mixtral-8x7b-v0-1", 46.70e9 - 32000 * 4096, 2),
    ],
)
def test_the_floor_is_the_published_parameter_count_at_peak_bandwidth(
    model: str, parameters: float, tp: int
) -> None:
    # The input embedding is looked up, not read.
    floor = weight_floor_us(SERVED[model], H100)
    assert floor == pytest.approx(2 * parameters / tp / 3.35e12 * 1e6, rel=0.005)


@pytest.mark.parametrize("served", SERVED.values(), ids=SERVED)
def test_no_draw_of_the_noise_can_beat_the_floor(served: ServedModel) -> None:
    cost = step_cost(served, H100, 2048)
    noise = step_noise(served, 200_000, stream(1))
    assert min(cost.by_tokens) * noise.gpu_factor.min() > weight_floor_us(served, H100)
    assert noise.stall_us.min() >= 0.0


@pytest.mark.parametrize("served", SERVED.values(), ids=SERVED)
def test_a_full_prefill_is_limited_by_compute(served: ServedModel) -> None:
    cost = step_cost(served, H100, 2048)
    spec = served.spec
    width = spec.hidden_size
    per_layer = 2 * width**2 + 2 * width * spec.kv_width
    per_layer += 3 * width * spec.intermediate_size * spec.num_experts_per_tok
    ideal_us = 2 * 2048 * per_layer * spec.num_hidden_layers / served.tp / 989.5e12 * 1e6
    assert cost.by_tokens[2048] > 1.2 * ideal_us
    assert cost.by_tokens[2048] < 3.0 * ideal_us


def test_the_kv_cache_costs_its_bytes() -> None:
    served = SERVED["llama-2-7b"]
    megabytes = 2 * 32 * 4096 * 2 / 1e6  # K and V, 32 layers, BF16
    expected = megabytes / (3.35e6 * served.kv_efficiency) * 1e6
    assert step_cost(served, H100, 8).kv_us == pytest.approx(expected, rel=1e-6)


def test_kernels_differ_from_bucket_to_bucket_and_from_model_to_model() -> None:
    jumps = {}
    for model in ("codellama-34b", "llama-2-70b"):
        cost = step_cost(SERVED[model], H100, 160)
        by_bucket = np.array([cost.by_tokens[tokens] for tokens in (16, 48, 80, 112)])
        jumps[model] = by_bucket / by_bucket.mean() - 1.0
        assert np.ptp(jumps[model]) > 0.005
    assert np.abs(jumps["codellama-34b"] - jumps["llama-2-70b"]).max() > 0.005


def test_only_a_mixture_of_experts_suffers_from_their_imbalance() -> None:
    dense = step_noise(SERVED["llama-2-7b"], 50_000, stream(1)).gpu_factor
    experts = step_noise(SERVED["mixtral-8x7b-v0-1"], 50_000, stream(1)).gpu_factor
    assert dense.mean() == pytest.approx(1.0, abs=0.002)
    assert experts.mean() > 1.02
