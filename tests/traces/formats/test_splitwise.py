from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from gpucv.errors import TraceError
from gpucv.traces import format_named
from gpucv.traces.formats import Reading, recognise
from gpucv.traces.sources import Source
from gpucv.traces.step_table import ReadOptions, read_steps

if TYPE_CHECKING:
    from pathlib import Path

    from gpucv.catalog import Catalog

SIZES = ["prompt_size", "batch_size", "token_size"]


def read(path: Path, catalog: Catalog, repeats: Any = "keep") -> tuple[pd.DataFrame, Any]:
    source = Source(path, path.name, "splitwise")
    opened = format_named("splitwise").open(source, Reading(catalog, repeats))
    return pd.concat(batch.to_pandas() for batch in opened.batches()), opened


def table(**changes: Any) -> pd.DataFrame:
    """Three repeats of one point of Llama-2-70b on 8 H100."""
    return pd.DataFrame(
        {
            "model": "llama2-70b",
            "hardware": "h100-80gb",
            "prompt_size": 512,
            "batch_size": 4,
            "token_size": 128,
            "peak_power": [0.0, 0.9, 0.8],
            "average_power": [0.5, 0.0, 0.7],
            "prompt_time": [130.0, 132.5, 131.0],
            "token_time": [31.0, 32.0, 33.0],
            "e2e_time": [4000.0, 4100.0, 4200.0],
            "tensor_parallel": 8,
        }
    ).assign(**changes)


@pytest.fixture
def perf_model(tmp_path: Path) -> Path:
    return tmp_path / "perf_model.csv"


def refuse(path: Path, catalog: Catalog, content: pd.DataFrame | str, match: str) -> None:
    path.write_text(content if isinstance(content, str) else content.to_csv(index=False))
    with pytest.raises(TraceError, match=match) as caught:
        read(path, catalog)
    assert "\n" not in str(caught.value)


@pytest.mark.shared_data
def test_every_time_of_the_public_table_is_the_files_in_microseconds(
    shared_data: Path, catalog: Catalog
) -> None:
    path = shared_data / "splitwise" / "perf_model.csv"
    raw = pd.read_csv(path)
    frame, opened = read(path, catalog)
    assert len(frame) == 2 * len(raw) == 2520
    for op in ("prompt", "token"):
        rows = frame[frame["op"] == op]
        np.testing.assert_array_equal(rows["latency_us"], raw[f"{op}_time"] * 1000.0)
        np.testing.assert_array_equal(rows[SIZES], raw[SIZES])
        np.testing.assert_array_equal(rows["tp"], raw["tensor_parallel"])
        np.testing.assert_array_equal(rows["num_tokens"], raw["prompt_size"] * raw["batch_size"])
        for power in ("peak_power", "average_power"):
            np.testing.assert_array_equal(rows[power], raw[power].replace(0, np.nan))
    assert set(frame["model"]) == {"llama-2-70b", "bloom-176b"}
    assert set(frame["gpu"]) == {"a100", "h100", "h100-80gb-pcap"}
    noted = {note.code: note.count for note in opened.notes()}
    assert noted == {"duplicate_rows": 120, "no_speed_of_light": 1}
    assert frame.loc[frame["gpu"] == "h100-80gb-pcap", "sol_us"].isna().all()
    assert frame.loc[frame["gpu"] == "h100-80gb-pcap", "flops"].notna().all()


@pytest.mark.shared_data
def test_only_a_batch_that_cannot_have_run_whole_is_faster_than_light(
    shared_data: Path, catalog: Catalog
) -> None:
    frame, _ = read(shared_data / "splitwise" / "perf_model.csv", catalog)
    faster = frame[frame["sol_us"] > frame["latency_us"]]
    # At TP 2 the prompts of 64 requests take less time than those of 8.
    assert len(faster) == 10
    where = faster[["model", "tp", "op", "prompt_size", "batch_size"]].drop_duplicates()
    assert where.to_numpy().tolist() == [["llama-2-70b", 2, "prompt", 512, 64]]


@pytest.mark.shared_data
def test_joined_repeats_are_the_median_of_each_point(shared_data: Path, catalog: Catalog) -> None:
    raw = pd.read_csv(shared_data / "splitwise" / "perf_model.csv")
    options = ReadOptions(repeats="median")
    joined = read_steps(
        ["splitwise"], base=shared_data, catalog=catalog, required=["op"], options=options
    ).frame
    point = ["model", "hardware", "tensor_parallel", *SIZES]
    catalog_names = {"llama2-70b": "llama-2-70b", "h100-80gb": "h100", "a100-80gb": "a100"}
    raw = raw.replace({"model": catalog_names, "hardware": catalog_names})
    for op in ("prompt", "token"):
        groups = raw.assign(time=raw[f"{op}_time"] * 1000.0).groupby(point)["time"]
        rows = joined[joined["op"] == op].rename(
            columns={"gpu": "hardware", "tp": "tensor_parallel"}
        )
        found = rows.set_index(point).sort_index()
        assert len(found) == groups.ngroups == 228
        np.testing.assert_array_equal(found["latency_us"], groups.median())
        np.testing.assert_array_equal(found["repeats"], groups.size())
        np.testing.assert_allclose(found["latency_std_us"], groups.std(), rtol=1e-12)
    assert joined["repeats"].sum() == 2520


def test_passes_have_the_work_of_one_gpu(perf_model: Path, catalog: Catalog) -> None:
    table().to_csv(perf_model, index=False)
    frame, opened = read(perf_model, catalog)
    prompt = frame[frame["op"] == "prompt"].iloc[0]
    token = frame[frame["op"] == "token"].iloc[0]
    # Llama-2-70b: 80 layers, width 8192, K and V of 1024, 3 x 8192 x 28672 in the MLP.
    weights = 80 * (8192 * (8192 + 2 * 1024) + 8192 * 8192 + 3 * 8192 * 28672)
    head = 32000 * 8192
    seen = sum(range(1, 513))
    flops = 4 * 512 * 2 * weights + 80 * 4 * 8192 * 4 * seen + 4 * 2 * head
    assert prompt["flops"] == pytest.approx(flops / 8, rel=1e-12)
    cached = 80 * 2 * 2 * 1024
    assert prompt["bytes"] == (2 * weights + 2 * head + 4 * 512 * cached) / 8
    assert prompt["sol_us"] == pytest.approx(flops / 8 / 989.5e12 * 1e6, rel=1e-12)
    context = 512 + 64
    assert token["flops"] == 4 * (2 * weights + 80 * 4 * 8192 * context + 2 * head) / 8
    moved = (2 * weights + 2 * head + 4 * context * cached) / 8
    assert token["bytes"] == moved
    assert token["sol_us"] == pytest.approx(moved / 3.35e12 * 1e6, rel=1e-12)
    assert token["sol_us"] < token["latency_us"] == 31_000
    assert (token["num_tokens"], token["dtype"], token["repeats"]) == (2048, "float16", 1)
    assert frame["engine"].isna().all()
    assert opened.notes() == ()


def test_power_of_nought_was_not_measured(perf_model: Path, catalog: Catalog) -> None:
    table().to_csv(perf_model, index=False)
    kept, _ = read(perf_model, catalog)
    assert kept["peak_power"].tolist()[1:3] == [0.9, 0.8]
    assert kept["peak_power"].isna().tolist() == [True, False, False] * 2
    joined, _ = read(perf_model, catalog, "median")
    assert joined["peak_power"].tolist() == [pytest.approx(0.85)] * 2
    assert joined["average_power"].tolist() == [pytest.approx(0.6)] * 2
    assert joined["latency_us"].tolist() == [131_000, 32_000]
    assert joined["latency_std_us"].tolist() == pytest.approx(
        [np.std([130, 132.5, 131], ddof=1) * 1000, 1000]
    )


def test_an_unknown_model_keeps_its_name_and_has_no_work(
    perf_model: Path, catalog: Catalog
) -> None:
    table(model="Secret-9B").drop(columns=["peak_power", "average_power", "e2e_time"]).to_csv(
        perf_model, index=False
    )
    frame, opened = read(perf_model, catalog)
    assert set(frame["model"]) == {"Secret-9B"}
    assert frame[["flops", "bytes", "sol_us", "peak_power"]].isna().all(axis=None)
    (note,) = opened.notes()
    assert (note.code, note.level) == ("no_speed_of_light", "warning")
    assert "'Secret-9B'" in note.message


def test_a_table_is_told_by_its_columns(perf_model: Path) -> None:
    table().to_csv(perf_model, index=False)
    found = recognise(perf_model)
    assert found is not None
    assert found.name == "splitwise"
    perf_model.write_text("a,b\n1,2\n")
    assert recognise(perf_model) is None


def test_a_missing_column_is_refused_with_the_nearest_name(
    perf_model: Path, catalog: Catalog
) -> None:
    for column, near in (("prompt_time", "prompt_times"), ("hardware", "hardwares")):
        renamed = table().rename(columns={column: near})
        refuse(
            perf_model,
            catalog,
            renamed,
            rf"perf_model\.csv: no column '{column}'; did you mean '{near}'\?",
        )


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"token_time": [31.0, "slow", 33.0]}, "line 3: 'token_time' holds 'slow', which is no nu"),
        (
            {"token_time": [31.0, 32.0, -1.0]},
            "line 4: 'token_time' holds -1, and cannot be below 0",
        ),
        ({"prompt_time": [130.0, None, 131.0]}, "line 3: 'prompt_time' holds no value"),
        ({"prompt_time": [np.inf, 130.0, 131.0]}, "line 2: 'prompt_time' holds inf, .*not finite"),
        ({"batch_size": [4, 0, 4]}, "line 3: 'batch_size' holds .*0.*, and cannot be below 1"),
        (
            {"tensor_parallel": [8, 8, 2.5]},
            "line 4: 'tensor_parallel' holds 2.5, which is no count",
        ),
        ({"model": ["llama2-70b", None, "llama2-70b"]}, "line 3: 'model' holds no value"),
        ({"hardware": ["h100", "h100", " "]}, "line 4: 'hardware' holds ' ', no value"),
        ({"peak_power": [0.5, -0.5, 0.5]}, "line 3: 'peak_power' holds -0.5"),
    ],
)
def test_a_value_that_cannot_be_is_refused_with_its_line(
    changes: dict[str, Any], match: str, perf_model: Path, catalog: Catalog
) -> None:
    refuse(perf_model, catalog, table(**changes), match)


def test_an_empty_file_and_a_header_alone_are_refused(perf_model: Path, catalog: Catalog) -> None:
    refuse(perf_model, catalog, "", r"perf_model\.csv is empty \(0 bytes\)")
    refuse(perf_model, catalog, table().head(0), "has a header and no rows")


@pytest.mark.parametrize(
    ("model", "hardware"),
    [("llama2-70b", "h100-80gb"), ("llama2-70b", "tpu-v9"), ("Secret-9B", "h100-80gb")],
)
@pytest.mark.parametrize("unit", ["seconds", "microseconds"])
def test_a_column_in_another_unit_is_refused(
    unit: str, model: str, hardware: str, perf_model: Path, catalog: Catalog
) -> None:
    for column in ("prompt_time", "token_time"):
        frame = table(model=model, hardware=hardware)
        frame[column] *= 1000 if unit == "microseconds" else 0.001
        if model == "Secret-9B" and frame[column].max() > 100_000:
            frame[column] *= 10  # an unknown model may well take minutes for a prompt
        refuse(perf_model, catalog, frame, rf"perf_model\.csv, {column}: .* looks like {unit}")


@pytest.mark.shared_data
@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_the_public_table_in_another_unit_is_refused(
    factor: float, shared_data: Path, perf_model: Path, catalog: Catalog
) -> None:
    frame = pd.read_csv(shared_data / "splitwise" / "perf_model.csv")
    frame[["prompt_time", "token_time", "e2e_time"]] *= factor
    refuse(perf_model, catalog, frame, "the format's unit is ms")
