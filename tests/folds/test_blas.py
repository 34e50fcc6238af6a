"""Linear algebra sums in one order, wherever a fold runs."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import scipy.linalg  # noqa: F401  # brings the second BLAS
from threadpoolctl import threadpool_info, threadpool_limits

from gpucv.features import build_table
from gpucv.folds import RunRequest, plan_folds, run_folds
from gpucv.folds.blas import one_blas_thread
from gpucv.folds.threads import run_on_threads
from gpucv.study import study_from_dict

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def blas_threads() -> set[int]:
    return {each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"}


@pytest.fixture(autouse=True)
def four_threads() -> Iterator[None]:
    """Whatever this machine has, begin with four, as workers of another process would not."""
    with threadpool_limits(limits=4, user_api="blas"):
        if blas_threads() != {4}:
            pytest.skip("this BLAS has no threads to limit")
        yield


def test_blas_has_one_thread_inside_and_what_it_had_after() -> None:
    with one_blas_thread():
        assert blas_threads() == {1}
    assert blas_threads() == {4}


def test_a_fault_inside_gives_the_threads_back() -> None:
    with pytest.raises(ZeroDivisionError), one_blas_thread():
        1 / 0  # noqa: B018
    assert blas_threads() == {4}


@pytest.mark.fault(43)
def test_folds_on_threads_find_one_thread_and_the_caller_its_own_again() -> None:
    both_run = threading.Barrier(2, timeout=10)

    def seen(task: Any) -> Any:
        both_run.wait()
        return blas_threads()

    assert list(run_on_threads(seen, [1, 2], workers=2)) == [{1}, {1}]  # type: ignore[arg-type,list-item]
    assert blas_threads() == {4}


@pytest.mark.fault(43)
def test_ridge_predicts_the_same_bits_in_threads_and_in_processes(
    tmp_path: Path, progress: Any, founded: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """100,000 rows of 20 features: enough for a BLAS of four threads to share them out."""
    draw = np.random.default_rng(3)
    n = 100_000
    frame = pd.DataFrame(draw.lognormal(size=(n, 20)), columns=[f"f{i}" for i in range(20)])
    columns = list(frame)
    frame = frame.assign(
        model=np.repeat(["a", "b"], n // 2),
        time_us=frame.to_numpy() @ draw.uniform(1, 9, 20) + draw.lognormal(size=n),
    )
    loaded = study_from_dict(
        {
            "features": {"columns": columns},
            "data": {"target": "time_us"},
            "schemes": [{"name": "lomo", "hold_out": "model"}],
            "predictors": [{"name": "ridge"}],
        },
        base=tmp_path,
    )
    table = build_table(frame, loaded.study, loaded.catalog)
    tasks = tuple(plan_folds(loaded.study, table))
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")  # of the processes, as on a smaller machine
    found = []
    for backend in ("threads", "dask"):
        execution = loaded.study.execution.model_copy(update={"backend": backend, "workers": 2})
        founded(tmp_path / backend, tasks)
        records = run_folds(RunRequest(tmp_path / backend, tasks, execution), table, progress)
        assert [record.status for record in records] == ["ok", "ok"]
        files = sorted((tmp_path / backend).glob("folds/*/predictions.parquet"))
        found.append([file.read_bytes() for file in files])
    assert len(found[0]) == 2
    assert found[0] == found[1]
