from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from gpucv.errors import TraceError
from gpucv.traces import Note
from gpucv.traces.audit import Audit, AuditScope, audit_table, floor, light, wall_time
from gpucv.traces.audit.result import Judgement, verdict_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpucv.catalog import Catalog

    Make = Callable[..., pd.DataFrame]


def test_the_published_target_fails_and_the_cycle_passes(
    real_steps: pd.DataFrame, catalog: Catalog
) -> None:
    bare = real_steps.drop(columns=["step.cycle_us", "step.schedule_us"])
    audit = audit_table(bare, catalog, AuditScope(default_gpu="h100"))
    verdicts = {each.target: each.verdict for each in audit.targets}
    assert verdicts == {
        "step.duration_us": "fail",
        "step.schedule_us": "fail",
        "step.cycle_us": "pass",
    }
    duration = audit.to_json()["targets"]["step.duration_us"]
    assert [reason.split()[0] for reason in duration["reasons"][:2]] == ["97.5%", "it"]
    assert "explains 13.8% of the wall time" in duration["reasons"][1]
    assert (
        duration["noise_floor"]["mape"]
        > 10 * (audit.to_json()["targets"]["step.cycle_us"]["noise_floor"]["mape"])
    )
    codes = [finding.code for finding in audit.findings]
    assert codes == ["cycle_us", "gpu_assumed", "constant_features", "same_shapes"]


def test_every_check_of_a_step_table_is_made(steps: Make, catalog: Catalog) -> None:
    rng = np.random.default_rng(1)
    depth = rng.integers(1, 100, 600)
    tokens = rng.integers(1, 4, 600)
    late = np.where(np.arange(600) < 400, 1.0, 1.5)
    times = (20_000 + 100.0 * depth) * late
    columns = {
        "step.duration_us": times,
        "step.ms": times / 1000,
        "queue.running_depth": depth * late,
        "batch.scheduled_tokens": tokens,
        "batch.decode_tokens": tokens,
        "batch.num_decode_reqs": tokens,
    }
    audit = audit_table(steps(600, **columns), catalog).to_json()
    (target,) = audit["targets"].values()
    reasons = " ".join(target["reasons"])
    assert "it follows queue.running_depth" in reasons
    assert "at equal batches it drifts" in reasons
    assert "no model of these columns goes below" in reasons
    assert {each["code"] for each in audit["findings"]} == {"leakage", "constant_features"}


def test_every_check_of_a_measurement_table_is_made(gemms: Make, catalog: Catalog) -> None:
    table = gemms(60)
    table.loc[0, "latency_us"] /= 1000
    copy = table.assign(gpu="b", source_file="b.parquet")
    audit = audit_table(pd.concat([table, table, copy]), catalog).to_json()
    assert "faster than the peak FLOP rate" in audit["targets"]["latency_us"]["reasons"][0]
    codes = [each["code"] for each in audit["findings"]]
    assert codes == [
        "duplicate_rows",
        "repeated_points",
        "constant_features",
        "clone",
        "copied_file",
    ]


def test_labels_may_be_text_or_categories(steps: Make, gemms: Make, catalog: Catalog) -> None:
    for table in (steps(60), pd.concat([gemms(60), gemms(60, gpu="h200", latency_us=9.0)])):
        labels = table.select_dtypes(exclude="number").columns
        coded = table.astype(dict.fromkeys(labels, "category"))
        assert audit_table(table, catalog) == audit_table(coded, catalog)


def test_the_worst_judgement_is_the_verdict_and_comes_first() -> None:
    good, bad = (
        Judgement("pass", "good", {"a": 1}, decides=True),
        Judgement("fail", "bad", {"b": 2}),
    )
    odd, lost, told = (Judgement(level, level) for level in ("warn", "unknown", "info"))
    audited = verdict_of("t", {"5": told, "1": good, "4": lost, "3": odd, "2": bad})
    assert (audited.verdict, audited.reasons) == (
        "fail",
        ("bad", "warn", "unknown", "good", "info"),
    )
    assert audited.figures == {"a": 1, "b": 2}
    levels = {"1": "pass", "2": "fail", "3": "warn", "4": "unknown", "5": "info"}
    assert audited.levels == levels
    assert verdict_of("t", {"1": good, "2": odd}).verdict == "warn"
    assert verdict_of("t", {"1": good, "2": lost, "3": told}).verdict == "pass"


def test_a_target_that_nothing_could_decide_is_unknown(steps: Make, catalog: Catalog) -> None:
    made = {"1": Judgement("info"), "2": Judgement("pass", "fine")}
    assert verdict_of("t", made).verdict == "unknown"
    (target,) = audit_table(steps(60, model="unheard of"), catalog).targets
    assert target.verdict == "unknown"
    assert "model unheard of is not in the catalog" in target.reasons[0]


def test_json_holds_no_nan(steps: Make, catalog: Catalog) -> None:
    table = steps(60, **{"queue.running_depth": 3, "batch.scheduled_tokens": 5})
    audit = audit_table(table, catalog).to_json()
    assert audit["targets"]["step.duration_us"]["r"]["queue.running_depth"] is None
    assert json.loads(json.dumps(audit, allow_nan=False)) == audit
    assert audit["rows"] == 60
    assert {"code", "level", "message"} <= set(audit["findings"][0])


def test_each_check_keeps_its_level_and_json_gives_it_back(
    real_steps: pd.DataFrame, catalog: Catalog
) -> None:
    audit = audit_table(real_steps, catalog, AuditScope(default_gpu="h100"))
    kept = json.loads(json.dumps(audit.to_json()))
    wrong = {"floor": "fail", "wall_time": "fail", "queue": "warn", "noise": "info"}
    assert {name: each["levels"] for name, each in kept["targets"].items()} == {
        "step.duration_us": wrong,
        "step.schedule_us": wrong,
        "step.cycle_us": {"floor": "pass", "wall_time": "pass", "queue": "info", "noise": "info"},
    }
    again = Audit.from_json(kept)
    assert [each.levels for each in again.targets] == [each.levels for each in audit.targets]
    del kept["targets"]["step.cycle_us"]["levels"]
    with pytest.raises(ValueError, match="no audit: KeyError: 'levels'"):
        Audit.from_json(kept)


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        (floor.level_of(0.05), "pass"),
        (floor.level_of(0.0501), "fail"),
        (light.level_of(0.0, 0.0), "pass"),
        (light.level_of(0.0001, 0.0), "warn"),
        (light.level_of(0.06, 0.05), "warn"),
        (light.level_of(0.06, 0.0501), "fail"),
        (wall_time.level_of(0.249), "fail"),
        (wall_time.level_of(0.25), "warn"),
        (wall_time.level_of(0.599), "warn"),
        (wall_time.level_of(0.6), "pass"),
        (wall_time.level_of(1.05), "pass"),
        (wall_time.level_of(1.06), "warn"),
    ],
)
def test_levels_change_at_the_documented_shares(level: str, expected: str) -> None:
    assert level == expected


def test_what_left_cycles_out_is_told_once(steps: Make, catalog: Catalog) -> None:
    note = Note("cycle_us", "step.cycle_us: 3 of 9 steps have their successor recorded", 3, "info")
    audit = audit_table(steps(60), catalog, notes=[note, note])
    told = [finding.message for finding in audit.findings if finding.code == "cycle_us"]
    assert told == [note.message]


def test_targets_are_found_or_named(steps: Make, catalog: Catalog) -> None:
    table = steps(60, ttft_us=30_000.0, other_us=40_000.0)
    found = [each.target for each in audit_table(table, catalog).targets]
    assert found == ["step.duration_us", "ttft_us"]
    named = audit_table(table, catalog, AuditScope(("other_us",))).targets
    assert [each.target for each in named] == ["other_us"]
    audit = audit_table(table[["model", "tp"]], catalog)
    assert (audit.targets, audit.findings[-1].code) == ((), "no_target")


@pytest.mark.parametrize(
    ("scope", "message"),
    [
        (
            AuditScope(("step.duration",)),
            "'step.duration' to audit; did you mean 'step.duration_us'",
        ),
        (AuditScope(features=("batch.decode",)), r"no column 'batch.decode' to audit"),
        (AuditScope(("model",)), r"target 'model' holds .*, which is no number"),
    ],
)
def test_columns_that_are_not_there_are_refused(
    scope: AuditScope, message: str, steps: Make, catalog: Catalog
) -> None:
    with pytest.raises(TraceError, match=message):
        audit_table(steps(10), catalog, scope)


def test_a_table_without_rows_is_refused(steps: Make, catalog: Catalog) -> None:
    with pytest.raises(TraceError, match="no rows to audit"):
        audit_table(steps(10).head(0), catalog)


@pytest.mark.parametrize("value", [np.nan, 0.0, np.inf])
def test_a_target_without_a_usable_time_is_unknown_and_breaks_nothing(
    value: float, steps: Make, gemms: Make, catalog: Catalog
) -> None:
    (target,) = audit_table(gemms(30, latency_us=value), catalog).targets
    assert target.verdict == "unknown"
    table = steps(30, **{"step.duration_us": value})
    (target,) = audit_table(table, catalog).targets
    assert target.verdict == ("fail" if value == 0.0 else "unknown")


def test_two_hundred_thousand_rows_take_seconds(gemms: Make, catalog: Catalog) -> None:
    parts = [gemms(20_000, gpu=f"gpu-{n}", source_file=f"{n}.parquet") for n in range(10)]
    noise = np.random.default_rng(1).normal(1, 0.01, 200_000)
    table = pd.concat(parts, ignore_index=True)
    table["latency_us"] *= noise
    started = time.perf_counter()
    audit_table(table, catalog)
    assert time.perf_counter() - started < 20
