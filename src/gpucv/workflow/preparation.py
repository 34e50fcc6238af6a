"""Everything that can go wrong before a fold runs, done before a fold runs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpucv.analysis import scheme_meanings
from gpucv.errors import DataError, SplitError, StudyError, shown
from gpucv.features import FeatureTable, build_table, group_columns, required_columns
from gpucv.features.physics30 import INPUT_COLUMNS, STUDY_GPU
from gpucv.folds import FoldTask, plan_folds
from gpucv.machine import ResolvedDevice, resolve_device
from gpucv.schema import GPU, MODEL, STEP_COLUMNS, TP, WORKLOAD
from gpucv.study import LoadedStudy, fingerprint
from gpucv.traces import Note, SourceFile, check_rows, read_steps, roofline_floor_note

if TYPE_CHECKING:
    import pandas as pd

    from gpucv.study import Study

__all__ = ["PreparedStudy", "locate_steps", "prepare", "read_rows"]


@dataclass(frozen=True, slots=True)
class PreparedStudy:
    """A study whose data has been read, checked and planned over.

    Attributes
    ----------
    loaded : LoadedStudy
        With ``data.steps`` as absolute paths.
    limit : int or None
        Steps kept of every experiment, where a trial run was asked for.
    """

    loaded: LoadedStudy
    device: ResolvedDevice
    table: FeatureTable
    tasks: tuple[FoldTask, ...]
    sources: tuple[SourceFile, ...]
    notes: tuple[Note, ...]
    synthetic: bool
    limit: int | None = None

    @property
    def study(self) -> Study:
        """The study itself."""
        return self.loaded.study

    def origin(self) -> dict[str, Any]:
        """Return what the results follow from, for the manifest."""
        return {
            "seed": self.study.seed,
            "study_fingerprint": fingerprint(self.study),
            "data_fingerprint": self.table.fingerprint,
            "rows": len(self.table),
            "features": list(self.table.feature_names),
            "limit": self.limit,
            "synthetic": self.synthetic,
            "data": [asdict(source) for source in self.sources],
            "schemes": {
                name: meaning.to_json()
                for name, meaning in scheme_meanings(self.study.schemes).items()
            },
        }


def prepare(loaded: LoadedStudy, limit: int | None = None) -> PreparedStudy:
    """Read the data, check its rows, compute the features, plan the folds.

    Parameters
    ----------
    loaded : LoadedStudy
    limit : int, optional
        Keep only the first `limit` steps of every experiment: a trial run.

    Raises
    ------
    StudyError, DataError, EnvironmentFaultError
        Whatever is wrong with the study, the data or the machine.
    """
    study = loaded.study
    device = resolve_device(study.execution.device)
    located = locate_steps(loaded)
    frame, sources, notes, synthetic = read_rows(located, limit)
    table = build_table(frame, study, loaded.catalog)
    del frame
    return PreparedStudy(
        loaded=located,
        device=device,
        table=table,
        tasks=tuple(plan_folds(study, table, device.device)),
        sources=sources,
        notes=notes,
        synthetic=synthetic,
        limit=limit,
    )


def read_rows(
    loaded: LoadedStudy, limit: int | None = None
) -> tuple[pd.DataFrame, tuple[SourceFile, ...], tuple[Note, ...], bool]:
    """Return the study's checked rows, their sources, what was noticed, and whether synthetic."""
    study, data = loaded.study, loaded.study.data
    steps = read_steps(
        data.steps,
        base=loaded.base,
        catalog=loaded.catalog,
        required=required_columns(study),
        columns=_useful_columns(study),
    )
    frame = steps.frame
    clash = sorted(name for name in data.constants if name in frame.columns)
    if clash:
        msg = f"data.constants.{clash[0]}: the data has a column of that name; drop the constant"
        raise StudyError(msg)
    frame = frame.assign(**data.constants)
    _must_have_groups(frame, study)
    keys = [name for name in (data.experiment, data.order_by) if name in frame.columns]
    frame, row_notes = check_rows(
        frame,
        target=data.target,
        keys=keys if len(keys) == 2 else (),
        policy=data.bad_rows,
        groups=group_columns(study),
    )
    notes = [*steps.notes, *row_notes]
    assumed = STUDY_GPU if study.features.set and GPU not in frame.columns else None
    if assumed:
        message = f"the data has no column {GPU!r}: physics-30 takes {assumed}, as published"
        notes.append(Note("gpu_assumed", message, len(frame), "info"))
    notes += _absent_columns(frame) if study.features.set else []
    if data.audit != "off":
        floor = roofline_floor_note(frame, data.target, loaded.catalog, default_gpu=assumed)
        notes += [floor] if floor else []
    if limit is not None:
        frame, note = _first_steps(frame, study, limit)
        notes.append(note)
    return frame, steps.sources, tuple(notes), steps.synthetic


def _absent_columns(frame: pd.DataFrame) -> list[Note]:
    """Tell which inputs of physics-30 the data lacks; they read as 0, as published.

    Raises
    ------
    DataError
        If no column describes the batch: such a table is no step table.
    """
    absent = [name for name in INPUT_COLUMNS if name not in frame.columns]
    if not absent:
        return []
    batch = [name for name in INPUT_COLUMNS if name.startswith("batch.")]
    if all(name in absent for name in batch):
        msg = (
            f"physics-30 needs each step's batch, and the data has none of {', '.join(batch)}; "
            "name the table's own features as features.columns"
        )
        raise DataError(msg)
    message = f"the data lacks {', '.join(absent)}: read as 0, as published"
    return [Note("columns_absent", message, len(absent), "warning")]


def _locate(pattern: str, base: Path) -> str:
    """Return `pattern` as an absolute path: beside the study file, else in the current folder."""
    if not pattern.strip():
        msg = "data.steps holds an empty name; name a file, folder or glob"
        raise StudyError(msg)
    try:
        path = Path(pattern).expanduser()
        if path.is_absolute():
            return str(path)
        for folder in (base, Path.cwd()):
            if (folder / path).exists():
                return str((folder / path).resolve())
            if next(folder.glob(pattern), None) is not None:
                return str(folder / path)
    except (OSError, ValueError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or error
        msg = f"data.steps: cannot look for {pattern[:200]!r}: {reason}"
        raise StudyError(msg) from error
    msg = (
        f"data.steps: nothing is called {pattern!r} in {base} (beside the study file) "
        f"or in {Path.cwd()}"
    )
    raise StudyError(msg)


def locate_steps(loaded: LoadedStudy) -> LoadedStudy:
    """Return the study with ``data.steps`` as absolute paths.

    Raises
    ------
    StudyError
        If no steps are named, or nothing is there.
    """
    data = loaded.study.data
    if not data.steps:
        msg = "data.steps is empty: name the files, folders or globs to learn from"
        raise StudyError(msg)
    steps = tuple(_locate(pattern, loaded.base) for pattern in data.steps)
    study = loaded.study.model_copy(update={"data": data.model_copy(update={"steps": steps})})
    return LoadedStudy(study=study, base=loaded.base, catalog=loaded.catalog)


def _useful_columns(study: Study) -> tuple[str, ...]:
    """Return the columns a study can use, so that no others are kept in memory."""
    data = study.data
    contract = [column.name for column in STEP_COLUMNS] if study.features.set else []
    always = [data.experiment, data.order_by, MODEL, WORKLOAD, GPU, TP]
    return tuple(dict.fromkeys([*required_columns(study), *always, *contract]))


def _must_have_groups(frame: pd.DataFrame, study: Study) -> None:
    """Say which scheme cannot run before the features cost anything."""
    for scheme in study.schemes:
        if scheme.splitter or not scheme.columns:
            continue
        groups = frame[list(scheme.columns)].drop_duplicates()
        if len(groups) <= scheme.p:
            rows = groups.itertuples(index=False)
            names = sorted(shown(" x ".join(map(str, row))) for row in rows)
            named = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
            msg = (
                f"scheme {scheme.name!r} holds out {scheme.p} of the groups of "
                f"{' x '.join(map(repr, scheme.columns))} and needs at least {scheme.p + 1}; "
                f"the data has {len(groups)}: {named}; drop the scheme or add data"
            )
            raise SplitError(msg)


def _first_steps(frame: pd.DataFrame, study: Study, limit: int) -> tuple[pd.DataFrame, Note]:
    data = study.data
    if data.order_by in frame.columns:
        frame = frame.sort_values(data.order_by, kind="stable")
    before = len(frame)
    by_experiment = data.experiment in frame.columns
    kept = frame.groupby(data.experiment, sort=False).head(limit) if by_experiment else frame
    kept = kept if by_experiment else frame.head(limit)
    message = f"trial run on {len(kept):,} of {before:,} rows (--limit {limit}): not a real result"
    return kept, Note("limited", message, before - len(kept), "warning")
