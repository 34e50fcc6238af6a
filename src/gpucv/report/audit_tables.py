"""The tables behind an audit: shares by recording or file, findings' rows, files read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real
from typing import TYPE_CHECKING, Any

from gpucv.report.audit_marks import MARKS, MarkedTable, share_text
from gpucv.report.cells import ABSENT, clean, count, decimal
from gpucv.report.tables import Column, Table
from gpucv.schema import CYCLE_US, SOL_US
from gpucv.traces.audit import floor, light, wall_time

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gpucv.traces import SourceFile
    from gpucv.traces.audit import Audit, Finding

__all__ = ["finding_table", "share_tables", "source_table"]

N_RECORDINGS = 12
"""Recordings shown, the worst first: what a page has room for."""
N_ROWS = 10
"""Rows shown of a finding, and of files faster than light."""
N_FLOORS = 6
"""Floors a note lists."""

_BELOW_FLOOR = "share_below_floor_by_experiment"
_EXPLAINED = "explained_share_by_experiment"
_LIMITS = {
    _BELOW_FLOOR: (
        floor.TOLERATED,
        f"Up to the dashed line, {floor.TOLERATED:.0%}, stray rows may explain it.",
    ),
    _EXPLAINED: (
        wall_time.FAILS_BELOW,
        f"Below the dashed line, {wall_time.FAILS_BELOW:.0%}, a target is another quantity.",
    ),
}

_LIGHT_FIGURES = ("faster_than_light", "faster_than_compute", "rows", "max_utilisation")
"""What is counted of each file or GPU; everything else is a label."""


def share_tables(audit: Audit) -> tuple[MarkedTable, ...]:
    """Build the tables that are drawn as bars: what each check found, part by part."""
    tables = [_below_floor(audit), _explained(audit)]
    for target in audit.targets:
        for key, title in (
            ("faster_than_light_by_file", "Faster than light, by file"),
            ("faster_than_light_by_gpu_and_dtype", "Faster than light, by GPU and number format"),
        ):
            tables.append(_faster_than_light(target.figures.get(key), title))
    return tuple(table for table in tables if table is not None)


def _below_floor(audit: Audit) -> MarkedTable | None:
    floors: dict[str, float] = {}
    for target in audit.targets:
        floors |= target.figures.get("floor_us") or {}
    shown = ", ".join(
        f"{clean(name)} {count(value)} us" for name, value in list(floors.items())[:N_FLOORS]
    )
    more = f" and {len(floors) - N_FLOORS} more" if len(floors) > N_FLOORS else ""
    least = f"The floor is the time to read the model's weights once: {shown}{more}."
    return _by_recording(
        audit,
        _BELOW_FLOOR,
        "Rows below the roofline floor, by recording (%)",
        floor.level_of,
        least if floors else f"The floor is the speed of light of each row ({SOL_US}).",
    )


def _explained(audit: Audit) -> MarkedTable | None:
    return _by_recording(
        audit,
        _EXPLAINED,
        "Share of the wall time explained, by recording (%)",
        wall_time.level_of,
        f"The wall time of a step is {CYCLE_US}.",
    )


def _by_recording(
    audit: Audit, key: str, title: str, level: Callable[[float], str], note: str
) -> MarkedTable | None:
    """Lay out one share of every recording, a column per target, the worst recording first."""
    told = {
        clean(target.target): target.figures[key]
        for target in audit.targets
        if target.figures.get(key)
    }
    if not told:
        return None
    severity = ("fail", "warn", "pass")
    recordings = dict.fromkeys(name for shares in told.values() for name in shares)

    def worst(name: str) -> tuple[int, float]:
        values = [shares[name] for shares in told.values() if name in shares]
        return min(severity.index(level(value)) for value in values), -max(values)

    ordered = sorted(recordings, key=worst)
    kept = ordered[:N_RECORDINGS]
    if len(ordered) > len(kept):
        note += f" {count(len(ordered) - len(kept))} more recordings are not worse than these."
    shares = [[by_name.get(name) for by_name in told.values()] for name in kept]
    levels = [["" if value is None else level(value) for value in row] for row in shares]
    rows = [
        (clean(name), *(_marked(value, mark) for value, mark in zip(values, marks, strict=True)))
        for name, values, marks in zip(kept, shares, levels, strict=True)
    ]
    columns = (Column("recording", False), *(Column(target) for target in told))
    limit, drawn = _LIMITS[key]
    return MarkedTable(
        Table(title, columns, tuple(rows), note=note),
        tuple(("", *marks) for marks in levels),
        tuple((None, *values) for values in shares),
        axis=max(1.0, *(value for row in shares for value in row if value is not None)),
        limit=limit,
        drawn=drawn,
    )


def _marked(value: float | None, level: str) -> str:
    return ABSENT if value is None else f"{MARKS[level]} {share_text(value)}"


def _faster_than_light(found: object, title: str) -> MarkedTable | None:
    """Lay out rows of labels with their counts; a single one says no more than its target."""
    if not isinstance(found, list) or len(found) < 2:
        return None
    kept = found[:N_ROWS]
    labels = [name for name in kept[0] if name not in _LIGHT_FIGURES]
    rows, levels, shares = [], [], []
    for each in kept:
        n = max(each["rows"], 1)
        share = each["faster_than_light"] / n
        level = light.level_of(share, each["faster_than_compute"] / n)
        rows.append(
            (
                *(clean(each[name]) for name in labels),
                _marked(share, level),
                *(count(each[name]) for name in _LIGHT_FIGURES[:3]),
                _times(each.get(_LIGHT_FIGURES[3])),
            )
        )
        levels.append((*("" for _ in labels), level, "", "", "", ""))
        shares.append(share)
    columns = (
        *(Column(clean(name).replace("_", " "), False) for name in labels),
        Column("faster than light %"),
        Column("rows faster", spare=1),
        Column("than peak", spare=2),
        Column("of rows", spare=4),
        Column("at most x light", spare=3),
    )
    more = len(found) - len(kept)
    return MarkedTable(
        Table(title, columns, tuple(rows), note=f"{count(more)} more have some." if more else ""),
        tuple(levels),
        tuple((*(None for _ in labels), share, None, None, None, None) for share in shares),
        axis=max(*shares, 0.01),
    )


def _times(value: object) -> str:
    """Write how many times a limit was reached: ``1.32``, ``4,030``."""
    if not isinstance(value, Real) or not math.isfinite(value):
        return ABSENT
    times = float(value)
    return count(times) if times >= 10 else decimal(times, 2)


def finding_table(title: str, findings: Sequence[Finding]) -> Table | None:
    """Build the table behind findings of one code, None where it says no more than they do.

    One row for each of their own rows where they hold any, else one per finding.
    """
    rows: list[dict[str, Any]] = []
    for finding in findings:
        own = next((value for value in finding.figures.values() if _are_rows(value)), None)
        around = {
            name: value for name, value in finding.figures.items() if not isinstance(value, Mapping)
        }
        if own is None:
            rows.append(around)
            continue
        around = {name: value for name, value in around.items() if not _are_rows(value)}
        around = {f"{name} in all" if name in own[0] else name: v for name, v in around.items()}
        rows += [{**around, **each} for each in own]
    has_rows = any(_are_rows(value) for each in findings for value in each.figures.values())
    if not has_rows and len(rows) < 2:
        return None
    names = [
        name
        for name in dict.fromkeys(name for row in rows for name in row)
        if any(_cell(row.get(name)) not in (ABSENT, "none") for row in rows)
    ]
    kept = rows[:N_ROWS]
    columns = tuple(
        Column(clean(name).replace("_", " "), all(_is_number(row.get(name)) for row in rows))
        for name in names
    )
    cells = tuple(tuple(_cell(row.get(name)) for name in names) for row in kept)
    more = len(rows) - len(kept)
    return Table(title, columns, cells, note=f"{count(more)} more rows." if more else "")


def _are_rows(value: object) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) > 0
        and all(isinstance(each, Mapping) for each in value)
    )


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _cell(value: object) -> str:
    if value is None or value == "":
        return ABSENT
    if isinstance(value, list | tuple):
        return clean(", ".join(str(each) for each in value)) or ABSENT
    if isinstance(value, Real) and not isinstance(value, bool):
        number = float(value)
        if not math.isfinite(number):
            return ABSENT
        return count(number) if number.is_integer() and abs(number) >= 1000 else f"{number:.6g}"
    return clean(value)


def source_table(sources: Sequence[SourceFile]) -> Table | None:
    """Build the table of the files read, None where none is known."""
    if not sources:
        return None
    rows = tuple(
        (
            clean(each.path),
            clean(each.kind),
            count(each.rows),
            count(each.bytes),
            clean(each.sha256),
        )
        for each in sources
    )
    columns = (
        Column("file", False),
        Column("kind", False, spare=2),
        Column("rows"),
        Column("bytes", spare=3),
        Column("SHA-256", False, spare=1),
    )
    files = "1 file" if len(rows) == 1 else f"{count(len(rows))} files"
    total = f"{files}, {count(sum(each.rows for each in sources))} rows"
    return Table(f"Files read: {total}", columns, rows)
