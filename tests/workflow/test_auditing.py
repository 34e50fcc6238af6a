"""What the audit says of public recordings, against plain pandas and data sheets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from gpucv.catalog import load_catalog
from gpucv.errors import StudyError
from gpucv.schema import CYCLE_US, DURATION_US, SCHEDULE_US
from gpucv.study import study_from_dict
from gpucv.workflow.auditing import AuditedTraces, AuditRequest, audit_study, audit_traces

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from gpucv.traces.audit import Audit, TargetAudit

H100_BANDWIDTH = 3.35e12
A100_BANDWIDTH = 2.039e12
STEPS = "20260217-202857-llama-2-70b-tp4-general", "20260218-150304-codellama-34b-tp2-general"


def weights(layers: int, ff: int) -> int:
    """Weights of a model of width 8,192 with 8 key-value heads of 128, as BF16 bytes."""
    attention = 2 * 8192 * 8192 + 2 * 8192 * 1024
    return 2 * (layers * (attention + 3 * 8192 * ff) + 8192 * 32000)


FLOOR_US = {
    "llama-2-70b": weights(80, 28672) / 4 / H100_BANDWIDTH * 1e6,
    "codellama-34b": weights(48, 22016) / 2 / H100_BANDWIDTH * 1e6,
}


def audited(pattern: Path | str, **request: Any) -> AuditedTraces:
    from pathlib import Path

    return audit_traces(AuditRequest((str(pattern),), Path(), **request), load_catalog())


def target_of(found: AuditedTraces, name: str) -> TargetAudit:
    (target,) = [each for each in found.audit.targets if each.target == name]
    return target


def finding(audit: Audit, code: str) -> dict[str, Any]:
    (found,) = [each for each in audit.findings if each.code == code]
    return found.figures


@pytest.fixture(scope="module")
def steps(shared_data: Path) -> pd.DataFrame:
    """The raw recordings, with the cycle and the floor of each step, us."""
    parts = [pd.read_parquet(shared_data / "vllm-steps" / f"{name}.parquet") for name in STEPS]
    table = pd.concat(parts).reset_index(drop=True)
    nth = table.set_index(["experiment_id", "step.id"])["step.ts_start_ns"]
    following = nth.reindex([(name, step + 1) for name, step in nth.index]).to_numpy()
    table["cycle"] = (following - nth.to_numpy()) / 1000.0
    table["floor"] = np.where(
        table["experiment_id"].str.contains("70b"),
        FLOOR_US["llama-2-70b"],
        FLOOR_US["codellama-34b"],
    )
    return table


@pytest.fixture(scope="module")
def of_steps(shared_data: Path) -> AuditedTraces:
    return audited(shared_data / "vllm-steps")


def test_the_duration_of_the_public_steps_fails_and_the_cycle_passes(
    of_steps: AuditedTraces,
) -> None:
    verdicts = {each.target: each.verdict for each in of_steps.audit.targets}
    assert verdicts == {DURATION_US: "fail", SCHEDULE_US: "fail", CYCLE_US: "pass"}
    assert not of_steps.failed()


def test_the_share_below_the_floor_is_that_of_the_weights_by_hand(
    of_steps: AuditedTraces, steps: pd.DataFrame
) -> None:
    running = steps[steps["batch.scheduled_tokens"] > 0]
    for target, column in ((DURATION_US, "step.duration_us"), (CYCLE_US, "cycle")):
        timed = running[running[column].notna()]
        below = timed[column] < timed["floor"]
        figures = target_of(of_steps, target).figures
        assert (figures["rows_with_floor"], figures["rows_below_floor"]) == (
            len(timed),
            below.sum(),
        )
        assert figures["share_below_floor_by_experiment"] == pytest.approx(
            below.groupby(timed["experiment_id"]).mean().to_dict()
        )
    floors = target_of(of_steps, DURATION_US).figures["floor_us"]
    assert floors["llama-2-70b tp4 on h100"] == pytest.approx(FLOOR_US["llama-2-70b"])
    assert floors["codellama-34b tp2 on h100"] == pytest.approx(FLOOR_US["codellama-34b"])


def test_the_wall_time_explained_is_the_ratio_of_the_sums(
    of_steps: AuditedTraces, steps: pd.DataFrame
) -> None:
    paired = steps[steps["cycle"].notna()]
    figures = target_of(of_steps, DURATION_US).figures
    assert figures["explained_rows"] == len(paired) == 1309
    ratio = paired["step.duration_us"].sum() / paired["cycle"].sum()
    assert figures["explained_share"] == pytest.approx(ratio)
    sums = paired.groupby("experiment_id")[["step.duration_us", "cycle"]].sum()
    by_hand = (sums["step.duration_us"] / sums["cycle"]).to_dict()
    assert figures["explained_share_by_experiment"] == pytest.approx(by_hand)


def test_what_the_duration_follows_is_pearsons_r(
    of_steps: AuditedTraces, steps: pd.DataFrame
) -> None:
    figures = target_of(of_steps, DURATION_US).figures
    for name in ("queue.running_depth", "batch.scheduled_tokens"):
        assert figures["r_pooled"][name] == pytest.approx(
            steps["step.duration_us"].corr(steps[name])
        )
        for recording, rows in steps.groupby("experiment_id"):
            r = rows["step.duration_us"].corr(rows[name])
            assert figures["r_by_experiment"][recording][name] == pytest.approx(r)


def test_the_gpu_named_moves_the_floor(shared_data: Path, of_steps: AuditedTraces) -> None:
    figures = target_of(audited(shared_data / "vllm-steps", gpu="A100"), CYCLE_US).figures
    on_h100 = target_of(of_steps, CYCLE_US).figures
    assert figures["floor_us"]["llama-2-70b tp4 on a100"] == pytest.approx(
        FLOOR_US["llama-2-70b"] * H100_BANDWIDTH / A100_BANDWIDTH
    )
    assert figures["rows_below_floor"] > on_h100["rows_below_floor"]


def test_only_the_targets_named_are_judged(shared_data: Path) -> None:
    found = audited(shared_data / "vllm-steps", targets=(DURATION_US,))
    assert [each.target for each in found.audit.targets] == [DURATION_US]
    assert found.failed()


def test_the_copied_gpu_of_splitwise_is_named(shared_data: Path) -> None:
    clone = finding(audited(shared_data / "splitwise").audit, "clone")
    assert clone["groups"] == ["h100", "h100-80gb-pcap"]
    raw = pd.read_csv(shared_data / "splitwise" / "perf_model.csv")
    point = ["model", "tensor_parallel", "prompt_size", "batch_size", "token_size"]
    medians = raw.groupby([*point, "hardware"])[["prompt_time", "token_time"]].median().unstack()
    for block, time in zip(clone["blocks"], ("prompt_time", "token_time"), strict=True):
        ratio = (medians[time]["h100-80gb-pcap"] / medians[time]["h100-80gb"]).dropna()
        np.testing.assert_allclose(ratio, block["factor"], rtol=1e-6)
        assert block["points"] == block["matched_points"] == len(ratio) == 76


def light_us(m: pd.Series, n: pd.Series, k: pd.Series, sheet: tuple[float, float]) -> NDArray[Any]:
    """The least time of a 16-bit GEMM at a peak rate and a bandwidth, us."""
    peak, bandwidth = sheet
    m, n, k = (each.astype("float64") for each in (m, n, k))
    return np.maximum(2 * m * n * k / peak, 2 * (m * k + k * n + m * n) / bandwidth) * 1e6


@pytest.mark.parametrize("op", ["mlp_up_proj", "add"])
def test_vidurs_rows_faster_than_light_are_those_of_the_data_sheets(
    op: str, shared_data: Path
) -> None:
    sheets = {"a100": (312e12, A100_BANDWIDTH), "h100": (989e12, H100_BANDWIDTH)}
    faster: dict[str, int] = {}
    for path in sorted((shared_data / "vidur").glob("*/*/*/mlp.csv")):
        raw = pd.read_csv(path)
        name = path.relative_to(shared_data / "vidur")
        sheet, width = sheets[name.parts[0]], raw["n_embd"]
        if op == "add":  # reads two rows of 16 bits and writes one
            light = 3 * 2 * raw["num_tokens"] * width / sheet[1] * 1e6
        else:
            gated = raw["n_expanded_embd"] * np.where(raw["use_gated_mlp"], 2, 1)
            shard = gated / raw["num_tensor_parallel_workers"]
            light = light_us(raw["num_tokens"], shard, width, sheet)
        faster[str(name)] = int((raw[f"time_stats.{op}.median"] * 1000 < light).sum())
    study = {
        "data": {
            "steps": [str(shared_data / "vidur")],
            "target": "latency_us",
            "experiment": "source_file",
            "where": {"op": op},
        },
        "features": {"columns": ["bytes"]},
        "schemes": [{"name": "lomo", "hold_out": "model"}],
    }
    target = target_of(audit_study(study_from_dict(study, base=shared_data)), "latency_us")
    by_file = target.figures.get("faster_than_light_by_file", [])
    counted = {each["source_file"]: each["faster_than_light"] for each in by_file}
    assert counted == {name: count for name, count in faster.items() if count}
    assert target.figures["rows_with_speed_of_light"] == 8352
    assert target.figures["rows_faster_than_light"] == {"mlp_up_proj": 0, "add": 3015}[op]
    assert target.verdict == {"mlp_up_proj": "pass", "add": "warn"}[op]


@pytest.mark.slow
def test_aiconfigurators_rows_faster_than_light_are_counted_by_file(shared_data: Path) -> None:
    folder = shared_data / "aiconfigurator"
    systems = pd.read_csv(folder / "systems.csv").set_index("system")
    faster = []
    for path in sorted(folder.glob("[ahl]*/gemm/vllm/*/gemm_perf.parquet")):
        raw = pd.read_parquet(path).query("gemm_dtype == 'bfloat16'")
        system = systems.loc[path.relative_to(folder).parts[0]]
        sheet = (float(system["bfloat16_tc_flops"]), float(system["mem_bw"]))
        light = light_us(raw["m"], raw["n"], raw["k"], sheet)
        faster.append(int((raw["latency"] * 1000 < light).sum()))
    study = {
        "data": {
            "steps": [str(folder / "[ahl]*" / "gemm" / "vllm")],
            "target": "latency_us",
            "where": {"dtype": "bfloat16"},
        },
        "features": {"columns": ["m", "n", "k"]},
        "schemes": [{"name": "logo", "hold_out": "gpu"}],
    }
    found = audit_study(study_from_dict(study, base=folder))
    target = target_of(found, "latency_us")
    assert target.verdict == "warn"
    by_file = target.figures["faster_than_light_by_file"]
    worst = sorted(faster, reverse=True)[:10]
    assert [each["faster_than_light"] for each in by_file] == worst
    assert "l40s" in by_file[0]["source_file"]
    assert target.figures["rows_faster_than_light"] == sum(faster) > 1000


def test_a_study_is_audited_with_its_own_rows_whatever_it_does_with_the_verdict(
    few_steps: pd.DataFrame, tmp_path: Path
) -> None:
    few_steps.drop(columns="gpu").to_parquet(tmp_path / "steps.parquet")
    data = {"steps": ["steps.parquet"], "constants": {"gpu": "a100"}, "where": {"tp": 2}}
    for reaction in ("stop", "warn", "off"):
        study = {
            "data": {**data, "audit": reaction},
            "schemes": [{"name": "lowo", "hold_out": "workload"}],
        }
        found = audit_study(study_from_dict(study, base=tmp_path))
        (target,) = found.audit.targets
        assert (target.target, target.verdict, found.audit.rows) == (DURATION_US, "fail", 80)
        assert list(target.figures["floor_us"]) == ["codellama-34b tp2 on a100"]
        said = [note.message for note in found.notes]
        assert not any(reason in message for message in said for reason in target.reasons)
        assert found.failed()


def test_what_cannot_be_audited_is_refused(shared_data: Path) -> None:
    with pytest.raises(StudyError, match=r"'step.cycel_us' to judge; did you mean 'step.cycle_us'"):
        audited(shared_data / "vllm-steps", targets=("step.cycel_us",))
    with pytest.raises(StudyError, match="no GPU 'h1000' in the catalog; did you mean 'h100'"):
        audited(shared_data / "vllm-steps", gpu="h1000")
    with pytest.raises(StudyError, match=r"holds splitwise, .* holds vidur: rows of different"):
        audited(shared_data / "[sv]*i[td][wu]*")
