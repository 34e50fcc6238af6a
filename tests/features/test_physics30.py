"""Every feature against the study's formulas, written again row by row in plain Python."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpucv.catalog import GpuSpec, ModelSpec, load_catalog
from gpucv.errors import DataError
from gpucv.features import build_features, table
from gpucv.features.physics30 import FEATURES
from gpucv.study import FeatureSpec

if TYPE_CHECKING:
    from pathlib import Path

    from gpucv.catalog import Catalog

CATALOG = load_catalog()
PHYSICS = FeatureSpec()

# hidden size, layers, heads, kv heads, intermediate size, experts, per token, tp, label
STUDIED = {
    "llama-2-7b": (4096, 32, 32, 32, 11008, 1, 1, 1, 1),
    "llama-2-70b": (8192, 80, 64, 8, 28672, 1, 1, 4, 2),
    "codellama-34b": (8192, 48, 64, 8, 22016, 1, 1, 2, 0),
    "mixtral-8x7b-v0-1": (4096, 32, 32, 8, 14336, 8, 2, 2, 3),
}
BALANCE = {
    None: 989.5e12 / (3.35e12 * 0.82),
    "h100": 989.5e12 / (3.35e12 * 0.82),
    "a100": 312e12 / (2.039e12 * 0.8),
}
COUNTS = [
    "batch.prefill_tokens",
    "batch.decode_tokens",
    "batch.scheduled_tokens",
    "batch.num_prefill_reqs",
    "batch.num_decode_reqs",
    "queue.running_depth",
    "kv.blocks_total_gpu",
    "kv.blocks_free_gpu",
]
NAMES = [
    "f_prefill_tokens",
    "f_decode_tokens",
    "f_scheduled_tokens",
    "f_num_prefill_reqs",
    "f_num_decode_reqs",
    "f_kv_gpu_usage",
    "f_kv_blocks_used",
    "f_kv_blocks_free",
    "f_running_depth",
    "f_kv_pressure",
    "f_prefill_fraction",
    "f_decode_fraction",
    "f_is_mixed_batch",
    "f_is_pure_prefill",
    "f_total_flops_estimate",
    "f_arithmetic_intensity",
    "f_compute_bound_indicator",
    "f_prefill_compute_intensity",
    "f_decode_memory_intensity",
    "f_attention_flops_ratio",
    "f_gemm_flops_ratio",
    "f_active_param_ratio",
    "f_model_id",
    "f_tp_degree",
    "f_is_moe",
    "f_prefill_x_decode",
    "f_kv_pressure_x_decode_reqs",
    "f_intensity_x_moe",
    "f_prefill_x_kv_usage",
    "f_batch_size_x_kv_pressure",
]


def expected_row(row: dict[str, Any]) -> list[float]:
    """The thirty values of one step, from the formulas alone."""

    def read(name: str, otherwise: float = 0.0) -> float:
        value = row.get(name)
        return otherwise if value is None or pd.isna(value) else float(value)

    d, layers, heads, kv_heads, f, experts, per_token, study_tp, label = STUDIED[row["model"]]
    t = read("tp", study_tp)
    d_kv = kv_heads * d / heads
    moe = per_token / experts
    prefill, decode, scheduled, n_p, n_d, running = (read(name) for name in COUNTS[:6])
    total, free, usage = read(COUNTS[6], 1.0), read(COUNTS[7]), read("kv.usage_gpu_ratio")

    def flops(tokens: float) -> float:
        attention = 2 * (d**2 + 2 * d * d_kv) + 2 * d**2
        return tokens * layers / t * (attention + 6 * d * f * moe)

    weights = 2 * layers / t * (d * (d + 2 * d_kv) + d**2 + 3 * d * f)
    used, at_least_one = total - free, max(scheduled, 1)
    pressure, intensity = used / max(total, 1), flops(scheduled) / max(weights, 1)
    is_moe = float(experts > 1)
    values = [prefill, decode, scheduled, n_p, n_d]
    values += [usage, used, free, running, pressure]
    values += [prefill / at_least_one, decode / at_least_one, n_p > 0 and n_d > 0, n_d == 0]
    values += [flops(scheduled), intensity, intensity > BALANCE[row.get("gpu")]]
    values += [flops(prefill) / max(weights, 1) if prefill else 0]
    values += [weights / max(flops(decode), 1) if decode else 0]
    values += [0, 1, moe, label, t, is_moe]
    values += [prefill * decode, pressure * n_d, intensity * is_moe, prefill * usage]
    values += [(n_p + n_d) * pressure]
    return [float(value) if math.isfinite(value) else 0.0 for value in values]


def expected(frame: pd.DataFrame) -> np.ndarray:
    rows = frame.astype(object).to_dict("records")
    return np.array([expected_row(row) for row in rows])


def physics(frame: pd.DataFrame, catalog: Catalog = CATALOG) -> pd.DataFrame:
    X, names = build_features(frame, PHYSICS, catalog)
    assert X.dtype == np.float64
    return pd.DataFrame(X, columns=list(names))


def assert_as_expected(frame: pd.DataFrame) -> None:
    found, wanted = physics(frame), expected(frame)
    for position, name in enumerate(NAMES):
        np.testing.assert_allclose(found[name], wanted[:, position], rtol=1e-9, err_msg=name)


def step(**values: Any) -> pd.DataFrame:
    """One step in which every column has a value of its own."""
    base: dict[str, Any] = {"model": "llama-2-70b", "gpu": "h100", "tp": 4}
    base |= dict(zip(COUNTS, [100, 40, 140, 3, 40, 45, 31_356, 30_000], strict=True))
    base |= {"kv.usage_gpu_ratio": 0.043}
    return pd.DataFrame([base | {k.replace("__", "."): v for k, v in values.items()}])


count = st.integers(0, 50_000)
some_steps = st.lists(
    st.fixed_dictionaries(
        {"model": st.sampled_from(list(STUDIED)), "tp": st.sampled_from([1, 2, 4, 8])}
        | {name: st.one_of(st.just(0), count, st.none()) for name in COUNTS}
        | {"kv.usage_gpu_ratio": st.one_of(st.floats(0, 1), st.none())}
        | {"gpu": st.sampled_from(["h100", "a100"])}
    ),
    min_size=1,
    max_size=12,
)


def test_names_and_their_order_are_the_studys() -> None:
    assert [feature.name for feature in FEATURES] == NAMES
    assert len(set(NAMES)) == 30
    assert list(physics(step())) == NAMES


@given(some_steps)
def test_every_feature_is_what_the_formulas_say(rows: list[dict[str, Any]]) -> None:
    assert_as_expected(pd.DataFrame(rows))


@settings(max_examples=25)
@given(some_steps, st.lists(st.sampled_from([*COUNTS, "tp", "gpu", "kv.usage_gpu_ratio"])))
def test_missing_columns_read_as_the_study_reads_them(
    rows: list[dict[str, Any]], absent: list[str]
) -> None:
    assert_as_expected(pd.DataFrame(rows).drop(columns=list(set(absent))))


@pytest.mark.parametrize("dtype", ["Int64", "float64", "object"])
def test_a_null_reads_alike_in_any_dtype(dtype: str) -> None:
    frame = pd.concat([step()] * 2, ignore_index=True)
    for name in COUNTS:
        frame[name] = pd.Series([7, None], dtype=dtype)
    assert_as_expected(frame)
    assert physics(frame)["f_kv_blocks_used"].tolist() == [0.0, 1.0]


def test_every_feature_is_as_expected_on_recorded_steps(shared_data: Path) -> None:
    files = sorted((shared_data / "vllm-steps").glob("*.parquet"))
    assert len(files) == 2
    frame = pd.concat([pd.read_parquet(file) for file in files], ignore_index=True)
    assert len(frame) == 13_433
    assert_as_expected(frame)
    found = physics(frame)
    constant = [name for name in NAMES if found[name].nunique() == 1]
    # Both recordings are of dense models; whatever else is constant has lost its input.
    assert set(constant) == {
        "f_attention_flops_ratio",
        "f_gemm_flops_ratio",
        "f_active_param_ratio",
        "f_is_moe",
        "f_intensity_x_moe",
    }


def test_a_hand_computes_the_same_for_one_step() -> None:
    found = physics(step()).iloc[0]
    # llama-2-70b: 80 layers, d 8192, dkv 1024, f 28672, on 4 GPUs
    per_token = 80 / 4 * (2 * (8192**2 + 2 * 8192 * 1024) + 2 * 8192**2 + 6 * 8192 * 28672)
    weights = 2 * 80 / 4 * (8192 * 10240 + 8192**2 + 3 * 8192 * 28672)
    assert found["f_total_flops_estimate"] == pytest.approx(140 * per_token)
    assert found["f_arithmetic_intensity"] == pytest.approx(140 * per_token / weights)
    assert found["f_kv_blocks_used"] == 1356
    assert found["f_is_mixed_batch"] == 1
    assert found["f_prefill_fraction"] == pytest.approx(100 / 140)


def test_a_batch_turns_compute_bound_at_the_balance_of_its_own_gpu() -> None:
    # A dense model does one FLOP per byte of weights and token: the balance counts in tokens.
    frame = pd.concat(
        [
            step(gpu=gpu, batch__scheduled_tokens=tokens)
            for gpu, tokens in [("a100", 191), ("a100", 192), ("h100", 360), ("h100", 361)]
        ]
    )
    assert physics(frame)["f_compute_bound_indicator"].tolist() == [0, 1, 0, 1]
    h100_alone = physics(frame.drop(columns="gpu"))["f_compute_bound_indicator"]
    assert h100_alone.tolist() == [0, 0, 0, 1]


def test_a_step_of_nothing_divides_by_nothing() -> None:
    empty = step(**dict.fromkeys(COUNTS, 0), kv__usage_gpu_ratio=0.0)
    found = physics(empty).iloc[0]
    assert np.isfinite(found).all()
    assert found["f_is_pure_prefill"] == 1
    assert found["f_prefill_fraction"] == found["f_kv_pressure"] == 0


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_what_is_not_finite_becomes_zero(value: float) -> None:
    found = physics(step(batch__prefill_tokens=value, batch__decode_tokens=0.0)).iloc[0]
    assert found["f_prefill_tokens"] == found["f_prefill_x_decode"] == 0
    assert np.isfinite(found).all()


def test_what_overflows_float32_becomes_zero_in_float32() -> None:
    frame = step(batch__prefill_tokens=1e300)
    X, names = build_features(frame, PHYSICS, CATALOG, dtype=np.float32)
    assert X.dtype == np.float32
    assert X[0, names.index("f_prefill_tokens")] == 0
    assert np.isfinite(X).all()


@pytest.mark.parametrize("rows", [1, 3, 7, 1000])
def test_blocks_of_rows_give_what_all_rows_give(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    models = list(STUDIED) * 5
    frame = pd.concat(
        [step(model=m, batch__prefill_tokens=i) for i, m in enumerate(models)], ignore_index=True
    )
    whole = physics(frame)
    monkeypatch.setattr(table, "BLOCK_ROWS", rows)
    pd.testing.assert_frame_equal(physics(frame), whole, check_exact=True)


def test_a_model_outside_the_study_has_its_own_physics_and_the_label_of_no_other() -> None:
    found = physics(step(model="meta-llama/Meta-Llama-3-8B", tp=1)).iloc[0]
    assert found["f_model_id"] == -1
    weights = 2 * 32 * (4096 * (4096 + 2 * 1024) + 4096**2 + 3 * 4096 * 14336)
    assert found["f_arithmetic_intensity"] == pytest.approx(
        found["f_total_flops_estimate"] / weights
    )


def test_models_under_other_names_are_the_same_models() -> None:
    named = pd.concat([step(model=n) for n in ("llama-2-70b", "meta-llama/Llama-2-70b-hf")])
    found = physics(named)
    assert (found.iloc[0] == found.iloc[1]).all()


def test_entries_a_study_adds_are_used() -> None:
    model = ModelSpec(
        name="tiny",
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=8,
        num_key_value_heads=8,
        intermediate_size=128,
    )
    gpu = GpuSpec(
        name="x1",
        peak_bf16_flops=200e12,
        memory_bandwidth=1e12,
        bandwidth_efficiency=1.0,
        memory_bytes=10**9,
    )
    catalog = load_catalog([model], [gpu])
    frame = pd.concat(
        [step(model="tiny", gpu="X1", tp=1, batch__scheduled_tokens=s) for s in (200, 201)]
    )
    assert physics(frame, catalog)["f_compute_bound_indicator"].tolist() == [0, 1]


# Rows the formulas cannot be written for ----------------------------------------------


@pytest.mark.parametrize(
    ("frame", "fault"),
    [
        (step(model="lama-2-70b"), "unknown model 'lama-2-70b'; did you mean 'llama-2-70b'"),
        (step(gpu="h1000"), "unknown gpu 'h1000'; did you mean 'h100'"),
        (step(model=None), "column 'model' is empty in 1 rows"),
        (pd.concat([step(), step(gpu=None)]), "column 'gpu' is empty in 1 rows"),
        (step().drop(columns="model"), "physics-30 needs the column 'model', and the data has"),
        (step(batch__prefill_tokens="many"), "column 'batch.prefill_tokens' holds .*'many'"),
        (step(tp=0), "column 'tp' holds 0; a degree is at least 1"),
        (pd.concat([step(), step(tp=-2)]), "column 'tp' holds -2; a degree is at least 1"),
        (
            step(model="llama-3-8b").drop(columns="tp"),
            "rows without 'tp', and no .* is published for model 'llama-3-8b'; add the column",
        ),
        (
            pd.concat([step(), step(model="llama-3-8b", tp=None)]),
            "rows without 'tp', and no .* is published for model 'llama-3-8b'; add the column",
        ),
    ],
)
def test_rows_without_physics_are_refused_on_one_line(frame: pd.DataFrame, fault: str) -> None:
    with pytest.raises(DataError, match=fault) as caught:
        physics(frame)
    assert "\n" not in str(caught.value)


def test_a_feature_is_said_to_be_available_where_its_inputs_are() -> None:
    for feature in FEATURES:
        uses_recording = any(word in feature.name for word in ("kv", "running"))
        assert (feature.available == "trace-only") == uses_recording, feature.name
    metadata = {feature.name for feature in FEATURES if feature.available == "metadata"}
    frame = pd.concat([step(), step(**dict.fromkeys(COUNTS, 1), kv__usage_gpu_ratio=1.0)])
    found = physics(frame)
    assert all(found[name].nunique() == 1 for name in metadata)
    assert all(feature.unit for feature in FEATURES)
