"""Tiny recordings in the layout of the real ones."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from gpucv.catalog import load_catalog

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gpucv.catalog import Catalog

NAME = "20260217-202857-llama-2-70b-tp4-general"


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    return load_catalog()


def values_of(step: int) -> dict[str, int | float]:
    """One step's measurements, different in every column and from step to step."""
    return {
        "step.id": step * 7 + 5,
        "step.ts_start_ns": 20_020_938_183_118 + step * 18_000_000,
        "step.ts_end_ns": 20_020_938_865_786 + step * 18_000_000,
        "step.duration_us": 682 + step,
        "queue.running_depth": 10 + step,
        "queue.waiting_depth": step % 3,
        "batch.num_prefill_reqs": step % 2,
        "batch.num_decode_reqs": 9 + step,
        "batch.scheduled_tokens": 100 + step,
        "batch.prefill_tokens": 64 * (step % 2),
        "batch.decode_tokens": 9 + step,
        "batch.num_finished": step % 4,
        "batch.num_preempted": 0,
        "kv.usage_gpu_ratio": 0.0104 + step / 1000,
        "kv.blocks_total_gpu": 31_356,
        "kv.blocks_free_gpu": 31_030 - step,
    }


def attributes(values: dict[str, Any]) -> list[dict[str, Any]]:
    """OTLP attributes: 64-bit integers travel as strings."""
    kinds = {bool: "boolValue", int: "intValue", float: "doubleValue", str: "stringValue"}
    return [
        {"key": key, "value": {kinds[type(v)]: str(v) if type(v) is int else v}}
        for key, v in values.items()
    ]


def event(name: str, values: dict[str, Any]) -> dict[str, Any]:
    return {
        "timeUnixNano": "1771359000000000000",
        "name": name,
        "attributes": attributes(values),
    }


def scope(name: str, span: str, events: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "scope": {"name": name},
        "spans": [{"traceId": "0af7", "spanId": "b7ad", "name": span, "events": events}],
    }


def export(scopes: list[dict[str, Any]]) -> str:
    service = attributes({"service.name": "vllm-inference-perf"})
    resource = {"resource": {"attributes": service}, "scopeSpans": scopes}
    return json.dumps({"resourceSpans": [resource]})


def journey_scopes() -> list[dict[str, Any]]:
    """The spans of other scopes that share a line with the steps."""
    return [
        scope("vllm.scheduler", "llm_core", [event("journey.QUEUED", {"ts.monotonic": 12.5})]),
        scope("vllm.api", "llm_request", [event("api.ARRIVED", {"request.id": "r1"})]),
    ]


def step_line(steps: list[dict[str, Any]]) -> str:
    events = [event("step.BATCH_SUMMARY", values) for values in steps]
    events.insert(1, event("step.REQUEST_SNAPSHOT", {"step.id": 5, "request.phase": "DECODE"}))
    return export([*journey_scopes(), scope("vllm.scheduler.step", "scheduler_steps_1", events)])


@pytest.fixture(scope="session")
def step_values() -> Callable[[int], dict[str, int | float]]:
    return values_of


@pytest.fixture(scope="session")
def journey_line() -> str:
    """A line of a trace with no step in it."""
    return export(journey_scopes())


@pytest.fixture
def write_recording(tmp_path: Path) -> Callable[..., Path]:
    """Write one recording folder below `tmp_path`; return the folder."""

    def write(
        name: str = NAME,
        *,
        config: dict[str, Any] | None = None,
        lines: list[str] | None = None,
        failures: tuple[int, int] | None = None,
        steps: int = 6,
    ) -> Path:
        folder = tmp_path / name
        folder.mkdir(parents=True)
        if lines is None:
            values = [values_of(step) for step in range(steps)]
            lines = [step_line(values[:4]), export(journey_scopes()), step_line(values[4:])]
        (folder / "traces.json").write_text("".join(line + "\n" for line in lines))
        if config is None:
            config = {
                "model": "meta-llama/Llama-2-70b-hf",
                "tensor_parallelism": 4,
                "max_model_len": 4096,
                "max_num_batched_tokens": 2048,
                "max_num_seqs": 128,
            }
        if config:
            text = "".join(f"{key}: {value}\n" for key, value in config.items())
            (folder / "exp-config.yaml").write_text(text)
        if failures is not None:
            failed, succeeded = failures
            (folder / "results").mkdir()
            (folder / "results" / "summary_lifecycle_metrics.json").write_text(
                json.dumps({"failures": {"count": failed}, "successes": {"count": succeeded}})
            )
        return folder

    return write
