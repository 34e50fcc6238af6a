"""Audit traces without a study: read them, derive their targets, look."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gpucv.catalog import Catalog, load_catalog
from gpucv.errors import StudyError, nearest, shown
from gpucv.schema import TS_START_NS
from gpucv.traces import ReadOptions, derive_targets, read_steps
from gpucv.traces.audit import Audit, AuditScope, audit_table
from gpucv.workflow.preparation import locate_steps
from gpucv.workflow.rows import assumed_gpu, read_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpucv.study import LoadedStudy
    from gpucv.traces import Note, SourceFile

__all__ = ["AuditRequest", "AuditedTraces", "audit", "audit_study", "audit_traces"]


@dataclass(frozen=True, slots=True)
class AuditRequest:
    """What is audited.

    Attributes
    ----------
    traces : tuple of str
        Files, folders and globs.
    base : Path
        Folder that relative ones start from.
    format : str
        As ``data.format`` of a study.
    gpu : str
        GPU of rows that name none; by default the published study's.
    targets : tuple of str
        Columns to judge; by default every measured time found.
    """

    traces: tuple[str, ...]
    base: Path
    format: str = "auto"
    gpu: str = ""
    targets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AuditedTraces:
    """An audit and what it was made from."""

    audit: Audit
    sources: tuple[SourceFile, ...]
    notes: tuple[Note, ...]

    def failed(self) -> bool:
        """Whether a target fails and no other is fit to learn from."""
        verdicts = {target.verdict for target in self.audit.targets}
        return "fail" in verdicts and verdicts <= {"fail", "unknown"}


def audit_traces(request: AuditRequest, catalog: Catalog) -> AuditedTraces:
    """Read the traces and judge their targets.

    Raises
    ------
    StudyError, DataError, EnvironmentFaultError
        If the traces cannot be read, or lack a target asked for.
    """
    if request.gpu and catalog.gpus.find(request.gpu) is None:
        hint = nearest(request.gpu.lower(), (each.name for each in catalog.gpus.entries()))
        msg = (
            f"no GPU {shown(request.gpu)} in the catalog{hint}; name one it has, or audit a study "
            "that adds it under [[catalog.gpus]]"
        )
        raise StudyError(msg)
    steps = read_steps(
        request.traces,
        base=request.base,
        catalog=catalog,
        required=[],
        options=ReadOptions(request.format, labels="category", filled=True),
    )
    frame, notes = steps.frame, list(steps.notes)
    if TS_START_NS in frame.columns:
        frame, derived = derive_targets(frame)
        notes += derived
    for target in request.targets:
        if target not in frame.columns:
            hint = nearest(target, map(str, frame.columns))
            msg = f"no column {target!r} to judge{hint}; name another target"
            raise StudyError(msg)
    scope = AuditScope(targets=request.targets, default_gpu=request.gpu or assumed_gpu(frame))
    audit = audit_table(frame, catalog, scope, notes)
    return AuditedTraces(audit, steps.sources, tuple(notes))


def audit_study(loaded: LoadedStudy) -> AuditedTraces:
    """Audit the target of a study, with its own constants, selection and features.

    Raises
    ------
    StudyError, DataError, EnvironmentFaultError
        Whatever is wrong with the study or its data.
    """
    located = locate_steps(loaded)
    study = located.study
    data = study.data.model_copy(update={"audit": "warn"})
    study = study.model_copy(update={"data": data})
    rows = read_rows(type(loaded)(study=study, base=located.base, catalog=located.catalog))
    assert rows.audit is not None
    notes = tuple(note for note in rows.notes if not note.code.startswith("audit_"))
    return AuditedTraces(rows.audit, rows.sources, notes)


def audit(
    *traces: Path | str, format: str = "auto", gpu: str = "", targets: Sequence[str] = ()
) -> Audit:
    """Judge whether traces are fit to learn from; see `AuditRequest` for the parameters.

    Raises
    ------
    StudyError, DataError, EnvironmentFaultError
        If the traces cannot be read, or lack a target asked for.

    Examples
    --------
    >>> audit = gpucv.audit("recordings")  # doctest: +SKIP
    >>> {each.target: each.verdict for each in audit.targets}  # doctest: +SKIP
    {'step.duration_us': 'fail', 'step.cycle_us': 'pass'}
    """
    request = AuditRequest(tuple(map(str, traces)), Path.cwd(), format, gpu, tuple(targets))
    return audit_traces(request, load_catalog()).audit
