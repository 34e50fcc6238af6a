"""Worker processes on this machine."""

from __future__ import annotations

import inspect
import logging
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gpucv.errors import EnvironmentFaultError
from gpucv.features import build_table
from gpucv.folds import RunRequest, plan_folds, run_folds
from gpucv.folds.cluster import open_cluster
from gpucv.machine import memory_bytes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pandas as pd

    from gpucv.study import LoadedStudy


def test_worker_processes_compute_the_same_bits(run_as_on_threads: Any) -> None:
    records = run_as_on_threads("dask", backend="dask")
    assert [record.attempts for record in records] == [1] * 5


def test_worker_processes_know_the_speed_of_light_views_and_directions(
    loaded: Callable[..., LoadedStudy],
    frame: pd.DataFrame,
    progress: Any,
    tmp_path: Path,
    founded: Any,
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
        root = founded(tmp_path / backend, tasks)
        execution = loaded(execution={"workers": 2, "backend": backend}).study.execution
        records = run_folds(RunRequest(root, tasks, execution), table, progress)
        assert [record.error for record in records] == [""] * 12
        found.append([path.read_bytes() for path in sorted(root.glob("folds/*/[mp]*"))])
        told.append(str([(r.chosen, r.donors, r.curve, r.next_rows) for r in records]))
    assert len(found[0]) >= 12
    assert found[0] == found[1]
    assert told[0] == told[1]


def test_worker_processes_print_no_tracebacks_when_they_are_stopped(
    loaded: Any, placement: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    def complain() -> None:
        logging.getLogger("distributed.worker").error("Failed to communicate with scheduler")

    with open_cluster(loaded().study.execution, placement(processes=1), "") as cluster:
        cluster.client.run(complain)
        complain()
    assert "Failed to communicate" not in capfd.readouterr().err


@pytest.mark.fault(43)
def test_worker_processes_share_cores_and_memory_by_folds_and_wait_for_none(
    loaded: Any, placement: Any
) -> None:
    def limits() -> tuple[dict[str, str | None], Any]:
        import os

        import dask

        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        pause = dask.config.get("distributed.worker.memory.pause")
        return {name: os.environ.get(name) for name in names}, pause

    with open_cluster(loaded().study.execution, placement(processes=2), "") as cluster:
        cluster.client.wait_for_workers(2, timeout=60)
        found = cluster.client.run(limits)
        workers = cluster.client.scheduler_info(n_workers=-1)["workers"].values()
    for threads, pause in found.values():
        assert set(threads.values()) == {"1"}
        assert pause is False
    whole = memory_bytes() or 0
    assert [w["memory_limit"] for w in workers] == [pytest.approx(whole / 2, rel=0.05)] * 2


def test_a_cluster_that_does_not_start_is_a_fault_of_the_machine(
    loaded: Any, placement: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: Any) -> None:
        raise RuntimeError("Cluster failed to start: Too many open files")

    monkeypatch.setattr("distributed.LocalCluster", refuse)
    with (
        pytest.raises(EnvironmentFaultError, match="cannot start 2 Dask workers here: Cluster"),
        open_cluster(loaded().study.execution, placement(), ""),
    ):
        pass


class TestSeveralGpus:
    """Without a GPU only what dask-cuda is asked for can be looked at."""

    # The parameters LocalCUDACluster of dask-cuda 26.10 has of its own; it passes any other
    # on to distributed.LocalCluster.
    own = frozenset(
        {
            "CUDA_VISIBLE_DEVICES",
            "n_workers",
            "threads_per_worker",
            "memory_limit",
            "device_memory_limit",
            "enable_cudf_spill",
            "cudf_spill_stats",
            "local_directory",
            "protocol",
            "enable_tcp_over_ucx",
            "enable_infiniband",
            "enable_nvlink",
            "enable_rdmacm",
            "rmm_pool_size",
            "rmm_maximum_pool_size",
            "rmm_managed_memory",
            "rmm_async",
            "rmm_allocator_external_lib_list",
            "rmm_release_threshold",
            "rmm_log_directory",
            "rmm_track_allocations",
            "log_spilling",
            "pre_import",
        }
    )

    @pytest.fixture
    def asked(self, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
        """What LocalCUDACluster is called with; a CPU cluster of two takes its place."""
        from distributed import LocalCluster

        given: dict[str, Any] = {}

        def double(**arguments: Any) -> Any:
            given.update(arguments)
            known = inspect.signature(LocalCluster.__init__).parameters
            passed_on = {name: at for name, at in arguments.items() if name in known}
            return LocalCluster(**passed_on)

        module = ModuleType("dask_cuda")
        module.LocalCUDACluster = double  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "dask_cuda", module)
        return given

    def test_a_process_per_gpu_is_asked_for_as_dask_cuda_knows_it(
        self, loaded: Any, placement: Any, asked: dict[str, Any]
    ) -> None:
        from distributed import LocalCluster

        given = placement(device="cuda", processes=2, folds_per_process=3)
        with open_cluster(loaded().study.execution, given, "") as cluster:
            seats = cluster.seats()
            while len(seats) < 2:
                seats = cluster.seats()
        assert [seat.slots for seat in seats.values()] == [3, 3]
        assert {at.partition("://")[0] for at in seats} == {"tls"}
        assert not [name for name in asked if "rmm" in name], "its pools keep what they once had"
        assert asked["device_memory_limit"] == 0
        assert {asked[name].partition(":")[0] for name in asked if "host" in name} == {"127.0.0.1"}
        assert set(asked) <= self.own | set(inspect.signature(LocalCluster.__init__).parameters)

    def test_without_dask_cuda_the_way_out_is_said(
        self, loaded: Any, placement: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "dask_cuda", None)
        with (
            pytest.raises(EnvironmentFaultError, match=r"2 GPUs need dask-cuda .*cuda:0"),
            open_cluster(loaded().study.execution, placement(device="cuda"), ""),
        ):
            pass

    def test_the_parameters_written_down_are_those_of_the_package(self) -> None:
        dask_cuda = pytest.importorskip("dask_cuda", reason="dask-cuda is not installed")
        found = inspect.signature(dask_cuda.LocalCUDACluster.__init__).parameters
        assert self.own <= set(found)
