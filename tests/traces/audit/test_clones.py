from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from gpucv.traces.audit import clones as module
from gpucv.traces.audit.clones import clones

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpucv.traces.audit.result import Finding
    from gpucv.traces.audit.subject import Subject

    Make = Callable[..., pd.DataFrame]
    Subjects = Callable[..., Subject]


@pytest.fixture
def measured(gemms: Make) -> Callable[..., pd.DataFrame]:
    """Sixty products on one GPU, measured: with noise of its own."""

    def make(gpu: str, seed: int, **columns: object) -> pd.DataFrame:
        table = gemms(60, gpu=gpu, **columns)
        noise = np.random.default_rng(seed).normal(1, 0.01, 60)
        return table.assign(latency_us=table["latency_us"] * noise)

    return make


def found(subject: Subject) -> list[Finding]:
    return clones(subject, "latency_us")


def test_measured_gpus_are_no_clones(measured: Make, subject_of: Subjects) -> None:
    assert found(subject_of(pd.concat([measured("h100", 1), measured("h200", 2)]))) == []


def test_a_gpu_computed_from_another_is_found_with_its_factors(
    measured: Make, subject_of: Subjects
) -> None:
    prompt, token = measured("h100", 1, op="prompt"), measured("h100", 2, op="token")
    capped = [
        prompt.assign(gpu="capped", latency_us=prompt["latency_us"] * 1.3),
        token.assign(gpu="capped"),
    ]
    table = pd.concat([prompt, token, measured("h200", 3, op="prompt"), *capped])
    (finding,) = found(subject_of(table))
    assert (finding.code, finding.level) == ("clone", "warning")
    assert finding.message.startswith(
        "gpu capped = h100 x 1.3 for prompt, x 1 for token, to six digits, in 120 of 120 points"
    )
    assert "never hold it out on its own" in finding.message
    assert finding.figures["groups"] == ["h100", "capped"]
    assert [block["factor"] for block in finding.figures["blocks"]] == [1.3, 1.0]


def test_labels_that_restate_the_group_keep_no_copy_apart(
    measured: Make, subject_of: Subjects
) -> None:
    table = measured("h100", 1, device="NVIDIA H100", build="x1")
    copy = table.assign(gpu="copy", device="NVIDIA H100", build="y1")
    other = measured("h200", 2, device="NVIDIA H200", build="y2")
    again = table.assign(gpu="again", device="again", build="z1")
    pairs = [each.figures["groups"] for each in found(subject_of(pd.concat([table, copy, other])))]
    assert pairs == [["h100", "copy"]]
    assert len(found(subject_of(pd.concat([table, copy, again])))) == 3


def test_repeats_are_matched_by_their_medians(measured: Make, subject_of: Subjects) -> None:
    repeats = [measured("h100", seed) for seed in range(3)]
    middle = np.median([each["latency_us"] for each in repeats], axis=0)
    copy = repeats[0].assign(gpu="copy", latency_us=middle * 1.1)
    (finding,) = found(subject_of(pd.concat([*repeats, copy])))
    assert finding.figures["blocks"][0]["factor"] == 1.1


@pytest.mark.parametrize(("points", "told"), [(20, 1), (19, 0)])
def test_twenty_points_are_needed(
    points: int, told: int, measured: Make, subject_of: Subjects
) -> None:
    table = measured("h100", 1)
    copy = table.assign(gpu="copy").head(points)
    assert len(found(subject_of(pd.concat([table, copy])))) == told


@pytest.mark.parametrize(("spoilt", "told"), [(3, 1), (4, 0)])
def test_a_few_points_may_have_been_measured_again(
    spoilt: int, told: int, measured: Make, subject_of: Subjects
) -> None:
    table, copy = measured("h100", 1), measured("h100", 1).assign(gpu="copy")
    copy.loc[: spoilt - 1, "latency_us"] *= 1.00001
    assert len(found(subject_of(pd.concat([table, copy])))) == told


def test_one_copied_version_among_measured_ones_is_found(
    measured: Make, subject_of: Subjects
) -> None:
    old = [measured(gpu, seed, engine="x", engine_version="1") for seed, gpu in enumerate("ab")]
    new = measured("a", 3, engine="x", engine_version="2")
    (finding,) = found(subject_of(pd.concat([*old, new, new.assign(gpu="b")])))
    assert finding.message.endswith("(in x 2)")
    assert "in 60 of 120 points" in finding.message


def test_one_copied_model_among_measured_ones_is_found(
    measured: Make, subject_of: Subjects
) -> None:
    first = [measured(gpu, seed, model="m1") for seed, gpu in enumerate("ab")]
    second = measured("a", 3, model="m2")
    table = pd.concat([*first, second, second.assign(gpu="b")])
    (finding,) = [each for each in found(subject_of(table)) if each.figures["column"] == "gpu"]
    assert [block["model"] for block in finding.figures["blocks"]] == ["m2"]


def test_other_groups_can_be_clones_too(measured: Make, subject_of: Subjects) -> None:
    for column in ("model", "engine", "engine_version", "workload"):
        table = measured("h100", 1).assign(**{column: "one"})
        (finding,) = found(subject_of(pd.concat([table, table.assign(**{column: "two"})])))
        assert finding.figures["column"] == column
    table = measured("h100", 1).assign(tp=1)
    (finding,) = found(subject_of(pd.concat([table, table.assign(tp=2)])))
    assert finding.figures["groups"] == ["1", "2"]


def test_large_tables_are_searched_by_a_sample_first(
    measured: Make, subject_of: Subjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(1)
    table = pd.concat([measured("h100", n, n=4096 + n) for n in range(20)])
    other = table.assign(gpu="h200", latency_us=table["latency_us"] * rng.normal(1, 0.01, 1200))
    whole = pd.concat([table, other, table.assign(gpu="copy")])
    everything = found(subject_of(whole))
    monkeypatch.setattr(module, "SAMPLED_ABOVE", 1000)
    sampled = found(subject_of(whole))
    assert sampled == everything
    assert sampled[0].figures["points"] == 1200


def test_the_capped_gpu_of_splitwise_is_a_clone(shared_data: object, subject_of: Subjects) -> None:
    wide = pd.read_csv(f"{shared_data}/splitwise/perf_model.csv")
    shape = ["model", "hardware", "tensor_parallel", "prompt_size", "batch_size", "token_size"]
    parts = [
        wide[shape].assign(op=op, latency_us=wide[f"{op}_time"] * 1000.0)
        for op in ("prompt", "token")
    ]
    table = pd.concat(parts).rename(columns={"hardware": "gpu", "tensor_parallel": "tp"})
    (finding,) = found(subject_of(table))
    assert finding.figures["groups"] == ["h100-80gb", "h100-80gb-pcap"]
    blocks = finding.figures["blocks"]
    assert {block["op"]: (block["factor"], block["points"]) for block in blocks} == {
        "prompt": (1.3, 76),
        "token": (1.0, 76),
    }
