"""A table that trees can learn something from: 3 models x 2 workloads x 20 steps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from gpucv.features import build_table
from gpucv.folds import RunRequest, plan_folds, plan_rows
from gpucv.runs import RunLayout
from gpucv.study import study_from_dict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gpucv.features import FeatureTable
    from gpucv.folds import FoldTask
    from gpucv.study import LoadedStudy

STUDY: dict[str, Any] = {
    "features": {"columns": ["tokens", "depth"]},
    "data": {"target": "time_us"},
    "predictors": [{"params": {"n_estimators": 5, "min_child_weight": 1}}],
}


@pytest.fixture
def frame() -> pd.DataFrame:
    draw = np.random.default_rng(7)
    labels = [(m, w) for m in "abc" for w in ("chat", "code") for _ in range(20)]
    table = pd.DataFrame(labels, columns=["model", "workload"])
    table["experiment_id"] = table["model"] + "-" + table["workload"]
    table["step.id"] = np.tile(np.arange(20), 6)
    table["tokens"] = draw.integers(1, 2048, len(table))
    table["depth"] = draw.integers(1, 128, len(table))
    noise = draw.lognormal(0, 0.1, len(table))
    table["time_us"] = (50 + table["tokens"] * 0.2 + table["depth"]) * noise
    return table


@pytest.fixture
def loaded() -> Callable[..., LoadedStudy]:
    """Return the study, with sections laid over it."""

    def load(**sections: Any) -> LoadedStudy:
        return study_from_dict({**STUDY, **sections}, base=Path())

    return load


@pytest.fixture
def table_of(frame: pd.DataFrame) -> Callable[[LoadedStudy], FeatureTable]:
    def build(study: LoadedStudy) -> FeatureTable:
        return build_table(frame, study.study, study.catalog)

    return build


@pytest.fixture
def table(
    loaded: Callable[..., LoadedStudy], table_of: Callable[[LoadedStudy], FeatureTable]
) -> FeatureTable:
    return table_of(loaded())


@pytest.fixture
def tasks(loaded: Callable[..., LoadedStudy], table: FeatureTable) -> tuple[FoldTask, ...]:
    return tuple(plan_folds(loaded().study, table))


@pytest.fixture
def founded() -> Callable[[Path, Sequence[FoldTask]], Path]:
    """Return how to make the folder of a run of some folds; workers look at its plan."""

    def make(root: Path, tasks: Sequence[FoldTask]) -> Path:
        (root / "folds").mkdir(parents=True, exist_ok=True)
        pd.DataFrame(plan_rows(tasks)).to_csv(RunLayout(root).plan, index=False)
        return root

    return make


@pytest.fixture
def request_for(
    loaded: Callable[..., LoadedStudy],
    tasks: tuple[FoldTask, ...],
    tmp_path: Path,
    founded: Callable[[Path, Sequence[FoldTask]], Path],
) -> Callable[..., RunRequest]:
    """Return a request to run the tasks into `tmp_path/<name>`, by these execution settings."""

    def make(name: str = "run", *, retry_failed: bool = False, **execution: Any) -> RunRequest:
        settings = loaded(execution={"threads_per_fold": 1, "workers": 2, **execution})
        root = founded(tmp_path / name, tasks)
        return RunRequest(root, tasks, settings.study.execution, retry_failed)

    return make


@pytest.fixture
def make_faults(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Return how to make faults in processes started from now on, and in this one."""

    def make(faults: str) -> None:
        monkeypatch.setenv("GPUCV_TESTING", "1")
        monkeypatch.setenv("GPUCV_FAULTS", faults)
        monkeypatch.setenv("GPUCV_FAULTS_SEEN", str(tmp_path))

    return make


class Recorded:
    """Progress that remembers what it was told."""

    def __init__(self) -> None:
        self.started: tuple[int, int, int] | None = None
        self.begun: list[tuple[int, str]] = []
        self.ended: list[int] = []
        self.stopped = 0

    def start(self, planned: int, finished: int, rows: int) -> None:
        self.started = (planned, finished, rows)

    def begin(self, task: Any, worker: str) -> None:
        self.begun.append((task.fold_id, worker))

    def advance(self, record: Any) -> None:
        self.ended.append(record.fold_id)

    def stop(self) -> None:
        self.stopped += 1


@pytest.fixture
def progress() -> Recorded:
    return Recorded()
