from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from gpucv.errors import TraceError
from gpucv.traces.audit import AuditScope, below_floor, weight_read_us
from gpucv.traces.audit.floor import assumed_gpu, weight_floor

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpucv.catalog import Catalog
    from gpucv.traces.audit.subject import Subject

    Make = Callable[..., pd.DataFrame]
    Subjects = Callable[..., Subject]

TARGET = "step.duration_us"
# 7B: 32 layers of 4 x 4096^2 + 3 x 4096 x 11008 BF16 weights, and the output head.
FLOOR_7B = 2 * (32 * (4 * 4096**2 + 3 * 4096 * 11008) + 32_000 * 4096) / 3.35e12 * 1e6


def test_the_floor_is_layers_and_head_over_the_bandwidth(catalog: Catalog) -> None:
    gpu = catalog.gpus.get("h100")
    assert weight_read_us(catalog.models.get("llama-2-7b"), gpu, 1) == pytest.approx(FLOOR_7B)
    seventy = catalog.models.get("llama-2-70b")
    assert weight_read_us(seventy, gpu, 4) == pytest.approx(weight_read_us(seventy, gpu, 1) / 4)


def test_one_row_in_twenty_below_the_floor_is_tolerated(steps: Make, subject_of: Subjects) -> None:
    times = np.array([FLOOR_7B - 1] * 5 + [FLOOR_7B + 1] * 95)
    judged = weight_floor(subject_of(steps(100, **{TARGET: times})), TARGET)
    assert judged is not None
    assert (judged.level, judged.decides) == ("pass", True)
    assert judged.figures["share_below_floor"] == 0.05
    times[5] = FLOOR_7B - 1
    judged = weight_floor(subject_of(steps(100, **{TARGET: times})), TARGET)
    assert judged is not None
    assert judged.level == "fail"
    assert "6.0% of 100 rows are shorter than a GPU needs to read the model's weights once" in (
        judged.reason
    )
    assert f"llama-2-7b tp1 on h100 {FLOOR_7B:,.0f} us" in judged.reason


def test_one_bad_recording_is_told_beside_good_ones(steps: Make, subject_of: Subjects) -> None:
    bad = steps(30, experiment_id="bad", **{TARGET: [10.0] * 3 + [20_000.0] * 27})
    judged = weight_floor(subject_of(pd.concat([steps(300), bad])), TARGET)
    assert judged is not None
    assert judged.level == "warn"
    assert "but 10.0% in bad" in judged.reason
    assert judged.figures["share_below_floor_by_experiment"] == {"e1": 0.0, "bad": 0.1}


def test_only_rows_that_run_the_model_are_judged(steps: Make, subject_of: Subjects) -> None:
    tokens = {"batch.scheduled_tokens": [0] * 50 + [5] * 50}
    table = steps(100, **{TARGET: [10.0] * 50 + [20_000.0] * 50}, **tokens)
    judged = weight_floor(subject_of(table), TARGET)
    assert judged is not None
    assert (judged.level, judged.figures["rows_with_floor"]) == ("pass", 50)
    judged = weight_floor(subject_of(table.drop(columns="batch.scheduled_tokens")), TARGET)
    assert judged is not None
    assert judged.figures["rows_below_floor"] == 50


def test_a_gpu_in_the_table_goes_before_the_default(steps: Make, subject_of: Subjects) -> None:
    # 3.5 ms: above the floor of an H200, below that of an H100.
    table = steps(10, gpu=["h200"] * 5 + [None] * 5, **{TARGET: 3_500.0})
    subject = subject_of(table, default_gpu="h100")
    judged = weight_floor(subject, TARGET)
    assert judged is not None
    assert judged.figures["rows_below_floor"] == 5
    (finding,) = assumed_gpu(subject)
    assert (finding.code, finding.level, finding.figures["rows"]) == ("gpu_assumed", "info", 5)
    assert assumed_gpu(subject_of(steps(10), default_gpu="h100")) == []
    assert assumed_gpu(subject_of(table)) == []


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"model": "unheard of"}, "model unheard of is not in the catalog"),
        ({"gpu": "unheard of"}, "GPU unheard of is not known"),
        ({"gpu": None}, "GPU none is not known"),
        ({"tp": 0}, "tp 0 is no number of GPUs"),
        ({"tp": np.nan}, "tp none is no number of GPUs"),
    ],
)
def test_what_is_not_known_is_told(
    columns: dict[str, object], reason: str, steps: Make, subject_of: Subjects
) -> None:
    judged = weight_floor(subject_of(steps(10, **columns)), TARGET)
    assert judged is not None
    assert judged.level == "unknown"
    assert reason in judged.reason


def test_a_table_without_configurations_has_no_floor(steps: Make, subject_of: Subjects) -> None:
    judged = weight_floor(subject_of(steps(10).drop(columns="tp")), TARGET)
    assert judged is not None
    assert (judged.level, judged.reason) == (
        "unknown",
        "no roofline floor: the table has no column 'tp'",
    )
    renamed = steps(10).rename(columns={TARGET: "ms"})
    assert weight_floor(subject_of(renamed, targets=("ms",)), "ms") is None


def test_real_durations_are_no_gpu_steps_and_real_cycles_are(
    real_steps: pd.DataFrame, raw_steps: pd.DataFrame, subject_of: Subjects
) -> None:
    layers = {"llama-2-70b-tp4": (80, 28_672, 4), "codellama-34b-tp2": (48, 22_016, 2)}
    floor = pd.Series(0.0, index=raw_steps.index)
    for name, (count, width, tp) in layers.items():
        layer = 8192 * (8192 + 2 * 1024) + 8192**2 + 3 * 8192 * width
        moved = 2 * (count * layer + 32_000 * 8192)
        floor[raw_steps["name"].str.contains(name)] = moved / tp / 3.35e12 * 1e6
    runs = raw_steps["batch.scheduled_tokens"] > 0
    subject = subject_of(real_steps, default_gpu="h100")
    duration, cycle = (weight_floor(subject, name) for name in (TARGET, "step.cycle_us"))
    assert duration is not None
    assert cycle is not None
    expected = (raw_steps[TARGET] < floor)[runs].mean()
    assert duration.figures["share_below_floor"] == expected
    assert expected == pytest.approx(0.975, abs=5e-4)
    assert duration.level == "fail"
    recorded = runs & raw_steps["cycle"].notna()
    expected = (raw_steps["cycle"] < floor)[recorded].mean()
    assert cycle.figures["share_below_floor"] == expected
    assert expected == pytest.approx(0.0015, abs=5e-5)
    assert cycle.level == "pass"


def test_the_mask_holds_the_steps_that_are_counted(catalog: Catalog, steps: Make) -> None:
    times = np.array([FLOOR_7B - 1, FLOOR_7B + 1, np.nan, FLOOR_7B / 2])
    frame = steps(4, **{TARGET: times, "batch.scheduled_tokens": np.array([9, 9, 9, 0])})
    below = below_floor(frame, TARGET, catalog, AuditScope((TARGET,)))
    assert below.tolist() == [True, False, False, False]


def test_the_mask_of_measurements_is_faster_than_light(catalog: Catalog) -> None:
    frame = pd.DataFrame({"latency_us": [1.0, 3.0, 1.0], "sol_us": [2.0, 2.0, np.nan]})
    below = below_floor(frame, "latency_us", catalog, AuditScope(("latency_us",)))
    assert below.tolist() == [True, False, False]
    assert not below_floor(frame[["latency_us"]], "latency_us", catalog, AuditScope()).any()


def test_weights_of_fewer_bits_have_a_lower_floor(steps: Make, subject_of: Subjects) -> None:
    times = [FLOOR_7B * 0.6] * 50
    judged = {
        dtype: weight_floor(subject_of(steps(50, dtype=dtype, **{TARGET: times})), TARGET)
        for dtype in ("bfloat16", "fp8", None, "nf3")
    }
    levels = {dtype: each.level for dtype, each in judged.items() if each is not None}
    assert levels == {"bfloat16": "fail", "fp8": "pass", None: "fail", "nf3": "unknown"}
    assert judged["fp8"] is not None
    floors = judged["fp8"].figures["floor_us"]
    assert floors == {"llama-2-7b tp1 on h100 in fp8": pytest.approx(FLOOR_7B / 2)}
    assert judged["nf3"] is not None
    assert "number format nf3 is not in the catalog" in judged["nf3"].reason


def test_the_larger_of_weights_and_own_speed_of_light_is_the_floor(
    steps: Make, subject_of: Subjects, catalog: Catalog
) -> None:
    light = [FLOOR_7B * 3, FLOOR_7B / 3, np.nan, FLOOR_7B * 3] * 10
    models = ["llama-2-7b"] * 3 + ["unheard of"]
    times = FLOOR_7B * 2
    table = steps(40, model=models * 10, sol_us=light, **{TARGET: times})
    below = [True, False, False, True] * 10
    scope = AuditScope((TARGET,))
    assert below_floor(table, TARGET, catalog, scope).tolist() == below
    half = table.assign(**{TARGET: FLOOR_7B / 2})
    assert below_floor(half, TARGET, catalog, scope).all()
    judged = weight_floor(subject_of(table), TARGET)
    assert judged is not None
    assert (judged.level, judged.figures["rows_below_floor"]) == ("fail", 20)
    assert judged.figures["rows_with_speed_of_light"] == 30
    assert "us) or for the work of their batch (sol_us); it is likely" in judged.reason
    assert judged.figures["floor_unknown"] == ["model unheard of is not in the catalog"]


def test_a_speed_of_light_is_a_floor_without_any_configuration(
    steps: Make, subject_of: Subjects
) -> None:
    table = steps(40, sol_us=30_000.0).drop(columns=["model", "tp"])
    judged = weight_floor(subject_of(table), TARGET)
    assert judged is not None
    assert judged.level == "fail"
    assert judged.reason.startswith(
        "100.0% of 40 rows are shorter than a GPU needs for the work of their batch (sol_us)"
    )


def test_experts_split_otherwise_have_no_weight_floor(steps: Make, subject_of: Subjects) -> None:
    def rows_with_floor(**columns: object) -> int:
        judged = weight_floor(subject_of(steps(40, tp=4, **columns)), TARGET)
        assert judged is not None
        return int(judged.figures.get("rows_with_floor", 0))

    ways = [4, 8, None, 1] * 10
    assert rows_with_floor(model="mixtral-8x7b", moe_tp=ways) == 20
    assert rows_with_floor(model="mixtral-8x7b") == 40
    assert rows_with_floor(model="llama-2-7b", moe_tp=ways) == 40
    judged = weight_floor(subject_of(steps(40, tp=4, model="mixtral-8x7b", moe_tp=8)), TARGET)
    assert judged is not None
    assert "splits its experts otherwise than the rest (moe_tp 8, tp 4)" in judged.reason


def test_what_is_no_time_has_no_floor(steps: Make, catalog: Catalog) -> None:
    table = steps(5, **{"kv.usage_gpu_ratio": 0.5})
    with pytest.raises(TraceError, match=r"no floor for 'kv.usage_gpu_ratio': floors are times"):
        below_floor(table, "kv.usage_gpu_ratio", catalog, AuditScope())
