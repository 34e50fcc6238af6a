from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import tomli_w

from gpucv.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import pandas as pd


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


@pytest.fixture
def study(few_steps: pd.DataFrame, tmp_path: Path) -> Path:
    """A study file of four folds that takes a moment, beside its data."""
    few_steps.to_parquet(tmp_path / "steps.parquet")
    content = {
        "name": "few-steps",
        "data": {"steps": ["steps.parquet"], "audit": "off"},
        "predictors": [{"params": {"n_estimators": 5}}],
        "execution": {"workers": 2, "threads_per_fold": 1},
    }
    path = tmp_path / "study.toml"
    path.write_text(tomli_w.dumps(content), encoding="utf-8")
    return path
