from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gpucv.catalog import load_catalog
from gpucv.traces import Importing, ReadOptions, format_named, import_tables, read_steps
from gpucv.traces.formats import FORMATS

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpucv.catalog import Catalog


def test_a_gemm_table_keeps_every_number(write: Callable[..., Path], read: Any) -> None:
    path = write()
    raw, frame = pd.read_parquet(path), read(path).frame
    assert list(frame.columns) == [column.name for column in FORMATS["aiconfigurator"].columns]
    for name in ("m", "n", "k"):
        assert frame[name].to_list() == raw[name].to_list()
    assert frame["latency_us"].to_list() == (raw["latency"] * 1000.0).to_list()
    assert frame["dtype"].to_list() == ["bfloat16", "fp8_block", "bfloat16"]
    assert frame["kernel"].to_list() == ["vllm_default", "deepgemm", "vllm_default"]
    assert frame["device"].unique().tolist() == ["NVIDIA H100 80GB HBM3"]
    labels = frame[["source_file", "gpu", "engine", "engine_version", "engine_build", "op"]]
    expected = ("gemm_perf.parquet", "h100", "vllm", "0.19.0", "0.19.0", "gemm")
    assert {*labels.itertuples(index=False, name=None)} == {expected}
    unmeasured = frame[["kv_dtype", "num_heads", "topk", "distribution", "power_w"]]
    assert unmeasured.isna().all(axis=None)


def test_gemm_work_is_by_hand(write: Callable[..., Path], read: Any) -> None:
    frame = read(write()).frame
    assert frame["flops"].to_list() == [2.0 * 4096 * 4096, 2.0 * 64 * 7168 * 2048, 2.0 * 2**38]
    # bfloat16: two bytes each way; fp8: one byte in, two out.
    moved = [
        2.0 * (4096 + 4096 * 4096 + 4096),
        64 * 2048 + 7168 * 2048 + 2.0 * 64 * 7168,
        2.0 * (4096 * 8192 + 8192 * 8192 + 4096 * 8192),
    ]
    assert frame["bytes"].to_list() == moved
    assert frame["peak_flops"].to_list() == [989.5e12, 1978e12, 989.5e12]
    assert set(frame["memory_bandwidth"]) == {3.35e12}
    floor = [moved[0] / 3.35e6, moved[1] / 3.35e6, 2.0**39 / 989.5e6]
    assert frame["sol_us"].to_list() == pytest.approx(floor, rel=1e-12)


def test_power_is_kept_where_it_was_recorded(write: Callable[..., Path], read: Any) -> None:
    frame = read(write(power=[301.5, np.nan, 699.0], power_limit=700.0)).frame
    assert frame["power_w"].fillna(-1).to_list() == [301.5, -1, 699.0]
    assert set(frame["power_limit_w"]) == {700.0}


def test_order_of_columns_and_width_of_text_do_not_matter(
    write: Callable[..., Path], read: Any
) -> None:
    path = write()
    expected = read(path).frame
    table = pq.read_table(path)
    kinds = {pa.string(): pa.large_string(), pa.large_string(): pa.string()}
    flipped = pa.table(
        {
            name: table[name].cast(kinds.get(table[name].type, table[name].type))
            for name in reversed(table.column_names)
        }
    )
    pq.write_table(flipped, path)
    pd.testing.assert_frame_equal(read(path).frame, expected)
    pq.write_table(flipped.set_column(0, "latency", flipped["latency"]), path, row_group_size=1)
    pd.testing.assert_frame_equal(
        read(path).frame, expected, check_dtype=False, check_categorical=False
    )


def test_the_file_is_told_by_size_digest_and_rows(write: Callable[..., Path], read: Any) -> None:
    path = write()
    file = read(path, "given/name.parquet").file
    content = path.read_bytes()
    assert (file.path, file.bytes, file.rows) == ("given/name.parquet", len(content), 3)
    assert file.sha256 == hashlib.sha256(content).hexdigest()
    assert file.kind == "aiconfigurator"


def test_rows_without_tokens_are_kept_and_told(write: Callable[..., Path], read: Any) -> None:
    result = read(write(m=[0, 64, 0]))
    assert [(note.code, note.count, note.level) for note in result.notes] == [
        ("no_work", 2, "warning")
    ]
    assert result.frame["flops"].to_list()[0] == 0


def test_what_the_catalog_lacks_has_no_speed_of_light(
    write: Callable[..., Path], read: Any
) -> None:
    result = read(write(gemm_dtype=["bfloat16", "posit8", "bfloat16"]))
    assert result.frame["sol_us"].isna().to_list() == [False, True, False]
    assert result.frame["dtype"].to_list()[1] == "posit8"
    assert "no_speed_of_light" in result.codes
    assert "posit8" in result.notes[-1].message
    unknown = read(write(place="x1000/gemm/vllm/1.0/gemm_perf.parquet", device="Foo X1000"))
    assert unknown.frame["gpu"].unique().tolist() == ["x1000"]
    assert unknown.frame["sol_us"].isna().all()
    assert (unknown.frame["flops"] > 0).all()


@pytest.mark.parametrize(
    ("place", "gpu", "engine", "version"),
    [
        ("rtx_pro_6000_server/gemm/trtllm/1.3.0rc10/gemm_perf.parquet", "rtx-pro-6000", "trtllm",
         "1.3.0rc10"),
        ("a100_sxm/sglang/0.5.9/gemm_perf.parquet", "a100", "sglang", "0.5.9"),
        ("mine/gemm/vllm/0.14.0/gemm_perf.parquet", "h100", "vllm", "0.14.0"),
        ("gemm_perf.parquet", "h100", "vllm", "0.19.0"),
        ("h200_sxm/gemm_perf.parquet", "h100", "vllm", "0.19.0"),
    ],
)  # fmt: skip
def test_labels_come_from_the_folders_else_from_the_rows(
    write: Callable[..., Path], read: Any, place: str, gpu: str, engine: str, version: str
) -> None:
    frame = read(write(place=place)).frame
    labels = frame[["gpu", "engine", "engine_version"]].drop_duplicates()
    assert labels.to_numpy().tolist() == [[gpu, engine, version]]


def test_a_relative_path_and_a_link_are_read_as_spelled(
    write: Callable[..., Path], read: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = write(place="elsewhere/1.parquet")
    link = tmp_path / "h200_sxm/gemm/vllm/0.22.0/gemm_perf.parquet"
    link.parent.mkdir(parents=True)
    link.symlink_to(target)
    monkeypatch.chdir(link.parent)
    frame = read(Path("gemm_perf.parquet")).frame
    assert frame.loc[0, ["gpu", "engine_version"]].to_list() == ["h200", "0.22.0"]
    monkeypatch.chdir(link.parents[1])
    assert read(Path("../vllm/0.22.0/gemm_perf.parquet")).frame.loc[0, "gpu"] == "h200"


def test_a_copied_table_is_told(write: Callable[..., Path], read: Any) -> None:
    place = "b300_sxm/gemm/sglang/0.5.14/gemm_perf.parquet"
    recorded = {"device": "NVIDIA GB300", "framework": "SGLang", "version": "0.5.14"}
    result = read(write(place=place, **recorded))
    assert set(result.frame["gpu"]) == {"b300"}
    assert [(note.code, note.level) for note in result.notes] == [("device_differs", "warning")]
    assert "the folder says b300, the rows were recorded on NVIDIA GB300" in (
        result.notes[0].message
    )


def test_a_development_build_is_told(write: Callable[..., Path], read: Any) -> None:
    build = "0.19.1.dev1+gd68209402"
    result = read(write(version=build))
    assert set(result.frame["engine_version"]) == {"0.19.0"}
    assert set(result.frame["engine_build"]) == {build}
    assert [(note.code, note.level) for note in result.notes] == [("build_differs", "info")]


@pytest.mark.parametrize("place", ["", "moved.parquet"])
def test_the_next_patch_may_stand_in_a_releases_table(
    write: Callable[..., Path], read: Any, place: str
) -> None:
    result = read(write(version=["0.19.0", "0.19.1", "0.19.1"], place=place))
    assert set(result.frame["engine_version"]) == {"0.19.0"}
    assert result.frame["engine_build"].to_list() == ["0.19.0", "0.19.1", "0.19.1"]
    assert [(note.code, note.level) for note in result.notes] == [("build_differs", "warning")]


def test_another_engines_folder_is_told(write: Callable[..., Path], read: Any) -> None:
    result = read(write(framework="SGLang"))
    assert set(result.frame["engine"]) == {"vllm"}
    assert result.codes == ["engine_differs"]


@pytest.mark.parametrize("op", ["gemm", "context_attention", "generation_attention", "moe"])
def test_a_renamed_table_is_known_by_its_columns(
    write: Callable[..., Path], catalog: Catalog, tmp_path: Path, op: str
) -> None:
    write(op, place="mine.parquet")
    options = ReadOptions(format="aiconfigurator")
    steps = read_steps(
        ["mine.parquet"], base=tmp_path, catalog=catalog, required=["op"], options=options
    )
    assert set(steps.frame["op"]) == {op}


def test_an_import_reads_like_the_tables_and_passes_other_operators_over(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    for op in ("gemm", "context_attention", "generation_attention", "moe"):
        folder = "attention" if "attention" in op else op
        write(op, place=f"in/h100_sxm/{folder}/vllm/0.19.0/{op}_perf.parquet")
    write(place="in/h100_sxm/mla/vllm/0.19.0/mla_bmm_perf.parquet")
    how = Importing(format_named("aiconfigurator"), load_catalog())
    imported = import_tables(["in"], tmp_path / "out.parquet", base=tmp_path, how=how)
    assert imported.rows == 6
    assert [note.code for note in imported.notes] == ["skipped_files"]
    assert "mla_bmm_perf.parquet" in imported.notes[0].message
    wanted = {"base": tmp_path, "catalog": load_catalog(), "required": ["latency_us"]}
    table = read_steps(["out.parquet"], **wanted)
    direct = read_steps(["in"], **wanted)
    assert set(direct.frame["op"]) == {
        "gemm",
        "context_attention",
        "generation_attention",
        "moe",
    }
    pd.testing.assert_frame_equal(table.frame, direct.frame)
