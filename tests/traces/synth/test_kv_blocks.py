from __future__ import annotations

from gpucv.traces.synth.kv_blocks import KVBlocks
from gpucv.traces.synth.workload import PromptPool, Request

# Two prompts of 100 tokens share a system prompt of 32; a third has its own.
POOL = PromptPool(tokens=(100, 100, 100), group=(0, 0, 1), system_prompt_tokens=32)


def request(prompt: int, tokens: int = 100) -> Request:
    return Request(arrival_us=0, prompt=prompt, tokens=tokens, to_generate=10)


def test_a_request_takes_its_blocks_and_gives_them_all_back() -> None:
    blocks = KVBlocks(50, 16, POOL)
    first = request(0)
    assert blocks.admit(first)
    assert blocks.free == 50 - 7  # 100 tokens in blocks of 16
    blocks.release(first, 100)
    assert blocks.free == 50


def test_the_same_prompt_is_held_once() -> None:
    blocks = KVBlocks(50, 16, POOL)
    assert blocks.admit(request(0))
    assert blocks.admit(request(0))
    assert blocks.free == 50 - 7 - 1  # only the partly filled block is its own


def test_prompts_of_a_group_share_their_system_prompt() -> None:
    blocks = KVBlocks(50, 16, POOL)
    first, second, third = request(0), request(1), request(2)
    assert blocks.admit(first)
    assert blocks.admit(second)
    assert blocks.free == 50 - 7 - 5
    assert second.uncached == 100 - 32
    assert blocks.admit(third)
    assert third.uncached == 100


def test_a_cached_prompt_is_computed_from_its_last_whole_block_on() -> None:
    blocks = KVBlocks(50, 16, POOL)
    first, again = request(0), request(0)
    assert blocks.admit(first)
    assert first.uncached == 100
    blocks.release(first, 100)
    assert blocks.admit(again)
    assert again.uncached == 100 - 96


def test_the_last_prompt_token_is_computed_even_if_every_block_is_cached() -> None:
    pool = PromptPool(tokens=(96,), group=(0,), system_prompt_tokens=32)
    blocks = KVBlocks(50, 16, pool)
    assert blocks.admit(request(0, 96))
    again = request(0, 96)
    assert blocks.admit(again)
    assert again.uncached == 16


def test_unused_prompts_are_evicted_once_the_free_list_has_come_round() -> None:
    blocks = KVBlocks(20, 16, POOL)
    first = request(0)
    assert blocks.admit(first)
    blocks.release(first, 100)
    blocks.take(20)
    blocks.free += 20
    again = request(0)
    assert blocks.admit(again)
    assert again.uncached == 100


def test_a_request_that_does_not_fit_changes_nothing() -> None:
    blocks = KVBlocks(6, 16, POOL)
    assert not blocks.admit(request(0))
    assert blocks.free == 6


def test_generated_tokens_of_a_preempted_request_need_blocks_too() -> None:
    blocks = KVBlocks(50, 16, POOL)
    resumed = request(0, tokens=140)
    assert blocks.admit(resumed)
    assert blocks.free == 50 - 9
