from __future__ import annotations

import math
from itertools import count
from typing import TYPE_CHECKING

import numpy as np
import pytest

from gpucv.traces.synth.gpu_time import StepCost, StepNoise
from gpucv.traces.synth.scheduler import Engine, StepLog
from gpucv.traces.synth.settings import EngineSettings
from gpucv.traces.synth.workload import PromptPool, Request

if TYPE_CHECKING:
    from collections.abc import Iterator

BUDGET, SEQUENCES, BLOCK = 64, 8, 16
# Whole numbers, so that two ways of adding them up agree to the bit.
COST = StepCost(
    by_tokens=tuple(1000.0 + 8 * tokens for tokens in range(BUDGET + 1)),
    kv_us=1.0,
    prefill_us=0.25,
    host_us=100.0,
    host_us_per_request=4.0,
)
STEPS = 3000
LONG_AFTER = 10**12  # when all requests of interest are done, microseconds


LONG_PROMPTS = (5, 90)
# No whole block, hence nothing that could still be cached when a request comes back.
SHORT_PROMPTS = (5, 16)


def asked(
    seed: int, gap_us: float, prompts: tuple[int, int] = SHORT_PROMPTS, number: int = 4000
) -> list[tuple[int, int, int]]:
    """Arrival, prompt tokens and answer tokens; every prompt is used once."""
    rng = np.random.default_rng(seed)
    arrivals = np.cumsum(rng.integers(0, int(2 * gap_us), number))
    return list(
        zip(
            arrivals.tolist(),
            rng.integers(*prompts, number).tolist(),
            rng.integers(1, 80, number).tolist(),
            strict=True,
        )
    )


def run_engine(
    stream: list[tuple[int, int, int]], blocks: int, timeout_us: float = math.inf
) -> StepLog:
    pool = PromptPool(
        tokens=tuple(prompt for _, prompt, _ in stream),
        group=(0,) * len(stream),
        system_prompt_tokens=0,
    )

    def arrivals() -> Iterator[Request]:
        for number, (arrival, prompt, answer) in enumerate(stream):
            yield Request(arrival, number, prompt, answer)
        for number in count(1):
            yield Request(number * LONG_AFTER, 0, pool.tokens[0], 1)

    engine = Engine(
        EngineSettings(SEQUENCES, BUDGET, BLOCK, 0.1), blocks, pool, arrivals(), timeout_us
    )
    noise = StepNoise(np.ones(STEPS), np.zeros(STEPS))
    return engine.run(STEPS, COST, noise, np.full(STEPS, 50.0))


class Naive:
    """The same rules the long way: every request visited in every step."""

    def __init__(self, stream: list[tuple[int, int, int]], blocks: int) -> None:
        self.coming = [
            {"at": at, "prompt": prompt, "left": left, "held": 0, "order": 0}
            for at, prompt, left in stream
        ]
        self.waiting: list[dict[str, int]] = []
        self.running: list[dict[str, int]] = []
        self.blocks = blocks
        self.now = 0.0
        self.finished = 0
        self.order = count(1)

    def free(self) -> int:
        # A request holds the blocks of its whole prompt from its admission on.
        return self.blocks - sum(-(-max(r["held"], r["prompt"]) // BLOCK) for r in self.running)

    def step(self) -> tuple[int, ...]:
        finished = sum(r["left"] == 0 for r in self.running)
        self.running = [r for r in self.running if r["left"]]
        if not self.running and not self.waiting:
            self.now = max(self.now, self.coming[0]["at"])
        while self.coming[0]["at"] <= self.now:
            self.waiting.append(self.coming.pop(0))
        preempted, decoding = self.decode()
        fresh = sum(r.pop("fresh", 0) for r in decoding)
        context = sum(r["held"] for r in decoding)
        chunks, pairs = self.prefill(BUDGET - len(decoding), preempted == 0)
        tokens = len(decoding) + sum(chunks)
        gpu = 1000.0 + 8 * tokens + context + 0.25 * pairs
        self.now += gpu + 100.0 + 4.0 * len(self.running)
        return (
            len(self.running),
            len(self.waiting),
            sum(chunks) + fresh,
            len(decoding) - fresh,
            len(chunks) + fresh,
            finished,
            preempted,
            self.free(),
        )

    def decode(self) -> tuple[int, list[dict[str, int]]]:
        preempted = 0
        while True:
            decoding = [r for r in self.running if r["held"] >= r["prompt"]]
            opening = sum(r["held"] % BLOCK == 0 for r in decoding)
            if opening <= self.free():
                break
            victim = max(self.running, key=lambda r: r["order"])
            self.running.remove(victim)
            if victim["held"] >= victim["prompt"]:
                victim["prompt"] = victim["held"] + 1  # the last answer token is not in the cache
            victim["held"] = 0
            victim.pop("fresh", None)
            self.waiting.insert(0, victim)
            preempted += 1
        for request in decoding:
            request["held"] += 1
            request["left"] -= 1
        return preempted, decoding

    def prefill(self, budget: int, admitting: bool) -> tuple[list[int], int]:
        chunks, pairs = [], 0
        ready = [r for r in self.running if r["held"] < r["prompt"]]
        while budget:
            if ready:
                request = ready.pop(0)
            elif (
                admitting
                and self.waiting
                and len(self.running) < SEQUENCES
                and -(-self.waiting[0]["prompt"] // BLOCK) <= self.free()
            ):
                request = self.waiting.pop(0)
                request["order"] = next(self.order)
                self.running.append(request)
            else:
                break
            chunk = min(request["prompt"] - request["held"], budget)
            budget -= chunk
            request["held"] += chunk
            chunks.append(chunk)
            pairs += chunk * request["held"]
            if request["held"] == request["prompt"]:
                request["left"] -= 1
                request["fresh"] = int(request["left"] > 0)
        return chunks, pairs


@pytest.mark.parametrize(
    ("blocks", "gap_us", "prompts"),
    [
        (1000, 80_000.0, LONG_PROMPTS),
        (1000, 4_000.0, LONG_PROMPTS),
        (30, 8_000.0, SHORT_PROMPTS),
        (12, 8_000.0, SHORT_PROMPTS),
    ],
    ids=["idle-at-times", "overloaded", "short-of-blocks", "starved"],
)
def test_the_log_is_that_of_a_scheduler_that_visits_every_request(
    blocks: int, gap_us: float, prompts: tuple[int, int]
) -> None:
    stream = asked(5, gap_us, prompts)
    log = run_engine(stream, blocks)
    naive = Naive(stream, blocks)
    expected = np.array([naive.step() for _ in range(STEPS)])
    assert np.column_stack(log[:8]).tolist() == expected.tolist()
    spent = float(np.sum(np.maximum(log.gpu_us, 50.0) + log.host_us + log.idle_us))
    assert spent == pytest.approx(naive.now, rel=1e-12)


def test_limits_hold_in_every_step() -> None:
    log = run_engine(asked(seed=6, gap_us=4_000.0), blocks=30)
    assert (log.prefill_tokens + log.decode_tokens).max() <= BUDGET
    assert (log.prefill_tokens + log.decode_tokens).min() > 0
    assert log.running.max() <= SEQUENCES
    assert log.blocks_free.min() >= 0


def test_requests_are_preempted_only_when_blocks_run_out() -> None:
    stream = asked(seed=7, gap_us=8_000.0)
    assert run_engine(stream, blocks=1000).preempted.sum() == 0
    assert run_engine(stream, blocks=16).preempted.sum() > 0


def test_every_answer_token_is_decoded_once_even_after_preemption() -> None:
    # Few enough requests that all are done and the engine falls idle for long.
    stream = asked(seed=8, gap_us=8_000.0, number=40)
    for blocks in (1000, 16):
        log = run_engine(stream, blocks)
        last = int(np.argmax(log.idle_us > LONG_AFTER / 2))
        assert log.finished[: last + 1].sum() == len(stream)
        # A prefill yields one token, each later step of a request one more; only the
        # prefill after a preemption can be long enough to take a chunk that yields none.
        answered = int(log.decode_tokens[:last].sum() + log.num_prefill[:last].sum())
        surplus = answered - sum(answer for _, _, answer in stream)
        assert 0 <= surplus <= log.preempted.sum()


def test_a_client_that_gives_up_frees_its_place() -> None:
    stream = asked(seed=9, gap_us=2_000.0)
    patient = run_engine(stream, blocks=1000)
    hasty = run_engine(stream, blocks=1000, timeout_us=200_000.0)
    assert hasty.waiting.max() < patient.waiting.max() / 2
    assert hasty.finished.sum() < patient.finished.sum() + patient.waiting[-1]
    assert hasty.blocks_free.max() <= 1000


def test_an_idle_engine_waits_for_the_next_request() -> None:
    log = run_engine([(5_000_000, 20, 3), (9_000_000, 20, 3)], blocks=100)
    assert log.idle_us[0] == 5_000_000
    assert log.running[:4].tolist() == [1, 1, 1, 1]
    assert log.idle_us[1:3].tolist() == [0.0, 0.0]
    assert log.idle_us[3] > 3_000_000
