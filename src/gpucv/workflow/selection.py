"""Which rows a study takes: those it selects, a sample of them, each recording's first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpucv.errors import StudyError, nearest, shown
from gpucv.traces import Note
from gpucv.traces.piece import one_line

if TYPE_CHECKING:
    import pandas as pd

    from gpucv.study import Study

__all__ = ["first_steps", "sampled", "selected"]


def selected(frame: pd.DataFrame, where: dict[str, Any]) -> pd.DataFrame:
    """Return the rows `data.where` asks for.

    Raises
    ------
    StudyError
        If a value occurs in no row.
    """
    for column, wanted in where.items():
        values = wanted if isinstance(wanted, list | tuple) else (wanted,)
        present = frame[column].dropna().unique()
        absent = [value for value in values if value not in present]
        if absent:
            raise StudyError(_nowhere(column, absent[0], list(present)))
        frame = frame[frame[column].isin(values)]
    if where and frame.empty:
        msg = f"data.where: no row fits all of {shown(where)}"
        raise StudyError(msg)
    return frame.reset_index(drop=True) if where else frame


def _nowhere(column: str, value: Any, present: list[Any]) -> str:
    """Say that no row has a value of `data.where`, and what the rows have instead."""
    known = [str(each) for each in present]
    text = any(isinstance(each, str) for each in present)
    hint = nearest(str(value), known) if text else ""
    if str(value) in known:
        hint = f"; it holds {'text' if text else 'numbers'}: write "
        hint += shown(str(value)) if text else str(value)
    few = ", ".join(one_line(each, 60) for each in sorted(known)[:8])
    few += ", ..." if len(known) > 8 else ""
    return f"data.where: no row has {column} = {shown(value)}{hint}; the rows have {few or 'none'}"


def sampled(frame: pd.DataFrame, study: Study) -> tuple[pd.DataFrame, list[Note]]:
    """Return at most ``data.sample`` rows, drawn without replacement, in their order."""
    wanted, rows = study.data.sample, len(frame)
    if not wanted or rows <= wanted:
        return frame, []
    drawn = frame.sample(n=wanted, random_state=study.seed).sort_index().reset_index(drop=True)
    message = f"{wanted:,} of {rows:,} rows drawn at random (data.sample, seed {study.seed})"
    return drawn, [Note("sampled", message, rows - wanted, "info")]


def first_steps(frame: pd.DataFrame, study: Study, limit: int) -> tuple[pd.DataFrame, Note]:
    """Return at most `limit` rows of every recording, in the order of its steps."""
    data = study.data
    if data.order_by in frame.columns:
        frame = frame.sort_values(data.order_by, kind="stable")
    before = len(frame)
    by_experiment = data.experiment in frame.columns
    grouped = frame.groupby(data.experiment, sort=False, observed=True) if by_experiment else None
    kept = frame.head(limit) if grouped is None else grouped.head(limit)
    message = f"trial run on {len(kept):,} of {before:,} rows (--limit {limit}): not a real result"
    return kept, Note("limited", message, before - len(kept), "warning")
