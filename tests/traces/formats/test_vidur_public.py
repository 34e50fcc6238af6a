from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from gpucv.traces import Importing, format_named, import_tables
from gpucv.traces.formats import Reading
from gpucv.traces.sources import Source
from gpucv.traces.step_table import ReadOptions, read_steps

if TYPE_CHECKING:
    from pathlib import Path

    from gpucv.catalog import Catalog

STATISTICS = {
    "median": "latency_us",
    "min": "latency_min_us",
    "max": "latency_max_us",
    "mean": "latency_mean_us",
    "std": "latency_std_us",
}


def read(path: Path, catalog: Catalog) -> tuple[pd.DataFrame, Any]:
    opened = format_named("vidur").open(Source(path, path.name, "vidur"), Reading(catalog))
    frame = pd.concat(batch.to_pandas() for batch in opened.batches())
    return frame, opened


@pytest.mark.shared_data
def test_every_time_of_the_public_profiles_is_the_files_in_microseconds(
    shared_data: Path, catalog: Catalog
) -> None:
    files = sorted((shared_data / "vidur").rglob("mlp.csv"))
    assert len(files) == 8
    for path in files:
        raw = pd.read_csv(path)
        frame, opened = read(path, catalog)
        ops = [name.split(".")[1] for name in raw if name.endswith(".median")]
        assert len(frame) == len(raw) * len(ops)
        assert opened.source_file().rows == len(frame)
        assert opened.source_file().sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        for op in ops:
            rows = frame[frame["op"] == op]
            for statistic, column in STATISTICS.items():
                expected = raw[f"time_stats.{op}.{statistic}"].to_numpy() * 1000.0
                np.testing.assert_array_equal(rows[column].to_numpy(), expected)
            np.testing.assert_array_equal(rows["num_tokens"], raw["num_tokens"])
            np.testing.assert_array_equal(rows["tp"], raw["num_tensor_parallel_workers"])


@pytest.mark.shared_data
def test_shapes_work_and_speed_of_light_follow_from_the_public_files(
    shared_data: Path, catalog: Catalog
) -> None:
    path = shared_data / "vidur" / "h100" / "codellama" / "CodeLlama-34b-Instruct-hf" / "mlp.csv"
    raw = pd.read_csv(path)
    frame, _ = read(path, catalog)
    tp, tokens = raw["num_tensor_parallel_workers"], raw["num_tokens"]
    shapes = {
        "attn_pre_proj": ((8192 + 2 * 1024) // tp, 8192),
        "attn_post_proj": (8192, 8192 // tp),
        "mlp_up_proj": (2 * 22016 // tp, 8192),
        "mlp_down_proj": (8192, 22016 // tp),
    }
    for op, (n, k) in shapes.items():
        rows = frame[frame["op"] == op].reset_index()
        assert (rows[["m", "n", "k"]] == pd.DataFrame({"m": tokens, "n": n, "k": k})).all(axis=None)
        flops = 2.0 * tokens * n * k
        moved = 2.0 * (tokens * k + k * n + tokens * n)
        np.testing.assert_array_equal(rows["flops"], flops)
        np.testing.assert_array_equal(rows["bytes"], moved)
        light = np.maximum(flops / 989.5e12, moved / 3.35e12) * 1e6
        np.testing.assert_allclose(rows["sol_us"], light, rtol=1e-12)
        assert (rows["sol_us"] < rows["latency_us"]).all()


@pytest.mark.shared_data
def test_a_folder_of_profiles_reads_by_itself_with_models_and_gpus_named(
    shared_data: Path, catalog: Catalog
) -> None:
    table = read_steps(["vidur"], base=shared_data, catalog=catalog, required=["latency_us"])
    models = ["codellama-34b", "internlm-20b", "llama-2-70b", "llama-2-7b"]
    assert sorted(table.frame["model"].unique()) == models
    assert set(table.frame["gpu"]) == {"a100", "h100"}
    assert len(table.frame) == 83_520
    assert {source.kind for source in table.sources} == {"vidur"}
    assert not {note.code for note in table.notes} & {"shape_differs", "label_missing"}


@pytest.mark.shared_data
def test_importing_gives_the_rows_that_reading_gives(
    shared_data: Path, catalog: Catalog, tmp_path: Path
) -> None:
    where = "vidur/a100/internlm"
    how = Importing(format_named("vidur"), catalog)
    table = import_tables([where], tmp_path / "t.parquet", base=shared_data, how=how)
    read_back = pd.read_parquet(table.path)
    options = ReadOptions(format="vidur")
    direct = read_steps(
        [where], base=shared_data, catalog=catalog, required=["op"], options=options
    )
    pd.testing.assert_frame_equal(
        read_back[["op", "latency_us", "sol_us"]].astype({"op": "str"}),
        direct.frame[["op", "latency_us", "sol_us"]].astype({"op": "str"}),
    )
    assert set(read_back["source_file"]) == {"internlm-20b/mlp.csv"}
