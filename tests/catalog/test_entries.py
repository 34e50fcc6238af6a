from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import pytest
from pydantic import ValidationError

from gpucv.catalog import GpuSpec, ModelSpec, load_catalog

if TYPE_CHECKING:
    from pathlib import Path

# Parameters as counted from the published weights, in billions.
PUBLISHED_SIZES = {
    "llama-2-7b": 6.74,
    "llama-2-70b": 68.98,
    "codellama-34b": 33.74,
    "mixtral-8x7b-v0-1": 46.70,
    "llama-3-8b": 8.03,
    "llama-3-70b": 70.55,
    "qwen-72b": 72.29,
    "internlm-20b": 20.09,
    "phi-2": 2.78,
    "bloom-176b": 176.25,
}
TIED = {"bloom-176b"}
"""Models whose output head is their embedding."""
NOT_COLLECTED = {"a40": (149.7e12, 696e9, 48 * 2**30)}
"""GPUs beyond the collected sheets: BF16 FLOP/s, bytes/s and bytes of NVIDIA's own."""
SHAPE = {
    "name": "m",
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "intermediate_size": 128,
}


def parameters(m: ModelSpec) -> int:
    """Count the weights of a decoder: embedding, output, attention, experts, norms, router."""
    width, head = m.hidden_size, m.hidden_size // m.num_attention_heads
    attention = width * head * (2 * m.num_attention_heads + 2 * m.num_key_value_heads)
    matrices = 3 if m.gated_mlp else 2
    experts = m.num_local_experts * matrices * width * m.intermediate_size
    router = width * m.num_local_experts if m.num_local_experts > 1 else 0
    layer = attention + experts + router + 2 * width
    embeddings = 1 if m.name in TIED else 2
    return embeddings * m.vocab_size * width + m.num_hidden_layers * layer + width


@pytest.mark.parametrize("name", PUBLISHED_SIZES)
def test_an_architecture_has_as_many_parameters_as_the_published_weights(name: str) -> None:
    counted = parameters(load_catalog().models.get(name))
    assert counted / 1e9 == pytest.approx(PUBLISHED_SIZES[name], rel=0.002)


def test_every_model_of_the_catalog_has_a_published_size_to_answer_to() -> None:
    assert {model.name for model in load_catalog().models.entries()} == set(PUBLISHED_SIZES)


def test_derived_widths_are_those_of_grouped_attention() -> None:
    m = ModelSpec(**SHAPE)
    assert (m.head_size, m.kv_width, m.is_moe, m.active_expert_ratio) == (8, 16, False, 1.0)
    moe = ModelSpec(**SHAPE, num_local_experts=8, num_experts_per_tok=2)
    assert (moe.is_moe, moe.active_expert_ratio) == (True, 0.25)


def test_the_studys_gpu_turns_compute_bound_where_the_study_says() -> None:
    h100 = load_catalog().gpus.get("h100")
    assert h100.machine_balance == pytest.approx(989.5e12 / (3.35e12 * 0.82), rel=1e-15)


def test_architectures_are_those_of_the_recorded_engines(shared_data: Path) -> None:
    models = load_catalog().models
    for row in pd.read_csv(shared_data / "requests" / "experiments.csv").itertuples():
        m = models.get(str(row.model_id))
        assert m is models.get(str(row.model))
        assert (m.hidden_size, m.num_hidden_layers, m.num_attention_heads) == (
            row.hidden_dim,
            row.num_layers,
            row.num_heads,
        )
        assert (m.num_key_value_heads, m.intermediate_size, m.vocab_size) == (
            row.num_kv_heads,
            row.intermediate_dim,
            row.vocab_size,
        )
        # The recordings write 0 experts for a dense model.
        assert m.num_local_experts == max(1, row.num_local_experts)
        assert m.num_experts_per_tok == max(1, row.num_experts_per_tok)


def test_gpu_figures_are_those_of_the_collected_data_sheets(shared_data: Path) -> None:
    sheets = pd.read_csv(shared_data / "aiconfigurator" / "systems.csv").set_index("system")
    for gpu in load_catalog().gpus.entries():
        if gpu.name in NOT_COLLECTED:
            figures = (gpu.peak_bf16_flops, gpu.memory_bandwidth, gpu.memory_bytes)
            assert figures == NOT_COLLECTED[gpu.name]
            continue
        [system] = {gpu.name, *gpu.aliases} & set(sheets.index)
        sheet = sheets.loc[system]
        assert gpu.peak_bf16_flops == pytest.approx(sheet.bfloat16_tc_flops, rel=1e-3)
        assert gpu.memory_bandwidth == pytest.approx(sheet.mem_bw, rel=1e-3)
        assert gpu.memory_bytes == sheet.mem_capacity
        for compute, column in (("fp8", "fp8"), ("int8", "int8"), ("fp4", "fp4")):
            peak, published = gpu.peak_flops(compute), sheet[f"{column}_tc_flops"]
            assert (peak is None) == pd.isna(published)
            assert peak is None or peak == pytest.approx(published, rel=1e-3)
        if gpu.name != "h100":  # where the study's own figure stands
            assert gpu.bandwidth_efficiency == sheet.mem_bw_empirical_scaling_factor


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"hidden_size": 0}, "greater than 0"),
        ({"num_hidden_layers": -1}, "greater than 0"),
        ({"hidden_size": 10**400}, "less than or equal to"),
        ({"hidden_size": 65}, "hidden_size 65 is not a multiple of num_attention_heads 8"),
        ({"num_experts_per_tok": 2}, "num_experts_per_tok 2 exceeds num_local_experts 1"),
        ({"hiden_size": 64}, "hiden_size"),
        ({"name": ""}, "at least 1 character"),
    ],
)
def test_an_impossible_architecture_is_refused(change: dict[str, object], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        ModelSpec.model_validate(SHAPE | change)


@pytest.mark.parametrize(
    "change",
    [{"bandwidth_efficiency": 1.01}, {"memory_bandwidth": 0}, {"peak_bf16_flops": float("inf")}],
)
def test_an_impossible_gpu_is_refused(change: dict[str, float]) -> None:
    sheet = load_catalog().gpus.get("h100").model_dump() | change
    with pytest.raises(ValidationError, match=next(iter(change))):
        GpuSpec.model_validate(sheet)
