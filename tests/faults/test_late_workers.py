"""A worker that ends its fold after the run is gone: interrupted, and its folder another's."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import distributed
import pytest

import gpucv
from gpucv.folds.cluster import Delivery, run_on_worker
from gpucv.folds.sharing import save_table
from gpucv.runs import FoldStore, RunLayout, find_damage
from gpucv.study import study_from_dict
from gpucv.workflow import prepare

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gpucv.folds import FoldTask


@pytest.fixture
def late(
    study: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Path], FoldTask]:
    """Ends fold 0 of the study as a worker would whose run was in a folder."""
    monkeypatch.setattr(distributed, "get_worker", lambda: SimpleNamespace(name="late"))
    prepared = prepare(study_from_dict(study, base=tmp_path))
    task = replace(prepared.tasks[0], table=save_table(prepared.table, tmp_path / "table.parquet"))

    def end(root: Path) -> FoldTask:
        run_on_worker(task, 1, Delivery(str(root), None, time.time()))
        return task

    return end


@pytest.mark.fault(5)
def test_it_publishes_where_its_run_can_be_resumed(
    late: Callable[[Path], FoldTask], study: dict[str, Any], tmp_path: Path
) -> None:
    root = gpucv.run(study, out=tmp_path / "run").path
    FoldStore(root).forget(0)
    task = late(root)
    assert FoldStore(root).read(0, task.key) is not None
    assert find_damage(root) == []


@pytest.mark.fault(5)
def test_it_leaves_the_folder_of_another_run_alone(
    late: Callable[[Path], FoldTask], study: dict[str, Any], tmp_path: Path
) -> None:
    root = gpucv.run({**study, "seed": 7}, out=tmp_path / "run").path
    FoldStore(root).forget(0)  # which that run has yet to do
    late(root)
    assert not RunLayout(root).fold(0).exists()
    shutil.rmtree(root)
    late(root)
    assert not root.exists()
