from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

import gpucv
from gpucv.export import ArtifactSet
from gpucv.workflow.exported_rows import open_subject
from gpucv.workflow.exporting import ExportRequest, export_set

if TYPE_CHECKING:
    from collections.abc import Callable

REPOSITORY = Path(__file__).resolve().parents[2]
PARAMS = {"n_estimators": 12, "max_depth": 4}


@pytest.fixture(scope="session")
def steps() -> pd.DataFrame:
    """Two models x two workloads, 150 steps each, of the embedded study."""
    whole = pd.read_parquet(REPOSITORY / "data" / "study.parquet")
    kept = whole["model"].isin(["mixtral-8x7b-v0-1", "llama-2-7b"])
    kept &= whole["workload"].isin(["general", "codegen"])
    return whole[kept].groupby("experiment_id").head(150).reset_index(drop=True)


@pytest.fixture(scope="session")
def run_folder(steps: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of six formulations, some of which no simulator can compute."""
    folder = tmp_path_factory.mktemp("exported")
    steps.to_parquet(folder / "steps.parquet")
    learnt = {"name": "xgboost", "params": PARAMS}
    gpucv.run(
        {
            "name": "exported",
            "data": {"steps": [str(folder / "steps.parquet")], "audit": "off"},
            "predictors": [
                {**learnt, "label": "scale-free", "features": "transfer", "transform": "log"}
                | {"smearing": True, "floor": 0.05},
                {**learnt, "label": "layered", "features": "transfer", "transform": "ratio"}
                | {"baseline": "layered-roofline", "monotone": True},
                {**learnt, "label": "over blackbox", "features": "transfer", "transform": "ratio"}
                | {"baseline": "blackbox"},
                {**learnt, "label": "over constant", "features": "transfer", "transform": "ratio"}
                | {"baseline": "constant"},
                {**learnt, "label": "published", "transform": "raw"},
                {**learnt, "label": "utilised", "features": "transfer"}
                | {"transform": "utilisation"},
            ],
            "execution": {"device": "cpu", "workers": 2, "threads_per_fold": 1},
        },
        out=folder / "run",
    )
    return folder / "run"


@pytest.fixture(scope="session")
def export(run_folder: Path) -> Callable[..., list[str]]:
    """Export the run into a folder; return what was said."""

    def call(out: Path, **request: Any) -> list[str]:
        said: list[str] = []
        subject = open_subject(run_folder, unverified=False)
        export_set(subject, out, ExportRequest(**request), said.append)
        return said

    return call


@pytest.fixture(scope="session")
def made_set(export: Callable[..., list[str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good set, not to be written to."""
    out = tmp_path_factory.mktemp("sets") / "good"
    export(out)
    return out


@pytest.fixture
def copied(made_set: Path, tmp_path: Path) -> Path:
    """A copy of the good set, to be damaged."""
    shutil.copytree(made_set, tmp_path / "set")
    return tmp_path / "set"


@pytest.fixture
def opened(made_set: Path) -> ArtifactSet:
    return ArtifactSet.load(made_set, trusted=True)
