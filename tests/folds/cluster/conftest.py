"""Clusters whose workers are made to look like what this machine does not have."""

from __future__ import annotations

import contextlib
import logging
import secrets
from typing import TYPE_CHECKING, Any

import pytest

from gpucv.folds import run_folds
from gpucv.folds.placement import Placement

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from gpucv.features import FeatureTable
    from gpucv.runs import FoldRecord

    Start = Callable[..., AbstractContextManager[Any]]


class Preloads:
    """Code that a worker process runs first, to look like another."""

    plain = ""
    gpu = (
        "from gpucv.machine import Gpu, describe\n"
        "describe.visible_gpus = lambda: (Gpu(0, 'GPU-0', 'Imaginary', 80 << 30, 79 << 30),)\n"
        "describe.xgboost_distributions = lambda: {'xgboost-cu13': '3.2.0'}\n"
    )
    stalled = (
        "import time\n"
        "from gpucv.folds.cluster import worker\n"
        "worker.process_facts = lambda: time.sleep(60)\n"
    )
    without_gpucv = (
        "import sys\n"
        "for name in [name for name in sys.modules if name.partition('.')[0] == 'gpucv']:\n"
        "    del sys.modules[name]\n"
        "sys.path[:] = [place for place in sys.path if not place.endswith('src')]\n"
    )

    # Dask runs a preload twice, so none may wrap what it has put there itself.
    def with_version(self, package: str, version: str) -> str:
        """Say that it has another version of a package."""
        return (
            "from gpucv.machine import describe, packages\n"
            f"other = {{{package!r}: {version!r}}}\n"
            "describe.package_versions = lambda: packages.package_versions() | other\n"
        )

    def killed_in(self, fold_id: int, flag: Path) -> str:
        """Die in the middle of a fold, once."""
        return (
            "import os, pathlib, signal\n"
            "from gpucv.folds import task as tasks\n"
            "from gpucv.folds.cluster import worker\n"
            f"flag = pathlib.Path({str(flag)!r})\n"
            "def run_fold(task, *share):\n"
            "    done = tasks.run_fold(task, *share)\n"
            f"    if task.fold_id == {fold_id} and not flag.exists():\n"
            "        flag.touch()\n"
            "        os.kill(os.getpid(), signal.SIGKILL)\n"
            "    return done\n"
            "worker.run_fold = run_fold\n"
        )


@pytest.fixture
def preloads() -> Preloads:
    return Preloads()


@pytest.fixture
def worker_spec(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Return how to start a worker process that runs some code first."""

    def make(code: str = "", nthreads: int = 1, **options: Any) -> dict[str, Any]:
        from distributed import Nanny

        given = {"host": "127.0.0.1", "nthreads": nthreads, "silence_logs": logging.CRITICAL}
        given |= {"dashboard_address": "127.0.0.1:0", **options}
        if code:
            file = tmp_path / f"preload-{secrets.token_hex(4)}.py"
            file.write_text(code, encoding="utf-8")
            given["preload"] = [str(file)]
        return {"cls": Nanny, "options": given}

    return make


@pytest.fixture
def start_cluster(worker_spec: Callable[..., dict[str, Any]]) -> Start:
    """Return a context that starts a scheduler, and a worker process for each preload given.

    The workers are called w0, w1, ...
    """

    @contextlib.contextmanager
    def start(*preloads: str, nthreads: int = 1, **common: Any) -> Iterator[Any]:
        from distributed import Scheduler, SpecCluster

        options = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0", **common}
        with SpecCluster(
            workers={
                f"w{number}": worker_spec(code, nthreads, **common)
                for number, code in enumerate(preloads)
            },
            worker=worker_spec(nthreads=nthreads, **common),
            scheduler={"cls": Scheduler, "options": options},
            security=common.get("security"),
            silence_logs=logging.CRITICAL,
        ) as cluster:
            yield cluster

    return start


@pytest.fixture
def placement() -> Callable[..., Placement]:
    """Return a placement on CPU workers, some of it replaced."""

    def make(**changed: Any) -> Placement:
        given: dict[str, Any] = {
            "backend": "dask",
            "device": "cpu",
            "processes": 2,
            "folds_per_process": 1,
            "threads_per_fold": 1,
            "training": "in-memory",
            "fold_bytes": 0,
            "table_bytes": 0,
            "memory_bytes": 0,
            "why": (),
        }
        return Placement(**{**given, **changed})

    return make


def computed(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted((root / "folds").glob("*/*"))
        if path.name in {"model.ubj", "predictions.parquet"}
    }


@pytest.fixture
def run_as_on_threads(
    request_for: Any, table: FeatureTable, progress: Any, make_faults: Any
) -> Callable[..., Any]:
    """Return how to run the five tasks by other settings, with faults if need be.

    Calling it asserts that the folds compute the same bits as on threads of this process,
    and that nothing is left but their folders; it returns their records.
    """

    def run(name: str, faults: str = "", **execution: Any) -> list[FoldRecord]:
        plain, request = request_for("threads"), request_for(name, **execution)
        run_folds(plain, table, progress)
        make_faults(faults)
        progress.ended.clear()
        records = run_folds(request, table, progress)
        assert [record.error for record in records] == [""] * 5
        assert sorted(progress.ended) == [0, 1, 2, 3, 4]
        assert len(computed(plain.root)) == 10
        assert computed(request.root) == computed(plain.root)
        left = [str(path.relative_to(request.root)) for path in request.root.rglob("*")]
        assert sorted(path for path in left if path.count("/") < 2) == [
            "folds",
            *(f"folds/{fold:04d}" for fold in range(5)),
            "plan.csv",
        ]
        return records

    return run
