"""Whether the engine was overloaded while it was recorded.

Readers note recordings whose requests failed. The steps of an engine that turns requests
away, preempts and recomputes are real, and are not those of a healthy one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpucv.traces.audit.result import Finding, Judgement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpucv.traces.provenance import Note

__all__ = ["overloaded", "under_overload"]


def overloaded(notes: Sequence[Note]) -> list[Finding]:
    """Return one finding for each recording of an overloaded engine."""
    return [
        Finding("overload", "warning", note.message, {"failed_requests": note.count})
        for note in notes
        if note.code == "overload"
    ]


def under_overload(findings: Sequence[Finding]) -> Judgement | None:
    """Warn of a step target that was measured under overload."""
    told = [each.message for each in findings if each.code == "overload"]
    if not told:
        return None
    more = f" (and {len(told) - 1} more recordings)" if len(told) > 1 else ""
    reason = f"{told[0]}{more}: leave it out, or hold it out and read its error apart"
    return Judgement("warn", reason, {"overloaded_recordings": len(told)})
