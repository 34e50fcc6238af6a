"""FLOPs and bytes of attention and experts against counts made one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def keys_seen(new: int, past: int, window: int) -> list[set[int]]:
    """The keys each new token attends to, by brute force."""
    seen = []
    for position in range(past, past + new):
        first = max(0, position - window + 1) if window else 0
        seen.append(set(range(first, position + 1)))
    return seen


@pytest.mark.parametrize(
    ("op", "new", "past", "window"),
    [
        ("context_attention", 3, 0, 0),
        ("context_attention", 100, 0, 7),
        ("context_attention", 5, 0, 5),
        ("context_attention", 6, 4, 0),
        ("context_attention", 6, 4, 7),
        ("context_attention", 6, 40, 7),
        ("generation_attention", 1, 127, 0),
        ("generation_attention", 1, 127, 128),
        ("generation_attention", 1, 1023, 128),
        ("generation_attention", 1, 0, 0),
    ],
)
def test_attention_counts_each_pair_and_key_once(
    write: Callable[..., Path], read: Any, op: str, new: int, past: int, window: int
) -> None:
    frame = read(write(op, isl=[new], step=[past], window_size=[window])).frame
    seen = keys_seen(new, past, window)
    pairs, keys = sum(map(len, seen)), len(set().union(*seen))
    # 2 requests, 8 query heads, 2 heads of K and V, 64 wide, two bytes a value.
    assert frame.loc[0, "flops"] == 2 * 8 * pairs * 64 * 2 * 2
    assert frame.loc[0, "bytes"] == 2 * (2 * 8 * new * 64 + 2 * 2 * keys * 64) * 2
    shape = frame.loc[0, ["batch_size", "query_tokens", "context_tokens", "window_size"]]
    assert shape.to_list() == [2, new, past, window]
    assert frame.loc[0, ["num_heads", "num_kv_heads", "head_dim"]].to_list() == [8, 2, 64]
    assert frame.loc[0, ["op", "dtype", "kv_dtype"]].to_list() == [op, "bfloat16", "bfloat16"]


@pytest.mark.parametrize(("new", "past"), [(10_240, 0), (8192, 0), (16_384, 0), (1, 10_000)])
def test_a_window_of_8192_is_a_chunk(
    write: Callable[..., Path], read: Any, new: int, past: int
) -> None:
    frame = read(write("context_attention", isl=[new], step=[past], window_size=[8192])).frame
    pairs = int((np.arange(past, past + new) % 8192 + 1).sum())
    assert frame.loc[0, "flops"] == 2 * 8 * pairs * 64 * 2 * 2
    first = past // 8192 * 8192
    keys = min(past + new - first, 8192 + new - 1)
    assert frame.loc[0, "bytes"] == 2 * (2 * 8 * new * 64 + 2 * 2 * keys * 64) * 2


def test_a_table_without_windows_sees_all_keys(write: Callable[..., Path], read: Any) -> None:
    frame = read(write("context_attention", isl=[4000])).frame
    assert frame.loc[0, "flops"] == 2 * 8 * (4000 * 4001 // 2) * 64 * 2 * 2
    assert frame["window_size"].isna().all()


def test_an_fp8_cache_halves_the_bytes_and_may_be_computed_in_fp8(
    write: Callable[..., Path], read: Any
) -> None:
    wide = read(write("context_attention")).frame.loc[0]
    narrow = read(write("context_attention", kv_cache_dtype="fp8")).frame.loc[0]
    assert narrow["bytes"] * 2 == wide["bytes"]
    assert narrow["flops"] == wide["flops"]
    assert (wide["peak_flops"], narrow["peak_flops"]) == (989.5e12, 1978e12)
    assert (narrow["dtype"], narrow["kv_dtype"]) == ("bfloat16", "fp8")


def test_values_of_192_wide_heads_are_128_wide(write: Callable[..., Path], read: Any) -> None:
    frame = read(write("context_attention", head_dim=[192])).frame
    assert frame.loc[0, "flops"] == 2 * 8 * 6 * 2 * (192 + 128)
    assert frame.loc[0, "bytes"] == 2 * (8 * 3 + 2 * 3) * (192 + 128) * 2


def test_rows_of_several_formats_keep_their_own(write: Callable[..., Path], read: Any) -> None:
    kinds = {"attn_dtype": ["bfloat16", "fp8", "bfloat16"]}
    kinds["kv_cache_dtype"] = ["fp8", "fp8", "bfloat16"]
    frame = read(write("context_attention", isl=[3, 3, 3], **_thrice(kinds))).frame
    assert (frame["bytes"] / frame["bytes"].min()).to_list() == [1, 1, 2]
    assert frame["peak_flops"].to_list() == [1978e12, 1978e12, 989.5e12]


def _thrice(kinds: dict[str, list[str]]) -> dict[str, Any]:
    rows = ("batch_size", "num_heads", "num_key_value_heads", "head_dim", "step", "latency")
    values = (2, 8, 2, 64, 0, 0.0125)
    return {**kinds, **{name: [value] * 3 for name, value in zip(rows, values, strict=True)}}


ONE_EXPERT = 3 * 4096 * 14336


@pytest.mark.parametrize(
    ("changed", "pairs", "experts", "tokens"),
    [
        # Every token chooses two different experts: two are touched at least.
        ({}, 8, 2, 4),
        # Two of eight experts on each rank; the busiest has at least the mean, 8 / 4 pairs.
        ({"moe_ep_size": [4]}, 2, 1, 1),
        # 5 tokens: 10 pairs over 4 ranks, so one rank has 3, of two tokens at least.
        ({"moe_ep_size": [4], "num_tokens": [5]}, 3, 1, 2),
        # Each of the 8 experts once in every 4 tokens.
        ({"moe_ep_size": [4], "distribution": "balanced"}, 2, 1, 1),
        ({"moe_ep_size": [4], "distribution": "balanced", "num_tokens": [400]}, 200, 1, 100),
        # 2 tokens start at experts 0 and 2: one of them on the rank that holds 0 and 1.
        ({"moe_ep_size": [4], "distribution": "balanced", "num_tokens": [2]}, 1, 1, 1),
        ({"num_tokens": [0]}, 0, 0, 0),
    ],
)
def test_experts_count_the_least_any_routing_does(
    write: Callable[..., Path], read: Any, changed: dict[str, Any], pairs: int, experts: int,
    tokens: int,
) -> None:  # fmt: skip
    frame = read(write("moe", **changed)).frame
    assert frame.loc[0, "flops"] == 2 * pairs * ONE_EXPERT
    assert frame.loc[0, "bytes"] == 2 * experts * ONE_EXPERT + (2 + 2) * tokens * 4096
    assert frame.loc[0, "latency_us"] == 250.0


@pytest.mark.parametrize(
    ("changed", "weights"),
    [
        ({"moe_tp_size": [4]}, ONE_EXPERT / 4),
        # No gate: by the kernel's name, or by the shape.
        ({"kernel_source": "moe_torch_flow_nongated"}, ONE_EXPERT / 3 * 2),
        ({"hidden_size": [2688], "inter_size": [1856]}, 2 * 2688 * 1856),
    ],
)
def test_an_experts_weights_are_the_gpus_share(
    write: Callable[..., Path], read: Any, changed: dict[str, Any], weights: float
) -> None:
    assert read(write("moe", **changed)).frame.loc[0, "flops"] == 2 * 8 * weights


def test_weights_of_experts_have_the_formats_width(write: Callable[..., Path], read: Any) -> None:
    frame = read(write("moe", moe_dtype="w4a16_mxfp4")).frame
    assert frame.loc[0, "bytes"] == 0.53125 * 2 * ONE_EXPERT + (2 + 2) * 4 * 4096
    assert frame.loc[0, "peak_flops"] == 989.5e12
    shape = frame.loc[0, ["num_tokens", "hidden_size", "inter_size", "topk", "num_experts"]]
    assert shape.to_list() == [4, 4096, 14336, 2, 8]
    assert frame.loc[0, ["moe_tp", "moe_ep", "distribution"]].to_list() == [1, 1, "power_law_1.2"]


def test_unknown_routing_over_split_experts_has_no_work(
    write: Callable[..., Path], read: Any
) -> None:
    split = read(write("moe", distribution="zipf", moe_ep_size=[4])).frame
    assert split[["flops", "bytes", "sol_us"]].isna().all(axis=None)
    whole = read(write("moe", distribution="zipf")).frame
    assert whole.loc[0, "flops"] == 2 * 8 * ONE_EXPERT
