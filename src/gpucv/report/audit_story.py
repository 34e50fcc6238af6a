"""What an audit's page says, in order, before any rendering decides how it looks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from gpucv.report.audit_follows import best_targets, next_steps
from gpucv.report.audit_marks import MARKS, checks_table, key_figures
from gpucv.report.audit_tables import finding_table, share_tables, source_table
from gpucv.report.cells import clean, clean_sentence, count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpucv.report.audit_marks import MarkedTable
    from gpucv.report.tables import Table
    from gpucv.traces import Note, SourceFile
    from gpucv.traces.audit import Audit, TargetAudit, Verdict

__all__ = ["QUESTION", "AuditStory", "ToldTarget", "Topic", "audit_story"]

QUESTION = "Is this trace fit to learn from?"
N_MESSAGES = 5
"""Messages of one code that are written out; the others are counted."""

_TITLES = {
    "clone": "Clones",
    "constant_features": "Constant columns",
    "copied_file": "Copied files",
    "cycle_us": "Derived cycle time",
    "duplicate_keys": "Repeated steps",
    "duplicate_rows": "Repeated rows",
    "empty_features": "Empty columns",
    "gpu_assumed": "Assumed GPU",
    "leakage": "Leaking columns",
    "no_target": "No target",
    "overload": "Overloaded recordings",
    "repeated_points": "Points measured more than once",
    "same_shapes": "Models of the same shapes",
    "unknown_gpu": "Unknown GPUs",
    "unknown_model": "Unknown models",
}


@dataclass(frozen=True, slots=True)
class ToldTarget:
    """One target: its verdict and mark, the figures that decide, and every reason.

    Attributes
    ----------
    name : str
    verdict : {"pass", "warn", "fail", "unknown"}
    mark : str
        The verdict as one character.
    figures : str
        What decides: ``97.5% of rows below the roofline floor``; empty if nothing could.
    reasons : tuple of str
        Sentences, worst first.
    """

    name: str
    verdict: Verdict
    mark: str
    figures: str
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Topic:
    """What was found of one kind.

    Attributes
    ----------
    level : str
        ``warning`` or ``info``.
    title : str
    messages : tuple of str
        At most `N_MESSAGES`.
    n_more : int
        Messages left out.
    table : Table or None
        The rows behind them.
    """

    level: str
    title: str
    messages: tuple[str, ...]
    n_more: int
    table: Table | None


@dataclass(frozen=True, slots=True)
class AuditStory:
    """An audit as text and tables, unescaped.

    Attributes
    ----------
    title : str
        What was audited.
    answer, reason : str
        Whether it is fit, and why, in a line each.
    tone : {"good", "partly", "bad", "open"}
    facts : tuple of (name, value)
    targets : tuple of ToldTarget
    follows : tuple of str
        Concrete next steps.
    checks : MarkedTable or None
        Targets by checks.
    shares : tuple of MarkedTable
        What is drawn as bars.
    findings, notes : tuple of Topic
        Warnings first: of the table, and of reading it.
    sources : Table or None
        The files read.
    """

    title: str
    answer: str
    reason: str
    tone: str
    facts: tuple[tuple[str, str], ...]
    targets: tuple[ToldTarget, ...]
    follows: tuple[str, ...]
    checks: MarkedTable | None
    shares: tuple[MarkedTable, ...]
    findings: tuple[Topic, ...]
    notes: tuple[Topic, ...]
    sources: Table | None


def audit_story(
    audit: Audit, title: str, sources: Sequence[SourceFile] = (), notes: Sequence[Note] = ()
) -> AuditStory:
    """Compose the story of an audit.

    Parameters
    ----------
    audit : Audit
    title : str
        What was audited: a study's name, a file's.
    sources : sequence of SourceFile
        The files the rows were read from.
    notes : sequence of Note
        What reading them noticed; those the audit's findings repeat are left out.

    Returns
    -------
    AuditStory
        Every text cleaned of control characters, none of it escaped.
    """
    answer, tone = _answer(audit)
    found = {finding.message for finding in audit.findings}
    notes = [note for note in notes if note.message not in found]
    levels = [*(finding.level for finding in audit.findings), *(note.level for note in notes)]
    warnings = levels.count("warning")
    return AuditStory(
        title=clean(title),
        answer=answer,
        reason=_reason(audit, warnings),
        tone=tone,
        facts=(
            ("rows", count(audit.rows)),
            ("files", count(len(sources))),
            ("targets judged", count(len(audit.targets))),
            ("warnings", count(warnings)),
        ),
        targets=tuple(_told(target, audit) for target in audit.targets),
        follows=tuple(clean_sentence(sentence) for sentence in next_steps(audit)),
        checks=checks_table(audit),
        shares=share_tables(audit),
        findings=_topics(audit.findings),
        notes=_topics(notes),
        sources=source_table(sources),
    )


def _answer(audit: Audit) -> tuple[str, str]:
    verdicts = {target.verdict for target in audit.targets}
    best = best_targets(audit)
    names = " or ".join(clean(target.target) for target in best)
    if not best:
        return ("Not fit to learn from", "bad") if "fail" in verdicts else ("Cannot tell", "open")
    chosen = "" if len(verdicts) == 1 else f", with {names} as the target"
    if best[0].verdict == "pass":
        return f"Fit{chosen or ' to learn from'}", "good"
    return f"Fit with care{chosen}", "partly"


def _reason(audit: Audit, warnings: int) -> str:
    if not audit.targets:
        return "No column is a time that could be judged."
    said = []
    for verdict, one, several in (
        ("fail", "fails", "fail"),
        ("warn", "has warnings", "have warnings"),
        ("pass", "passes", "pass"),
        ("unknown", "could not be judged", "could not be judged"),
    ):
        n = sum(target.verdict == verdict for target in audit.targets)
        if n:
            said.append(f"{n} {one if n == 1 else several}")
    n = len(audit.targets)
    sentence = f"Of {n} targets {', '.join(said)}" if n > 1 else f"Its target {said[0][2:]}"
    if not warnings:
        return f"{sentence}; there is no warning about the table."
    about = "1 warning" if warnings == 1 else f"{count(warnings)} warnings"
    return f"{sentence}; {about} about the table below."


def _told(target: TargetAudit, audit: Audit) -> ToldTarget:
    reasons = tuple(clean_sentence(reason) for reason in target.reasons)
    alike = next(each for each in audit.targets if each.reasons == target.reasons)
    if reasons and alike is not target:
        reasons = (f"as {clean(alike.target)}, for the same reasons",)
    return ToldTarget(
        name=clean(target.target),
        verdict=target.verdict,
        mark=MARKS[target.verdict],
        figures="" if target.verdict == "unknown" else key_figures(target),
        reasons=reasons,
    )


class _Message(Protocol):
    """What findings and notes share."""

    @property
    def code(self) -> str: ...
    @property
    def level(self) -> str: ...
    @property
    def message(self) -> str: ...


def _topics(messages: Sequence[_Message]) -> tuple[Topic, ...]:
    """Gather messages by code and level, warnings first, in the order they came."""
    from gpucv.traces.audit import Finding

    gathered: dict[tuple[str, str], list[_Message]] = {}
    for each in sorted(messages, key=lambda each: each.level != "warning"):
        gathered.setdefault((each.code, each.level), []).append(each)
    topics = []
    for (code, level), told in gathered.items():
        title = _TITLES.get(code) or clean(code).replace("_", " ").capitalize()
        findings = [each for each in told if isinstance(each, Finding)]
        topics.append(
            Topic(
                level=clean(level),
                title=title,
                messages=tuple(clean_sentence(each.message) for each in told[:N_MESSAGES]),
                n_more=max(0, len(told) - N_MESSAGES),
                table=finding_table(title, findings) if findings else None,
            )
        )
    return tuple(topics)
