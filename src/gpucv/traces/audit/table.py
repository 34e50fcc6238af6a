"""The audit of one table: every check, then one verdict per target."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gpucv.errors import TraceError
from gpucv.traces.audit.clones import clones
from gpucv.traces.audit.constants import constant_features
from gpucv.traces.audit.drift import drift
from gpucv.traces.audit.duplicates import copied_files, repeated_rows
from gpucv.traces.audit.floor import assumed_gpu, weight_floor
from gpucv.traces.audit.leakage import leakage
from gpucv.traces.audit.light import speed_of_light
from gpucv.traces.audit.noise import noise_floor
from gpucv.traces.audit.overload import overloaded, under_overload
from gpucv.traces.audit.queue import follows_queue
from gpucv.traces.audit.result import Audit, Finding, Judgement, TargetAudit, verdict_of
from gpucv.traces.audit.shapes import same_shapes
from gpucv.traces.audit.subject import EVERYTHING, AuditScope, Subject
from gpucv.traces.audit.wall_time import explained
from gpucv.traces.targets import derive_targets

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pandas as pd

    from gpucv.catalog import Catalog
    from gpucv.traces.provenance import Note

__all__ = ["audit_table"]

_JUDGES: dict[str, Callable[[Subject, str], Judgement | None]] = {
    "floor": weight_floor,
    "light": speed_of_light,
    "wall_time": explained,
    "queue": follows_queue,
    "drift": drift,
    "noise": noise_floor,
}
"""Each check by the name its level is kept under: that of its file."""
_OF_THE_TABLE: tuple[Callable[[Subject], list[Finding]], ...] = (
    assumed_gpu,
    repeated_rows,
    constant_features,
    same_shapes,
)
_OF_A_TARGET: tuple[Callable[[Subject, str], list[Finding]], ...] = (
    clones,
    copied_files,
    leakage,
)


# Absurd values overflow on their way to figures; what they give is no number, and told as such.
@np.errstate(over="ignore", invalid="ignore")
def audit_table(
    frame: pd.DataFrame,
    catalog: Catalog,
    scope: AuditScope = EVERYTHING,
    notes: Sequence[Note] = (),
) -> Audit:
    """Say whether the times of a table are fit to learn from, and what else is in the way.

    Parameters
    ----------
    frame : pandas.DataFrame
        A step table, a measurement table or any other; labels as text or categories.
        ``step.cycle_us`` and ``step.schedule_us`` are derived where time stamps allow it.
    catalog : Catalog
        Architectures and data sheets that floors are computed from.
    scope : AuditScope
    notes : sequence of Note
        What reading the table noticed; overloaded recordings are told by them.

    Raises
    ------
    TraceError
        If the table has no row, a column the scope names is missing, or a target is no
        number.
    """
    if not len(frame):
        msg = "no rows to audit"
        raise TraceError(msg)
    whole, derived = derive_targets(frame, scope.experiment, scope.order_by)
    subject = Subject(whole, scope, catalog)
    findings = [*overloaded(notes), *_derivation([*notes, *derived])]
    for check in _OF_THE_TABLE:
        findings += check(subject)
    for search in _OF_A_TARGET:
        for target in subject.targets:
            findings += search(subject, target)
    targets = tuple(_target(subject, target, findings) for target in subject.targets)
    if not targets:
        message = "no column is a time this audit knows; name the target"
        findings.append(Finding("no_target", "warning", message))
    return Audit(len(frame), targets, tuple(findings))


def _target(subject: Subject, target: str, findings: Sequence[Finding]) -> TargetAudit:
    judged = {check: judge(subject, target) for check, judge in _JUDGES.items()}
    if subject.is_steps:
        judged["overload"] = under_overload(findings)
    made = {check: each for check, each in judged.items() if each is not None}
    return verdict_of(target, made)


def _derivation(notes: Sequence[Note]) -> list[Finding]:
    """Return what deriving the cycle left out, here or before the table was handed in."""
    told = {note.message: note for note in notes if note.code == "cycle_us"}.values()
    return [Finding(note.code, note.level, note.message, {"rows": note.count}) for note in told]
