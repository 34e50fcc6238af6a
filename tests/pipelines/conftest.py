"""A table whose truth is known: 4 models x 2 GPUs x 25 rows, time = light x slowness x noise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gpucv.features import FeatureTable
from gpucv.pipelines import Examples, Inputs, Setting, examples_of, inputs_of_rows
from gpucv.splits import GroupLabels
from gpucv.study import PredictorSpec

if TYPE_CHECKING:
    from collections.abc import Callable

TREES = {"n_estimators": 20, "min_child_weight": 1.0, "subsample": 1.0, "colsample_bytree": 1.0}
MODELS = np.repeat(["a", "b", "c", "d"], 50)
GPUS = np.tile(np.repeat(["g0", "g1"], 25), 4)


@pytest.fixture
def table() -> FeatureTable:
    draw = np.random.default_rng(11)
    tokens = draw.integers(1, 2000, 200)
    width = np.repeat([1.0, 2.0, 4.0, 8.0], 50)
    light = tokens * width * np.tile(np.repeat([0.02, 0.01], 25), 4) + 3.0
    slow = np.repeat([1.5, 1.6, 1.7, 1.8], 50) * draw.lognormal(0.0, 0.05, 200)
    X = np.column_stack([tokens, width, draw.normal(size=200)]).astype(np.float32)
    labels = np.char.add(np.char.add(MODELS, "-"), GPUS)
    return FeatureTable(
        X=X,
        y=light * slow,
        feature_names=("tokens", "width", "noise"),
        keys={
            "model": GroupLabels.from_values(MODELS),
            "gpu": GroupLabels.from_values(GPUS),
            "experiment_id": GroupLabels.from_values(labels),
        },
        step_id=np.tile(np.arange(25), 8),
        fingerprint="0" * 64,
        tokens={"tokens": "rises", "width": "fixed", "noise": "mixed"},
        sol_us=light,
    )


@pytest.fixture
def setting_of() -> Callable[..., Setting]:
    def make(table: FeatureTable, **more: Any) -> Setting:
        given: dict[str, Any] = {
            "seed": 3,
            "threads": 1,
            "device": "cpu",
            "early_stopping_rounds": 0,
            "group": ("model",),
            "experiment": "experiment_id",
        }
        return Setting(**{**given, **more}, table=table)

    return make


@pytest.fixture
def setting(table: FeatureTable, setting_of: Callable[..., Setting]) -> Setting:
    return setting_of(table)


@pytest.fixture
def spec() -> Callable[..., PredictorSpec]:
    """Return a small xgboost, or whatever is said instead."""

    def make(**said: Any) -> PredictorSpec:
        params = {} if said.get("name", "xgboost") != "xgboost" else {"params": TREES}
        return PredictorSpec(**{**params, **said})

    return make


@pytest.fixture
def held_out() -> Callable[..., tuple[Examples, Inputs, np.ndarray]]:
    """Part a table: the rows to learn from, those of one label to predict, and their times."""

    def part(
        table: FeatureTable, column: str = "model", label: str = "d"
    ) -> tuple[Examples, Inputs, np.ndarray]:
        key = table.keys[column]
        out = key.codes == key.names.index(label)
        rows = np.flatnonzero(out)
        return examples_of(table, np.flatnonzero(~out)), inputs_of_rows(table, rows), table.y[rows]

    return part
