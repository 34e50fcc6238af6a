"""What is simulated: the engine, the requests, the models and the experiments.

Read from ``experiments.toml``, where the source of every figure is named.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from gpucv.catalog import ModelSpec, load_catalog

__all__ = [
    "DURATION_LEVELS",
    "GPU_NAME",
    "OUTPUT_LEVELS",
    "EngineSettings",
    "Experiment",
    "RequestSettings",
    "ServedModel",
    "StudySettings",
    "load_settings",
]

GPU_NAME = "h100"

OUTPUT_LEVELS = (0.0, 0.01, 0.05, 0.10, 0.25, 0.50, 0.75, 0.95, 1.0)
"""Levels of the quantiles in `Experiment.output_tokens`."""

DURATION_LEVELS = (0.0, 0.01, 0.05, 0.10, 0.25, 0.50, 0.75, 0.90, 0.95, 0.99, 1.0)
"""Levels of the quantiles in `Experiment.duration_us`."""


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """The serving engine: batch limits, KV block size, share of steps recorded."""

    max_num_seqs: int
    max_num_batched_tokens: int
    block_size: int
    sampling: float


@dataclass(frozen=True, slots=True)
class RequestSettings:
    """What all workloads share: stage length, client timeout, the pool of prompts."""

    stage_s: float
    timeout_s: float
    prompts: int
    prompt_groups: int
    system_prompt_tokens: int


@dataclass(frozen=True, slots=True)
class ServedModel:
    """One LLM as served: architecture, tensor parallelism, KV blocks, calibration.

    `bandwidth_efficiency` and `kv_efficiency` are shares of the memory bandwidth;
    `host_us` and `host_us_per_request` the engine's own time per step.
    """

    spec: ModelSpec
    tp: int
    kv_blocks_total: int
    bandwidth_efficiency: float
    kv_efficiency: float
    host_us: float
    host_us_per_request: float


@dataclass(frozen=True, slots=True)
class Experiment:
    """One recording: model x workload, its row count and its calibration quantiles."""

    id: str
    served: ServedModel
    workload: str
    rows: int
    stage_rates: tuple[float, ...]
    prompt_mean: float
    prompt_std: float
    output_tokens: tuple[int, ...]
    duration_us: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class StudySettings:
    """Everything ``experiments.toml`` says; experiments sorted by id."""

    engine: EngineSettings
    requests: RequestSettings
    experiments: tuple[Experiment, ...]

    @property
    def rows(self) -> int:
        """Rows of the embedded study: the published counts summed."""
        return sum(experiment.rows for experiment in self.experiments)


@cache
def load_settings() -> StudySettings:
    """Return the settings shipped with the package."""
    text = resources.files(__package__).joinpath("experiments.toml").read_text(encoding="utf-8")
    raw = tomllib.loads(text)
    catalog = load_catalog()
    served = {
        entry["name"]: ServedModel(
            spec=catalog.models.get(entry["name"]),
            **{key: value for key, value in entry.items() if key != "name"},
        )
        for entry in raw["models"]
    }
    experiments = [
        _experiment(entry, served[entry["model"]], raw["stage_rates"][entry["workload"]])
        for entry in raw["experiments"]
    ]
    return StudySettings(
        engine=EngineSettings(**raw["engine"]),
        requests=RequestSettings(**raw["requests"]),
        experiments=tuple(sorted(experiments, key=lambda experiment: experiment.id)),
    )


def _experiment(entry: dict[str, Any], served: ServedModel, rates: list[float]) -> Experiment:
    return Experiment(
        id=entry["id"],
        served=served,
        workload=entry["workload"],
        rows=entry["rows"],
        stage_rates=tuple(rates),
        prompt_mean=entry["prompt_tokens"]["mean"],
        prompt_std=entry["prompt_tokens"]["std"],
        output_tokens=tuple(entry["output_tokens"]),
        duration_us=tuple(entry["duration_us"]),
    )
