"""Small tables to audit: every column is given by the test or plainly harmless."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from gpucv.traces import read_steps
from gpucv.traces.audit.subject import AuditScope, Subject
from gpucv.traces.targets import derive_targets

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gpucv.catalog import Catalog


def step_table(rows: int, **columns: Any) -> pd.DataFrame:
    """Steps of one recording, each of another batch; columns by their last name."""
    at = np.arange(rows)
    table: dict[str, Any] = {
        "experiment_id": "e1",
        "model": "llama-2-7b",
        "workload": "general",
        "gpu": "h100",
        "tp": 1,
        "step.id": at,
        "step.duration_us": 20_000.0 + at,
        "batch.prefill_tokens": 0,
        "batch.decode_tokens": 1 + at,
        "batch.scheduled_tokens": 1 + at,
        "batch.num_prefill_reqs": 0,
        "batch.num_decode_reqs": 1 + at,
    }
    return pd.DataFrame({**table, **columns})


def gemm_table(rows: int, **columns: Any) -> pd.DataFrame:
    """Matrix products, each of another m, at half the speed of light."""
    m = 8.0 * (1 + np.arange(rows))
    flops, moved = 2 * m * 4096 * 4096, 2 * (m * 4096 * 2 + 4096 * 4096)
    light = np.maximum(flops / 989.5e12, moved / 3.35e12) * 1e6
    table: dict[str, Any] = {
        "source_file": "a.parquet",
        "gpu": "h100",
        "dtype": "bfloat16",
        "op": "gemm",
        "m": m,
        "n": 4096,
        "k": 4096,
        "latency_us": 2 * light,
        "flops": flops,
        "bytes": moved,
        "peak_flops": 989.5e12,
        "memory_bandwidth": 3.35e12,
        "sol_us": light,
    }
    return pd.DataFrame({**table, **columns})


@pytest.fixture(scope="session")
def steps() -> Callable[..., pd.DataFrame]:
    return step_table


@pytest.fixture(scope="session")
def gemms() -> Callable[..., pd.DataFrame]:
    return gemm_table


@pytest.fixture(scope="session")
def subject_of(catalog: Catalog) -> Callable[..., Subject]:
    def make(frame: pd.DataFrame, **scope: Any) -> Subject:
        return Subject(frame, AuditScope(**scope), catalog)

    return make


@pytest.fixture(scope="session")
def real_steps(shared_data: Path, catalog: Catalog) -> pd.DataFrame:
    """The public recordings, with their derived targets."""
    read = read_steps(["vllm-steps"], base=shared_data, catalog=catalog, required=[])
    return derive_targets(read.frame)[0]


@pytest.fixture(scope="session")
def raw_steps(shared_data: Path) -> pd.DataFrame:
    """The same files as pandas reads them, sorted, with each row's cycle in us."""
    frames = []
    for path in sorted((shared_data / "vllm-steps").glob("*.parquet")):
        frame = pd.read_parquet(path).sort_values("step.id").reset_index(drop=True)
        following = frame[["step.id", "step.ts_start_ns"]].shift(-1)
        consecutive = following["step.id"] - frame["step.id"] == 1
        cycle = (following["step.ts_start_ns"] - frame["step.ts_start_ns"]) / 1000
        frames.append(frame.assign(name=path.stem, cycle=cycle.where(consecutive)))
    return pd.concat(frames, ignore_index=True)
