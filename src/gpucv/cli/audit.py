"""``gpucv audit``: whether a trace is fit to learn from."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from gpucv.cli.options import OutputOptions
from gpucv.errors import StudyError
from gpucv.study.config import FormatName

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gpucv.workflow.auditing import AuditedTraces

__all__ = ["audit"]


def audit(
    traces: Annotated[
        list[str],
        Parameter(negative="", help="Files, folders or globs; or one study file (.toml)."),
    ],
    *,
    target: Annotated[
        tuple[str, ...],
        Parameter(
            negative="",
            show_default=False,
            consume_multiple=False,
            help="Judge this column. Repeatable; by default every measured time.",
        ),
    ] = (),
    format: Annotated[FormatName, Parameter(help="What wrote the files.")] = "auto",
    gpu: Annotated[
        str,
        Parameter(show_default=False, help="GPU of rows that name none (published study: h100)."),
    ] = "",
    out: Annotated[
        Path | None, Parameter(name=["--out", "-o"], help="Write the page here, as HTML.")
    ] = None,
    output: OutputOptions = OutputOptions(),
) -> int:
    """Judge whether traces are fit to learn from, before anything is trained.

    For every target: is it longer than physics allows, does it explain the wall time,
    does it follow the work or the queue, and how well could any model predict it? Beside
    it: clones, duplicates, constant and leaking columns, drift, overload. Ends with exit
    code 3 if every target judged fails.

    Examples
    --------
    gpucv audit recordings/ --out audit.html
    gpucv audit steps.parquet --target step.cycle_us --json
    """
    from gpucv.cli.output import print_json, say

    audited = _audited(traces, target, format, gpu)
    if out is not None:
        _keep_what_was_read(out, (*traces, *(source.path for source in audited.sources)))
    title = Path(traces[0]).name if len(traces) == 1 else f"{len(traces)} traces"
    if out is not None:
        _write_page(audited, title, out)
    if output.json:
        files = [asdict(source) for source in audited.sources]
        notes = [asdict(note) for note in audited.notes]
        print_json({**audited.audit.to_json(), "notes": notes, "data": files})
    else:
        _show(audited, title, quiet=output.quiet)
    if out is not None:
        say(f"page: {out}", quiet=output.quiet)
    return 3 if audited.failed() else 0


def _audited(
    traces: list[str], target: tuple[str, ...], format: FormatName, gpu: str
) -> AuditedTraces:
    from gpucv.catalog import load_catalog
    from gpucv.study import load_study
    from gpucv.workflow.auditing import AuditRequest, audit_study, audit_traces

    studies = [name for name in traces if name.endswith(".toml")]
    if not studies:
        request = AuditRequest(tuple(traces), Path.cwd(), format, gpu, target)
        return audit_traces(request, load_catalog())
    if len(traces) > 1 or target or gpu or format != "auto":
        msg = f"{studies[0]} is a study, which says all that is audited; name it alone"
        raise StudyError(msg)
    return audit_study(load_study(Path(studies[0])))


def _keep_what_was_read(out: Path, read: Iterable[str]) -> None:
    """Refuse to write the page over what it was made from."""
    from gpucv.machine import expanded

    if any(out.resolve() == expanded(name).resolve() for name in read):
        msg = f"--out {out} is what is audited; name another file"
        raise StudyError(msg)


def _write_page(audited: AuditedTraces, title: str, out: Path) -> None:
    from gpucv.report.audit_page import render_audit_page
    from gpucv.report.audit_story import audit_story
    from gpucv.runs import atomic_write

    story = audit_story(audited.audit, title, audited.sources, audited.notes)
    atomic_write(out, render_audit_page(story))


def _show(audited: AuditedTraces, title: str, *, quiet: bool) -> None:
    from gpucv.report.audit_story import audit_story
    from gpucv.report.audit_terminal import print_audit

    notes = () if quiet else audited.notes
    print_audit(audit_story(audited.audit, title, audited.sources, notes))
