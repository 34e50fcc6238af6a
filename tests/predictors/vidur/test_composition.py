from __future__ import annotations

import doctest
import math

import pytest

from gpucv.errors import DataError
from gpucv.predictors.vidur import (
    PrefillChunk,
    VidurBatch,
    VidurOverheads,
    VidurShape,
    compose_step,
    composition,
)

GROUPED = VidurShape(layers=10, query_heads=32, kv_heads=8)
ALIKE = VidurShape(layers=10, query_heads=32, kv_heads=32)
MIXED = VidurBatch(prefills=(PrefillChunk(30, 65), PrefillChunk(41)), decodes=(100, 131, 20))


class Times:
    """A table of 1 ms per look-up that remembers what was looked up."""

    def __init__(self, **ms: float) -> None:
        self.ms = ms
        self.asked: dict[str, tuple[int, ...]] = {}

    def __call__(self, op: str, at: tuple[int, ...]) -> float:
        self.asked[op] = at
        return self.ms.get(op, 1.0)


def asked(batch: VidurBatch, shape: VidurShape = GROUPED) -> dict[str, tuple[int, ...]]:
    times = Times()
    compose_step(batch, times, shape)
    return times.asked


def test_a_worked_batch_adds_up_by_hand() -> None:
    ms = {
        "input_layernorm": 0.01,
        "attn_pre_proj": 0.2,
        "attn_rope": 0.03,
        "attn_kv_cache_save": 0.04,
        "attn_prefill": 0.5,
        "attn_decode": 0.6,
        "attn_post_proj": 0.07,
        "post_attention_layernorm": 0.08,
        "mlp_up_proj": 0.9,
        "mlp_act": 0.1,
        "mlp_down_proj": 0.11,
        "add": 0.012,
        "all_reduce": 0.13,
        "send_recv": 5.0,
    }
    shape = VidurShape(layers=81, query_heads=64, kv_heads=8, tp=4, pp=2)
    parts = compose_step(MIXED, Times(**ms), shape, overheads=VidurOverheads(skew_ms=0.001))
    reduce = 0.13 + 0.02 + 0.001 * 4**1.25
    attention = 0.01 + 0.2 + 0.03 + 0.04 + 1.1 * 0.5 + 1.1 * 0.6 + 0.07 + reduce
    mlp = 0.08 + 0.9 + 0.1 + 0.11 + reduce
    assert sum(parts.values()) == pytest.approx(40 * (attention + mlp + 0.012) + 5.0)
    assert parts["all_reduce"] == pytest.approx(40 * 2 * reduce)
    assert parts["mlp_up_proj"] == pytest.approx(40 * 0.9)
    assert set(parts) == set(ms)


def test_tokens_are_rounded_up_to_eight_except_where_they_are_saved() -> None:
    looked_up = asked(MIXED)  # 30 + 41 + 3
    assert looked_up["attn_kv_cache_save"] == (74,)
    rounded = set(looked_up) - {"attn_kv_cache_save", "attn_prefill", "attn_decode"}
    assert {looked_up[op] for op in rounded} == {(80,)}
    assert asked(VidurBatch(decodes=(5,) * 8))["mlp_up_proj"] == (8,)


def test_decodes_are_as_many_of_their_mean_context_rounded_up_to_64() -> None:
    assert asked(MIXED)["attn_decode"] == (3, 128)  # mean 83.7
    assert asked(VidurBatch(decodes=(64,)))["attn_decode"] == (1, 64)
    # The mean is cut to whole tokens before it is rounded up: 64.5 is 64.
    assert asked(VidurBatch(decodes=(64, 65)))["attn_decode"] == (2, 64)
    assert asked(VidurBatch(decodes=(0,)))["attn_decode"] == (1, 0)


def test_chunks_are_one_whose_square_is_the_sum_of_theirs() -> None:
    length = round(math.sqrt(30**2 + 41**2))  # 50.8
    assert length == 51
    assert asked(MIXED)["attn_prefill"] == (128, 51**2)  # contexts 65 and 0 are 128 and 0
    two = VidurBatch(prefills=(PrefillChunk(3, 1), PrefillChunk(4, 1)))
    assert asked(two)["attn_prefill"] == (128, 25)  # each context rounded up, then added


@pytest.mark.parametrize("kind", ["attn_prefill", "attn_decode"])
@pytest.mark.parametrize("shape", [GROUPED, ALIKE], ids=["grouped", "alike"])
@pytest.mark.parametrize("requests", [1, 2])
def test_a_tenth_is_added_to_two_or_more_where_heads_are_grouped(
    kind: str, shape: VidurShape, requests: int
) -> None:
    batch = (
        VidurBatch(prefills=(PrefillChunk(8),) * requests)
        if kind == "attn_prefill"
        else VidurBatch(decodes=(8,) * requests)
    )
    factor = 1.1 if shape is GROUPED and requests > 1 else 1.0
    assert compose_step(batch, Times(), shape)[kind] == pytest.approx(10 * factor)


def test_what_is_not_there_is_not_looked_up() -> None:
    assert "attn_prefill" not in asked(VidurBatch(decodes=(7,)))
    assert "attn_decode" not in asked(VidurBatch(prefills=(PrefillChunk(7),)))
    assert not {"all_reduce", "send_recv"} & set(asked(MIXED))
    phi = VidurShape(layers=32, query_heads=32, kv_heads=32, norm_after_attention=False)
    assert "post_attention_layernorm" not in asked(MIXED, phi)
    assert "post_attention_layernorm" in asked(MIXED)


def test_stages_share_the_layers_and_all_but_the_last_send() -> None:
    shape = VidurShape(layers=81, query_heads=8, kv_heads=8, pp=4)
    stages = [compose_step(MIXED, Times(send_recv=3.0), shape, stage) for stage in range(4)]
    assert [parts.get("send_recv", 0.0) for parts in stages] == [3.0, 3.0, 3.0, 0.0]
    assert {parts["add"] for parts in stages} == {20.0}


def test_the_example_of_the_docstring_holds() -> None:
    assert doctest.testmod(composition).failed == 0
    assert doctest.testmod(composition).attempted > 0


def test_a_batch_without_requests_is_refused() -> None:
    with pytest.raises(DataError, match="a batch without requests takes no step"):
        VidurBatch()


@pytest.mark.parametrize(
    "counts",
    [
        {"decodes": (-1,)},
        {"prefills": (PrefillChunk(0, 5),)},
        {"prefills": (PrefillChunk(5, -1),)},
    ],
)
def test_an_impossible_count_is_refused(counts: dict[str, tuple[int, ...]]) -> None:
    with pytest.raises(DataError, match="at least 1 token and a context at least 0, found"):
        VidurBatch(**counts)  # type: ignore[arg-type]


@pytest.mark.parametrize("counts", [{"tp": 0}, {"kv_heads": 0}, {"pp": 11}])
def test_a_shape_of_no_model_is_refused(counts: dict[str, int]) -> None:
    with pytest.raises(DataError, match="every count must be at least 1, and pp at most"):
        VidurShape(**{"layers": 10, "query_heads": 8, "kv_heads": 8, **counts})


def test_a_stage_that_is_not_there_is_refused() -> None:
    with pytest.raises(DataError, match="no pipeline stage 1; they are 0 to 0"):
        compose_step(MIXED, Times(), GROUPED, stage=1)
