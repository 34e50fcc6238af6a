"""What holds on a GPU as on a CPU: here on a CPU, with `pytest -m gpu --require-gpu` on both."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gpucv.folds import run_fold, sharing
from gpucv.folds.sharing import open_table, save_table, shared_table
from gpucv.frames import to_host
from gpucv.predictors import FitContext, make_predictor

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gpucv.folds import FoldTask
    from gpucv.machine import Device
    from gpucv.runs import FoldArrays, FoldRecord

TREES = {"params": {"n_estimators": 40}}
PREDICTORS: dict[str, dict[str, Any]] = {
    "raw": TREES,
    "log": {**TREES, "transform": "log", "smearing": True, "floor": 0.01},
    "ratio": {**TREES, "transform": "ratio", "baseline": "roofline"},
    "utilisation": {**TREES, "transform": "utilisation", "features": "transfer"},
    "forest": {"name": "random-forest", "params": {"n_estimators": 10}},
    "host": {"name": "roofline"},
}


@pytest.fixture(autouse=True)
def new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the table that another test read."""
    monkeypatch.setattr(sharing, "_opened", {})


def ran(task: FoldTask) -> tuple[FoldRecord, FoldArrays]:
    record, arrays = run_fold(task)
    assert record.status == "ok", record.traceback
    assert arrays is not None
    return record, arrays


@pytest.mark.parametrize("name", PREDICTORS)
def test_a_fold_runs_where_it_was_asked_to_and_learns(
    planned: Callable[..., Any], device: Device, name: str
) -> None:
    seen = [{"name": "random", "splitter": "KFold", "params": {"n_splits": 2, "shuffle": True}}]
    table, tasks = planned(device, PREDICTORS[name], schemes=seen)
    with shared_table(table):
        record, arrays = ran(tasks[0])
    assert record.device == ("cpu" if name == "host" else device)
    assert type(arrays.predicted) is np.ndarray
    assert np.isfinite(arrays.predicted).all()
    assert (record.worker["gpu"] is None) == (device == "cpu")
    assert record.scores["test_r"] > 0.2


def test_scores_are_those_of_the_predictions_on_the_host(
    planned: Callable[..., Any], device: Device
) -> None:
    table, tasks = planned(device, TREES)
    with shared_table(table):
        record, arrays = ran(tasks[0])
    kept = arrays.actual != 0
    errors = (arrays.predicted - arrays.actual)[kept] / arrays.actual[kept] * 100
    assert record.scores["test_mape"] == pytest.approx(np.abs(errors).mean(), rel=1e-12)
    assert record.scores["test_mspe"] == pytest.approx(errors.mean(), rel=1e-9)
    p99 = np.quantile(np.abs(errors), 0.99)
    assert record.scores["test_p99_ape"] == pytest.approx(p99, rel=1e-12)
    r = np.corrcoef(arrays.actual, arrays.predicted)[0, 1]
    assert record.scores["test_r"] == pytest.approx(r, rel=1e-9)


@pytest.mark.parametrize("at_once", [1, 4, 8])
def test_folds_at_once_and_again_give_the_same_bits(
    planned: Callable[..., Any], device: Device, at_once: int
) -> None:
    table, tasks = planned(device, TREES)
    assert len(tasks) == 8
    with shared_table(table):
        alone = [ran(task)[1] for task in tasks]
        with ThreadPoolExecutor(at_once) as pool:
            together = [arrays for _, arrays in pool.map(ran, tasks)]
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one.predicted, other.predicted)
        assert one.model == other.model


def test_a_worker_has_the_same_table_and_results_as_the_process_that_made_it(
    planned: Callable[..., Any], device: Device, tmp_path: Path
) -> None:
    table, tasks = planned(device, PREDICTORS["log"])
    with shared_table(table):
        _, here = ran(tasks[1])
    ref = save_table(table, tmp_path / "table.parquet")
    _, there = ran(replace(tasks[1], table=ref))
    np.testing.assert_array_equal(here.predicted, there.predicted)
    found = open_table(ref, device)
    np.testing.assert_array_equal(found.X[:], table.X)
    if device == "cuda" and found.device is not None:
        np.testing.assert_array_equal(to_host(found.device.X), table.X)
        assert found.device.X.flags.c_contiguous


def test_rows_of_the_host_train_and_predict_as_well(device: Device) -> None:
    rng = np.random.default_rng(1)
    X = rng.uniform(0, 10, (20_000, 8)).astype(np.float32)
    y = X[:, 0] * X[:, 1] + 5 * np.sin(X[:, 2]) + rng.normal(0, 0.1, len(X))
    predictor = make_predictor("xgboost", {"learning_rate": 0.2}, FitContext(42, 2, device))
    predictor.fit(X[:10_000], y[:10_000], None)
    assert predictor.device == device
    predicted = predictor.predict(X[10_000:])
    assert np.sqrt(np.mean((predicted - y[10_000:]) ** 2)) < 0.2 * y.std()
