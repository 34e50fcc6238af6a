"""The rows that `gpucv bench` trains on: the embedded study's shape, at any size.

A few thousand steps are simulated (`gpucv.traces.synth`) and drawn again as often as asked
for, their times shaken, so that ten million rows cost seconds and not an hour. Features are
the real ones; wider tables repeat them shuffled, which costs a tree as much as any feature.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gpucv import schema
from gpucv.catalog import load_catalog
from gpucv.errors import EnvironmentFaultError
from gpucv.features import build_table, move_arrays
from gpucv.study import study_from_dict
from gpucv.traces.synth import synthesize

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gpucv.features import FeatureTable
    from gpucv.machine import Device
    from gpucv.study import Study

__all__ = [
    "BYTES_PER_ROW",
    "Workload",
    "build",
    "draw_steps",
    "most_rows",
    "simulate_steps",
    "study_of",
]

SIMULATED_ROWS = 20_000
BYTES_PER_ROW = 750
"""Of the steps, sorted once more, and 30 features of theirs: what building a table takes."""
_BYTES_PER_FEATURE = 12
_BASE_BYTES = 400 * 2**20
_SHARE = 0.8
_PART = "part"
_NOISE = 0.02
_TEXT = (schema.EXPERIMENT, schema.MODEL, schema.WORKLOAD, schema.GPU)


@dataclass(frozen=True, slots=True)
class Workload:
    """What is trained: rows, features, rounds, folds, and on which device."""

    rows: int
    features: int
    rounds: int
    folds: int
    device: Device

    def to_json(self) -> dict[str, Any]:
        """Return the fields by name."""
        return asdict(self)

    @classmethod
    def from_json(cls, held: Mapping[str, Any]) -> Workload:
        """Read what `to_json` returned."""
        return cls(**held)


def most_rows(free_bytes: int, features: int) -> int:
    """Return how many rows a machine with so much free memory can be measured with.

    Four fifths of what is free are planned with: beside the table, folds hold binned copies.
    """
    each = BYTES_PER_ROW + _BYTES_PER_FEATURE * max(0, features - 30)
    return max(0, int((_SHARE * free_bytes - _BASE_BYTES) / each))


def study_of(workload: Workload) -> Study:
    """Return the study of a workload: equal parts of the rows, each held out once."""
    return study_from_dict(
        {
            "name": "bench",
            "data": {"audit": "off"},
            "schemes": [{"name": "parts", "hold_out": _PART}],
            "predictors": [{"params": {"n_estimators": workload.rounds}}],
            "execution": {"device": workload.device},
        },
        base=Path(),
    ).study


def simulate_steps(path: Path) -> None:
    """Write the steps that every workload is drawn from; the same ones every time."""
    synthesize(path, rows=SIMULATED_ROWS)


def draw_steps(path: Path, workload: Workload) -> pd.DataFrame:
    """Draw a workload's steps, evenly and in order, and share them out among the folds."""
    known = pd.read_parquet(path)
    for name in _TEXT:
        known[name] = known[name].astype("category")
    rows = workload.rows
    steps = known.iloc[np.arange(rows) * len(known) // rows].reset_index(drop=True)
    shaken = np.random.default_rng(0).normal(1.0, _NOISE, rows)
    steps[schema.STEP_ID] = np.arange(rows)
    steps[schema.DURATION_US] = steps[schema.DURATION_US] * np.abs(shaken)
    # Every part has steps of every experiment, as a table of many recordings would.
    part = (np.arange(rows) % workload.folds).astype(np.int16)
    steps[_PART] = pd.Categorical(part).rename_categories(lambda code: f"part {code}")
    return steps


def build(steps: pd.DataFrame, workload: Workload) -> FeatureTable:
    """Compute the features of drawn steps, on the device where that is a GPU.

    Raises
    ------
    EnvironmentFaultError
        If the device is a GPU and nothing installed can hold a table there.
    """
    table = build_table(steps, study_of(workload), load_catalog(), on=workload.device)
    if workload.device == "cuda" and table.device is None:
        msg = "device 'cuda' needs CuPy to hold rows there; pip install gpucv[cuda12]"
        raise EnvironmentFaultError(msg)
    return table if table.X.shape[1] == workload.features else _widened(table, workload.features)


def _widened(table: FeatureTable, features: int) -> FeatureTable:
    """Return the table with so many features: the first ones, or more of the same, shuffled."""
    rows, had = table.X.shape
    X = np.empty((rows, features), dtype=np.float32)
    random = np.random.default_rng(1)
    for at in range(features):
        column = table.X[:, at % had]
        X[:, at] = column if at < had else column[random.permutation(rows)]
    names = tuple(f"f{at}" for at in range(features))
    moved = None if table.device is None else move_arrays(X, table.y)
    return replace(table, X=X, feature_names=names, views={}, tokens={}, device=moved)
