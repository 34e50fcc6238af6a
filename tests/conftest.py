from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of public data sets; tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("GPUCV_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no public data at {folder}; set GPUCV_SHARED_DATA to its folder")
    return folder


@pytest.fixture(scope="session")
def few_steps() -> pd.DataFrame:
    """Two models x two workloads, 40 steps each, of the embedded study."""
    whole = pd.read_parquet(REPOSITORY / "data" / "study.parquet")
    kept = whole["model"].isin(["codellama-34b", "llama-2-7b"])
    kept &= whole["workload"].isin(["general", "codegen"])
    return whole[kept].groupby("experiment_id").head(40).reset_index(drop=True)
