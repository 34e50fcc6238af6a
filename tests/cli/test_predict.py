from __future__ import annotations

import io
import json
import tomllib
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
import tomli_w

from gpucv.export import ArtifactSet

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MODEL = ("--model", "llama-2-7b")


@pytest.fixture
def artifacts(gpucv: Callable[..., Any], study: Path) -> Path:
    """A set of a study that was not run."""
    content = tomllib.loads(study.read_text(encoding="utf-8"))
    content["predictors"] = [{"features": "transfer", "params": {"n_estimators": 5}}]
    study.write_text(tomli_w.dumps(content), encoding="utf-8")
    done = gpucv("export", study, "--out", "artifacts", "--unverified", "-q")
    assert done.code == 0, done.err
    return study.parent / "artifacts"


@pytest.fixture
def steps(few_steps: pd.DataFrame, tmp_path: Path) -> pd.DataFrame:
    mine = few_steps[few_steps["model"] == "llama-2-7b"].reset_index(drop=True)
    mine.to_parquet(tmp_path / "mine.parquet")
    return mine


def test_times_are_printed_as_csv_with_what_is_extrapolated(
    gpucv: Callable[..., Any], artifacts: Path, steps: pd.DataFrame
) -> None:
    done = gpucv("predict", "artifacts", "mine.parquet", *MODEL)
    assert done.code == 0, done.err
    table = pd.read_csv(io.StringIO(done.out))
    wanted = ArtifactSet.load(artifacts, trusted=True).model("llama-2-7b").predict(steps)
    assert list(table) == ["experiment_id", "step.id", "predicted_us", "outside"]
    assert table["predicted_us"].tolist() == wanted.us.tolist()
    assert table["outside"].tolist() == [0] * len(steps)
    assert "llama-2-7b/h100/tp1: 80 steps, 0 outside what it learnt from" in done.err


def test_times_go_to_a_file_and_json_to_stdout(
    gpucv: Callable[..., Any], artifacts: Path, steps: pd.DataFrame, tmp_path: Path
) -> None:
    words = ("artifacts", "mine.parquet", *MODEL, "-o", "times.csv", "--trusted", "-q")
    done = gpucv("predict", *words)
    assert (done.code, done.out, done.err) == (0, "times.csv\n", "")
    told = json.loads(gpucv("predict", *words, "--json").out)
    assert (told["artifact"], told["steps"]) == ("llama-2-7b/h100/tp1", 80)
    assert pd.read_csv(tmp_path / "times.csv")["predicted_us"].tolist() == told["predicted_us"]


def test_steps_of_another_model_are_told(
    gpucv: Callable[..., Any], artifacts: Path, steps: pd.DataFrame
) -> None:
    done = gpucv("predict", "artifacts", "steps.parquet", *MODEL)
    assert done.code == 0
    assert "steps of model codellama-34b are predicted as of llama-2-7b" in done.err


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("artifacts", "mine.parquet", "--model", "llama-2-7c"), 2, "did you mean 'llama-2-7b'"),
        (("nowhere", "mine.parquet", *MODEL), 3, "is nowhere an artifact set?"),
        (("artifacts", "none.parquet", *MODEL), 2, "none.parquet"),
        (("artifacts", "other.csv", *MODEL), 3, "none of the columns batch.prefill_tokens"),
        (("artifacts", "mine.parquet"), 2, "model"),
    ],
)
def test_what_cannot_be_predicted_is_one_line(
    gpucv: Callable[..., Any],
    artifacts: Path,
    steps: pd.DataFrame,
    words: tuple[str, ...],
    code: int,
    told: str,
) -> None:
    (artifacts.parent / "other.csv").write_text("a,b\n1,2\n")
    done = gpucv("predict", *words, "-q")
    assert (done.code, done.out) == (code, "")
    assert len(done.err.splitlines()) == 1
    assert told in done.err


def test_a_damaged_set_is_one_line(
    gpucv: Callable[..., Any], artifacts: Path, steps: pd.DataFrame
) -> None:
    place = artifacts / "models" / "0002.json"
    place.write_bytes(place.read_bytes()[:-1])
    done = gpucv("predict", "artifacts", "mine.parquet", *MODEL, "-q")
    assert done.code == 3
    assert len(done.err.splitlines()) == 1
    assert "0002.json" in done.err
