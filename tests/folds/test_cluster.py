"""Dask: the same folds, in processes of their own, here or on a scheduler that runs already."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, Any

import dask
import numpy as np
import pytest

from gpucv.errors import EnvironmentFaultError
from gpucv.features import build_table
from gpucv.folds import RunRequest, cluster, plan_folds, run_folds
from gpucv.folds.cluster import run_on_dask

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pandas as pd

    from gpucv.features import FeatureTable
    from gpucv.folds import FoldTask
    from gpucv.study import LoadedStudy

    Requests = Callable[..., RunRequest]


def bits(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted((root / "folds").glob("*/*"))
        if path.name in {"model.ubj", "predictions.parquet"}
    }


@pytest.fixture
def on_threads(request_for: Requests, table: FeatureTable, progress: Any) -> dict[str, bytes]:
    request = request_for("threads")
    run_folds(request, table, progress)
    return bits(request.root)


def test_worker_processes_compute_the_same_bits(
    request_for: Requests, table: FeatureTable, progress: Any, on_threads: dict[str, bytes]
) -> None:
    request = request_for("dask", backend="dask")
    records = run_folds(request, table, progress)
    assert [record.status for record in records] == ["ok"] * 5
    assert bits(request.root) == on_threads
    assert not (request.root / "table.parquet").exists()


def test_worker_processes_know_the_speed_of_light_views_and_directions(
    loaded: Callable[..., LoadedStudy], frame: pd.DataFrame, progress: Any, tmp_path: Path
) -> None:
    """Utilisation, other features, donors and a curve: the same bits in processes of their own."""
    size = frame["model"].map({"a": 1.0, "b": 2.0, "c": 3.0})
    frame = frame.assign(flops=frame["tokens"] * size * 1e9, bytes=frame["depth"] * size * 1e6)
    frame = frame.assign(peak_flops=1e15, memory_bandwidth=3e12, gpu="H100")
    light = np.maximum(frame["flops"] / 1e15, frame["bytes"] / 3e12) * 1e6
    small = {"params": {"n_estimators": 4, "min_child_weight": 1}}
    few = {"k": [0, 12], "repeats": 1, "draw": ["spread"]}
    study = loaded(
        schemes=[{"name": "lomo", "hold_out": "model", "few_shot": few}],
        predictors=[
            {**small, "transform": "utilisation"},
            {**small, "transform": "log", "features": "transfer", "monotone": True},
            {"name": "roofline", "per": "model"},
            {**small, "transform": "auto", "label": "chosen"},
        ],
    )
    table = build_table(frame.assign(sol_us=light), study.study, study.catalog)
    assert table.views
    assert table.sol_us is not None
    tasks = tuple(plan_folds(study.study, table))
    found, told = [], []
    for backend in ("threads", "dask"):
        root = tmp_path / backend
        (root / "folds").mkdir(parents=True)
        execution = loaded(execution={"workers": 2, "backend": backend}).study.execution
        records = run_folds(RunRequest(root, tasks, execution), table, progress)
        assert [record.error for record in records] == [""] * 12
        found.append(bits(root))
        told.append(str([(r.chosen, r.donors, r.curve, r.next_rows) for r in records]))
    assert found[0] == found[1]
    assert told[0] == told[1]


def test_a_scheduler_that_runs_already_computes_the_same_bits(
    request_for: Requests, table: FeatureTable, progress: Any, on_threads: dict[str, bytes]
) -> None:
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=1,
        threads_per_worker=2,
        processes=False,
        protocol="tcp://",
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
    ) as running:
        request = request_for("remote", scheduler=running.scheduler_address)
        run_folds(request, table, progress)
        assert len(running.workers) == 1
    assert bits(request.root) == on_threads


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nonsense://x", "127.0.0.1"])
def test_a_scheduler_that_does_not_answer_is_a_fault_of_the_machine(
    address: str,
    request_for: Requests,
    table: FeatureTable,
    progress: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cluster, "_CONNECT_SECONDS", 0.5)
    with pytest.raises(EnvironmentFaultError, match=f"no Dask scheduler answers at '{address}'"):
        run_folds(request_for(scheduler=address), table, progress)


def test_a_fold_that_kills_its_worker_fails_and_the_others_finish(
    tasks: tuple[FoldTask, ...],
) -> None:
    def work(task: FoldTask) -> Any:  # local, so that it travels whole to the workers
        if task.fold_id == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return task.blank_record()

    with dask.config.set({"distributed.scheduler.allowed-failures": 0}):
        outcomes = list(run_on_dask(work, tasks[:3], workers=2))
    lost = [outcome for outcome in outcomes if isinstance(outcome, tuple)]
    finished = [outcome.fold_id for outcome in outcomes if not isinstance(outcome, tuple)]
    assert sorted(finished) == [0, 2]
    assert [task.fold_id for task, _ in lost] == [1]
    assert type(lost[0][1]).__name__ == "KilledWorker"


def test_a_cluster_that_does_not_start_is_a_fault_of_the_machine(
    tasks: tuple[FoldTask, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: Any) -> None:
        raise RuntimeError("Cluster failed to start: Too many open files")

    monkeypatch.setattr("distributed.LocalCluster", refuse)
    with pytest.raises(EnvironmentFaultError, match="cannot start 2 Dask workers here: Cluster"):
        next(run_on_dask(lambda task: task.blank_record(), tasks, workers=2))


def test_a_scheduler_lost_in_the_middle_is_a_fault_of_the_machine(
    tasks: tuple[FoldTask, ...], tmp_path: Path
) -> None:
    from distributed import LocalCluster

    flag = tmp_path / "lost"

    def work(task: FoldTask) -> Any:
        while task.fold_id and not flag.exists():
            time.sleep(0.02)
        return task.blank_record()

    with LocalCluster(
        n_workers=1,
        threads_per_worker=1,
        processes=False,
        protocol="tcp://",
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
    ) as running:
        outcomes = run_on_dask(work, tasks[:2], workers=0, scheduler=running.scheduler_address)
        assert next(outcomes).fold_id == 0
        flag.touch()
        running.close()
        with pytest.raises(EnvironmentFaultError, match="the Dask scheduler was lost"):
            list(outcomes)
