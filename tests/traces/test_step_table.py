from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gpucv.errors import TraceError
from gpucv.traces import ReadOptions, read_steps

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gpucv.catalog import Catalog


def steps(**columns: Any) -> pd.DataFrame:
    """Two steps of one experiment, with some columns replaced or added."""
    frame = {
        "experiment_id": ["e", "e"],
        "model": ["llama-2-7b", "llama-2-7b"],
        "workload": ["general", "general"],
        "tp": [1, 1],
        "step.id": [1, 2],
        "step.duration_us": [10, 20],
    }
    return pd.DataFrame({**frame, **{key.replace("__", "."): v for key, v in columns.items()}})


def read(base: Path, catalog: Catalog, *patterns: str, **options: Any) -> Any:
    options.setdefault("required", ["step.duration_us"])
    return read_steps(patterns or ("*",), base=base, catalog=catalog, **options)


def test_real_recordings_read_like_pandas_reads_them(shared_data: Path, catalog: Catalog) -> None:
    table = read(shared_data, catalog, "vllm-steps")
    files = sorted((shared_data / "vllm-steps").glob("*.parquet"))
    expected = pd.concat([pd.read_parquet(file) for file in files], ignore_index=True)
    whole = [name for name in expected if str(expected[name].dtype) == "Int64"]
    pd.testing.assert_frame_equal(table.frame, expected.astype(dict.fromkeys(whole, "int64")))
    assert [source.rows for source in table.sources] == [5992, 7441]
    assert [source.path for source in table.sources] == [f"vllm-steps/{f.name}" for f in files]


def test_tables_of_other_measurements_read_too(shared_data: Path, catalog: Catalog) -> None:
    as_it_stands = ReadOptions(format="table")
    gemm = read(
        shared_data,
        catalog,
        "aiconfigurator/h100_sxm/**/*.parquet",
        required=["latency"],
        columns=["m", "n", "k", "device"],
        options=as_it_stands,
    )
    assert sorted(gemm.frame.columns) == ["device", "k", "latency", "m", "n"]
    assert sum(source.rows for source in gemm.sources) == len(gemm.frame) > 100_000
    vidur = read(shared_data, catalog, "vidur", required=["num_tokens"], options=as_it_stands)
    assert len(vidur.frame) == 8352


def test_sources_of_every_kind_join_to_the_same_rows(
    tmp_path: Path, write_recording: Callable[..., Path], catalog: Catalog
) -> None:
    write_recording("1-llama-2-7b-tp1-general", config={})
    recorded = read(tmp_path, catalog, "1-*").frame
    recorded.to_parquet(tmp_path / "a.parquet")
    recorded.to_csv(tmp_path / "b.csv", index=False)
    table = read(tmp_path, catalog, "b.csv", "1-llama-2-7b-tp1-general", "*.parquet")
    assert [source.kind for source in table.sources] == ["csv", "otel", "parquet"]
    columns = list(recorded.columns)
    for start in (0, 6, 12):
        part = table.frame[columns].iloc[start : start + 6].reset_index(drop=True)
        pd.testing.assert_frame_equal(part, recorded)


def test_numbers_of_one_column_may_be_stored_in_several_ways(
    tmp_path: Path, catalog: Catalog
) -> None:
    steps().to_parquet(tmp_path / "1.parquet")
    steps(tp=pd.array([1, 1], dtype="Int64")).to_parquet(tmp_path / "2.parquet")
    steps(tp=[1.0, 1.0], step__id=np.array([3, 4], dtype="uint8")).to_parquet(
        tmp_path / "3.parquet"
    )
    steps(tp=pd.Categorical([1, 1]), model=pd.Categorical(["a", "b"])).to_parquet(
        tmp_path / "4.parquet"
    )
    frame = read(tmp_path, catalog).frame
    assert frame["tp"].dtype == "int64"
    assert frame["tp"].tolist() == [1] * 8
    assert frame["step.id"].tolist() == [1, 2, 1, 2, 3, 4, 1, 2]
    assert frame["model"].tolist()[-2:] == ["a", "b"]


def test_whole_numbers_with_gaps_are_floats_with_nan(tmp_path: Path, catalog: Catalog) -> None:
    gaps = pd.array([3, None], dtype="Int64")
    flags = pd.array([True, None], dtype="boolean")
    steps(queue__running_depth=gaps, other=gaps, flag=flags).to_parquet(tmp_path / "1.parquet")
    frame = read(tmp_path, catalog).frame
    for name, expected in (("queue.running_depth", 3), ("other", 3), ("flag", 1)):
        assert frame[name].dtype == "float64"
        np.testing.assert_array_equal(frame[name], [expected, np.nan])


def test_numbers_too_large_for_a_gap_are_noted(tmp_path: Path, catalog: Catalog) -> None:
    gaps = pd.array([2**53 + 1, None], dtype="Int64")
    steps(step__ts_start_ns=gaps).to_parquet(tmp_path / "1.parquet")
    (note,) = read(tmp_path, catalog).notes
    assert (note.code, note.level) == ("rounded", "warning")


def test_the_frame_may_be_written_to(tmp_path: Path, catalog: Catalog) -> None:
    steps().to_parquet(tmp_path / "1.parquet")
    frame = read(tmp_path, catalog).frame
    frame.loc[0, "step.duration_us"] = 11
    frame.loc[0, "model"] = "other"
    assert frame.iloc[0][["step.duration_us", "model"]].tolist() == [11, "other"]


def test_one_column_of_two_kinds_is_refused_with_files_and_types(
    tmp_path: Path, catalog: Catalog
) -> None:
    steps(x=[1, 2]).to_parquet(tmp_path / "1.parquet")
    steps(x=["a", "b"]).to_parquet(tmp_path / "2.parquet")
    message = "column 'x' differs between files: int64 in 1.parquet; string in 2.parquet"
    with pytest.raises(TraceError, match=message):
        read(tmp_path, catalog)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"tp": ["one", "two"]}, "1.parquet: column 'tp' holds string, .* holds int64"),
        ({"model": [1.5, 2.5]}, "1.parquet: column 'model' holds double, .* holds string"),
        ({"step__id": [1.5, 2.0]}, r"1.parquet: column 'step.id' counts whole .* holds 1.5"),
        (
            {"step__id": np.array([2**64 - 1, 1], dtype="uint64")},
            "1.parquet: column 'step.id' cannot be read",
        ),
    ],
)
def test_a_step_table_column_of_another_kind_is_refused(
    tmp_path: Path, catalog: Catalog, columns: dict[str, Any], message: str
) -> None:
    steps(**columns).to_parquet(tmp_path / "1.parquet")
    with pytest.raises(TraceError, match=message):
        read(tmp_path, catalog)


def test_times_may_have_fractions_and_labels_may_be_numbers(
    tmp_path: Path, catalog: Catalog
) -> None:
    steps(step__duration_us=[1.5, 2.0], workload=[7, 8]).to_parquet(tmp_path / "1.parquet")
    frame = read(tmp_path, catalog).frame
    assert frame["step.duration_us"].tolist() == [1.5, 2.0]
    assert frame["workload"].tolist() == ["7", "8"]


def test_names_the_catalog_knows_become_its_own(tmp_path: Path, catalog: Catalog) -> None:
    steps(model=["meta-llama/Llama-2-70b-hf", "llama-2-70b"], gpu=["H100-SXM", "?"]).to_parquet(
        tmp_path / "1.parquet"
    )
    table = read(tmp_path, catalog)
    assert table.frame["model"].tolist() == ["llama-2-70b", "llama-2-70b"]
    assert table.frame["gpu"].tolist() == ["h100", "?"]
    assert [note.code for note in table.notes] == ["model_renamed", "gpu_renamed", "unknown_gpu"]


def test_only_the_columns_asked_for_are_read(tmp_path: Path, catalog: Catalog) -> None:
    steps(x=[1, 2]).to_parquet(tmp_path / "1.parquet")
    steps(x=[1, 2]).to_csv(tmp_path / "2.csv", index=False)
    frame = read(tmp_path, catalog, columns=["x", "not there"]).frame
    assert sorted(frame.columns) == ["step.duration_us", "x"]
    with pytest.raises(TraceError, match=r"1.parquet: none of the columns asked for"):
        read(tmp_path, catalog, required=[], columns=["not there"])


@pytest.mark.parametrize("name", ["1.parquet", "1.csv"])
def test_a_missing_column_is_named_with_file_and_nearest_name(
    tmp_path: Path, catalog: Catalog, name: str
) -> None:
    if name.endswith("csv"):
        steps().to_csv(tmp_path / name, index=False)
    else:
        steps().to_parquet(tmp_path / name)
    message = f"{name}: no column 'step.duration'; did you mean 'step.duration_us'"
    with pytest.raises(TraceError, match=message):
        read(tmp_path, catalog, required=["step.duration"])
    with pytest.raises(TraceError, match=f"{name}: no column 'a', 'b'; it has 'experiment_id'"):
        read(tmp_path, catalog, required=["a", "tp", "b"])


def test_a_column_some_files_lack_is_empty_there_and_noted(
    tmp_path: Path, catalog: Catalog
) -> None:
    steps(power=[1, 2], label=["x", "y"]).to_parquet(tmp_path / "1.parquet")
    steps().to_parquet(tmp_path / "2.parquet")
    table = read(tmp_path, catalog)
    np.testing.assert_array_equal(table.frame["power"], [1, 2, np.nan, np.nan])
    assert table.frame["label"].isna().tolist() == [False, False, True, True]
    (note,) = table.notes
    assert note.code == "column_missing"
    assert "'power' in 1" in note.message


def test_a_step_column_without_a_value_counts_as_not_recorded(
    tmp_path: Path, catalog: Catalog
) -> None:
    empty = pd.array([None, None], dtype="Int64")
    steps(kv__blocks_free_gpu=empty, gpu=[None, None]).to_parquet(tmp_path / "1.parquet")
    frame = read(tmp_path, catalog).frame
    assert {"kv.blocks_free_gpu", "gpu"}.isdisjoint(frame.columns)
    with pytest.raises(TraceError, match="column 'gpu' is required, and empty in every row"):
        read(tmp_path, catalog, required=["gpu"])


def test_an_empty_file_among_others_is_noted_and_alone_refused(
    tmp_path: Path, catalog: Catalog
) -> None:
    steps().iloc[:0].to_parquet(tmp_path / "1.parquet")
    with pytest.raises(TraceError, match=r"no rows in 1.parquet"):
        read(tmp_path, catalog)
    steps().to_parquet(tmp_path / "2.parquet")
    table = read(tmp_path, catalog)
    assert len(table.frame) == 2
    assert "empty_file" in [note.code for note in table.notes]


@pytest.mark.parametrize(("value", "synthetic"), [("true", True), ("false", False), ("tsue", True)])
def test_one_synthetic_source_makes_the_table_synthetic(
    tmp_path: Path, catalog: Catalog, value: str, synthetic: bool
) -> None:
    steps().to_parquet(tmp_path / "1.parquet")
    assert not read(tmp_path, catalog).synthetic
    simulated = pa.Table.from_pandas(steps()).replace_schema_metadata({"gpucv.synthetic": value})
    pq.write_table(simulated, tmp_path / "2.parquet")
    assert read(tmp_path, catalog).synthetic is synthetic


def test_notes_kept_in_a_file_are_told_again(tmp_path: Path, catalog: Catalog) -> None:
    notes = json.dumps([["overload", "85 % failed", 7, "warning"]])
    table = pa.Table.from_pandas(steps()).replace_schema_metadata({"gpucv.notes": notes})
    pq.write_table(table, tmp_path / "1.parquet")
    (note,) = read(tmp_path, catalog).notes
    assert (note.code, note.message, note.count, note.level) == (
        "overload",
        "85 % failed",
        7,
        "warning",
    )
