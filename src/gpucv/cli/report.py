"""``gpucv report``: the findings of a run folder, or of results recorded elsewhere."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from gpucv.cli.options import OutputOptions
from gpucv.errors import EnvironmentFaultError, StudyError

if TYPE_CHECKING:
    from gpucv.report import ReportInput
    from gpucv.runs import RunLayout

__all__ = ["load_report_input", "recorded_report_input", "report", "write_report"]


def report(
    run: Annotated[Path | None, Parameter(help="The run folder.")] = None,
    *,
    from_recorded: Annotated[
        tuple[Path, Path] | None,
        Parameter(
            negative="", help="Two CSV files in the published layout: folds, then importance."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        Parameter(help="Where FINDINGS.md and report.html go; by default the run folder."),
    ] = None,
    output: OutputOptions = OutputOptions(),
) -> int:
    """Print a run's findings again and write FINDINGS.md and report.html anew.

    Examples
    --------
    gpucv report runs/h3
    gpucv report --from-recorded cv_summary.csv feature_importance.csv --out h3
    """
    from gpucv.cli.output import print_json, say
    from gpucv.report import print_report, render_json
    from gpucv.workflow.rendering import from_others

    if (run is None) == (from_recorded is None):
        raise StudyError("name a run folder, or --from-recorded FOLDS.csv IMPORTANCE.csv")
    if run is not None:
        report_input = load_report_input(run)
    else:
        assert from_recorded is not None
        report_input = recorded_report_input(*from_recorded)
    with contextlib.nullcontext() if run is None else from_others(run):
        written = write_report(report_input, run, out)
        if output.json:
            print_json(render_json(report_input))
        else:
            print_report(report_input, full=True)
    for path in written:
        say(f"wrote {path}", quiet=output.quiet)
    return 0


def load_report_input(run: Path) -> ReportInput:
    """Read what a rendering needs from a finished run folder.

    Raises
    ------
    StudyError
        There is no such folder.
    RunError
        The folder is not a finished run, or a file in it is damaged.
    """
    from gpucv.workflow import Result
    from gpucv.workflow.rendering import from_others, report_input

    if not run.is_dir():
        raise StudyError(f"{run}: no such run folder")
    with from_others(run):
        return report_input(Result.load(run))


def recorded_report_input(folds_csv: Path, importance_csv: Path) -> ReportInput:
    """Read the results of a study recorded elsewhere, and judge them by the published thresholds.

    Raises
    ------
    StudyError
        A file is missing.
    TraceError
        A file is not in the published layout.
    """
    from gpucv.analysis import judge, read_recorded
    from gpucv.report import ReportInput
    from gpucv.runs.layout import sha256_of

    tables = read_recorded(folds_csv, importance_csv)
    rows = (len(tables.folds) + len(tables.experiments), len(tables.importance))
    files = [
        {"path": str(path), "rows": n, "sha256": sha256_of(path)}
        for path, n in zip((folds_csv, importance_csv), rows, strict=True)
    ]
    return ReportInput(
        name=folds_csv.stem,
        tables=tables,
        verdicts=tuple(judge(tables.folds)),
        provenance={"data": files},
        recorded=True,
    )


def write_report(report: ReportInput, run: Path | None, out: Path | None) -> list[Path]:
    """Write the findings and the page; for recorded results their tables as well."""
    from gpucv.report import render_findings, render_page
    from gpucv.runs import FoldStore, RunLayout, atomic_write, replace_outputs, run_lock

    page, findings = render_page(report), render_findings(report)
    if run is not None and out is None:
        layout = RunLayout(run)
        with run_lock(run):
            FoldStore(run).sweep()
            replace_outputs(layout, {layout.findings: findings, layout.page: page})
        return [layout.findings, layout.page]
    if out is None:
        return []
    layout = _folder_for(out)
    contents = {layout.findings: findings, layout.page: page}
    contents |= _tables(report, layout) if run is None else {}
    for path, content in contents.items():
        atomic_write(path, content)
    return list(contents)


def _folder_for(out: Path) -> RunLayout:
    """Make the folder asked for; a run's own folder is never written over."""
    from gpucv.runs import RunLayout

    layout = RunLayout(out)
    if layout.manifest.exists():
        raise StudyError(f"{out} is a run folder; choose another --out")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        msg = f"cannot create {out}: {error.strerror}; choose another --out"
        raise EnvironmentFaultError(msg) from error
    return layout


def _tables(report: ReportInput, layout: RunLayout) -> dict[Path, str]:
    from gpucv.analysis import verdicts_json
    from gpucv.report import csv_text
    from gpucv.runs import to_json

    tables = report.tables
    return {
        layout.folds_csv: csv_text(tables.folds),
        layout.experiments_csv: csv_text(tables.experiments),
        layout.importance_csv: csv_text(tables.importance),
        layout.stability_csv: csv_text(tables.stability),
        layout.verdict: to_json(verdicts_json(report.verdicts)),
    }
