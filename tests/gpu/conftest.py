"""The embedded study, cut to size, on either device."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from gpucv.features import build_table
from gpucv.folds import plan_folds
from gpucv.study import study_from_dict

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpucv.features import FeatureTable
    from gpucv.folds import FoldTask
    from gpucv.machine import Device

    Planned = tuple[FeatureTable, list[FoldTask]]

DATA = Path(__file__).resolve().parents[2] / "data" / "study.parquet"


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> Device:
    """Every test that asks for it runs on the CPU, and with ``-m gpu`` on the GPU."""
    found: Device = request.param
    return found


@pytest.fixture(scope="session")
def steps() -> pd.DataFrame:
    """The first 300 steps of each of the 16 experiments."""
    whole = pd.read_parquet(DATA)
    return whole.groupby("experiment_id").head(300).reset_index(drop=True)


@pytest.fixture
def planned(steps: pd.DataFrame) -> Callable[..., Planned]:
    """Return the table and folds (four models, four workloads) of one predictor on a device."""

    def make(device: Device, predictor: dict[str, Any], **sections: Any) -> Planned:
        raw = {"predictors": [predictor], "data": {"constants": {"gpu": "h100"}}, **sections}
        loaded = study_from_dict(raw, base=Path())
        table = build_table(steps, loaded.study, loaded.catalog, on=device)
        return table, list(plan_folds(loaded.study, table, device))

    return make
