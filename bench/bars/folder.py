"""The folds that everybody runs, planned by gpucv and written down once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from peers.study import Boosting, Fold, Study, write_study

from gpucv.folds.sharing import save_table
from gpucv.splits import make_split, split_validation
from gpucv.study import load_study, study_to_toml
from gpucv.workflow import prepare

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpucv.folds import FoldTask
    from gpucv.workflow import PreparedStudy

__all__ = ["EMBEDDED", "write_folder"]

EMBEDDED = Path(__file__).resolve().parents[2] / "examples" / "h3-generalization.toml"


def write_folder(folder: Path, overrides: Sequence[str] = (), limit: int | None = None) -> Study:
    """Write the embedded study for `peers.study.read_study`, and for gpucv itself.

    Parameters
    ----------
    folder : Path
        Exists, and is empty.
    overrides : sequence of str
        Laid over the study.
    limit : int, optional
        Keep only the first `limit` steps of every experiment.
    """
    prepared = prepare(load_study(EMBEDDED, ("execution.device=cpu", *overrides)), limit)
    table, first = prepared.table, prepared.tasks[0]
    known = first.predictor.params
    study = Study(
        X=table.X,
        y=table.y,
        groups={
            name: table.keys[column].codes
            for name, column in (("experiment", first.experiment), *_schemes(prepared))
        },
        folds=tuple(_fold(task, prepared) for task in prepared.tasks),
        boosting=Boosting(**{name: known[name] for name in Boosting.__dataclass_fields__}),
        seed=prepared.study.seed,
        folder=folder,
    )
    write_study(study)
    save_table(table, folder / "table.parquet")
    (folder / "fingerprint").write_text(table.fingerprint, encoding="ascii")
    (folder / "limit").write_text(str(limit or ""), encoding="ascii")
    (folder / "study.toml").write_text(study_to_toml(prepared.study), encoding="utf-8")
    return study


def _schemes(prepared: PreparedStudy) -> list[tuple[str, str]]:
    return [(scheme.columns[0], scheme.columns[0]) for scheme in prepared.study.schemes]


def _fold(task: FoldTask, prepared: PreparedStudy) -> Fold:
    table = prepared.table
    split = make_split(task.scheme, table.keys, task.index, n_rows=len(table), seed=task.seed)
    fit, valid = split_validation(
        split, task.validation, table.keys, experiment=task.experiment, seed=task.seed
    )
    return Fold(task.scheme.name, task.holdout, fit, valid, split.test)
