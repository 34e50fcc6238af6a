"""Results that reach the run folder by way of a place workers and this process share."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gpucv.errors import EnvironmentFaultError
from gpucv.folds import run_folds
from gpucv.folds.exchange import Exchange, can_read, must_be_writable
from gpucv.runs import FoldArrays, FoldStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gpucv.features import FeatureTable
    from gpucv.folds import FoldTask
    from gpucv.runs import FoldRecord


@pytest.fixture
def record(tasks: tuple[FoldTask, ...]) -> FoldRecord:
    return tasks[3].blank_record()


@pytest.fixture
def arrays() -> FoldArrays:
    rows = np.arange(3, dtype=np.int64)
    codes = np.zeros(3, dtype=np.int32)
    return FoldArrays((codes, ("a",)), rows, rows * 1.0, rows * 2.0, model=b"trees")


@pytest.fixture(params=["folder", "file-url", "object-store"])
def exchange(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Exchange]:
    places = {
        "folder": str(tmp_path / "exchange"),
        "file-url": f"file://{tmp_path}/exchange",
        "object-store": "memory://exchange",
    }
    made = Exchange.of_run(places[request.param], tmp_path / "run")
    made.prepare()
    yield made
    made.clear()


def test_a_fold_arrives_as_it_was_left(
    exchange: Exchange, record: FoldRecord, arrays: FoldArrays, tmp_path: Path
) -> None:
    store = FoldStore(tmp_path / "run")
    store.begin(record.fold_id)
    deposit = exchange.deposit(record, arrays)
    assert deposit.names[-1] == "DONE"
    assert can_read(f"{deposit.place}/DONE")
    assert deposit.fetch(store) == record == store.read(record.fold_id, record.key)
    assert (tmp_path / "run" / "folds" / "0003" / "model.ubj").read_bytes() == b"trees"
    assert not can_read(f"{deposit.place}/DONE")
    assert store.begun(record.fold_id) == 0


@pytest.mark.fault(47)
def test_a_fold_damaged_on_its_way_is_refused(
    record: FoldRecord, arrays: FoldArrays, tmp_path: Path
) -> None:
    exchange = Exchange.of_run(str(tmp_path / "exchange"), tmp_path / "run")
    exchange.prepare()
    deposit = exchange.deposit(record, arrays)
    for path in (tmp_path / "exchange").rglob("model.ubj"):
        path.write_bytes(b"leaves")
    with pytest.raises(EnvironmentFaultError, match="fold 3 were damaged on their way"):
        deposit.fetch(FoldStore(tmp_path / "run"))
    assert list((tmp_path / "run" / "folds").iterdir()) == []


@pytest.mark.fault(47)
def test_a_fold_that_is_gone_names_the_exchange(
    record: FoldRecord, arrays: FoldArrays, tmp_path: Path
) -> None:
    exchange = Exchange.of_run(str(tmp_path / "exchange"), tmp_path / "run")
    exchange.prepare()
    deposit = exchange.deposit(record, arrays)
    exchange.clear()
    with pytest.raises(EnvironmentFaultError, match=r"cannot read .*exchange/gpucv-.*No such"):
        deposit.fetch(FoldStore(tmp_path / "run"))


def test_two_runs_share_an_exchange_without_meeting(tmp_path: Path) -> None:
    one, two = (Exchange.of_run(str(tmp_path), tmp_path / name) for name in ("a", "b"))
    assert one.place != two.place
    assert Exchange.of_run(str(tmp_path), tmp_path / "a") == one


@pytest.mark.skipif(find_spec("s3fs") is not None, reason="s3fs is installed here")
def test_a_store_whose_package_is_missing_names_it() -> None:
    with pytest.raises(EnvironmentFaultError, match=r"exchange 's3://bucket/x'.*s3fs"):
        must_be_writable("s3://bucket/x")


@pytest.fixture
def run_root(tmp_path: Path) -> Path:
    root = tmp_path / "hidden"
    root.mkdir()
    return root


@pytest.fixture
def worker_elsewhere(start_cluster: Any, run_root: Path, tmp_path: Path) -> Iterator[str]:
    """Address of a scheduler whose one worker sees another, empty disk in place of the run's."""
    unshare = shutil.which("unshare")
    hide = f"mount -t tmpfs none {run_root}"
    if (
        unshare is None
        or subprocess.run(
            [unshare, "-m", "sh", "-c", hide], check=False, capture_output=True
        ).returncode
    ):
        pytest.skip("cannot give a process a view of the disks of its own here")
    (tmp_path / "elsewhere").mkdir()
    with start_cluster() as cluster:
        command = (
            f"{hide} && exec {sys.executable} -m distributed.cli.dask_worker "
            f"{cluster.scheduler_address} --name far --nthreads 1 --no-nanny --no-dashboard "
            f"--host 127.0.0.1 --death-timeout 30 --local-directory {tmp_path}/elsewhere"
        )
        worker = subprocess.Popen(
            [unshare, "-m", "sh", "-c", command],
            cwd=tmp_path / "elsewhere",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield cluster.scheduler_address
        finally:
            worker.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                worker.wait(20)
            worker.kill()
            worker.wait(20)


def test_workers_that_do_not_share_the_run_folder_are_told_so(
    worker_elsewhere: str, request_for: Any, table: FeatureTable, progress: Any
) -> None:
    request = request_for("hidden", scheduler=worker_elsewhere)
    with pytest.raises(EnvironmentFaultError) as refused:
        run_folds(request, table, progress)
    assert f"{os.uname().nodename} cannot read {request.root}/table.parquet" in str(refused.value)
    assert "execution.exchange" in str(refused.value)


@pytest.mark.parametrize("how", ["{}", "file://{}"])
def test_workers_elsewhere_compute_the_same_bits_through_an_exchange(
    how: str, worker_elsewhere: str, run_as_on_threads: Any, tmp_path: Path
) -> None:
    place = how.format(tmp_path / "exchange")
    records = run_as_on_threads("hidden", scheduler=worker_elsewhere, exchange=place)
    assert {record.worker["name"] for record in records} == {"far"}
    assert list((tmp_path / "exchange").iterdir()) == []
