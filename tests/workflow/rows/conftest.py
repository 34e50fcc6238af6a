from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from gpucv.study import study_from_dict
from gpucv.workflow.rows import read_rows

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gpucv.workflow.rows import StudyRows

    Rows = Callable[..., StudyRows]


@pytest.fixture
def kernels() -> pd.DataFrame:
    """Labels that first appear out of their order; a flag, whole and broken numbers."""
    draw = np.random.default_rng(3)
    table = pd.DataFrame(
        {
            "card": np.tile(["h100", "a100", "b200"], 40),
            "recording": np.tile(["z", "m", "a", "k"], 30),
            "op": np.repeat(["up", "down"], 60),
            "size": np.tile([1, 2, 4, 8], 30),
            "scale": np.tile([0.1, 0.25], 60),
            "fused": np.tile([True, False, True, True, False], 24),
        }
    )
    table["t_us"] = table["size"] * 10.0 * draw.lognormal(0, 0.05, 120)
    return table


@pytest.fixture
def rows_of(kernels: pd.DataFrame, tmp_path: Path) -> Rows:
    """Read the rows of a study over a table, the kernels by default, with keys of its data."""

    def start(table: pd.DataFrame | None = None, **data: Any) -> StudyRows:
        (kernels if table is None else table).to_parquet(tmp_path / "kernels.parquet")
        more = {key: data.pop(key) for key in ("features", "schemes", "seed") if key in data}
        study = {
            "data": {"steps": ["kernels.parquet"], "target": "t_us", "audit": "off", **data},
            "features": {"columns": ["size"]},
            "schemes": [{"name": "cards", "hold_out": "card"}],
            **more,
        }
        return read_rows(study_from_dict(study, base=tmp_path))

    return start


@pytest.fixture
def step_rows(few_steps: pd.DataFrame, tmp_path: Path) -> Rows:
    """Read the rows of a step study over a table, the few steps by default."""

    def start(table: pd.DataFrame | None = None, **data: Any) -> StudyRows:
        (few_steps if table is None else table).to_parquet(tmp_path / "steps.parquet")
        more = {key: data.pop(key) for key in ("features", "schemes") if key in data}
        study = {
            "data": {"steps": ["steps.parquet"], "audit": "off", **data},
            "schemes": [{"name": "lomo", "hold_out": "model"}],
            **more,
        }
        return read_rows(study_from_dict(study, base=tmp_path))

    return start
