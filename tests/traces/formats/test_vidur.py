from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from gpucv.catalog import GpuSpec, load_catalog
from gpucv.traces import format_named
from gpucv.traces.formats import Reading, recognise
from gpucv.traces.sources import Source
from gpucv.traces.step_table import read_steps

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gpucv.catalog import Catalog

MATRIX = {"attn_pre_proj", "attn_post_proj", "mlp_up_proj", "mlp_down_proj"}


def read(path: Path, catalog: Catalog, repeats: Any = "keep") -> tuple[pd.DataFrame, Any]:
    opened = format_named("vidur").open(Source(path, path.name, "vidur"), Reading(catalog, repeats))
    frame = pd.concat(batch.to_pandas() for batch in opened.batches())
    return frame, opened


def codes(opened: Any) -> set[str]:
    return {note.code for note in opened.notes()}


def mlp_row(tokens: int, tp: int, *, gated: bool = True, post_norm: bool = True) -> dict[str, Any]:
    """A row of Llama-2-7b's mlp.csv; every operator takes 0.1 ms plus 1 us per token."""
    ops = ["emb", "input_layernorm", "attn_pre_proj", "attn_rope", "attn_post_proj"]
    ops += ["post_attention_layernorm"] * post_norm
    ops += ["mlp_up_proj", "mlp_act", "mlp_down_proj", "add"]
    time = 0.1 + tokens / 1000
    spread = {"min": 0.9, "max": 1.2, "mean": 1.01, "median": 1.0, "std": 0.05}
    return {
        **{f"time_stats.{op}.{stat}": time * spread[stat] for op in ops for stat in spread},
        "n_head": 32,
        "n_kv_head": 32,
        "n_embd": 4096,
        "n_expanded_embd": 11008,
        "vocab_size": 32768,
        "use_gated_mlp": gated,
        "num_tokens": tokens,
        "num_tensor_parallel_workers": tp,
    }


def attention_row(batch: int, chunk: int, past: int, **more: Any) -> dict[str, Any]:
    """A row of Llama-2-70b's attention.csv at TP 2."""
    ran = {
        "attn_input_reshape": 0.0,
        "attn_kv_cache_save": 0.004,
        "attn_prefill": 0.5 if chunk else None,
        "attn_decode": None if chunk else 0.12,
        "attn_output_reshape": 0.002,
    }
    return {
        **{f"time_stats.{op}.{stat}": ran[op] for op in ran for stat in ("median", "std")},
        "n_embd": 8192,
        "n_q_head": 64,
        "n_kv_head": 8,
        "block_size": 16,
        "num_tensor_parallel_workers": 2,
        "max_model_len": 4096,
        "batch_size": batch,
        "prefill_chunk_size": chunk,
        "kv_cache_size": past,
        **more,
    }


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def write(
        rows: list[dict[str, Any]],
        name: str = "mlp.csv",
        folder: str = "a100/meta-llama/Llama-2-7b-hf",
    ) -> Path:
        path = tmp_path / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pd.DataFrame(rows).to_csv(path, index=False)
        return path

    return write


def test_every_operator_has_the_work_of_one_gpus_shard(
    write: Callable[..., Path], catalog: Catalog
) -> None:
    frame, opened = read(write([mlp_row(100, 4)]), catalog)
    row = frame.set_index("op")
    # 100 tokens, width 4096, 8 of 32 heads of 128 each, 2752 of 11008.
    work = {
        "emb": (0, 4 * 100 * 4096),
        "input_layernorm": (4 * 100 * 4096, 4 * 100 * 4096),
        "post_attention_layernorm": (4 * 100 * 4096, 4 * 100 * 4096),
        "attn_rope": (3 * 100 * 2048, 4 * 100 * 2048),
        "mlp_act": (100 * 5504, 2 * 100 * (5504 + 2752)),
        "add": (100 * 4096, 6 * 100 * 4096),
        "attn_pre_proj": (2 * 100 * 3072 * 4096, 2 * (100 * 4096 + 4096 * 3072 + 100 * 3072)),
        "attn_post_proj": (2 * 100 * 4096 * 1024, 2 * (100 * 1024 + 1024 * 4096 + 100 * 4096)),
        "mlp_up_proj": (2 * 100 * 5504 * 4096, 2 * (100 * 4096 + 4096 * 5504 + 100 * 5504)),
        "mlp_down_proj": (2 * 100 * 4096 * 2752, 2 * (100 * 2752 + 2752 * 4096 + 100 * 4096)),
    }
    assert set(row.index) == set(work)
    for op, (flops, moved) in work.items():
        assert (row.loc[op, "flops"], row.loc[op, "bytes"]) == (flops, moved)
        light = max(flops / 312e12, moved / 2.039e12) * 1e6
        assert row.loc[op, "sol_us"] == pytest.approx(light, rel=1e-12)
    assert row.loc["mlp_up_proj", ["m", "n", "k"]].tolist() == [100, 5504, 4096]
    assert row.loc[~row.index.isin(MATRIX), ["m", "n", "k"]].isna().all(axis=None)
    one = row.iloc[0]
    assert one[["num_heads", "num_kv_heads", "head_dim"]].tolist() == [8, 8, 128]
    assert one[["hidden_size", "intermediate_size", "vocab_size"]].tolist() == [4096, 11008, 32768]
    assert (one["dtype"], one["gated_mlp"], one["tp"]) == ("float16", 1, 4)
    assert opened.notes() == ()


def test_attention_rows_have_the_work_of_causal_attention(
    write: Callable[..., Path], catalog: Catalog
) -> None:
    rows = [attention_row(1, 256, 512), attention_row(100, 0, 1000)]
    path = write(rows, "attention.csv", "a100/meta-llama/Llama-2-70b-hf")
    frame, opened = read(path, catalog)
    prefill = frame[frame["op"] == "attn_prefill"].iloc[0]
    # 32 of 64 heads and 4 of 8 KV heads of 128; each new token sees those before it.
    pairs = sum(512 + position for position in range(1, 257))
    assert prefill["flops"] == 4 * 32 * 128 * pairs
    assert prefill["bytes"] == 2 * 128 * (2 * 256 * 32 + 2 * 768 * 4)
    assert (prefill["latency_us"], prefill["num_tokens"], prefill["is_prefill"]) == (500, 256, 1)
    decode = frame[frame["op"] == "attn_decode"].iloc[0]
    assert decode["flops"] == 100 * 4 * 32 * 128 * 1001
    assert decode["bytes"] == 100 * 2 * 128 * (2 * 32 + 2 * 1001 * 4)
    assert (decode["latency_us"], decode["num_tokens"], decode["is_prefill"]) == (120, 100, 0)
    assert (decode["num_heads"], decode["num_kv_heads"], decode["kv_cache_size"]) == (32, 4, 1000)
    saved = frame[frame["op"] == "attn_kv_cache_save"]
    assert saved["bytes"].tolist() == [8 * 256 * 4 * 128, 8 * 100 * 4 * 128]
    assert frame["op"].value_counts().to_dict() == {
        "attn_input_reshape": 2,
        "attn_kv_cache_save": 2,
        "attn_output_reshape": 2,
        "attn_prefill": 1,
        "attn_decode": 1,
    }
    reshapes = frame[frame["op"].str.endswith("reshape")]
    assert reshapes[["flops", "bytes", "sol_us"]].isna().all(axis=None)
    assert codes(opened) == {"zero_time"}


def test_older_and_newer_attention_files_read_alike(
    write: Callable[..., Path], catalog: Catalog
) -> None:
    old = {"profile_method": "ProfileMethod.KINETO"}
    backend = "AttentionBackend.FLASHINFER"
    new = {"is_prefill": True, "attention_backend": backend, "seq_lens": "[256]"}
    folder = "a100/meta-llama/Llama-2-70b-hf"
    older, _ = read(write([attention_row(1, 256, 0, **old)], "attention.csv", folder), catalog)
    newer, _ = read(write([attention_row(1, 256, 0, **new)], "attention.csv", folder), catalog)
    assert older["attention_backend"].isna().all()
    assert set(newer["attention_backend"]) == {"FLASHINFER"}
    pd.testing.assert_frame_equal(
        older.drop(columns="attention_backend"), newer.drop(columns="attention_backend")
    )


def test_batches_whose_requests_differ_are_left_out_and_counted(
    write: Callable[..., Path], catalog: Catalog
) -> None:
    rows = [
        attention_row(1, 256, 0, is_mixed_batch=False, is_true_mixed_batch=None),
        attention_row(2, 256, 0, is_mixed_batch=True, is_true_mixed_batch=None),
        attention_row(3, 256, 0, is_mixed_batch=False, is_true_mixed_batch=True),
    ]
    frame, opened = read(write(rows, "attention.csv"), catalog)
    assert set(frame["batch_size"]) == {1}
    left_out = [note for note in opened.notes() if note.code == "mixed_batches_left_out"]
    assert [(note.count, note.level) for note in left_out] == [(2, "warning")]


def test_a_model_without_gate_and_post_norm_reads(
    write: Callable[..., Path], catalog: Catalog
) -> None:
    row = mlp_row(64, 1, gated=False, post_norm=False)
    row.update(n_embd=2560, n_expanded_embd=10240)
    frame, opened = read(write([row], folder="h100/microsoft/phi-2"), catalog)
    row_of = frame.set_index("op")
    assert "post_attention_layernorm" not in row_of.index
    assert row_of.loc["mlp_up_proj", ["m", "n", "k"]].tolist() == [64, 10240, 2560]
    assert row_of.loc["mlp_act", "bytes"] == 2 * 64 * 2 * 10240
    assert set(frame["gated_mlp"]) == {0}
    assert opened.notes() == ()


def test_an_operator_that_did_not_run_has_no_row(
    write: Callable[..., Path], catalog: Catalog
) -> None:
    first, second = mlp_row(64, 1), mlp_row(128, 1)
    second["time_stats.add.median"] = None
    frame, _ = read(write([first, second]), catalog)
    assert frame.loc[frame["op"] == "add", "num_tokens"].tolist() == [64]
    assert frame.loc[frame["op"] == "emb", "num_tokens"].tolist() == [64, 128]


def test_points_measured_twice_are_kept_and_noted_or_joined(
    write: Callable[..., Path], catalog: Catalog
) -> None:
    rows = [mlp_row(64, 1), mlp_row(64, 1), mlp_row(64, 1), mlp_row(128, 1)]
    for row, time in zip(rows, (0.2, 0.6, 0.3, 0.5), strict=True):
        row["time_stats.mlp_act.median"] = time
    path = write(rows)
    kept, opened = read(path, catalog)
    assert len(kept) == 40
    noted = [(note.code, note.count) for note in opened.notes()]
    assert noted == [("repeated_points", 20)]
    joined, _ = read(path, catalog, "median")
    assert len(joined) == 20
    act = joined[joined["op"] == "mlp_act"].set_index("num_tokens")
    assert act["latency_us"].to_dict() == {64: 300, 128: 500}
    assert act["repeats"].to_dict() == {64: 3, 128: 1}
    assert np.isnan(act.loc[64, "latency_std_us"])
    assert act.loc[128, "latency_std_us"] > 0
    expected = kept.groupby(["op", "num_tokens"])["latency_max_us"].max()
    found = joined.set_index(["op", "num_tokens"])["latency_max_us"].sort_index()
    pd.testing.assert_series_equal(found, expected)


@pytest.mark.parametrize(
    ("folder", "model", "gpu"),
    [
        ("a40/Qwen/Qwen-72B", "qwen-72b", "a40"),
        ("H100/acme/Secret-9B", "Secret-9B", "h100"),
        ("a100/Llama-2-7b-hf", "llama-2-7b", "a100"),
        ("TPUv9/meta-llama/Llama-2-7b-hf", "llama-2-7b", "TPUv9"),
        ("compute/H20x/acme/Secret-9B", "Secret-9B", "H20x"),
        ("compute/H20x/Secret-9B", "Secret-9B", "H20x"),
        ("a100", None, "a100"),
        ("Llama-2-7b-hf", "llama-2-7b", None),
        ("downloads", None, None),
    ],
)
def test_folders_name_the_model_and_the_gpu(
    folder: str, model: str | None, gpu: str | None, write: Callable[..., Path], catalog: Catalog
) -> None:
    frame, opened = read(write([mlp_row(512, 1)], folder=folder), catalog)
    assert [
        frame[name].astype(object).where(frame[name].notna(), None)[0]
        for name in (
            "model",
            "gpu",
        )
    ] == [model, gpu]
    missing = [note for note in opened.notes() if note.code == "label_missing"]
    assert [note.count for note in missing] == [n for n in [(model, gpu).count(None)] if n]
    for note in missing:
        for name, label in (("model", model), ("gpu", gpu)):
            assert (f"data.constants.{name}" in note.message) == (label is None)
    unknown = gpu in {"TPUv9", "H20x"}
    assert ("no_speed_of_light" in codes(opened)) == unknown
    assert frame["sol_us"].isna().all() == (unknown or gpu is None)
    assert frame["flops"].notna().all()


def test_a_study_may_name_what_the_folders_do_not(
    write: Callable[..., Path], catalog: Catalog
) -> None:
    path = write([mlp_row(512, 1)], folder="downloads")
    table = read_steps([str(path)], base=path.parent, catalog=catalog, required=["latency_us"])
    # The empty columns are gone, so that data.constants can take their place.
    assert not {"model", "gpu"} & set(table.frame.columns)


def test_folders_are_read_from_the_path_as_given_without_following_links(
    write: Callable[..., Path], tmp_path: Path, catalog: Catalog
) -> None:
    real = write([mlp_row(512, 1)], folder="store/0001")
    folder = tmp_path / "h100" / "meta-llama" / "Llama-2-7b-hf"
    folder.mkdir(parents=True)
    (folder / "mlp.csv").symlink_to(real)
    frame, _ = read(folder / "mlp.csv", catalog)
    assert (frame["model"][0], frame["gpu"][0]) == ("llama-2-7b", "h100")


def test_a_gpu_the_study_adds_gives_a_speed_of_light(write: Callable[..., Path]) -> None:
    gpu = GpuSpec(
        name="TPUv9",
        peak_bf16_flops=500e12,
        memory_bandwidth=1e12,
        bandwidth_efficiency=0.8,
        memory_bytes=1 << 36,
    )
    frame, _ = read(
        write([mlp_row(512, 1)], folder="tpuv9/acme/Secret-9B"), load_catalog((), (gpu,))
    )
    add = frame[frame["op"] == "add"].iloc[0]
    assert (add["gpu"], add["sol_us"]) == ("TPUv9", pytest.approx(6 * 512 * 4096 / 1e12 * 1e6))


def test_sizes_that_are_not_the_models_are_warned_of(
    write: Callable[..., Path], catalog: Catalog
) -> None:
    row = mlp_row(64, 1)
    row.update(n_kv_head=8, n_expanded_embd=14336)
    _, opened = read(write([row]), catalog)
    (note,) = opened.notes()
    assert (note.code, note.count, note.level) == ("shape_differs", 2, "warning")
    assert "n_kv_head 8 (catalog 32), n_expanded_embd 14336 (catalog 11008)" in note.message


def test_an_index_column_without_a_name_is_passed_over(
    write: Callable[..., Path], catalog: Catalog
) -> None:
    path = write([mlp_row(64, 1), mlp_row(64, 2)])
    plain, _ = read(path, catalog)
    pd.read_csv(path).to_csv(path)
    indexed, _ = read(path, catalog)
    pd.testing.assert_frame_equal(plain, indexed)


def test_another_table_of_that_name_is_no_profile(
    tmp_path: Path, write: Callable[..., Path]
) -> None:
    path = tmp_path / "mlp.csv"
    path.write_text("m,n,latency\n1,2,3\n")
    assert recognise(path) is None
    profile = recognise(write([mlp_row(64, 1)]))
    assert profile is not None
    assert profile.name == "vidur"
