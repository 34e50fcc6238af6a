"""From a study's files to the rows it learns from: read, derive, select, audit, check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gpucv.errors import DataError, SplitError, StudyError, TraceError, shown
from gpucv.features import (
    check_features,
    group_columns,
    reads_physics30,
    required_columns,
    work_columns,
)
from gpucv.features.physics30 import INPUT_COLUMNS, STUDY_GPU
from gpucv.schema import (
    CYCLE_US,
    GPU,
    GROUP_COLUMNS,
    LATENCY_US,
    MODEL,
    OP,
    PHYSICS_COLUMNS,
    SCHEDULE_US,
    STEP_COLUMNS,
    TP,
    TS_END_NS,
    TS_START_NS,
    WORKLOAD,
)
from gpucv.traces import Note, ReadOptions, SourceFile, check_rows, derive_targets, read_steps
from gpucv.traces.audit import Audit, AuditScope, audit_table, below_floor
from gpucv.traces.piece import one_line
from gpucv.workflow.selection import first_steps, sampled, selected

if TYPE_CHECKING:
    import pandas as pd

    from gpucv.study import LoadedStudy, Study

__all__ = ["StudyRows", "read_rows"]

_DERIVED = {CYCLE_US: (TS_START_NS,), SCHEDULE_US: (TS_START_NS, TS_END_NS)}
"""Times made from the steps' clock, and the columns they are made from."""
_TOLD = {CYCLE_US: "cycle_us"}
"""Codes of the notes that say how many rows lack a derived time."""


@dataclass(frozen=True, slots=True)
class StudyRows:
    """The rows a study learns from.

    Attributes
    ----------
    frame : pandas.DataFrame
        Checked rows; text columns are categories.
    sources : tuple of SourceFile
    notes : tuple of Note
        What reading, deriving, selecting, auditing and checking had to say.
    synthetic : bool
        Whether any source says that its rows were simulated.
    audit : Audit or None
        None where the study switches it off.
    """

    frame: pd.DataFrame
    sources: tuple[SourceFile, ...]
    notes: tuple[Note, ...]
    synthetic: bool
    audit: Audit | None


def read_rows(loaded: LoadedStudy, limit: int | None = None) -> StudyRows:
    """Return the rows of a study whose paths are located.

    Parameters
    ----------
    loaded : LoadedStudy
    limit : int, optional
        Keep only the first `limit` rows of every experiment.

    Raises
    ------
    StudyError, DataError, EnvironmentFaultError
        Whatever is wrong with the study or its data; DataError where the audit fails the
        target and ``data.audit`` is "stop".
    """
    study, data = loaded.study, loaded.study.data
    steps = read_steps(
        data.steps,
        base=loaded.base,
        catalog=loaded.catalog,
        required=_in_the_files(study),
        columns=_useful_columns(study),
        options=ReadOptions(data.format, data.repeats, labels="category", filled=True),
    )
    notes = [*steps.notes]
    frame = _with_constants(steps.frame, data.constants)
    frame, derived = _with_target(frame, study)
    notes += derived
    frame = selected(frame, data.where)
    _must_have_groups(frame, study)
    groups = {column: {*frame[column].dropna().unique()} for column in group_columns(study)}
    assumed = assumed_gpu(frame)
    if reads_physics30(study) and GPU not in frame.columns:
        message = f"the data has no column {GPU!r}: physics-30 takes {STUDY_GPU}, as published"
        notes.append(Note("gpu_assumed", message, len(frame), "info"))
    usable, absent = _with_a_derived_target(
        frame, study, told=any(n.code == _TOLD.get(data.target) for n in derived)
    )
    notes += absent
    usable, row_notes = _checked(usable, study)
    audit = _audited(frame, loaded, (*steps.notes, *derived), assumed)
    notes += _audit_notes(audit, study) if audit is not None else []
    frame, dropped = _above_floor(usable, loaded, assumed)
    notes += [*row_notes, *dropped]
    frame, drawn = sampled(frame, study)
    notes += drawn
    notes += _groups_gone(groups, frame)
    notes += check_features(frame, study.features.columns)
    notes += _absent_columns(frame) if reads_physics30(study) else []
    if limit is not None:
        frame, note = first_steps(frame, study, limit)
        notes.append(note)
    return StudyRows(frame, steps.sources, tuple(notes), steps.synthetic, audit)


def assumed_gpu(frame: pd.DataFrame) -> str | None:
    """Return the GPU taken for the rows of a step table that names none, as published."""
    names_configuration = MODEL in frame.columns and TP in frame.columns
    return STUDY_GPU if names_configuration and GPU not in frame.columns else None


def _in_the_files(study: Study) -> tuple[str, ...]:
    """Return the columns every file must have: all that are needed and not derived."""
    return tuple(name for name in _needed(study) if name not in _DERIVED)


def _needed(study: Study) -> tuple[str, ...]:
    selected_by = (name for name in study.data.where if name not in study.data.constants)
    return tuple(dict.fromkeys([*required_columns(study), *selected_by]))


def _useful_columns(study: Study) -> tuple[str, ...]:
    """Return the columns a study can use, so that no others are kept in memory."""
    data = study.data
    wanted = [*_needed(study), data.experiment, data.order_by, MODEL, WORKLOAD, GPU, TP]
    wanted += data.constants  # a column of that name is a clash, and must be seen
    wanted += work_columns(study)
    if reads_physics30(study) or data.audit != "off" or data.below_floor == "drop":
        wanted += [column.name for column in STEP_COLUMNS]
    if data.audit != "off" or data.below_floor == "drop":
        wanted += [column.name for column in (*GROUP_COLUMNS, *PHYSICS_COLUMNS)]
        wanted += [OP, LATENCY_US, "latency_std_us"]
    for name in _needed(study):
        wanted += _DERIVED.get(name, ())
    return tuple(dict.fromkeys(wanted))


def _with_constants(frame: pd.DataFrame, constants: dict[str, Any]) -> pd.DataFrame:
    """Return the frame with the study's constants; they may fill a column that is empty."""
    clash = sorted(
        name for name in constants if name in frame.columns and frame[name].notna().any()
    )
    if clash:
        msg = f"data.constants.{clash[0]}: the data has a column of that name; drop the constant"
        raise StudyError(msg)
    return frame.assign(**constants)


def _with_target(frame: pd.DataFrame, study: Study) -> tuple[pd.DataFrame, tuple[Note, ...]]:
    """Return the frame with the times the study needs, derived where the files lack them.

    Raises
    ------
    TraceError
        If what one is derived from is missing, or no row has the target.
    """
    data = study.data
    wanted = [name for name in _needed(study) if name in _DERIVED]
    if not wanted:
        return frame, ()
    for name in wanted:
        pairs = [data.experiment, data.order_by] if name == CYCLE_US else []
        inputs = [*pairs, *_DERIVED[name]]
        missing = [each for each in inputs if each not in frame.columns]
        if missing and name not in frame.columns:
            msg = (
                f"{name} is derived from {', '.join(inputs)}, and the data has no "
                f"{missing[0]!r}; name another {'target' if name == data.target else 'column'}"
            )
            raise TraceError(msg)
    frame, notes = derive_targets(frame, data.experiment, data.order_by)
    if data.target in _DERIVED and not frame[data.target].notna().any():
        msg = (
            f"{data.target}: no step's successor is recorded in {len(frame):,} rows; record "
            "consecutive steps, or name another target"
        )
        raise TraceError(msg)
    return frame, notes


def _with_a_derived_target(
    frame: pd.DataFrame, study: Study, *, told: bool
) -> tuple[pd.DataFrame, list[Note]]:
    """Leave out rows without a time of those that most rows of a sampled recording lack.

    `told` says that deriving it has told why. Other targets are left to the row checks.

    Raises
    ------
    TraceError
        If none is left.
    """
    target = study.data.target
    if target not in _DERIVED:
        return frame, []
    usable = frame[frame[target].notna()]
    absent = len(frame) - len(usable)
    if absent == len(frame):
        msg = f"none of the {absent:,} rows that data.where selects has a {target}; select others"
        raise TraceError(msg)
    if told or not absent:
        return usable, []
    message = f"{target} is empty in {absent:,} of {len(frame):,} rows, which are left out"
    return usable, [Note("target_absent", message, absent, "info")]


def _audited(
    frame: pd.DataFrame, loaded: LoadedStudy, notes: tuple[Note, ...], assumed: str | None
) -> Audit | None:
    study, data = loaded.study, loaded.study.data
    if data.audit == "off":
        return None
    scope = AuditScope(
        targets=(data.target,),
        features=study.features.columns,
        groups=group_columns(study),
        experiment=data.experiment,
        order_by=data.order_by,
        default_gpu=assumed,
    )
    return audit_table(frame, loaded.catalog, scope, notes)


def _audit_notes(audit: Audit, study: Study) -> list[Note]:
    """Return what the audit warns of, so that every output of the run carries it.

    Raises
    ------
    DataError
        If it fails the target and the study does not say to go on.
    """
    (target,) = audit.targets
    objections = target.reasons[: target.objections]
    if target.verdict == "fail" and study.data.audit == "stop":
        others = len(objections) - 1
        more = f" (and {others} more reason{'s'[: others != 1]})" if others else ""
        msg = (
            f"the audit fails {target.target}: {objections[0]}{more}; learn from another target, "
            'or set data.audit = "warn" to go on'
        )
        raise DataError(msg)
    notes = [
        Note(f"audit_{target.verdict}", f"audit: {target.target}: {each}", audit.rows, "warning")
        for each in objections
    ]
    seen = {"overload", "gpu_assumed", "cycle_us"}  # the readers' own notes say these
    return notes + [
        Note(finding.code, finding.message, 1, finding.level)
        for finding in audit.findings
        if finding.level == "warning" and finding.code not in seen
    ]


def _above_floor(
    frame: pd.DataFrame, loaded: LoadedStudy, assumed: str | None
) -> tuple[pd.DataFrame, list[Note]]:
    """Leave out rows faster than physics allows, where the study says so."""
    data = loaded.study.data
    if data.below_floor == "keep":
        return frame, []
    scope = AuditScope(targets=(data.target,), default_gpu=assumed)
    below = below_floor(frame, data.target, loaded.catalog, scope)
    count = int(below.sum())
    if not count:
        return frame, []
    if count == len(frame):
        msg = f"all {count:,} rows have a {data.target} below the physical floor; nothing is left"
        raise DataError(msg)
    message = (
        f"left out {count:,} of {len(frame):,} rows with a {data.target} below the physical "
        'floor (data.below_floor = "drop")'
    )
    note = Note("below_floor", message, count, "warning")
    return frame[~below].reset_index(drop=True), [note]


def _checked(frame: pd.DataFrame, study: Study) -> tuple[pd.DataFrame, tuple[Note, ...]]:
    data = study.data
    keys = [name for name in (data.experiment, data.order_by) if name in frame.columns]
    return check_rows(
        frame,
        target=data.target,
        keys=keys if len(keys) == 2 else (),
        policy=data.bad_rows,
        groups=group_columns(study),
    )


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


def _groups_gone(before: dict[str, set[Any]], after: pd.DataFrame) -> list[Note]:
    """Tell of groups of which no row is left: they have no fold, and enter no average."""
    notes = []
    for column, groups in before.items():
        gone = sorted(groups - {*after[column].unique()}, key=str)
        if gone:
            named = one_line(", ".join(map(str, gone)), 200)
            message = (
                f"{len(gone)} of the groups of {column!r} have no row left, and no fold: {named}"
            )
            notes.append(Note("group_gone", message, len(gone), "warning"))
    return notes


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
