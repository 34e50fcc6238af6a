from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import gpucv

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pandas as pd


@pytest.fixture
def study(few_steps: pd.DataFrame, tmp_path: Path) -> dict[str, Any]:
    """A study of four short folds: two models, two predictors."""
    codegen = few_steps[few_steps["workload"] == "codegen"]
    codegen.to_parquet(tmp_path / "steps.parquet")
    return {
        "name": "few-steps",
        "data": {"steps": [str(tmp_path / "steps.parquet")], "audit": "off"},
        "schemes": [{"name": "lomo", "hold_out": "model"}],
        "predictors": [{"name": "constant"}, {"params": {"n_estimators": 5}}],
        "execution": {"workers": 1, "threads_per_fold": 1},
    }


@pytest.fixture
def results_of() -> Callable[[Path], dict[str, bytes]]:
    """Return everything a run folder holds that must not depend on when or how it ran."""

    def read(root: Path) -> dict[str, bytes]:
        result = gpucv.Result.load(root)
        names = ["predictions.parquet", "verdict.json", "experiments.csv", "importance.csv"]
        untimed = result.folds.drop(columns=["fit_s", "predict_s"])
        assert not list(root.rglob("*.tmp"))
        return {
            **{name: (root / name).read_bytes() for name in names},
            **{str(p.relative_to(root)): p.read_bytes() for p in root.glob("folds/*/model.ubj")},
            "folds.csv": untimed.to_csv().encode(),
        }

    return read


@pytest.fixture
def undisturbed(
    study: dict[str, Any], tmp_path: Path, results_of: Callable[[Path], dict[str, bytes]]
) -> dict[str, bytes]:
    """What the study computes when nothing goes wrong."""
    return results_of(gpucv.run(study, out=tmp_path / "undisturbed").path)
