from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

import gpucv

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def study(few_steps: pd.DataFrame, tmp_path: Path) -> dict[str, Any]:
    """A study of four folds that takes a moment."""
    few_steps.to_parquet(tmp_path / "steps.parquet")
    return {
        "name": "few-steps",
        "data": {"steps": [str(tmp_path / "steps.parquet")], "audit": "off"},
        "predictors": [{"params": {"n_estimators": 5}}],
        "execution": {"workers": 2, "threads_per_fold": 1},
    }


@pytest.fixture
def run(study: dict[str, Any], tmp_path: Path) -> Callable[..., gpucv.Result]:
    """Run the study, with sections laid over it, into `tmp_path/<out>`."""

    def start(out: str = "run", limit: int | None = None, **sections: Any) -> gpucv.Result:
        return gpucv.run({**study, **sections}, out=tmp_path / out, limit=limit)

    return start


@pytest.fixture
def results_of(tmp_path: Path) -> Callable[..., dict[str, bytes]]:
    """Return everything a run computed that must not depend on when or where it ran."""

    def read(out: str = "run") -> dict[str, bytes]:
        root = tmp_path / out
        untimed = pd.read_csv(root / "folds.csv").drop(columns=["fit_s", "predict_s"])
        names = ["predictions.parquet", "verdict.json", "experiments.csv", "importance.csv"]
        models = sorted(root.glob("folds/*/model.ubj"))
        return {
            **{name: (root / name).read_bytes() for name in names},
            **{str(path.relative_to(root)): path.read_bytes() for path in models},
            "folds.csv": untimed.to_csv().encode(),
        }

    return read
