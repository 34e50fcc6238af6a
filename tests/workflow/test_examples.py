"""The studies of examples/ on public data: they run, and what they say of it holds."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

import gpucv
from gpucv.study import load_study
from gpucv.workflow import prepare

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpucv.workflow import PreparedStudy

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
FOLDERS = {
    "aiconfigurator-gemm": "aiconfigurator",
    "splitwise-token-time": "splitwise",
    "vidur-attn_pre_proj": "vidur",
    "vidur-mlp_up_proj": "vidur",
    "vllm-cycle-time": "vllm-steps",
}


def overrides(name: str, shared: Path, trees: int = 20) -> tuple[str, ...]:
    """What makes an example find the public data, and finish in seconds."""
    where = [str(shared / FOLDERS[name])]
    more = ["execution.workers=2", "execution.threads_per_fold=1"]
    if name == "aiconfigurator-gemm":
        where = [str(shared / "aiconfigurator" / "[ab][16]0*")]  # a100_sxm and b60
        more.append("data.sample=20000")
    raw = load_study(EXAMPLES / f"{name}.toml").study
    for at, predictor in enumerate(raw.predictors):
        if predictor.name == "xgboost":
            more.append(f"predictors.{at}.params.n_estimators={trees}")
    return (f"data.steps={json.dumps(where)}", *more)


@pytest.fixture(scope="module")
def ran(
    shared_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], gpucv.Result]:
    """Run an example once."""
    results: dict[str, gpucv.Result] = {}

    def result(name: str) -> gpucv.Result:
        if name not in results:
            loaded = load_study(EXAMPLES / f"{name}.toml", overrides(name, shared_data))
            results[name] = gpucv.run(loaded, out=tmp_path_factory.mktemp(name) / "run")
        return results[name]

    return result


def mape(actual: pd.Series[float], predicted: float) -> float:
    return float((predicted - actual).abs().div(actual).mean() * 100)


def gaps_of(result: gpucv.Result) -> dict[tuple[str, str, str], dict[str, Any]]:
    """Return every optimism gap by predictor, transform and scheme."""
    kept = json.loads((result.path / "verdict.json").read_text(encoding="utf-8"))
    return {
        (each["predictor"], each["transform"], gap["scheme"]): gap
        for each in kept["verdicts"]
        for gap in each["optimism_gaps"]
    }


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_example_loads_under_its_own_name(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert load_study(path).study.name == path.stem
    elsewhere = {"few-shot-vidur", "h2-per-experiment", "h3-generalization"}
    elsewhere |= {"vidur-donors", "vidur-own-scores"}
    assert path.stem in {*FOLDERS, *elsewhere}
    assert all(at.startswith("../") for at in re.findall(r'^steps = \["(.*)"\]', text, re.M))
    for command in re.findall(r"gpucv run (\S+)", text):
        assert command == f"examples/{path.name}"
    shown = re.search(r"--set (data\.steps=)'(\[.*\])'", text)
    if shown:
        steps = load_study(path, (shown.group(1) + shown.group(2),)).study.data.steps
        assert list(steps) == json.loads(shown.group(2))


@pytest.mark.parametrize("name", sorted(set(FOLDERS) - {"aiconfigurator-gemm"}))
def test_an_example_is_found_from_the_root_of_the_project(
    name: str, shared_data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "data").symlink_to(shared_data)
    (tmp_path / "project" / "examples").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "project")
    text = (EXAMPLES / f"{name}.toml").read_text(encoding="utf-8")
    (tmp_path / "project" / "examples" / "study.toml").write_text(text, encoding="utf-8")
    prepared: PreparedStudy = prepare(load_study("examples/study.toml"))
    assert {source.path.split("/shared/data/")[1].split("/")[0] for source in prepared.sources} == {
        FOLDERS[name]
    }


@pytest.mark.parametrize("name", sorted(FOLDERS))
def test_an_example_runs_to_a_verdict_with_its_gap(
    name: str, ran: Callable[[str], gpucv.Result]
) -> None:
    result = ran(name)
    folds = result.folds
    assert set(folds["status"]) == {"ok"}
    assert np.isfinite(folds["test_mape"]).all()
    study = load_study(EXAMPLES / f"{name}.toml").study
    assert set(folds["scheme"]) == {scheme.name for scheme in study.schemes}
    gaps = gaps_of(result)
    schemes = [scheme.name for scheme in study.schemes if scheme.name != "random"]
    assert set(gaps) == {(p.title, p.transform, s) for p in study.predictors for s in schemes}
    mean = folds.groupby(["predictor", "transform", "scheme"])["test_mape"].mean()
    for (predictor, transform, scheme), gap in gaps.items():
        of = mean[predictor, transform]
        assert gap["gap_points"] == pytest.approx(of[scheme] - of["random"])
    findings = (result.path / "FINDINGS.md").read_text(encoding="utf-8")
    gap = gaps[study.predictors[0].title, study.predictors[0].transform, schemes[0]]
    assert "## Optimism gap" in findings
    assert f"{gap['gap_points']:+.1f}" in findings


@pytest.mark.parametrize("name", ["vidur-mlp_up_proj", "vidur-attn_pre_proj"])
def test_vidurs_shapes_are_kept_apart_as_brute_force_says(
    name: str, ran: Callable[[str], gpucv.Result], shared_data: Path
) -> None:
    tables = []
    for path in sorted((shared_data / "vidur").glob("*/*/*/mlp.csv")):
        raw = pd.read_csv(path)
        degree = raw["num_tensor_parallel_workers"]
        if name == "vidur-mlp_up_proj":
            n = raw["n_expanded_embd"] * np.where(raw["use_gated_mlp"], 2, 1) / degree
        else:
            width = raw["n_embd"] / raw["n_head"]
            n = (raw["n_head"] + 2 * raw["n_kv_head"]) * width / degree
        tables.append(pd.DataFrame({"model": path.parent.name, "n": n, "k": raw["n_embd"]}))
    rows = pd.concat(tables)
    left_out = {}
    for model, mine in rows.groupby("model"):
        shapes = set(zip(mine["n"], mine["k"], strict=True))
        others = rows[rows["model"] != model]
        left_out[str(model)] = sum(
            shape in shapes for shape in zip(others["n"], others["k"], strict=True)
        )
    folds = ran(name).folds.query("scheme == 'lomo-shape-disjoint' and transform == 'log'")
    assert sorted(folds["n_left_out"]) == sorted(left_out.values())
    assert (folds["n_left_out"] + folds["n_train"] + folds["n_test"] == len(rows)).all()
    if name == "vidur-mlp_up_proj":  # of the four models at hand none share an MLP
        assert set(left_out.values()) == {0}
    else:
        assert sorted(left_out.values()) == [0, 0, 2088, 2088]


def test_the_cycle_study_is_the_arithmetic_of_its_pairs(
    ran: Callable[[str], gpucv.Result], shared_data: Path
) -> None:
    cycles = {}
    for path in sorted((shared_data / "vllm-steps").glob("*.parquet")):
        raw = pd.read_parquet(path).set_index("step.id")["step.ts_start_ns"].sort_index()
        following = raw.reindex(raw.index + 1).to_numpy()
        cycle = pd.Series((following - raw.to_numpy()) / 1000.0, index=raw.index).dropna()
        cycles["codellama-34b" if "codellama" in path.name else "llama-2-70b"] = cycle
    result = ran("vllm-cycle-time")
    assert result.manifest["rows"] == sum(map(len, cycles.values())) == 1309
    constant = result.folds.query("predictor == 'constant' and scheme == 'lomo'")
    scores = dict(zip(constant["holdout"], constant["test_mape"], strict=True))
    assert set(scores) == set(cycles)
    for held_out, other in (tuple(cycles), tuple(cycles)[::-1]):
        learnt = cycles[other].iloc[: len(cycles[other]) - int(len(cycles[other]) * 0.25)]
        assert scores[held_out] == pytest.approx(mape(cycles[held_out], learnt.median()), rel=1e-4)
    plain = result.folds.query("scheme == 'lomo' and transform != 'ratio'")
    plain = plain[plain["predictor"].isin(["xgboost", "constant"])]
    assert plain["test_mape"].between(10, 40).all()


def test_splitwise_learns_from_no_copied_row(
    ran: Callable[[str], gpucv.Result], shared_data: Path
) -> None:
    result = ran("splitwise-token-time")
    raw = pd.read_csv(shared_data / "splitwise" / "perf_model.csv")
    times = raw.groupby("hardware")[["prompt_time", "token_time"]].median()
    same = times.loc["h100-80gb-pcap"] / times.loc["h100-80gb"]
    assert same.tolist() == pytest.approx([1.3, 1.0], rel=1e-3)
    real = raw[raw["hardware"] != "h100-80gb-pcap"]
    point = ["model", "hardware", "tensor_parallel", "prompt_size", "batch_size", "token_size"]
    assert result.manifest["rows"] == len(real.groupby(point)) == 152
    gpus = result.folds.query("scheme == 'leave-one-gpu-out'")["holdout"]
    assert set(gpus) == {"a100", "h100"}
    assert not result.predictions["experiment_id"].str.contains("pcap").any()


def test_aiconfigurator_drops_what_no_memory_allows_and_draws_the_rest(
    ran: Callable[[str], gpucv.Result],
) -> None:
    result = ran("aiconfigurator-gemm")
    said = {note["code"]: note["message"] for note in result.manifest["notes"]}
    found = re.match(r"left out ([\d,]+) of ([\d,]+) rows", said["below_floor"])
    assert found
    below, rows = (int(each.replace(",", "")) for each in found.groups())
    assert result.audit is not None
    figures = result.audit.targets[0].figures
    assert below == figures["rows_faster_than_light"] > 0
    assert said["sampled"].startswith(f"20,000 of {rows - below:,} rows drawn")
    assert result.manifest["rows"] == 20_000
    by_gpu = result.folds.query("scheme == 'leave-one-gpu-out'")
    assert set(by_gpu["holdout"]) == {"a100", "b60"}
    assert set(by_gpu.groupby(["predictor", "transform"])["n_test"].sum()) == {20_000}
    assert all(math.isfinite(value) for value in by_gpu["test_mape"])


def test_the_example_says_how_much_it_draws(shared_data: Path) -> None:
    import pyarrow.parquet as pq

    files = (shared_data / "aiconfigurator").glob("*/gemm/*/*/gemm_perf.parquet")
    rows = sum(pq.read_metadata(path).num_rows for path in files)
    assert rows == 7_821_676
    sample = load_study(EXAMPLES / "aiconfigurator-gemm.toml").study.data.sample
    assert round(rows / sample) == 8
