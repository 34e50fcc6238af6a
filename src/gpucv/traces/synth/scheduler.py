"""A continuous-batching scheduler, step by step, as vLLM's version 1 engine does it.

Each step schedules the running requests first (one token each, or the next chunk of a
prompt), then admits waiting ones while the token budget, the sequence limit and the KV
blocks allow. When blocks run out, the request admitted last is preempted: its blocks
are freed and its context is computed again later. Scheduling is pipelined: a step's
outputs are known one step late, so a request counts as prefill for one step more.

The cost of a step is O(what changes in it), not O(batch): requests whose next token
opens a new KV block are counted by step modulo block size, those about to finish are
filed under the step that will see it, and the context read grows by one token for
every decoding request.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gpucv.traces.synth.kv_blocks import KVBlocks

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from gpucv.traces.synth.gpu_time import StepCost, StepNoise
    from gpucv.traces.synth.settings import EngineSettings
    from gpucv.traces.synth.workload import PromptPool, Request

__all__ = ["Engine", "StepLog"]


class StepLog(NamedTuple):
    """What happened in each step: arrays of one value per step.

    Counts are int64 as in the step table; `gpu_us` is the GPU's time, `host_us` the
    engine's own, `idle_us` the wait for a request before the step began.
    """

    running: NDArray[np.int64]
    waiting: NDArray[np.int64]
    prefill_tokens: NDArray[np.int64]
    decode_tokens: NDArray[np.int64]
    num_prefill: NDArray[np.int64]
    finished: NDArray[np.int64]
    preempted: NDArray[np.int64]
    blocks_free: NDArray[np.int64]
    gpu_us: NDArray[np.float64]
    host_us: NDArray[np.float64]
    idle_us: NDArray[np.float64]


class Engine:
    """One engine serving one stream of requests.

    Parameters
    ----------
    settings : EngineSettings
        Batch limits and KV block size.
    blocks_total : int
        KV blocks on the GPU; must hold any single request.
    pool : PromptPool
        The prompts requests refer to.
    arrivals : iterator of Request
        In order of arrival, without end.
    timeout_us : float
        Age at which a client gives its request up.
    """

    def __init__(
        self,
        settings: EngineSettings,
        blocks_total: int,
        pool: PromptPool,
        arrivals: Iterator[Request],
        timeout_us: float,
    ) -> None:
        self._settings = settings
        self._blocks = KVBlocks(blocks_total, settings.block_size, pool)
        self._arrivals = arrivals
        self._next = next(arrivals)
        self._timeout_us = timeout_us
        self._step = 0
        self._by_age: deque[Request] = deque()
        self._waiting: deque[Request] = deque()
        self._waiting_count = 0
        self._running: dict[Request, None] = {}
        self._prefilling: list[Request] = []
        self._finishing: dict[int, list[Request]] = {}
        self._opens_block = [0] * settings.block_size
        self._decoding = 0
        self._fresh = 0
        self._context = 0

    def run(
        self, steps: int, cost: StepCost, noise: StepNoise, schedule_us: NDArray[np.float64]
    ) -> StepLog:
        """Run `steps` steps; `schedule_us` is the scheduler's own time in each of them."""
        log = []
        now = 0.0
        by_tokens, kv_us, prefill_us = cost.by_tokens, cost.kv_us, cost.prefill_us
        timings = zip(
            noise.gpu_factor.tolist(), noise.stall_us.tolist(), schedule_us.tolist(), strict=True
        )
        for step, (factor, stall, scheduling) in zip(range(steps), timings, strict=True):
            self._step = step
            finished = self._finish()
            idle = self._receive(now)
            now += idle
            preempted = self._open_blocks()
            decoding, fresh = self._decoding, self._fresh
            self._context += decoding
            context = self._context
            self._fresh = 0
            chunked, chunks, attended = 0, 0, 0
            if self._prefilling or (self._waiting_count and not preempted):
                chunked, chunks, attended = self._prefill(decoding, bool(preempted))
            gpu = by_tokens[decoding + chunked] + kv_us * context + prefill_us * attended
            gpu *= factor
            host = cost.host_us + cost.host_us_per_request * len(self._running) + stall
            now += max(gpu, scheduling) + host
            log.append(
                (
                    len(self._running),
                    self._waiting_count,
                    chunked + fresh,
                    decoding - fresh,
                    chunks + fresh,
                    finished,
                    preempted,
                    self._blocks.free,
                    gpu,
                    host,
                    idle,
                )
            )
        return _as_arrays(log)

    def _finish(self) -> int:
        """Release the requests whose last token the previous step yielded."""
        done = self._finishing.pop(self._step, None)
        if done is None:
            return 0
        finished = 0
        for request in done:
            # A preempted request was filed under a finish that no longer holds.
            if not request.gone and request.decode_start + request.to_generate == self._step:
                self._leave(request)
                request.gone = True
                finished += 1
        return finished

    def _receive(self, now: float) -> float:
        """Queue what has arrived, drop what timed out; return how long the engine idled."""
        idle = 0.0
        by_age = self._by_age
        while by_age and (by_age[0].gone or by_age[0].arrival_us + self._timeout_us < now):
            self._give_up(by_age.popleft())
        if not self._running and not self._waiting_count:
            idle = max(self._next.arrival_us - now, 0.0)
        while self._next.arrival_us <= now + idle:
            self._waiting.append(self._next)
            by_age.append(self._next)
            self._waiting_count += 1
            self._next = next(self._arrivals)
        return idle

    def _give_up(self, request: Request) -> None:
        if request.gone:
            return
        request.gone = True
        if request in self._running:
            self._leave(request)
        else:
            self._waiting_count -= 1

    def _open_blocks(self) -> int:
        """Give a block to every request that needs one for its next token; count preemptions."""
        place = self._step % self._settings.block_size
        preempted = 0
        while self._opens_block[place] > self._blocks.free:
            victim = next(reversed(self._running))
            generated = self._step - victim.decode_start if victim.decode_start >= 0 else 0
            self._leave(victim)
            victim.tokens += generated
            victim.to_generate -= generated
            victim.decode_start = -1
            self._waiting.appendleft(victim)
            self._waiting_count += 1
            preempted += 1
        if self._opens_block[place]:
            self._blocks.take(self._opens_block[place])
        return preempted

    def _prefill(self, decoding: int, preempted: bool) -> tuple[int, int, int]:
        """Spend the rest of the token budget on prompts; return tokens, requests, token pairs."""
        budget = self._settings.max_num_batched_tokens - decoding
        tokens = chunks = pairs = 0
        unfinished = []
        admitting = not preempted
        ready = self._prefilling
        while budget > 0:
            if ready:
                request = ready.pop(0)
            elif admitting and (admitted := self._admit()) is not None:
                request = admitted
            else:
                break
            chunk = min(request.uncached, budget)
            request.uncached -= chunk
            budget -= chunk
            tokens += chunk
            chunks += 1
            pairs += chunk * (request.tokens - request.uncached)
            if request.uncached:
                unfinished.append(request)
            else:
                self._start_decoding(request)
        self._prefilling = unfinished + ready
        return tokens, chunks, pairs

    def _admit(self) -> Request | None:
        """Move the first waiting request to running; None if there is none or no room."""
        while self._waiting and self._waiting[0].gone:
            self._waiting.popleft()
        if not self._waiting or len(self._running) >= self._settings.max_num_seqs:
            return None
        request = self._waiting[0]
        if not self._blocks.admit(request):
            return None
        self._waiting.popleft()
        self._waiting_count -= 1
        self._running[request] = None
        return request

    def _start_decoding(self, request: Request) -> None:
        """File a request whose prefill this step completes."""
        request.decode_start = self._step
        self._finishing.setdefault(self._step + request.to_generate, []).append(request)
        self._decoding += 1
        self._fresh += request.to_generate > 1
        self._context += request.tokens
        self._opens_block[self._block_place(request)] += 1

    def _leave(self, request: Request) -> None:
        """Take a request out of the batch and free its blocks."""
        del self._running[request]
        held = request.tokens
        if request.decode_start >= 0:
            held += self._step - 1 - request.decode_start
            self._decoding -= 1
            self._context -= held
            self._opens_block[self._block_place(request)] -= 1
            # Preempted or given up in the very step after its prefill.
            self._fresh -= request.decode_start == self._step - 1 and request.to_generate > 1
        else:
            self._prefilling.remove(request)
        self._blocks.release(request, held)

    def _block_place(self, request: Request) -> int:
        """Step, modulo block size, in which this request's next token opens a block."""
        return (request.decode_start + 1 - request.tokens) % self._settings.block_size


def _as_arrays(log: Sequence[tuple[float, ...]]) -> StepLog:
    columns = list(zip(*log, strict=True))
    times: list[Any] = [np.array(column, dtype=np.float64) for column in columns[8:]]
    counts: list[Any] = [np.array(column, dtype=np.int64) for column in columns[:8]]
    return StepLog(*counts, *times)
