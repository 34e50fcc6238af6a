"""Whole folds "on a GPU" of doubles as strict as CuPy; trees grow on the CPU all the same.

So what a fold on a GPU does between XGBoost's calls is held to what one on the CPU does, to
the bit. Nothing here has met a GPU; tests/gpu is for that.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xgboost

from gpucv.errors import EnvironmentFaultError
from gpucv.features import build_table
from gpucv.folds import plan_folds, run_fold, sharing
from gpucv.folds.sharing import open_table, save_table, shared_table
from gpucv.pipelines import block_rows

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import SimpleNamespace

    import pandas as pd

    from gpucv.features import FeatureTable
    from gpucv.folds import FoldTask
    from gpucv.runs import FoldArrays, FoldRecord
    from gpucv.study import LoadedStudy

    Outcome = tuple[FoldRecord, FoldArrays]

TREES = {"params": {"n_estimators": 8, "min_child_weight": 1}}
STEPS = {
    "data": {"target": "step.duration_us", "constants": {"gpu": "h100"}},
    "features": {"set": "physics-30"},
}
STUDIES: dict[str, dict[str, Any]] = {
    "raw": {"predictors": [TREES]},
    "log, smeared, with a floor": {
        "predictors": [{**TREES, "transform": "log", "smearing": True, "floor": 0.1}]
    },
    "forest": {"predictors": [{"name": "random-forest", "params": {"n_estimators": 5}}]},
    "early stopping": {"predictors": [TREES], "validation": {"early_stopping_rounds": 2}},
    "ratio to trees": {
        "predictors": [{**TREES, "transform": "ratio", "baseline": "random-forest"}]
    },
    "ratio to a host's predictor": {
        "predictors": [{**TREES, "transform": "ratio", "baseline": "constant"}]
    },
    "a host's predictor": {"predictors": [{"name": "ridge"}]},
    "chosen": {"predictors": [{**TREES, "transform": "auto"}]},
    "per group": {"predictors": [{**TREES, "per": ["workload"]}]},
    "few-shot": {
        "predictors": [TREES],
        "schemes": [
            {"name": "lomo", "hold_out": "model", "few_shot": {"k": [0, 2, 12], "repeats": 1}}
        ],
    },
    "steps": {
        **STEPS,
        "predictors": [
            {**TREES, "transform": "utilisation"},
            {**TREES, "features": "transfer", "monotone": True},
        ],
    },
}


@pytest.fixture(autouse=True)
def new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the table that another test read."""
    monkeypatch.setattr(sharing, "_opened", {})


@pytest.fixture
def tasks_of(
    loaded: Callable[..., LoadedStudy], frame: pd.DataFrame, few_steps: pd.DataFrame
) -> Callable[..., tuple[FeatureTable, list[FoldTask]]]:
    """Return the table and the folds of a study, its features computed on a device."""

    def make(study: dict[str, Any], on: str = "cpu") -> tuple[FeatureTable, list[FoldTask]]:
        made = loaded(**study)
        rows = few_steps if made.study.data.target.startswith("step") else frame
        table = build_table(rows, made.study, made.catalog, on)  # type: ignore[arg-type]
        return table, list(plan_folds(made.study, table))

    return make


def ran(task: FoldTask) -> Outcome:
    record, arrays = run_fold(task)
    assert record.status == "ok", record.error
    assert arrays is not None
    return record, arrays


def on_cuda(task: FoldTask, **changes: Any) -> FoldTask:
    return replace(task, device="cuda", **changes)


@pytest.mark.parametrize("name", STUDIES)
def test_predictions_and_scores_are_those_of_the_cpu(
    tasks_of: Callable[..., tuple[FeatureTable, list[FoldTask]]],
    request: pytest.FixtureRequest,
    name: str,
) -> None:
    table, tasks = tasks_of(STUDIES[name])
    with shared_table(table):
        here = [ran(task) for task in tasks]
    request.getfixturevalue("gpu_doubles")
    moved, _ = tasks_of(STUDIES[name], "cuda")
    assert moved.fingerprint == table.fingerprint
    assert (table.features_on, moved.features_on) == ("numpy", "cudf")
    with shared_table(moved):
        there = [ran(on_cuda(task)) for task in tasks]
    for (one, cpu), (other, gpu) in zip(here, there, strict=True):
        assert type(gpu.predicted) is np.ndarray
        np.testing.assert_array_equal(cpu.predicted, gpu.predicted)
        assert cpu.model == gpu.model
        for field in ("scores", "experiments", "curve", "donors", "chosen", "importance"):
            assert str(getattr(one, field)) == str(getattr(other, field)), field


def downs(doubles: SimpleNamespace) -> list[tuple[int, ...]]:
    return [each.shape for each in doubles.crossings if each.way == "down"]


@pytest.mark.parametrize("name", ["raw", "log, smeared, with a floor", "forest", "early stopping"])
def test_predictions_cross_once_and_nothing_else_does(
    tasks_of: Callable[..., tuple[FeatureTable, list[FoldTask]]],
    gpu_doubles: SimpleNamespace,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    monkeypatch.setattr("gpucv.folds.task._explained", lambda outcome, *_: outcome)
    table, tasks = tasks_of(STUDIES[name], "cuda")
    with shared_table(table):
        gpu_doubles.crossings.clear()
        ran(on_cuda(tasks[0]))
    assert downs(gpu_doubles) == [(tasks[0].n_test,)]


def test_of_what_explains_errors_only_samples_and_sums_cross(
    tasks_of: Callable[..., tuple[FeatureTable, list[FoldTask]]],
    gpu_doubles: SimpleNamespace,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gpucv.pipelines.explanation.PERMUTED_ROWS", 4)
    monkeypatch.setattr("gpucv.pipelines.explanation._SHAP_ROWS", (1, 4))
    table, tasks = tasks_of(STUDIES["raw"], "cuda")
    with shared_table(table):
        gpu_doubles.crossings.clear()
        ran(on_cuda(tasks[0]))
    predicted, *others = downs(gpu_doubles)
    assert predicted == (tasks[0].n_test,)
    n_features = len(table.feature_names)
    # Sums and bounds by feature, the share of features outside by row, and four rows.
    assert set(others) <= {(n_features,), (tasks[0].n_test,), (4, n_features)}


def test_rows_are_freed_once_binned_and_before_a_tree_grows(
    tasks_of: Callable[..., tuple[FeatureTable, list[FoldTask]]], gpu_doubles: SimpleNamespace
) -> None:
    study = {**STUDIES["early stopping"], "predictors": [{**TREES, "smearing": True}]}
    study["predictors"][0]["transform"] = "log"
    table, tasks = tasks_of(study, "cuda")
    with shared_table(table):
        ran(on_cuda(tasks[0]))
    assert len(gpu_doubles.xgboost.binned) == 2
    assert gpu_doubles.xgboost.alive == [False]
    assert "freed" in {each.way for each in gpu_doubles.crossings}


@pytest.mark.parametrize("name", ["raw", "early stopping"])
def test_many_rows_are_binned_block_by_block_whatever_memory_is_free(
    tasks_of: Callable[..., tuple[FeatureTable, list[FoldTask]]],
    gpu_doubles: SimpleNamespace,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    """XGBoost would sketch as many at once as the free memory lets it, and bin accordingly."""
    monkeypatch.setattr("gpucv.folds.task._explained", lambda outcome, *_: outcome)
    table, tasks = tasks_of(STUDIES[name], "cuda")
    with shared_table(table):
        _, at_once = ran(on_cuda(tasks[0]))
        gpu_doubles.xgboost.binned.clear()
        monkeypatch.setattr("gpucv.pipelines.rows._BLOCK_ROWS", 16)
        gpu_doubles.crossings.clear()
        _, by_block = ran(on_cuda(tasks[0]))
    assert max(rows for rows, _ in gpu_doubles.xgboost.binned) == 16
    assert downs(gpu_doubles) == [(tasks[0].n_test,)]
    ups = {each.dtype for each in gpu_doubles.crossings if each.way == "up"}
    assert np.dtype(np.float32) not in ups, "blocks are gathered on the device"
    np.testing.assert_allclose(by_block.predicted, at_once.predicted, rtol=0.2)


def test_blocks_are_shorter_where_rows_are_wide() -> None:
    assert block_rows(0) == block_rows(1) == block_rows(67) == 500_000
    assert block_rows(1000) * 1000 <= 2**25 < (block_rows(1000) + 1) * 1000


@pytest.mark.parametrize("library", ["cudf", "cupy"])
def test_a_table_is_moved_once_for_eight_folds_in_four_threads(
    tasks_of: Callable[..., tuple[FeatureTable, list[FoldTask]]],
    gpu_doubles: SimpleNamespace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    library: str,
) -> None:
    if library == "cupy":
        monkeypatch.setitem(sys.modules, "cudf", None)
    table, tasks = tasks_of(
        {
            "predictors": [TREES],
            "schemes": [{"name": "r", "splitter": "KFold", "params": {"n_splits": 8}}],
        }
    )
    eight = [on_cuda(task) for task in tasks]
    assert len(eight) == 8

    def whole_tables() -> int:
        ups = [each for each in gpu_doubles.crossings if each.way == "up"]
        return sum(each.dtype == np.float32 and each.shape[0] == len(table) for each in ups)

    with shared_table(table), ThreadPoolExecutor(4) as pool:
        shared = [arrays.predicted for _, arrays in pool.map(ran, eight)]
    assert whole_tables() == 1  # X, as it lies on the host
    gpu_doubles.crossings.clear()
    ref = save_table(table, tmp_path / "table.parquet")
    with ThreadPoolExecutor(4) as pool:
        read = [
            arrays.predicted for _, arrays in pool.map(ran, [replace(t, table=ref) for t in eight])
        ]
    assert whole_tables() == (2 if library == "cudf" else 1)  # column by column, or as a whole
    for one, other in zip(shared, read, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_worker_reads_rows_for_the_host_only_if_a_predictor_asks(
    tasks_of: Callable[..., tuple[FeatureTable, list[FoldTask]]],
    gpu_doubles: SimpleNamespace,
    tmp_path: Path,
) -> None:
    del gpu_doubles
    table, tasks = tasks_of({"predictors": [TREES, {"name": "ridge"}]})
    ref = save_table(table, tmp_path / "table.parquet")
    by_name = {task.predictor.name: on_cuda(task, table=ref) for task in tasks}
    record, _ = ran(by_name["xgboost"])
    X: Any = open_table(ref, "cuda").X
    assert X.shape == table.X.shape
    assert X._whole is None
    ran(by_name["ridge"])
    np.testing.assert_array_equal(X._whole, table.X)
    assert record.seconds["load_s"] > 0


def test_a_bit_lost_on_the_way_to_the_gpu_is_seen(
    tasks_of: Callable[..., tuple[FeatureTable, list[FoldTask]]],
    gpu_doubles: SimpleNamespace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table, _ = tasks_of(STUDIES["raw"])
    ref = save_table(table, tmp_path / "table.parquet")
    honest = gpu_doubles.cupy.asarray

    def flipped(a: Any, *args: Any, **kwargs: Any) -> Any:
        moved = honest(a, *args, **kwargs)
        if moved.dtype == np.float32:
            moved.bare.view(np.uint32)[3] ^= 1
        return moved

    monkeypatch.setattr(gpu_doubles.cupy, "asarray", flipped)
    with pytest.raises(EnvironmentFaultError, match="is damaged: the sums of its features"):
        open_table(ref, "cuda")


def test_without_cupy_rows_of_the_host_are_trained_on(
    tasks_of: Callable[..., tuple[FeatureTable, list[FoldTask]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    table, tasks = tasks_of(STUDIES["raw"], "cuda")
    assert table.device is None
    assert table.features_on == "numpy"
    with shared_table(table) as ref:
        assert open_table(ref, "cuda") is table
        met: list[type] = []
        honest = xgboost.QuantileDMatrix
        monkeypatch.setattr(
            xgboost,
            "QuantileDMatrix",
            lambda X, **options: met.append(type(X)) or honest(X, **options),
        )
        with pytest.raises(EnvironmentFaultError, match="XGBoost trained on 'cpu'"):
            run_fold(on_cuda(tasks[0]))
    assert met == [np.ndarray]


@pytest.mark.parametrize("name", ["raw", "chosen", "few-shot"])
def test_a_gpu_that_fails_ends_the_run_and_is_no_outcome_of_a_fold(
    tasks_of: Callable[..., tuple[FeatureTable, list[FoldTask]]],
    gpu_doubles: SimpleNamespace,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    del gpu_doubles
    table, tasks = tasks_of(STUDIES[name], "cuda")
    begun: list[int] = []
    honest = xgboost.train

    def failing(*given: Any, **options: Any) -> Any:
        begun.append(1)
        if len(begun) != (1 if name == "raw" else 2):  # one fit of a candidate, or of the shots
            return honest(*given, **options)
        raise xgboost.core.XGBoostError(
            "[12:00:00] common.cu:18: updater_gpu_hist.cu: 42: cudaErrorECCUncorrectable: "
            "uncorrectable ECC error encountered\nStack trace:\n  [bt] (0) libxgboost.so"
        )

    monkeypatch.setattr(xgboost, "train", failing)
    told = r"fold 0 .*the GPU failed: .*cudaErrorECCUncorrectable: .*; look at nvidia-smi"
    with shared_table(table), pytest.raises(EnvironmentFaultError, match=told):
        run_fold(on_cuda(tasks[0]))


def test_a_worker_lets_go_of_one_table_before_it_reads_another(
    tasks_of: Callable[..., tuple[FeatureTable, list[FoldTask]]],
    gpu_doubles: SimpleNamespace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    del gpu_doubles
    refs = []
    for name in ("raw", "steps"):
        table, _ = tasks_of(STUDIES[name])
        refs.append(save_table(table, tmp_path / f"{name}.parquet"))
    open_table(refs[0], "cuda")
    held: list[int] = []
    honest = sharing._read
    monkeypatch.setattr(
        sharing, "_read", lambda *which: held.append(len(sharing._opened)) or honest(*which)
    )
    again = open_table(refs[1], "cuda")
    assert held == [0]
    assert open_table(refs[1], "cuda") is again


def test_a_record_says_who_ran_its_fold_and_when(
    tasks_of: Callable[..., tuple[FeatureTable, list[FoldTask]]],
) -> None:
    table, tasks = tasks_of(STUDIES["raw"])
    with shared_table(table):
        record, _ = ran(tasks[0])
    assert {"host", "pid", "gpu", "gpu_name"} <= set(record.worker)
    assert record.worker["gpu"] is None
    assert record.gpu == {}
    assert 0 < record.times["began"] <= record.times["ended"]
    assert 0 < record.seconds["quantise_s"] < record.seconds["fit_s"]
