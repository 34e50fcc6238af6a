"""The example study over the embedded recording: what `make study` must show."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pandas as pd
import pytest

import gpucv

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "h3-generalization.toml"

PUBLISHED_ROWS = {  # scheme, holdout -> rows trained on, rows held out
    ("lomo", "codellama-34b"): (93_658, 29_094),
    ("lomo", "llama-2-70b"): (98_892, 23_860),
    ("lomo", "llama-2-7b"): (75_718, 47_034),
    ("lomo", "mixtral-8x7b-v0-1"): (99_988, 22_764),
    ("lowo", "codegen"): (85_725, 37_027),
    ("lowo", "general"): (92_188, 30_564),
    ("lowo", "reasoning"): (104_668, 18_084),
    ("lowo", "roleplay"): (85_675, 37_077),
}
PUBLISHED_EXPERIMENTS = {
    "20260217-155451-llama-2-7b-tp1-codegen": 15_588,
    "20260217-162547-llama-2-7b-tp1-roleplay": 15_216,
    "20260217-170634-llama-2-7b-tp1-reasoning": 4_966,
    "20260217-202857-llama-2-70b-tp4-general": 5_992,
    "20260217-203421-llama-2-70b-hf-tp4-codegen": 6_679,
    "20260217-231439-llama-2-7b-tp1-general": 11_264,
    "20260218-065057-llama-2-70b-hf-tp4-reasoning": 4_448,
    "20260218-084319-llama-2-70b-tp4-roleplay": 6_741,
    "20260218-120914-mixtral-8x7b-v0-1-tp2-codegen": 6_544,
    "20260218-130541-mixtral-8x7b-v0-1-tp2-general": 5_867,
    "20260218-135247-mixtral-8x7b-v0-1-tp2-reasoning": 3_676,
    "20260218-141024-mixtral-8x7b-v0-1-tp2-roleplay": 6_677,
    "20260218-150304-codellama-34b-tp2-general": 7_441,
    "20260218-150956-codellama-34b-tp2-codegen": 8_216,
    "20260218-155500-codellama-34b-tp2-roleplay": 8_443,
    "20260218-160939-codellama-34b-tp2-reasoning": 4_994,
}


def start(out: Path, *overrides: str) -> gpucv.Result:
    # One thread a fold: more threads gain nothing where folds run side by side.
    return gpucv.run(EXAMPLE, out=out, overrides=["execution.threads_per_fold=1", *overrides])


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> gpucv.Result:
    return start(tmp_path_factory.mktemp("h3") / "run")


def test_every_fold_trains_on_and_holds_out_the_published_rows(result: gpucv.Result) -> None:
    folds = result.folds.set_index(["scheme", "holdout"])
    assert list(folds.index) == list(PUBLISHED_ROWS)
    assert set(folds["status"]) == {"ok"}
    for fold, (n_train, n_test) in PUBLISHED_ROWS.items():
        assert tuple(folds.loc[fold, ["n_train", "n_test"]]) == (n_train, n_test)
        assert folds.loc[fold, "n_valid"] == int(n_train * 0.25)


def test_every_experiment_is_held_out_once_a_scheme(result: gpucv.Result) -> None:
    for _, rows in result.experiments.groupby("scheme"):
        counted = rows.set_index("experiment_id")["n_test"]
        assert counted.sort_index().to_dict() == PUBLISHED_EXPERIMENTS
        assert counted.index.is_unique


def test_the_verdict_is_not_supported(result: gpucv.Result) -> None:
    assert result.verdict.label == "not supported"
    assert result.verdict.worst is not None
    assert result.verdict.worst.worst_holdout == "llama-2-7b"


def test_llama_2_7b_is_the_worst_model_and_workloads_are_milder(result: gpucv.Result) -> None:
    lomo, lowo = (
        result.folds[result.folds["scheme"] == scheme].set_index("holdout")["test_mape"]
        for scheme in ("lomo", "lowo")
    )
    assert lomo.idxmax() == "llama-2-7b"
    assert lowo.mean() < lomo.mean()


def test_every_page_says_that_the_steps_are_synthetic(result: gpucv.Result) -> None:
    assert result.manifest["synthetic"] is True
    for name in ("FINDINGS.md", "report.html"):
        assert "synthetic" in (result.path / name).read_text(encoding="utf-8").lower()


def test_the_manifest_names_data_and_versions(result: gpucv.Result) -> None:
    (source,) = result.manifest["data"]
    data = EXAMPLE.parents[1] / "data" / "study.parquet"
    assert source["sha256"] == hashlib.sha256(data.read_bytes()).hexdigest()
    assert source["rows"] == result.manifest["rows"] == 122_752
    assert result.manifest["seed"] == 42


def test_a_second_run_computes_the_same_bits(result: gpucv.Result, tmp_path: Path) -> None:
    again = start(tmp_path / "again", "execution.workers=3")
    for name in ("predictions.parquet", "verdict.json", "experiments.csv", "importance.csv"):
        assert (again.path / name).read_bytes() == (result.path / name).read_bytes(), name
    seconds = ["fit_s", "predict_s"]
    pd.testing.assert_frame_equal(
        again.folds.drop(columns=seconds), result.folds.drop(columns=seconds), check_exact=True
    )
    keys = [
        (run.path / "plan.csv").read_text(encoding="utf-8").splitlines() for run in (result, again)
    ]
    assert keys[0] == keys[1]
    verdict = json.loads((again.path / "verdict.json").read_text(encoding="utf-8"))
    assert verdict["verdicts"][0]["label"] == "not supported"
