from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import pytest

from gpucv.traces import read_steps, roofline_floor_note
from gpucv.traces.audit import weight_read_us

if TYPE_CHECKING:
    from pathlib import Path

    from gpucv.catalog import Catalog


def steps(durations: list[float], **columns: object) -> pd.DataFrame:
    base = {"model": "llama-2-7b", "tp": 1, "gpu": "h100", "batch.scheduled_tokens": 5}
    return pd.DataFrame({"step.duration_us": durations, **base, **columns})


def test_the_floor_is_the_parameters_over_the_bandwidth(catalog: Catalog) -> None:
    # 7B without embeddings: 32 layers of 4 x 4096^2 + 3 x 4096 x 11008 BF16 weights.
    seconds = 2 * 32 * (4 * 4096**2 + 3 * 4096 * 11008) / 3.35e12
    gpu = catalog.gpus.get("h100")
    assert weight_read_us(catalog.models.get("llama-2-7b"), gpu, 1) == pytest.approx(seconds * 1e6)
    seventy = catalog.models.get("llama-2-70b")
    assert weight_read_us(seventy, gpu, 4) == pytest.approx(weight_read_us(seventy, gpu, 1) / 4)


def test_durations_of_the_real_recordings_are_no_gpu_steps(
    shared_data: Path, catalog: Catalog
) -> None:
    steps = read_steps(["vllm-steps"], base=shared_data, catalog=catalog, required=[])
    note = roofline_floor_note(steps.frame, "step.duration_us", catalog, default_gpu="h100")
    assert note is not None
    assert note.level == "warning"
    assert 0.97 < note.count / len(steps.frame) < 0.99
    assert "codellama-34b tp2 on h100 9,916 us" in note.message
    assert "scheduler's CPU time" in note.message


def test_only_rows_that_run_the_model_are_judged(catalog: Catalog) -> None:
    rows = steps([10] * 50 + [20_000] * 50, **{"batch.scheduled_tokens": [0] * 50 + [5] * 50})
    assert roofline_floor_note(rows, "step.duration_us", catalog) is None
    note = roofline_floor_note(
        rows.drop(columns="batch.scheduled_tokens"), "step.duration_us", catalog
    )
    assert note is not None
    assert note.count == 50


def test_a_gpu_in_the_table_goes_before_the_default(catalog: Catalog) -> None:
    rows = steps([3_500.0] * 10, gpu=["h200"] * 5 + [None] * 5)
    note = roofline_floor_note(rows, "step.duration_us", catalog, default_gpu="h100")
    assert note is not None
    assert note.count == 5


@pytest.mark.parametrize(
    ("rows", "target"),
    [
        (steps([5_000.0] * 10), "step.duration_us"),
        (steps([10.0] + [5_000.0] * 30), "step.duration_us"),
        (steps([10.0], model="unheard of"), "step.duration_us"),
        (steps([10.0], gpu="unheard of"), "step.duration_us"),
        (steps([10.0], gpu=None), "step.duration_us"),
        (steps([10.0]).drop(columns="gpu"), "step.duration_us"),
        (steps([10.0]).drop(columns="tp"), "step.duration_us"),
        (steps([10.0], tp=0), "step.duration_us"),
        (steps([10.0]).rename(columns={"step.duration_us": "latency_ms"}), "latency_ms"),
    ],
    ids=["slow", "few", "model", "gpu", "null", "no gpu", "no tp", "tp 0", "ms"],
)
def test_nothing_is_said_where_nothing_is_known_or_wrong(
    rows: pd.DataFrame, target: str, catalog: Catalog
) -> None:
    assert roofline_floor_note(rows, target, catalog) is None
