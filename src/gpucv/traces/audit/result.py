"""What an audit says: a verdict on each target, and findings on the table."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Audit", "Finding", "Judgement", "Level", "TargetAudit", "Verdict", "verdict_of"]

Verdict = Literal["pass", "warn", "fail", "unknown"]
Level = Literal["pass", "warn", "fail", "unknown", "info"]

_WORST_FIRST = ("fail", "warn", "unknown", "pass", "info")


@dataclass(frozen=True, slots=True)
class Judgement:
    """What one check says of one target.

    Attributes
    ----------
    level : {"pass", "warn", "fail", "unknown", "info"}
        ``unknown`` where the check lacks what it needs; ``info`` where it measures and
        does not judge.
    reason : str
        One sentence with the numbers; "" where there is nothing to say.
    figures : dict
        What goes into the audit's JSON.
    decides : bool
        Whether passing says that the target is a time of the whole step or operator. A
        target that no deciding check could judge is unknown.
    """

    level: Level
    reason: str = ""
    figures: dict[str, Any] = field(default_factory=dict)
    decides: bool = False


@dataclass(frozen=True, slots=True)
class TargetAudit:
    """The verdict on one target.

    Attributes
    ----------
    target : str
    verdict : {"pass", "warn", "fail", "unknown"}
    reasons : tuple of str
        Sentences with the numbers, worst first.
    figures : dict
    objections : int
        How many of the reasons, from the first on, speak against the target.
    levels : dict
        What each check that looked at the target says of it, by the check's name.
    """

    target: str
    verdict: Verdict
    reasons: tuple[str, ...]
    figures: dict[str, Any]
    objections: int = 0
    levels: dict[str, Level] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about the table: a stable code, one line for people, and its figures."""

    code: str
    level: Literal["info", "warning"]
    message: str
    figures: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Audit:
    """What was found in a table of `rows` rows."""

    rows: int
    targets: tuple[TargetAudit, ...]
    findings: tuple[Finding, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the audit as JSON values; figures that are not finite become None."""
        targets = {
            each.target: {
                "verdict": each.verdict,
                "reasons": list(each.reasons),
                "objections": each.objections,
                "levels": each.levels,
                **_plain(each.figures),
            }
            for each in self.targets
        }
        findings = [
            {
                "code": each.code,
                "level": each.level,
                "message": each.message,
                **_plain(each.figures),
            }
            for each in self.findings
        ]
        return {"rows": self.rows, "targets": targets, "findings": findings}

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Self:
        """Return the audit that `to_json` described.

        Raises
        ------
        ValueError
            If `kept` is nothing of the kind.
        """
        try:
            targets = tuple(
                _target(str(name), dict(entry)) for name, entry in kept["targets"].items()
            )
            findings = tuple(_finding(dict(entry)) for entry in kept["findings"])
            return cls(int(kept["rows"]), targets, findings)
        except (KeyError, TypeError, AttributeError) as error:
            msg = f"no audit: {type(error).__name__}: {error}"
            raise ValueError(msg) from error


def _target(name: str, entry: dict[str, Any]) -> TargetAudit:
    verdict, reasons = entry.pop("verdict"), tuple(entry.pop("reasons"))
    objections, levels = int(entry.pop("objections")), dict(entry.pop("levels"))
    return TargetAudit(name, verdict, reasons, entry, objections, levels)


def _finding(entry: dict[str, Any]) -> Finding:
    return Finding(entry.pop("code"), entry.pop("level"), entry.pop("message"), entry)


def verdict_of(target: str, judgements: Mapping[str, Judgement]) -> TargetAudit:
    """Return the worst of the judgements, or ``unknown`` if none of them could decide.

    Parameters
    ----------
    target : str
    judgements : mapping of str to Judgement
        By the name of the check, in the order figures are told.
    """
    ranked = sorted(judgements.values(), key=lambda each: _WORST_FIRST.index(each.level))
    levels = {check: each.level for check, each in judgements.items()}
    verdict: Verdict = "unknown"
    if "fail" in levels.values():
        verdict = "fail"
    elif "warn" in levels.values():
        verdict = "warn"
    elif any(each.decides and each.level == "pass" for each in ranked):
        verdict = "pass"
    reasons = tuple(each.reason for each in ranked if each.reason)
    figures = {name: value for each in judgements.values() for name, value in each.figures.items()}
    objections = sum(each.level in ("fail", "warn") and bool(each.reason) for each in ranked)
    return TargetAudit(target, verdict, reasons, figures, objections, levels)


def _plain(value: Any) -> Any:
    """Return `value` without NumPy types, NaN and infinities."""
    if isinstance(value, dict):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
