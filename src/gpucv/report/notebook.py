"""A run in a notebook's cell: the verdict, the means of every scheme, and where the rest is."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING

from gpucv.report.cells import clean, percent, share
from gpucv.report.tables import write_interval

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gpucv.analysis import SchemeSummary, Verdict

__all__ = ["render_cell"]

_MOST_ROWS = 12
_HEADS = (
    "predictor",
    "verdict",
    "scheme",
    "folds",
    "mean MAPE % [95 %]",
    "worst held out",
    "MAPE %",
)
_TEXT, _NUMBER = ' style="text-align:left"', ' style="text-align:right"'


def render_cell(name: str, path: str, verdicts: Sequence[Verdict], warnings: Sequence[str]) -> str:
    """Render what a notebook shows of a run.

    Parameters
    ----------
    name, path : str
        The study's name, and the run folder.
    verdicts : sequence of Verdict
        The first is the one told; of all, the first schemes are in the table.
    warnings : sequence of str
        What must stand beside any number of this run.

    Returns
    -------
    str
        HTML, everything from data escaped; no colours, so that it suits any notebook's.
    """
    first = verdicts[0]
    rows = list(_rows(verdicts))
    told = [
        f"<p><strong>{_told(name)}: {_told(first.label)}.</strong> {_told(first.reason, 500)}</p>",
        *(f"<p><strong>{_told(warning, 500)}</strong></p>" for warning in warnings),
        f"<table><thead>{_row('th', _HEADS)}</thead>",
        f"<tbody>{''.join(_row('td', row) for row in rows[:_MOST_ROWS])}</tbody></table>",
    ]
    if len(rows) > _MOST_ROWS:
        told.append(f"<p>{len(rows) - _MOST_ROWS} more rows follow in verdict.json.</p>")
    told.append(f"<p>The findings, the page and all tables are in <code>{_told(path)}</code>.</p>")
    return f"<div>{''.join(told)}</div>"


def _rows(verdicts: Sequence[Verdict]) -> Iterator[tuple[str, ...]]:
    for verdict in verdicts:
        for summary in verdict.schemes:
            yield (
                verdict.formulation.label,
                verdict.label,
                summary.scheme,
                share(summary.n_finished, summary.n_planned),
                _mean(summary),
                summary.worst_holdout,
                percent(summary.worst_mape),
            )


def _mean(summary: SchemeSummary) -> str:
    """Write a scheme's mean MAPE, with its interval where there is one."""
    low, high = summary.intervals.get("test_mape", (math.nan, math.nan))
    mean = percent(summary.average_mape)
    return f"{mean} {write_interval(low, high, percent)}" if math.isfinite(low + high) else mean


def _row(cell: str, values: Sequence[str]) -> str:
    numbers = {_HEADS.index("mean MAPE % [95 %]"), _HEADS.index("MAPE %")}
    cells = (
        f"<{cell}{_NUMBER if at in numbers else _TEXT}>{_told(value)}</{cell}>"
        for at, value in enumerate(values)
    )
    return f"<tr>{''.join(cells)}</tr>"


def _told(text: str, longest: int = 120) -> str:
    return escape(clean(text, longest))
