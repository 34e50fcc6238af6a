"""The KV cache: blocks in use, shared prompt blocks, and which prefixes are still cached.

Blocks of a prompt nobody is using count as free but keep their content until the
free list, used oldest first, comes round to them: that is what the allocation clock
measures. System prompts are shared by the prompts of a group in the same way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gpucv.traces.synth.workload import PromptPool, Request

__all__ = ["KVBlocks"]


class _Shared:
    """Blocks several requests may hold at once."""

    __slots__ = ("blocks", "evicted_at", "holders")

    def __init__(self, blocks: int) -> None:
        self.blocks = blocks
        self.holders = 0
        self.evicted_at = -1


class KVBlocks:
    """Block accounting of one engine.

    Attributes
    ----------
    total, free : int
        Blocks on the GPU, and blocks no running request holds.
    """

    def __init__(self, total: int, block_size: int, pool: PromptPool) -> None:
        self.total = total
        self.free = total
        self._size = block_size
        self._clock = 0
        self._prompt_tokens = pool.tokens
        self._group_of = pool.group
        system = pool.system_prompt_tokens // block_size
        self._groups = [_Shared(system) for _ in range(max(pool.group) + 1)]
        self._prompts = [_Shared(tokens // block_size - system) for tokens in pool.tokens]
        self._full = [tokens // block_size for tokens in pool.tokens]

    def take(self, count: int) -> None:
        """Allocate `count` blocks; the caller has seen that they are free."""
        self.free -= count
        self._clock += count

    def admit(self, request: Request) -> bool:
        """Give `request` its blocks and set its uncached tokens; False if they do not fit."""
        prompt = self._prompts[request.prompt]
        group = self._groups[self._group_of[request.prompt]]
        own = -(-request.tokens // self._size) - self._full[request.prompt]
        needed = own
        for shared in (prompt, group):
            if not shared.holders:
                needed += shared.blocks
        if needed > self.free:
            return False
        group_cached = self._hold(group)
        prompt_cached = self._hold(prompt)
        self.take(own)
        cached = 0
        if group_cached:
            # The last prompt token is always computed: its logits yield the first answer token.
            whole = (self._prompt_tokens[request.prompt] - 1) // self._size
            cached = (whole if prompt_cached else group.blocks) * self._size
        request.uncached = request.tokens - cached
        return True

    def release(self, request: Request, tokens: int) -> None:
        """Take back the blocks of `request`, whose KV cache holds `tokens` tokens."""
        self.free += -(-tokens // self._size) - self._full[request.prompt]
        for shared in (self._prompts[request.prompt], self._groups[self._group_of[request.prompt]]):
            shared.holders -= 1
            if not shared.holders:
                self.free += shared.blocks
                shared.evicted_at = self._clock + self.free

    def _hold(self, shared: _Shared) -> bool:
        """Add a holder; return whether the content was still there."""
        cached = shared.holders > 0 or self._clock < shared.evicted_at
        if not shared.holders:
            self.free -= shared.blocks
            if not cached:
                self._clock += shared.blocks
        shared.holders += 1
        return cached
