"""The reader against the published tables, read independently."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

pytestmark = pytest.mark.shared_data

# Bytes of a weight and an activation, and the column of systems.csv with the peak.
FORMATS = {
    "bfloat16": (2, 2, "bfloat16_tc_flops"),
    "int8_wo": (1, 2, "bfloat16_tc_flops"),
    "int4_wo": (0.5, 2, "bfloat16_tc_flops"),
    "sq": (1, 1, "int8_tc_flops"),
    "fp8": (1, 1, "fp8_tc_flops"),
    "fp8_static": (1, 1, "fp8_tc_flops"),
    "fp8_block": (1, 1, "fp8_tc_flops"),
    "nvfp4": (0.5625, 0.5625, "fp4_tc_flops"),
}


@pytest.fixture(scope="session")
def tree(shared_data: Path) -> Path:
    return shared_data / "aiconfigurator"


@pytest.mark.parametrize(
    ("place", "formats", "labels", "power"),
    [
        ("a100_sxm/gemm/vllm/0.14.0", {"bfloat16"}, ("a100", "vllm", "0.14.0"), False),
        ("b200_sxm/gemm/trtllm/1.2.0rc5", {"bfloat16", "fp8", "fp8_block", "fp8_static", "nvfp4"},
         ("b200", "trtllm", "1.2.0rc5"), False),
        ("h200_sxm/gemm/vllm/0.22.0", {"bfloat16", "fp8_block"},
         ("h200", "vllm", "0.22.0"), True),
    ],
)  # fmt: skip
def test_every_value_equals_an_independent_reading(
    tree: Path, read: Any, place: str, formats: set[str], labels: tuple[str, ...], power: bool
) -> None:
    path = tree / place / "gemm_perf.parquet"
    raw, frame = pd.read_parquet(path), read(path).frame
    assert len(frame) == len(raw)
    for name in ("m", "n", "k"):
        np.testing.assert_array_equal(frame[name], raw[name])
    np.testing.assert_array_equal(frame["latency_us"], raw["latency"] * 1000.0)
    assert set(raw["gemm_dtype"]) == formats
    assert frame["dtype"].astype(str).to_list() == raw["gemm_dtype"].to_list()
    assert frame["kernel"].astype(str).to_list() == raw["kernel_source"].to_list()
    rows = frame[["gpu", "engine", "engine_version"]].astype(str)
    assert {*rows.itertuples(index=False, name=None)} == {labels}
    assert frame["power_w"].notna().all() == power
    if power:
        np.testing.assert_array_equal(frame["power_w"], raw["power"])
        np.testing.assert_array_equal(frame["power_limit_w"], raw["power_limit"])
    system = pd.read_csv(tree / "systems.csv", index_col="system").loc[Path(place).parts[0]]
    weight, activation, peak = (
        raw["gemm_dtype"].map({name: FORMATS[name][i] for name in FORMATS}) for i in range(3)
    )
    m, n, k = (raw[name].astype(float) for name in "mnk")
    compute = 2 * m * n * k / peak.map(system)
    memory = (activation * m * k + weight * n * k + 2 * m * n) / system["mem_bw"]
    np.testing.assert_allclose(frame["sol_us"], np.maximum(compute, memory) * 1e6, rtol=1e-12)


@pytest.mark.slow
def test_every_published_table_is_accepted(tree: Path, read: Any) -> None:
    paths = sorted(tree.rglob("*_perf.parquet"))
    rows = 0
    told: list[str] = []
    for path in paths:
        result = read(path)
        rows += result.file.rows
        told += result.codes
        assert result.file.rows == pq.read_metadata(path).num_rows
        assert result.frame["sol_us"].notna().all()
    assert (len(paths), rows) == (79, 7_821_676)
    counts = {code: told.count(code) for code in sorted(set(told))}
    assert counts == {"build_differs": 5, "device_differs": 1, "no_work": 2}
