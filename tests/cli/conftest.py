from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd
import pytest
import tomli_w

from gpucv.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EMBEDDED = Path(__file__).resolve().parents[2] / "data" / "study.parquet"


class Outcome(NamedTuple):
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str


@pytest.fixture
def gpucv(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Callable[..., Outcome]]:
    """Run one command in this process, in the folder `tmp_path`."""
    monkeypatch.chdir(tmp_path)
    before = signal.getsignal(signal.SIGTERM)

    def call(*words: Any) -> Outcome:
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        out, err = capfd.readouterr()
        return Outcome(int(ended.value.code or 0), out, err)

    yield call
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="session")
def few_steps() -> pd.DataFrame:
    """Two models x two workloads, 40 steps each, of the embedded study."""
    whole = pd.read_parquet(EMBEDDED)
    kept = whole["model"].isin(["codellama-34b", "llama-2-7b"])
    kept &= whole["workload"].isin(["general", "codegen"])
    return whole[kept].groupby("experiment_id").head(40).reset_index(drop=True)


@pytest.fixture
def study(few_steps: pd.DataFrame, tmp_path: Path) -> Path:
    """A study file of four folds that takes a moment, beside its data."""
    few_steps.to_parquet(tmp_path / "steps.parquet")
    content = {
        "name": "few-steps",
        "data": {"steps": ["steps.parquet"]},
        "predictors": [{"params": {"n_estimators": 5}}],
        "execution": {"workers": 2, "threads_per_fold": 1},
    }
    path = tmp_path / "study.toml"
    path.write_text(tomli_w.dumps(content), encoding="utf-8")
    return path
