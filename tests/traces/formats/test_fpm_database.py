from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gpucv.errors import TraceError
from gpucv.traces import Importing, format_named, import_tables, read_steps
from gpucv.traces.memory import MemoryBudget
from gpucv.traces.step_table import ReadOptions

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gpucv.catalog import Catalog
    from gpucv.traces import StepTable


def codes(table: StepTable) -> dict[str, int]:
    return {note.code: note.count for note in table.notes}


def points(**changes: Any) -> pd.DataFrame:
    """A grid of 24 points of one cell, as aiconfigurator publishes them."""
    prefill = [("prefill", b, b * n, b * k) for b in (1, 4) for n in (128, 999) for k in (0, 7, 64)]
    decode = [("decode", b, 0, b * k) for b in (1, 8, 64) for k in (1, 16, 300, 4000)]
    frame = pd.DataFrame(
        prefill + decode,
        columns=["workload_kind", "batch_size", "total_prefill_tokens", "total_kv_read_tokens"],
    )
    frame["cell_id"] = "cell-1"
    frame["model_path"] = "meta-llama/Llama-2-70b-hf"
    frame["system"] = "h200_sxm"
    frame["backend"] = "vllm"
    frame["backend_version"] = "0.14.0"
    frame["gemm_quant_mode"] = "fp8_block"
    frame["kv_cache_dtype"] = "bfloat16"
    for name, value in {"tp": 4, "pp": 1, "dp": 2, "moe_tp": 1, "moe_ep": 8}.items():
        frame[name] = value
    frame["kv_seed_regime"] = np.where(frame["workload_kind"] == "decode", "real_kv", "n/a")
    frame["latency_ms"] = 6.1 + frame["total_prefill_tokens"] / 70 + frame["batch_size"] / 9
    for name, value in changes.items():
        frame[name] = value
    return frame


@pytest.fixture
def read_points(tmp_path: Path, catalog: Catalog) -> Callable[..., StepTable]:
    def write_and_read(frame: pd.DataFrame) -> StepTable:
        path = tmp_path / "fpm_forward_perf.parquet"
        pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), path)
        options = ReadOptions(format="fpm")
        return read_steps([path.name], base=tmp_path, catalog=catalog, required=[], options=options)

    return write_and_read


def test_every_point_of_the_database_is_a_row(read_points: Callable[..., StepTable]) -> None:
    raw = points()
    table = read_points(raw)
    frame = table.frame
    assert (frame["latency_us"] == raw["latency_ms"] * 1000.0).all()
    assert set(frame["model"]) == {"llama-2-70b"}
    assert set(frame["gpu"]) == {"h200"}
    for name, value in {
        "tp": 4,
        "dp": 2,
        "moe_ep": 8,
        "engine": "vllm",
        "engine_version": "0.14.0",
        "dtype": "fp8_block",
        "experiment_id": "cell-1",
    }.items():
        assert set(frame[name]) == {value}
    assert frame["phase"].tolist() == raw["workload_kind"].tolist()
    prefill, decode = frame[frame["phase"] == "prefill"], frame[frame["phase"] == "decode"]
    assert prefill["batch.num_prefill_reqs"].tolist() == raw["batch_size"].tolist()[:12]
    assert prefill["batch.prefill_tokens"].tolist() == raw["total_prefill_tokens"].tolist()[:12]
    assert prefill["prefill_kv_tokens"].tolist() == raw["total_kv_read_tokens"].tolist()[:12]
    assert decode["batch.num_decode_reqs"].tolist() == raw["batch_size"].tolist()[12:]
    assert decode["decode_kv_tokens"].tolist() == raw["total_kv_read_tokens"].tolist()[12:]
    assert (prefill[["batch.num_decode_reqs", "decode_kv_tokens"]] == 0).all(axis=None)
    assert (decode[["batch.num_prefill_reqs", "prefill_kv_tokens"]] == 0).all(axis=None)
    scheduled = raw["total_prefill_tokens"].where(
        raw["workload_kind"] == "prefill", raw["batch_size"]
    )
    assert frame["batch.scheduled_tokens"].tolist() == scheduled.tolist()
    assert table.sources[0].rows == 24
    assert "fake_kv" not in codes(table)


def test_points_without_real_kv_are_told(read_points: Callable[..., StepTable]) -> None:
    raw = points()
    raw.loc[raw.index[-3:], "kv_seed_regime"] = "fake_fallback"
    table = read_points(raw)
    assert codes(table)["fake_kv"] == 3
    assert (table.frame["kv_seed_regime"] == "fake_fallback").sum() == 3
    assert read_points(raw.drop(columns="kv_seed_regime")).frame["kv_seed_regime"].isna().all()


def first_changed(name: str, value: Any) -> pd.DataFrame:
    frame = points()
    frame[name] = frame[name].astype(object)
    frame.loc[1, name] = value
    return frame


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (
            points().rename(columns={"latency_ms": "latency"}),
            "no column 'latency_ms'; did you mean",
        ),
        (points().rename(columns={"batch_size": "batchsize"}), "no column 'batch_size'; did you"),
        (points().iloc[:0], "has no rows"),
        (points(latency_ms="slow"), "column 'latency_ms' holds text such as 'slow', not numbers"),
        (first_changed("latency_ms", 0.0), "row 2: latency_ms is 0"),
        (first_changed("latency_ms", float("inf")), "'latency_ms', row 2: inf is no finite time"),
        (first_changed("latency_ms", None), "'latency_ms', row 2: None is empty"),
        (first_changed("batch_size", -1), "'batch_size', row 2: -1 is below 0"),
        (first_changed("batch_size", 1.5), "'batch_size', row 2: 1.5 is no whole number"),
        (points(cell_id=7), "column 'cell_id' holds int64, not text"),
        (first_changed("batch_size", 0), "row 2: batch_size is 0"),
        (first_changed("total_prefill_tokens", 0), "row 2: a prefill point has fewer tokens than"),
        (first_changed("workload_kind", "decode"), "row 2: a decode point has prefill tokens"),
        (first_changed("workload_kind", "mixed"), "row 2: workload_kind is none of prefill and"),
        (first_changed("system", "b200_sxm"), "'system' holds 'h200_sxm' and 'b200_sxm'"),
        (first_changed("backend_version", "0.15.0"), "'backend_version' holds '0.14.0' and"),
        (points(latency_ms=points()["latency_ms"] / 1e3), "looks like seconds: multiply"),
        (points(latency_ms=points()["latency_ms"] * 1e3), "looks like microseconds: divide"),
    ],
)
def test_a_wrong_database_is_refused(
    read_points: Callable[..., StepTable], frame: pd.DataFrame, message: str
) -> None:
    with pytest.raises(TraceError, match="^fpm_forward_perf.parquet.*" + message):
        read_points(frame)


def test_a_database_must_be_the_one_its_sidecar_was_published_with(
    read_points: Callable[..., StepTable], tmp_path: Path
) -> None:
    read_points(points())
    path = tmp_path / "fpm_forward_perf.parquet"
    sidecar = tmp_path / "fpm_forward_perf.metadata.json"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    sidecar.write_text(json.dumps({"parquet_sha256": digest}))
    assert read_points(points()).sources[0].sha256 == digest
    with pytest.raises(
        TraceError, match=r"is not the file that .*metadata.json was published with"
    ):
        read_points(points(tp=8))
    for damaged in ("{}", "[" * 100_000):
        sidecar.write_text(damaged)
        with pytest.raises(TraceError, match=r"metadata.json beside .* cannot be read"):
            read_points(points())


def test_a_database_larger_than_memory_is_refused_before_it_is_unpacked(
    read_points: Callable[..., StepTable], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpucv.traces.memory.available_bytes", lambda: 10_000_000)
    assert len(read_points(points()).frame) == 24
    many = pd.concat([points()] * 1000, ignore_index=True)
    with pytest.raises(TraceError, match=r"^fpm_forward_perf.parquet: needs .* in memory"):
        read_points(many)


def test_what_other_files_of_the_read_hold_counts(
    read_points: Callable[..., StepTable], monkeypatch: pytest.MonkeyPatch
) -> None:
    alone, beside = MemoryBudget(200_000), MemoryBudget(200_000)
    beside.hold(180_000, "another file")
    monkeypatch.setattr("gpucv.traces.step_table.MemoryBudget", lambda: alone)
    assert len(read_points(points()).frame) == 24
    monkeypatch.setattr("gpucv.traces.step_table.MemoryBudget", lambda: beside)
    with pytest.raises(TraceError, match=r"needs .* in memory on top of"):
        read_points(points())


def test_a_truncated_database_is_recognised_and_refused(
    read_points: Callable[..., StepTable], tmp_path: Path, catalog: Catalog
) -> None:
    read_points(points())
    path = tmp_path / "fpm_forward_perf.parquet"
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(TraceError, match="is not a sound parquet file"):
        read_steps([path.name], base=tmp_path, catalog=catalog, required=[])


def test_a_database_is_told_from_what_importing_it_writes(
    read_points: Callable[..., StepTable], tmp_path: Path, catalog: Catalog
) -> None:
    direct = read_points(points())
    how = Importing(format_named("fpm"), catalog)
    out = tmp_path / "fpm_imported.parquet"
    import_tables(["fpm_forward_perf.parquet"], out, base=tmp_path, how=how)
    table = read_steps([out.name], base=tmp_path, catalog=catalog, required=[])
    assert table.sources[0].kind == "parquet"
    pd.testing.assert_frame_equal(table.frame, direct.frame)
    found = read_steps(["fpm_forward_perf.parquet"], base=tmp_path, catalog=catalog, required=[])
    assert found.sources[0].kind == "fpm"


def test_the_speed_of_light_is_that_of_weights_and_context_or_of_arithmetic(
    read_points: Callable[..., StepTable],
) -> None:
    frame = read_points(points()).frame
    # Llama-2-70B on 4 H200, FP8 weights of one byte, a cache of at least one byte a value.
    attention, mlp = 8192 * (8192 + 2 * 1024) + 8192**2, 3 * 8192 * 28672
    weights = 80 * (attention + mlp) + 32_000 * 8192
    decode = frame[(frame["batch.num_decode_reqs"] == 8) & (frame["decode_kv_tokens"] == 8 * 300)]
    moved = (weights + 2 * 80 * 1024 * 2400) / 4
    assert decode["bytes"].item() == pytest.approx(moved)
    assert decode["sol_us"].item() == pytest.approx(moved / 4.8e12 * 1e6)
    prefill = frame[(frame["batch.prefill_tokens"] == 4 * 999) & (frame["prefill_kv_tokens"] == 28)]
    pairs = 4 * 999 * 1000 / 2 + 28
    flops = (2 * 80 * (attention + mlp) * 3996 + 4 * 80 * 8192 * pairs) / 4
    assert prefill["flops"].item() == pytest.approx(flops)
    assert prefill["sol_us"].item() == pytest.approx(flops / 1978e12 * 1e6)


def test_labels_may_be_missing(read_points: Callable[..., StepTable]) -> None:
    raw = first_changed("model_path", None).assign(kv_seed_regime=None)
    frame = read_points(raw).frame
    assert frame["kv_seed_regime"].isna().all()
    assert frame["model"].isna().tolist() == frame["flops"].isna().tolist()
    assert frame["model"].isna().tolist() == [False, True] + [False] * 22


@pytest.mark.parametrize(
    ("model", "moe_tp", "ways"),
    [
        ("mistralai/Mixtral-8x7B-v0.1", 8, 8),
        ("mistralai/Mixtral-8x7B-v0.1", 1, 2),
        ("meta-llama/Llama-2-70b-hf", 8, 2),
    ],
)
def test_weights_of_a_mixture_are_split_as_far_as_its_experts(
    model: str, moe_tp: int, ways: int, read_points: Callable[..., StepTable], catalog: Catalog
) -> None:
    frame = read_points(points(model_path=model, tp=2, moe_tp=moe_tp)).frame
    decode = frame[(frame["batch.num_decode_reqs"] == 8) & (frame["decode_kv_tokens"] == 8 * 300)]
    spec = catalog.models.get(model)
    cache = 2 * spec.num_hidden_layers * spec.kv_width * 2400
    # FP8 weights take half of BF16's bytes; attention is split over the 2 GPUs in any case.
    weights = (spec.weight_bytes + spec.head_bytes) / 2
    assert decode["bytes"].item() == pytest.approx(weights / ways + cache / 2)


def test_work_is_empty_where_the_model_or_gpu_is_not_known(
    read_points: Callable[..., StepTable],
) -> None:
    unknown = read_points(points(model_path="who/knows")).frame
    assert unknown["flops"].isna().all()
    elsewhere = read_points(points(system="tpu")).frame
    assert elsewhere["flops"].notna().all()
    assert elsewhere["sol_us"].isna().all()
