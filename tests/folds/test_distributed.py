"""Folds trained by all workers together: what comes out, and what happens when one is lost."""

from __future__ import annotations

import os
import re
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask
import numpy as np
import pandas as pd
import pytest

from gpucv.errors import EnvironmentFaultError, StudyError
from gpucv.features import build_table
from gpucv.folds import RunRequest, plan_folds, run_folds
from gpucv.folds.cluster import Delivery, open_cluster, run_on_worker, run_together
from gpucv.folds.placement import Placement
from gpucv.folds.refusals import must_suit_training
from gpucv.folds.sharing import save_table
from gpucv.runs import FoldRecord, FoldStore
from gpucv.study import study_from_dict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gpucv.features import FeatureTable
    from gpucv.folds import FoldTask
    from gpucv.predictors.distributed import Share
    from gpucv.study import LoadedStudy

STUDY: dict[str, Any] = {
    "features": {"columns": ["tokens", "depth"]},
    "data": {"target": "time_us"},
    "schemes": [{"name": "lomo", "hold_out": "model"}],
    "validation": {"early_stopping_rounds": 5},
    "predictors": [
        {"transform": "log", "params": {"n_estimators": 60, "max_depth": 4}},
        {"name": "random-forest", "params": {"n_estimators": 20, "max_depth": 8}},
    ],
}


def study(**sections: Any) -> LoadedStudy:
    return study_from_dict({**STUDY, **sections}, base=Path())


@pytest.fixture(scope="module")
def table() -> FeatureTable:
    """Three models of 4,000 rows."""
    draw = np.random.default_rng(7)
    frame = pd.DataFrame({"model": np.repeat(list("abc"), 4_000)})
    frame["experiment_id"] = frame["model"]
    frame["step.id"] = np.tile(np.arange(4_000), 3)
    frame["tokens"] = draw.integers(1, 2048, len(frame))
    frame["depth"] = draw.integers(1, 128, len(frame))
    noise = draw.lognormal(0, 0.1, len(frame))
    frame["time_us"] = (50 + frame["tokens"] * 0.2 + frame["depth"]) * noise
    loaded = study()
    return build_table(frame, loaded.study, loaded.catalog)


@pytest.fixture
def tasks(table: FeatureTable) -> tuple[FoldTask, ...]:
    """Return the first fold of each predictor, to be trained by all workers."""
    return tuple(replace(t, training="distributed") for t in plan_folds(study().study, table)[:2])


def placement(workers: int) -> Placement:
    return Placement("dask", "cpu", workers, 1, 1, "distributed", 0, 0, 0, ())


@pytest.fixture
def run(
    table: FeatureTable, tasks: tuple[FoldTask, ...], tmp_path: Path, progress: Any, founded: Any
) -> Callable[..., tuple[list[FoldRecord], dict[str, bytes]]]:
    """Run the folds as a run does; return records, models and predictions."""

    def run_it(name: str, workers: int = 0) -> tuple[list[FoldRecord], dict[str, bytes]]:
        backend = "dask" if workers else "threads"
        execution = study(execution={"backend": backend, "workers": workers or 2}).study.execution
        of_run = tasks if workers else tuple(replace(t, training="in-memory") for t in tasks)
        root = founded(tmp_path / name, of_run)
        laid_out = placement(workers) if workers else None
        records = run_folds(RunRequest(root, of_run, execution, False, laid_out), table, progress)
        assert [path.name for path in (root / "folds").glob(".*")] == []
        files = {
            str(path.relative_to(root)): path.read_bytes()
            for path in sorted((root / "folds").glob("*/*"))
            if path.name in {"model.ubj", "predictions.parquet"}
        }
        assert len(files) == 4
        return records, files

    return run_it


def test_one_worker_trains_what_plain_training_does_to_the_bit(run: Any) -> None:
    plain, plain_files = run("plain")
    alone, files = run("alone", workers=1)
    assert files == plain_files
    assert [each.training for each in alone] == ["distributed"] * 2
    assert [each.scores for each in alone] == [each.scores for each in plain]
    assert [each.n_valid for each in alone] == [each.n_valid for each in plain]


def test_two_workers_agree_with_plain_training_and_with_themselves(
    together: Any, run: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plain, _ = run("plain")
    pair = together(lambda *_: None, "pair")
    told = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    assert ["XGBoost listens on every network" in each for each in told].count(True) == 1
    together(lambda *_: None, "again")
    assert models(tmp_path / "again") == models(tmp_path / "pair")
    assert models(tmp_path / "plain") != models(tmp_path / "pair")
    assert [each.worker["parts"] for each in pair] == [2, 2]
    assert [each.attempts for each in pair] == [1, 1]
    for one, two in zip(plain, pair, strict=True):
        assert (one.n_train, one.n_valid, one.n_test) == (two.n_train, two.n_valid, two.n_test)
        for score in ("test_mape", "valid_mape"):
            assert two.scores[score] == pytest.approx(one.scores[score], rel=0.01)


@pytest.fixture(scope="module")
def cluster(
    table: FeatureTable, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Any, Any]]:
    """Two workers that the tests below share, and a table they can read."""
    ref = save_table(table, tmp_path_factory.mktemp("shared") / "table.parquet")
    # Dask gives a worker up that is not there this long after it was lost: then or again.
    with (
        dask.config.set({"distributed.deploy.lost-worker-timeout": "1h"}),
        open_cluster(study().study.execution, placement(2), str(ref.path)) as running,
    ):
        yield running, ref


@pytest.fixture
def together(
    cluster: tuple[Any, Any], tasks: tuple[FoldTask, ...], tmp_path: Path, founded: Any
) -> Callable[..., list[Any]]:
    """Train the folds with something done in each part first, on two workers."""
    running, ref = cluster
    running.client.wait_for_workers(2, timeout=60)

    def train(
        before: Callable[[FoldTask, int, Share], None],
        name: str = "run",
        of: Callable[[Any], Any] = lambda running: running,
    ) -> list[Any]:
        root = founded(tmp_path / name, tasks)
        delivery = Delivery(str(root), None, time.time())

        # Local functions travel whole: a worker cannot import this file.
        def work(task: FoldTask, attempts: int, share: Share) -> Any:
            before(task, attempts, share)
            return run_on_worker(task, attempts, delivery, share)

        placed = [replace(task, table=ref) for task in tasks]
        return list(run_together(of(running), work, placed, FoldStore(root)))

    return train


def models(root: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(root.glob("folds/*/model.ubj"))]


@pytest.mark.fault(1)
def test_a_worker_killed_while_it_trains_changes_nothing_but_the_attempts(
    together: Any, tmp_path: Path
) -> None:
    def die_once(task: FoldTask, attempts: int, share: Share) -> None:
        import xgboost

        def train(*given: Any, **options: Any) -> Any:
            os.kill(os.getpid(), signal.SIGKILL)

        if (task.fold_id, attempts, share.part) == (0, 1, 1):
            xgboost.train = train

    calm = together(lambda *_: None, "calm")
    torn = together(die_once, "torn")
    assert [each.status for each in (*calm, *torn)] == ["ok"] * 4
    assert [each.attempts for each in (*calm, *torn)] == [1, 1, 2, 1]
    assert [each.worker["parts"] for each in torn] == [2, 2]
    assert models(tmp_path / "torn") == models(tmp_path / "calm")


class NoNewcomers:
    """A cluster in which nobody takes the place of a worker that is lost."""

    def __init__(self, running: Any) -> None:
        self._running = running
        self._known = {seat.process for seat in running.seats().values()}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._running, name)

    def seats(self) -> dict[str, Any]:
        seats = self._running.seats()
        return {place: seat for place, seat in seats.items() if seat.process in self._known}


@pytest.mark.parametrize("lost", [0, 1])
def test_a_worker_that_does_not_come_back_leaves_its_rows_to_the_others(
    together: Any, run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: int
) -> None:
    monkeypatch.setattr("gpucv.folds.cluster.together.RETURN_SECONDS", 1)

    def die_once(task: FoldTask, attempts: int, share: Share) -> None:
        if (task.fold_id, attempts, share.part) == (0, 1, lost):
            os.kill(os.getpid(), signal.SIGKILL)

    records = together(die_once, of=NoNewcomers)
    assert [(each.status, each.attempts) for each in records] == [("ok", 2), ("ok", 1)]
    assert not any("parts" in each.worker for each in records)
    run("plain")
    assert models(tmp_path / "run") == models(tmp_path / "plain")


@pytest.mark.fault(2)
def test_a_fold_that_kills_its_workers_again_and_again_fails_and_the_next_one_runs(
    together: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpucv.folds.cluster.together.LOSSES_ALLOWED", 1)

    def die(task: FoldTask, attempts: int, share: Share) -> None:
        if (task.fold_id, share.part) == (0, 0):
            os.kill(os.getpid(), signal.SIGKILL)

    (task, error), second = together(die)
    assert task.fold_id == 0
    told = r"2 workers were lost under it, the last with \d+ MiB of .*\(its last memory sample\)"
    assert re.fullmatch(told, str(error))
    assert second.status == "ok"


@pytest.mark.fault(6)
def test_a_part_that_does_not_notice_is_ended_and_the_fold_begun_again(
    together: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As sums of NCCL may wait for a lost process."""
    monkeypatch.setattr("gpucv.folds.cluster.together.GRACE_SECONDS", 0.5)

    def hang_once(task: FoldTask, attempts: int, share: Share) -> None:
        if (task.fold_id, attempts) == (0, 1):
            if share.part == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(600)

    first, second = together(hang_once)
    assert (first.status, first.attempts, first.worker["parts"]) == ("ok", 2, 2)
    assert second.status == "ok"


class InAHurry:
    """A cluster whose first fold may take two seconds, and the others as long as they like."""

    def __init__(self, running: Any) -> None:
        self._running = running
        self._limits = iter([2.0])

    def __getattr__(self, name: str) -> Any:
        return getattr(self._running, name)

    @property
    def fold_timeout_s(self) -> float:
        return next(self._limits, 0)


@pytest.mark.fault(6)
def test_a_fold_that_takes_too_long_together_costs_its_workers_and_is_begun_again(
    together: Any,
) -> None:
    def hang_once(task: FoldTask, attempts: int, share: Share) -> None:
        if (task.fold_id, attempts) == (0, 1):
            time.sleep(600)

    first, second = together(hang_once, of=InAHurry)
    assert (first.status, first.attempts, first.worker["parts"]) == ("ok", 2, 2)
    assert second.status == "ok"


@pytest.mark.fault(8)
def test_a_part_without_memory_has_the_fold_tried_once_more_on_new_processes(
    together: Any,
) -> None:
    def short(task: FoldTask, attempts: int, share: Share) -> None:
        if share.part == 1 and (task.fold_id == 1 or attempts == 1):
            msg = "none left"
            raise MemoryError(msg)

    first, (task, error) = together(short)
    assert (first.status, first.attempts, first.worker["parts"]) == ("ok", 2, 2)
    assert task.fold_id == 1
    assert str(error).startswith("none left; tried again alone on fresh workers; use fewer rows")


def test_where_one_part_fails_the_fold_says_why_that_part_did(
    together: Any, tmp_path: Path
) -> None:
    def tear(task: FoldTask, attempts: int, share: Share) -> None:
        import xgboost

        real = xgboost.train

        def train(*given: Any, **options: Any) -> Any:
            xgboost.train = real
            msg = "torn in two"
            raise ValueError(msg)

        if (task.fold_id, share.part) == (0, 1):
            xgboost.train = train

    first, second = together(tear)
    assert (first.status, first.error, first.attempts) == ("failed", "ValueError: torn in two", 1)
    assert "in train" in first.traceback
    assert second.status == "ok"
    store = FoldStore(tmp_path / "run")
    assert store.read(0, first.key) == first


def test_a_fault_of_one_workers_machine_ends_the_run(together: Any) -> None:
    def fault(task: FoldTask, attempts: int, share: Share) -> None:
        if share.part == 1:
            msg = "no memory there"
            raise EnvironmentFaultError(msg)

    with pytest.raises(EnvironmentFaultError, match="no memory there"):
        together(fault)


@pytest.mark.parametrize(
    ("spec", "scheme", "against"),
    [
        ({"name": "ridge"}, {}, "ridge is not trained by XGBoost"),
        ({"transform": "ratio", "baseline": "constant"}, {}, "transform 'ratio'"),
        ({"transform": "auto"}, {}, "transform 'auto'"),
        ({"per": "model"}, {}, "per"),
        ({"floor": 0.01}, {}, "floor"),
        ({"transform": "log", "smearing": True}, {}, "smearing"),
        ({"params": {"cuts": "shared"}}, {}, "cuts 'shared'"),
        ({"choose": {"grid": {"cuts": ["fold", "shared"]}}}, {}, "cuts 'shared', choose"),
        ({}, {"few_shot": {"k": [5]}}, r"few_shot \(scheme 'lomo'\)"),
    ],
)
def test_what_needs_all_training_rows_beside_the_booster_is_refused(
    spec: dict[str, Any], scheme: dict[str, Any], against: str
) -> None:
    asked = study(predictors=[spec], schemes=[{**STUDY["schemes"][0], **scheme}]).study
    with pytest.raises(StudyError, match=rf"cannot be trained distributed: {against}"):
        must_suit_training(asked.predictors[0], asked.schemes[0], "distributed")
    must_suit_training(asked.predictors[0], asked.schemes[0], "in-memory")


@pytest.mark.parametrize("transform", ["raw", "log", "utilisation"])
@pytest.mark.parametrize("name", ["xgboost", "random-forest"])
def test_boosters_on_transforms_of_single_rows_may_be_shared(name: str, transform: str) -> None:
    asked = study(predictors=[{"name": name, "transform": transform}]).study
    must_suit_training(asked.predictors[0], asked.schemes[0], "distributed")


def test_pages_refuse_trees_that_grow_leaf_by_leaf() -> None:
    asked = study(predictors=[{"params": {"grow_policy": "lossguide"}}]).study
    with pytest.raises(StudyError, match="every page once a leaf"):
        must_suit_training(asked.predictors[0], asked.schemes[0], "external-memory")
    must_suit_training(asked.predictors[0], asked.schemes[0], "distributed")
