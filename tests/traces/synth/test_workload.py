from __future__ import annotations

from itertools import islice, takewhile
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from gpucv.traces.synth.noise import stream
from gpucv.traces.synth.settings import Experiment, load_settings
from gpucv.traces.synth.workload import prompt_pool, requests

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS = load_settings()


def experiment(model: str, workload: str) -> Experiment:
    return next(
        e for e in SETTINGS.experiments if e.served.spec.name == model and e.workload == workload
    )


def test_arrivals_follow_the_rate_of_their_stage() -> None:
    chosen = experiment("llama-2-7b", "general")
    pool = prompt_pool(chosen, SETTINGS.requests, stream(1))
    stream_of_requests = requests(chosen, pool, 600.0, stream(2))
    seconds = [
        r.arrival_us / 1e6
        for r in takewhile(lambda r: r.arrival_us < 1_200_000_000, stream_of_requests)
    ]
    first = sum(second < 600 for second in seconds)
    assert first / 600 == pytest.approx(8.0, rel=0.05)
    assert (len(seconds) - first) / 600 == pytest.approx(20.0, rel=0.05)


def test_gaps_between_arrivals_are_exponential() -> None:
    chosen = experiment("codellama-34b", "roleplay")
    pool = prompt_pool(chosen, SETTINGS.requests, stream(1))
    arrivals = [r.arrival_us for r in islice(requests(chosen, pool, 600.0, stream(3)), 20_000)]
    gaps = np.diff(arrivals)
    assert gaps.min() >= 0
    assert gaps.std() / gaps.mean() == pytest.approx(1.0, abs=0.03)


def test_prompts_are_sent_in_turn() -> None:
    chosen = experiment("llama-2-70b", "codegen")
    pool = prompt_pool(chosen, SETTINGS.requests, stream(1))
    turns = [r.prompt for r in islice(requests(chosen, pool, 600.0, stream(2)), 250)]
    assert turns == [number % 100 for number in range(250)]


def test_every_system_prompt_is_shared_by_as_many_prompts() -> None:
    pool = prompt_pool(experiment("llama-2-7b", "codegen"), SETTINGS.requests, stream(1))
    assert np.bincount(pool.group).tolist() == [10] * 10


@pytest.mark.parametrize("chosen", SETTINGS.experiments, ids=lambda e: e.id)
def test_lengths_are_like_the_recorded_requests(chosen: Experiment, shared_data: Path) -> None:
    recorded = pd.read_parquet(
        shared_data / "requests" / "requests.parquet",
        filters=[("experiment_id", "==", chosen.id), ("has_error", "==", False)],
    )
    pool = prompt_pool(chosen, SETTINGS.requests, stream(1))
    drawn = list(islice(requests(chosen, pool, 600.0, stream(2)), 20_000))
    answers = [r.to_generate for r in drawn]
    assert np.mean(answers) == pytest.approx(recorded["output_tokens"].mean(), rel=0.05)
    assert np.median(answers) == pytest.approx(recorded["output_tokens"].median(), rel=0.02)
    assert np.mean(pool.tokens) == pytest.approx(recorded["input_tokens"].mean(), abs=3.0)
