"""The embedded study as committed, and a small one made afresh."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from gpucv.traces.synth import synthesize

if TYPE_CHECKING:
    from gpucv.traces.synth import SynthReport

STUDY = Path(__file__).resolve().parents[3] / "data" / "study.parquet"


@pytest.fixture(scope="session")
def study_path() -> Path:
    return STUDY


@pytest.fixture(scope="session")
def study(study_path: Path) -> pd.DataFrame:
    return pd.read_parquet(study_path)


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> SynthReport:
    return synthesize(tmp_path_factory.mktemp("synth") / "small.parquet", rows=2000)
