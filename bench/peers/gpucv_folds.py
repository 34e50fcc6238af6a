"""gpucv itself: the folds from the same ready matrix as every peer, and a whole run.

The folds go through ``run_folds``, which trains, predicts, scores and explains every fold and
publishes its record, predictions and booster into a run folder. A whole run also reads and
audits the data, computes the features, and writes tables, findings and the page.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import pandas as pd
import xgboost  # noqa: F401  (loading it is start-up, as it is of every peer)

import gpucv
from gpucv.folds import RunRequest, TableShape, place, plan_folds, run_folds, survey
from gpucv.folds import trained as keyed
from gpucv.folds.sharing import TableRef, open_table
from gpucv.machine import resolve_device
from gpucv.study import load_study
from gpucv.workflow.execution import Silent
from peers.scoring import Figures, figures

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gpucv.runs import FoldRecord
    from peers.study import Study

__all__ = ["exact", "on_gpu", "one_at_a_time", "open_and_plan", "shared", "whole_run"]

Ran: TypeAlias = "tuple[Callable[[], list[Figures]], dict[str, Any]]"
"""What scores the folds once the clock has stopped, and ``fold_s``: what each took."""
SHARED = ("predictors.0.params.cuts=shared",)
ONE_AT_A_TIME = ("execution.workers=1", "execution.threads_per_fold=1")
ON_GPU = ("execution.device=cuda",)

_planned: dict[tuple[str, ...], RunRequest] = {}
"""Planned before the clock starts, by the settings laid over the study."""


def open_and_plan(study: Study, overrides: Sequence[str] = ()) -> RunRequest:
    """Return all folds of the study in `study`'s folder, placed on this machine's cores."""
    loaded = load_study(study.folder / "study.toml", tuple(overrides))
    execution = loaded.study.execution
    device = resolve_device(execution.device)
    fingerprint = (study.folder / "fingerprint").read_text(encoding="ascii")
    table = open_table(TableRef(fingerprint, str(study.folder / "table.parquet")))
    tasks = plan_folds(loaded.study, table, device.device)
    placement = place(tasks, TableShape.of(table), execution, survey(execution), device)
    tasks = list(keyed(tasks, table, placement.training))
    return RunRequest(Path(), tuple(tasks), execution, placement=placement)


def _ready(*overrides: str) -> Callable[[Study, int], None]:
    def ready(study: Study, cores: int) -> None:
        _planned[overrides] = open_and_plan(study, overrides)

    return ready


def _folds(study: Study, *overrides: str) -> Ran:
    request = _planned[overrides]
    table = open_table(request.tasks[0].table)
    scratch = tempfile.TemporaryDirectory(prefix="gpucv-bench-")
    root = Path(scratch.name)
    (root / "folds").mkdir()
    records = run_folds(replace(request, root=root), table, Silent())

    def score() -> list[Figures]:
        with scratch:
            return _score(study, root, records)

    return score, {"fold_s": [r.times["ended"] - r.times["began"] for r in records]}


def exact(study: Study, cores: int) -> Ran:
    """Run the folds as the study asks: every fold sketches its own cuts."""
    return _folds(study)


def shared(study: Study, cores: int) -> Ran:
    """Run the folds with cuts sketched once from all rows."""
    return _folds(study, *SHARED)


def one_at_a_time(study: Study, cores: int) -> Ran:
    """Run one fold after another on one core."""
    return _folds(study, *ONE_AT_A_TIME)


def on_gpu(study: Study, cores: int) -> Ran:
    """Run the folds on the GPUs there are, as many at once as planned."""
    return _folds(study, *ON_GPU)


def ready_on_gpu(study: Study, cores: int) -> None:
    """Plan the folds and run them once, of one round: contexts and kernels are start-up."""
    few = (*ON_GPU, "predictors.0.params.n_estimators=1")
    for overrides in (few, ON_GPU):
        _planned[overrides] = open_and_plan(study, overrides)
    _folds(study, *few)[0]()


def whole_run(study: Study, cores: int) -> Callable[[], list[Figures]]:
    """Run the study from its data file to its report."""
    limit = (study.folder / "limit").read_text(encoding="ascii")
    scratch = tempfile.TemporaryDirectory(prefix="gpucv-bench-")
    root = Path(scratch.name) / "run"
    gpucv.run(study.folder / "study.toml", out=root, limit=int(limit) if limit else None)

    def score() -> list[Figures]:
        with scratch:
            return _score(study, root, None)

    return score


ready_exact = _ready()
ready_shared = _ready(*SHARED)
ready_one_at_a_time = _ready(*ONE_AT_A_TIME)


def _score(study: Study, root: Path, records: Sequence[FoldRecord] | None) -> list[Figures]:
    """Score the predictions that a run published, as those of every peer are."""
    for record in records or ():
        if record.status != "ok":
            raise SystemExit(f"fold {record.fold_id} {record.status}: {record.error}")
    found = []
    for position, fold in enumerate(study.folds):
        published = pd.read_parquet(root / "folds" / f"{position:04d}" / "predictions.parquet")
        found.append(figures(study.y[fold.test], published["predicted"].to_numpy()))
    return found
