"""The phases of one fold, each by itself, on one core of a CPU or on a GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gpucv.benchmark.workload import Workload, build, draw_steps
from gpucv.metrics import score
from gpucv.predictors import FitContext, make_predictor
from gpucv.predictors.matrices import binning

if TYPE_CHECKING:
    from pathlib import Path

    from gpucv.features import FeatureTable

BINS = 256


@pytest.fixture
def context(workload: Workload) -> FitContext:
    return FitContext(seed=0, threads=1, device=workload.device)


@pytest.fixture
def rows_there(table: FeatureTable) -> Any:
    return table.X if table.device is None else table.device.X


@pytest.fixture
def fitted(workload: Workload, table: FeatureTable, rows_there: Any, context: FitContext) -> Any:
    predictor = make_predictor("xgboost", {"n_estimators": workload.rounds}, context)
    predictor.fit(rows_there, table.y, None)
    return predictor


def test_features(rounds: Any, workload: Workload, steps: Path) -> None:
    drawn = draw_steps(steps, workload)
    assert len(rounds(lambda: build(drawn, workload))) == workload.rows


def test_quantise(
    rounds: Any, workload: Workload, table: FeatureTable, rows_there: Any, context: FitContext
) -> None:
    label = table.y.astype(np.float32)
    with binning({"max_bin": BINS}, context, False, {}) as matrix_of:
        assert rounds(lambda: matrix_of(rows_there, label)).num_row() == workload.rows


def test_fit(
    rounds: Any, workload: Workload, table: FeatureTable, rows_there: Any, context: FitContext
) -> None:
    def fit() -> Any:
        predictor = make_predictor("xgboost", {"n_estimators": workload.rounds}, context)
        predictor.fit(rows_there, table.y, None)
        return predictor

    assert rounds(fit).device == workload.device


def test_predict(rounds: Any, workload: Workload, rows_there: Any, fitted: Any) -> None:
    assert len(rounds(lambda: fitted.predict(rows_there))) == workload.rows


def test_metrics(rounds: Any, table: FeatureTable, rows_there: Any, fitted: Any) -> None:
    y = table.y if table.device is None else table.device.y
    predicted = fitted.predict(rows_there)
    assert rounds(lambda: score(y, predicted)).mape > 0
