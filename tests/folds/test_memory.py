"""Memory that runs out under a fold on threads: once more alone, then failed, never elsewhere."""

from __future__ import annotations

import logging
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import xgboost

from gpucv.features import build_table
from gpucv.folds import RunRequest, plan_folds, run_fold, run_folds, sharing
from gpucv.folds.memory import given_up
from gpucv.folds.sharing import shared_table

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import SimpleNamespace

    import pandas as pd

    from gpucv.features import FeatureTable
    from gpucv.folds import FoldTask
    from gpucv.study import LoadedStudy

pytestmark = pytest.mark.fault(8)


class OutOfMemoryError(MemoryError):
    """As CuPy's own."""


OutOfMemoryError.__module__ = "cupy.cuda.memory"


@pytest.fixture
def on_gpu(
    loaded: Callable[..., LoadedStudy],
    frame: pd.DataFrame,
    gpu_doubles: SimpleNamespace,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., tuple[FeatureTable, tuple[FoldTask, ...]]]:
    """Return how to plan the folds of a study for a GPU of doubles."""
    del gpu_doubles
    monkeypatch.setattr(sharing, "_opened", {})

    def make(**sections: Any) -> tuple[FeatureTable, tuple[FoldTask, ...]]:
        study = loaded(**sections)
        table = build_table(frame, study.study, study.catalog, "cuda")
        return table, tuple(plan_folds(study.study, table, "cuda"))

    return make


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            xgboost.core.XGBoostError(
                "[12:00:00] device_vector.cu:31: Memory allocation error on worker 0: bad_alloc\n"
                "- Free memory: 1MB\n- Requested memory: 2MB\n"
            ),
            "60 rows x 2 features on 'cuda'; Free memory: 1MB; Requested memory: 2MB",
        ),
        (
            MemoryError("std::bad_alloc: out_of_memory: CUDA error at: cuda_memory.hpp:60"),
            "std::bad_alloc: out_of_memory: CUDA error at: cuda_memory.hpp:60",
        ),
        (OutOfMemoryError("Out of memory allocating 2 bytes"), "Out of memory allocating 2 bytes"),
    ],
    ids=["XGBoost", "RMM", "CuPy"],
)
def test_a_gpu_without_memory_is_told_with_the_sizes_whoever_found_out(
    error: Exception, told: str, on_gpu: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, tasks = on_gpu()

    def full(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr(xgboost, "QuantileDMatrix", full)
    with shared_table(table), pytest.raises(MemoryError) as short:
        run_fold(tasks[0])
    begins = f"memory of the GPU ran out ({told}): 80 training rows x 2 features take an estimated "
    assert str(short.value).startswith(begins)
    assert " MiB beside 0 MiB of table" in str(short.value)


def test_a_candidate_that_finds_no_memory_is_not_chosen_against(
    on_gpu: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or how much memory was free would decide what a fold chooses."""
    table, tasks = on_gpu(predictors=[{"transform": "auto", "params": {"n_estimators": 3}}])
    honest, calls = xgboost.train, iter(range(99))

    def second_is_full(*given: Any, **options: Any) -> Any:
        if next(calls) == 1:
            msg = "std::bad_alloc"
            raise RuntimeError(msg)
        return honest(*given, **options)

    monkeypatch.setattr(xgboost, "train", second_is_full)
    with shared_table(table), pytest.raises(MemoryError, match=r"ran out \(std::bad_alloc\)"):
        run_fold(tasks[0])


@pytest.fixture(params=["cpu", "cuda"])
def planned(
    request: pytest.FixtureRequest, table: FeatureTable, tasks: tuple[FoldTask, ...]
) -> tuple[str, FeatureTable, tuple[FoldTask, ...]]:
    if request.param == "cuda":
        table, tasks = request.getfixturevalue("on_gpu")()
    return request.param, table, tasks


def test_a_fold_that_found_no_memory_is_tried_once_more_after_the_others_alone(
    planned: tuple[str, FeatureTable, tuple[FoldTask, ...]],
    request_for: Any,
    progress: Any,
    make_faults: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, "gpucv.folds")
    device, table, tasks = planned
    calm, short = (replace(request_for(name), tasks=tasks) for name in ("calm", "short"))
    run_folds(calm, table, progress)
    progress.begun.clear()
    threads: list[set[int | None]] = []
    clear_away = "gpucv.folds.threads.clear_away"
    monkeypatch.setattr(clear_away, lambda device: threads.append(fold_threads()))
    make_faults("oom:fold=0:once")
    records = run_folds(short, table, progress)
    assert [record.status for record in records] == ["ok"] * 5
    assert [record.attempts for record in records] == [2, 1, 1, 1, 1]
    assert {record.device for record in records} == {device}
    assert progress.begun[-1][0] == 0
    assert threads == [set()], "XGBoost's threads keep a GPU's memory until they end"
    assert computed(short.root) == computed(calm.root)
    (told,) = [each.getMessage() for each in caplog.records if each.name == "gpucv.folds"]
    assert told.startswith("memory ran out under fold 0, which is tried once more")


def fold_threads() -> set[int | None]:
    return {each.ident for each in threading.enumerate() if each.name.startswith("gpucv-fold")}


def computed(root: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(root.glob("folds/*/[mp]*"))]


def test_before_another_try_the_pools_of_the_gpu_are_emptied(
    on_gpu: Any,
    request_for: Any,
    progress: Any,
    make_faults: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table, tasks = on_gpu()
    begun: list[int] = []
    monkeypatch.setattr("gpucv.frames.gpu.give_back", lambda: begun.append(len(progress.begun)))
    make_faults("oom:fold=0:once")
    run_folds(replace(request_for(workers=1), tasks=tasks[:1]), table, progress)
    assert begun == [1]
    assert len(progress.begun) == 2


def test_a_fold_that_finds_no_memory_twice_has_failed_and_the_others_finish(
    planned: tuple[str, FeatureTable, tuple[FoldTask, ...]],
    request_for: Any,
    progress: Any,
    make_faults: Any,
) -> None:
    device, table, tasks = planned
    make_faults("oom:fold=3")
    asked: RunRequest = replace(request_for(), tasks=tasks)
    records = run_folds(asked, table, progress)
    assert [record.status for record in records] == ["ok", "ok", "ok", "failed", "ok"]
    failed = records[3]
    assert (failed.attempts, failed.device) == (2, device)
    assert failed.error.startswith("MemoryError: memory of the ")
    assert "; tried again alone on a thread of its own; use fewer rows, or fewer" in failed.error
    assert failed.error.endswith("start a new run with --set execution.training=external-memory")
    make_faults("")
    again = run_folds(replace(asked, retry_failed=True), table, progress)
    assert [record.status for record in again] == ["ok"] * 5


def test_external_memory_is_advised_where_it_suits(
    tasks: tuple[FoldTask, ...], loaded: Any, table: FeatureTable
) -> None:
    def advice(task: FoldTask) -> str:
        return str(given_up(task, MemoryError("none left"), "w0"))

    assert "external-memory" in advice(tasks[0])
    assert "external-memory" not in advice(replace(tasks[0], training="external-memory"))
    ridge = plan_folds(loaded(predictors=[{"name": "ridge"}]).study, table)[0]
    assert "external-memory" not in advice(ridge)
    assert "execution.folds_per_gpu" in advice(replace(tasks[0], device="cuda"))
