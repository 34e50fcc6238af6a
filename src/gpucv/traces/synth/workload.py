"""Who asks, when, and for how much: Poisson arrivals, a pool of prompts, answer lengths."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

import numpy as np

from gpucv.traces.synth.noise import bounded_normal, exponential
from gpucv.traces.synth.settings import OUTPUT_LEVELS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpucv.traces.synth.settings import Experiment, RequestSettings

__all__ = ["PromptPool", "Request", "prompt_pool", "requests"]

_BATCH = 1024


@dataclass(frozen=True, slots=True)
class PromptPool:
    """The distinct prompts of a run: length in tokens and system-prompt group of each."""

    tokens: tuple[int, ...]
    group: tuple[int, ...]
    system_prompt_tokens: int


class Request:
    """One request and where it stands; the scheduler moves it along.

    Attributes
    ----------
    arrival_us : int
        When it arrives, in microseconds since the run began.
    prompt : int
        Index into the prompt pool.
    tokens : int
        Tokens its KV cache holds once its (re)prefill is complete.
    to_generate : int
        Output tokens still to come, the one its prefill yields included.
    uncached : int
        Tokens of its prefill not computed yet.
    decode_start : int
        Step that completed its prefill; -1 before.
    gone : bool
        Finished or given up by the client.
    """

    __slots__ = (
        "arrival_us",
        "decode_start",
        "gone",
        "prompt",
        "to_generate",
        "tokens",
        "uncached",
    )

    def __init__(self, arrival_us: int, prompt: int, tokens: int, to_generate: int) -> None:
        self.arrival_us = arrival_us
        self.prompt = prompt
        self.tokens = tokens
        self.to_generate = to_generate
        self.uncached = 0
        self.decode_start = -1
        self.gone = False


def prompt_pool(
    experiment: Experiment, settings: RequestSettings, rng: np.random.Generator
) -> PromptPool:
    """Draw the run's prompts: lengths near normal, groups of equal size in random order."""
    lengths = experiment.prompt_mean + experiment.prompt_std * bounded_normal(rng, settings.prompts)
    order = np.argsort(rng.random(settings.prompts), kind="stable")
    return PromptPool(
        tokens=tuple(int(length) for length in np.rint(lengths)),
        group=tuple(int(place) % settings.prompt_groups for place in order),
        system_prompt_tokens=settings.system_prompt_tokens,
    )


def requests(
    experiment: Experiment, pool: PromptPool, stage_s: float, rng: np.random.Generator
) -> Iterator[Request]:
    """Yield the run's requests in order of arrival, without end.

    A Poisson process of the first rate for `stage_s` seconds, then of the next; the
    last rate goes on for ever. Prompts are sent in turn, as the recordings' load
    generator does.
    """
    turn = count()
    start_us = 0.0
    for stage, rate in enumerate(experiment.stage_rates):
        last = stage == len(experiment.stage_rates) - 1
        end_us = math.inf if last else (stage + 1) * stage_s * 1e6
        now_us = start_us
        while now_us < end_us:
            arrivals = now_us + np.cumsum(exponential(rng, _BATCH)) * (1e6 / rate)
            answers = np.rint(
                np.interp(rng.random(_BATCH), OUTPUT_LEVELS, experiment.output_tokens)
            )
            now_us = float(arrivals[-1])
            for arrival, answer in zip(arrivals.tolist(), answers.tolist(), strict=True):
                if arrival >= end_us:
                    break
                prompt = next(turn) % len(pool.tokens)
                yield Request(round(arrival), prompt, pool.tokens[prompt], int(answer))
        start_us = end_us
