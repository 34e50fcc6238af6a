"""Whether folds come out the same, bit by bit, wherever they run.

``python -m bars.equality FOLDER WAY`` runs all folds of a folder one way and prints the hash
of every fold's predictions and booster.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from peers.gpucv_folds import open_and_plan
from peers.study import read_study

from gpucv.folds import run_fold, run_folds
from gpucv.folds.sharing import open_table
from gpucv.workflow.execution import Silent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from peers.study import Study

    from gpucv.folds import RunRequest

__all__ = ["WAYS"]

_THREADS = (1, 2, 4, 8)
_PROCESSES = 2
WAYS: dict[str, tuple[str, ...]] = {
    "serial": (),
    **{f"threads-{count}": (f"execution.workers={count}",) for count in _THREADS},
    "dask-threads": (),
    "dask-processes": ("execution.backend=dask", f"execution.workers={_PROCESSES}"),
}
"""What each way lays over the study. Folds of few threads share out the cores that are left,
so that XGBoost's own number of threads differs as well."""


def _hashes(folder: Path, way: str) -> list[str]:
    study = read_study(folder)
    if way == "serial":
        return _in_turn(open_and_plan(study))
    if way == "dask-threads":
        with _scheduler() as address:
            return _published(study, (f"execution.scheduler={address}",))
    return _published(study, WAYS[way])


def _in_turn(request: RunRequest) -> list[str]:
    """Run the folds in this very thread, without the runner."""
    found = []
    for task in request.tasks:
        record, arrays = run_fold(replace(task, threads=1))
        if arrays is None:
            raise SystemExit(record.error)
        found.append(_hash(arrays.predicted.tobytes(), arrays.model or b""))
    return found


def _published(study: Study, overrides: tuple[str, ...]) -> list[str]:
    """Run the folds as a run does, and hash what it publishes."""
    request = open_and_plan(study, overrides)
    table = open_table(request.tasks[0].table)
    with tempfile.TemporaryDirectory(prefix="gpucv-bench-") as scratch:
        root = Path(scratch)
        (root / "folds").mkdir()
        for record in run_folds(replace(request, root=root), table, Silent()):
            if record.status != "ok":
                raise SystemExit(record.error)
        folders = [root / "folds" / f"{task.fold_id:04d}" for task in request.tasks]
        return [_of_folder(each) for each in folders]


def _of_folder(folder: Path) -> str:
    predicted = pd.read_parquet(folder / "predictions.parquet")["predicted"].to_numpy()
    return _hash(predicted.tobytes(), (folder / "model.ubj").read_bytes())


def _hash(predicted: bytes, model: bytes) -> str:
    return hashlib.sha256(predicted + model).hexdigest()


@contextlib.contextmanager
def _scheduler() -> Iterator[str]:
    """Yield the address of a Dask cluster whose one worker has threads in this process."""
    from distributed import LocalCluster  # noqa: PLC0415  (the other ways do without)

    with LocalCluster(
        n_workers=1,
        threads_per_worker=4,
        processes=False,
        protocol="tcp://",
        host="127.0.0.1",
        dashboard_address=None,
    ) as cluster:
        yield cluster.scheduler_address


if __name__ == "__main__":
    print(json.dumps({"hashes": _hashes(Path(sys.argv[1]), sys.argv[2])}))
