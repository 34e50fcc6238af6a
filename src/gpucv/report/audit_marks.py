"""The audit's checks as cells: each with its number, and a mark that needs no colour."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard

from gpucv.report.cells import ABSENT, clean, count, decimal, percent, signed
from gpucv.report.tables import Column, Table
from gpucv.schema import RUNNING_DEPTH, SCHEDULED_TOKENS, WAITING_DEPTH

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gpucv.traces.audit import Audit, TargetAudit

__all__ = [
    "MARKS",
    "Mark",
    "MarkedTable",
    "checks_table",
    "key_figures",
    "share_text",
]

MARKS = {"pass": "✓", "warn": "!", "fail": "✗", "unknown": "?"}
"""What stands before a number or a verdict; nothing where a check only measures."""

N_FIGURES = 2
"""Figures on a target's line."""
_WORST_FIRST = ("fail", "warn", "pass")

_Measure: TypeAlias = tuple[str, str]
"""A number in its column's unit, and with what it counts as a line."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What one check says of one target.

    Attributes
    ----------
    level : {"pass", "warn", "fail", ""}
        Empty where the check measures and does not judge.
    number : str
        In the unit of the check's column.
    said : str
        The number and what it counts, as a line: ``97.5% of rows below the roofline floor``.
    """

    level: str
    number: str
    said: str

    @property
    def cell(self) -> str:
        """The number with its mark in front."""
        return f"{MARKS[self.level]} {self.number}" if self.level else self.number


@dataclass(frozen=True, slots=True)
class MarkedTable:
    """A table whose cells may have a level and a bar.

    Attributes
    ----------
    table : Table
    levels : tuple of tuple of str
        Of each cell: ``pass``, ``warn``, ``fail``, ``unknown``, or empty.
    bars : tuple of tuple of float or None
        Length of each cell's bar, as a share; None draws none. Empty: no bars at all.
    axis : float
        The share a full bar stands for.
    limit : float or None
        Where the threshold is drawn, as a share.
    drawn : str
        What that line means: said only where bars are drawn.
    """

    table: Table
    levels: tuple[tuple[str, ...], ...]
    bars: tuple[tuple[float | None, ...], ...] = ()
    axis: float = 1.0
    limit: float | None = None
    drawn: str = ""


def share_text(value: object) -> str:
    """Write a share as a percentage; a trace of something is not written as nothing."""
    if not _is_number(value):
        return ABSENT
    if 0 < 100 * value < 0.05:
        return "<0.1"
    return percent(100 * value)


def _below_floor(figures: Mapping[str, Any]) -> _Measure | None:
    share = figures.get("share_below_floor")
    if not _is_number(share):
        return None
    number = share_text(share)
    return number, f"{number}% of rows below the roofline floor"


def _faster_than_light(figures: Mapping[str, Any]) -> _Measure | None:
    share = figures.get("share_faster_than_light")
    if not _is_number(share):
        return None
    number = share_text(share)
    return number, f"{number}% of rows faster than light"


def _explains(figures: Mapping[str, Any]) -> _Measure | None:
    share = figures.get("explained_share")
    if not _is_number(share):
        return None
    number = share_text(share)
    return number, f"{number}% of the wall time explained"


def _r_depth(figures: Mapping[str, Any]) -> _Measure | None:
    r = figures.get("r") or {}
    depths = [r[name] for name in (RUNNING_DEPTH, WAITING_DEPTH) if _is_number(r.get(name))]
    if not depths:
        return None
    number = decimal(max(depths), 2)
    return number, f"r {number} with the depth of a queue"


def _r_tokens(figures: Mapping[str, Any]) -> _Measure | None:
    tokens = (figures.get("r") or {}).get(SCHEDULED_TOKENS)
    if not _is_number(tokens):
        return None
    return decimal(tokens, 2), f"r {decimal(tokens, 2)} with the scheduled tokens"


def _noise(figures: Mapping[str, Any]) -> _Measure | None:
    mape = (figures.get("noise_floor") or {}).get("mape")
    if not _is_number(mape):
        return None
    return percent(mape), f"{percent(mape)}% MAPE is its noise floor"


def _drift(figures: Mapping[str, Any]) -> _Measure | None:
    changes = [each for each in (figures.get("drift") or {}).values() if _is_number(each)]
    if not changes:
        return None
    number = signed(100 * max(changes, key=abs))
    return number, f"{number}% along a recording"


def _overloaded(figures: Mapping[str, Any]) -> _Measure | None:
    recordings = figures.get("overloaded_recordings")
    if not _is_number(recordings):
        return None
    return count(recordings), f"{count(recordings)} recordings under overload"


def _coverage(figures: Mapping[str, Any]) -> _Measure | None:
    share = figures.get("coverage")
    if not _is_number(share):
        return None
    return share_text(share), f"{share_text(share)}% of rows have it"


_Measuring: TypeAlias = "Callable[[Mapping[str, Any]], _Measure | None]"
_CHECKS: tuple[tuple[Column, str, _Measuring], ...] = (
    (Column("below floor %"), "floor", _below_floor),
    (Column("faster than light %"), "light", _faster_than_light),
    (Column("explains %"), "wall_time", _explains),
    (Column("r depth", spare=4), "queue", _r_depth),
    (Column("r tokens", spare=5), "", _r_tokens),
    (Column("drift %", spare=2), "drift", _drift),
    (Column("overloaded", spare=3), "overload", _overloaded),
    (Column("noise floor %", spare=1), "noise", _noise),
    (Column("has it %", spare=6), "", _coverage),
)
"""Each column, the check whose level it shows, and what it shows of the figures."""
_EXPLAINED = {
    "below floor %": "rows shorter than reading the model's weights once, or their work, takes",
    "faster than light %": "rows faster than the GPU's data sheet allows",
    "explains %": "share of the wall time",
    "r depth": "Pearson's r with the deeper queue",
    "r tokens": "with the scheduled tokens",
    "drift %": "largest change along a recording at equal batches",
    "overloaded": "recordings of an overloaded engine",
    "noise floor %": "the MAPE repeats of one shape allow",
    "has it %": "rows that have the target",
}


def key_figures(target: TargetAudit) -> str:
    """Return the figures that decide as a line: those of the worst level; "" if none judges."""
    marks = [_mark(target, check, measure) for _, check, measure in _CHECKS]
    for level in _WORST_FIRST:
        told = [mark.said for mark in marks if mark is not None and mark.level == level]
        if told:
            return ", ".join(told[:N_FIGURES])
    return ""


def _mark(target: TargetAudit, check: str, measure: _Measuring) -> Mark | None:
    """Return a check's mark, None where it measured nothing."""
    measured = measure(target.figures)
    level = target.levels.get(check, "")
    return measured and Mark(level if level in _WORST_FIRST else "", *measured)


def checks_table(audit: Audit) -> MarkedTable | None:
    """Lay out targets and checks; checks that measured no target are left out.

    None where there is no target, or no check measured any.
    """
    kept = []
    for column, check, measure in _CHECKS:
        marks = [_mark(target, check, measure) for target in audit.targets]
        if any(mark is not None for mark in marks):
            kept.append((column, marks))
    if not kept:
        return None
    rows, levels = [], []
    for at, target in enumerate(audit.targets):
        marks = [column_marks[at] for _, column_marks in kept]
        verdict = f"{MARKS[target.verdict]} {target.verdict}"
        rows.append(
            (clean(target.target), verdict, *(mark.cell if mark else ABSENT for mark in marks))
        )
        levels.append(("", target.verdict, *(mark.level if mark else "" for mark in marks)))
    columns = (Column("target", False), Column("verdict", False), *(column for column, _ in kept))
    explained = "; ".join(f"{column.title}: {_EXPLAINED[column.title]}" for column, _ in kept)
    note = f"{explained}. A number without a mark is measured, not judged."
    return MarkedTable(Table("Checks", columns, tuple(rows), note=note), tuple(levels))


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, Real) and math.isfinite(value)
