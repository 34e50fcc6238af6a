"""The audit as one HTML file that opens anywhere, without scripts and without the network."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

from markupsafe import Markup

from gpucv.report.audit_story import QUESTION
from gpucv.report.svg import drawing, line, number, path

if TYPE_CHECKING:
    from gpucv.report.audit_marks import MarkedTable
    from gpucv.report.audit_story import AuditStory

__all__ = ["render_audit_page"]

_LENGTH, _HEIGHT = 120.0, 12.0
_FILLS = {"fail": "bad", "warn": "partly", "pass": "good"}


def render_audit_page(story: AuditStory) -> str:
    """Render the audit's page.

    Parameters
    ----------
    story : AuditStory

    Returns
    -------
    str
        A complete HTML document with its styles and figures inside, the same bytes for
        the same story. All text is escaped; the page's own policy forbids scripts and
        every request.
    """
    from jinja2 import Environment, StrictUndefined

    folder = resources.files("gpucv.report")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string((folder / "audit_page.html.j2").read_text(encoding="utf-8"))
    style = "".join(
        (folder / name).read_text(encoding="utf-8") for name in ("page.css", "audit_page.css")
    )
    return template.render(
        story=story,
        question=QUESTION,
        style=Markup(style),
        bars=[_bars(table) for table in story.shares],
    )


def _bars(table: MarkedTable) -> list[list[Markup]]:
    """Draw the bar of each cell; cells without one get none."""
    return [
        [
            Markup("") if share is None else _bar(share, level, table)
            for share, level in zip(shares, levels, strict=True)
        ]
        for shares, levels in zip(table.bars, table.levels, strict=True)
    ]


def _bar(share: float, level: str, table: MarkedTable) -> Markup:
    """Draw a share on a linear scale from nothing to the table's axis, the threshold marked."""
    # Half a unit keeps a share that is not nothing visible.
    length = min(max(_LENGTH * share / table.axis, 0.5 if share > 0 else 0.0), _LENGTH)
    parts = [
        path("trough", f"M0 2H{number(_LENGTH)}V10H0Z"),
        path(_FILLS.get(level, "plain"), f"M0 2H{number(length)}V10H0Z"),
    ]
    label = f"{share:.1%}"
    if table.limit is not None:
        at = _LENGTH * table.limit / table.axis
        parts.append(line("limit", at, 0, at, _HEIGHT))
        label += f" against {table.limit:.0%}"
    return drawing(_LENGTH, _HEIGHT, label, parts)
