from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
import yaml

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def run(gpucv: Callable[..., Any], study: Path) -> Path:
    """A finished run whose predictor reads scale-free features."""
    features = 'predictors=[{features = "transfer", params = {n_estimators = 5}}]'
    assert gpucv("run", study, "--out", "run", "--device", "cpu", "--set", features).code == 0
    return study.parent / "run"


def test_export_writes_a_set_and_says_what_each_artifact_scored(
    gpucv: Callable[..., Any], run: Path, tmp_path: Path
) -> None:
    done = gpucv("export", run, "--per", "model", "--out", "artifacts")
    assert done.code == 0, done.err
    first, second, last = done.out.splitlines()
    assert first.startswith("codellama-34b/h100/tp2: 5 trees, ")
    assert "held-out MAPE: lomo codellama-34b " in first
    assert second.startswith("llama-2-7b/h100/tp1: 5 trees, ")
    assert last == "artifacts"
    assert (tmp_path / "artifacts" / "manifest.json").exists()


def test_json_is_one_object(gpucv: Callable[..., Any], run: Path) -> None:
    told = json.loads(gpucv("export", run, "-o", "artifacts", "--json", "-q").out)
    assert [each["id"] for each in told["artifacts"]] == [
        "codellama-34b/h100/tp2",
        "llama-2-7b/h100/tp1",
    ]
    folds = pd.read_csv(run / "folds.csv").set_index(["scheme", "holdout"])["test_mape"]
    scores = {e["scheme"]: e["mape"] for e in told["artifacts"][1]["held_out"]}
    assert scores["lomo"] == folds["lomo", "llama-2-7b"]
    assert told["artifacts"][0]["features"][0].startswith("t_")


def test_trace_only_features_end_with_3_and_one_line(
    gpucv: Callable[..., Any], study: Path
) -> None:
    assert gpucv("run", study, "--out", "run", "--device", "cpu", "-q").code == 0
    done = gpucv("export", "run", "--out", "artifacts", "-q")
    assert (done.code, done.out) == (3, "")
    assert len(done.err.splitlines()) == 1
    assert "f_kv_blocks_free" in done.err
    assert "lomo MAPE" in done.err
    done = gpucv("export", "run", "--out", "artifacts", "--drop-trace-only")
    assert done.code == 0
    assert "left out 8 trace-only features" in done.err


def test_a_study_needs_a_run_or_a_word(gpucv: Callable[..., Any], study: Path) -> None:
    done = gpucv("export", study, "--out", "artifacts")
    assert (done.code, len(done.err.splitlines())) == (2, 1)
    assert "--unverified" in done.err
    done = gpucv("export", study, "--out", "artifacts", "--unverified", "--drop-trace-only", "-q")
    assert done.code == 0, done.err
    assert "held-out MAPE: not known" in done.out


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["no-such-run", "--out", "a"], 2),
        (["no-such-run", "--out", "a", "--unverified"], 2),
        (["run", "--out", "run"], 4),
        (["run", "--out", "a", "--predictor", "ridge"], 2),
        (["run", "--out", "a", "--max-bytes", "10"], 3),
        (["run", "--out", "a", "--max-bytes", "-1"], 2),
        (["run", "--out", "a", "--per", "gpu"], 2),
        (["run", "--out", "a.yaml", "--format", "blis"], 2),
        (["run", "--out", "a.yaml", "--format", "blis", "--requests", "steps.parquet"], 2),
        (["run", "--out", "a.yaml", "--format", "blis", "--max-us", "2"], 2),
        (["run", "--out", "a", "--vllm-version", "0.15.1"], 2),
    ],
)
def test_what_cannot_be_done_is_one_line(
    gpucv: Callable[..., Any], run: Path, words: list[str], code: int
) -> None:
    done = gpucv("export", *words, "-q")
    assert (done.code, done.out) == (code, "")
    assert len(done.err.splitlines()) == 1


def test_coefficients_for_blis_are_printed_and_written(
    gpucv: Callable[..., Any], run: Path, tmp_path: Path
) -> None:
    words = ("--format", "blis", "--vllm-version", "0.15.1", "--out", "defaults.yaml", "-q")
    done = gpucv("export", run, *words)
    assert done.code == 0, done.err
    snippet, _, last = done.out.rstrip("\n").rpartition("\n")
    assert last == "defaults.yaml"
    items = yaml.safe_load(snippet)
    assert [each["id"] for each in items] == [
        "codellama/codellama-34b-instruct-hf",
        "meta-llama/llama-2-7b-hf",
    ]
    assert snippet.count("# held-out MAPE ") == 2
    assert yaml.safe_load((tmp_path / "defaults.yaml").read_text())["models"] == items
    read = gpucv("import", "blis", "defaults.yaml", "-o", "back.parquet", "-q")
    assert read.code == 0, read.err
    back = pd.read_parquet(tmp_path / "back.parquet")
    assert back["beta_0"].tolist() == [each["beta_coeffs"][0] for each in items]


def test_a_file_of_coefficients_is_not_written_over(
    gpucv: Callable[..., Any], run: Path, tmp_path: Path
) -> None:
    (tmp_path / "defaults.yaml").write_text("models: []\n")
    words = ("--format", "blis", "--vllm-version", "0.15.1", "--out", "defaults.yaml", "-q")
    done = gpucv("export", run, *words)
    assert (done.code, done.out) == (4, "")
    assert "defaults.yaml exists; choose another --out" in done.err
    assert (tmp_path / "defaults.yaml").read_text() == "models: []\n"
