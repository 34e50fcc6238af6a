"""A study from file to findings: prepare, run the folds, judge, report."""

from __future__ import annotations

import contextlib
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from gpucv.analysis import (
    StudyTables,
    Thresholds,
    coverage_table,
    gpu_rows,
    interval_table,
    judge,
    scheme_meanings,
    verdicts_json,
)
from gpucv.analysis.collect import collect_tables
from gpucv.errors import EnvironmentFaultError, StudyError
from gpucv.folds import RunRequest, plan_rows, run_folds
from gpucv.report import render_findings, render_page, render_timeline
from gpucv.report.csv import csv_text
from gpucv.runs import (
    FoldStore,
    RunLayout,
    atomic_write,
    atomic_write_with,
    make_folder,
    new_manifest,
    new_run_folder,
    now,
    read_manifest,
    run_lock,
    to_json,
    write_manifest,
)
from gpucv.runs.disk import remove_file
from gpucv.study import LoadedStudy, Study, load_study, study_from_dict, study_to_toml
from gpucv.traces.memory import give_arrow_memory_back
from gpucv.workflow.consensus import consensus_toml
from gpucv.workflow.continuity import began_training, must_be_same_study, must_be_unchanged
from gpucv.workflow.preparation import PreparedStudy, prepare
from gpucv.workflow.rendering import report_input
from gpucv.workflow.result import Result, read_predictions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gpucv.folds import FoldTask, Progress
    from gpucv.machine import Sample
    from gpucv.runs import FoldRecord

__all__ = ["Silent", "as_loaded", "resume", "run", "start"]


class Silent:
    """Progress that says nothing."""

    def start(self, planned: int, finished: int, rows: int) -> None:
        """Say nothing."""

    def begin(self, task: FoldTask, worker: str) -> None:
        """Say nothing."""

    def advance(self, record: FoldRecord) -> None:
        """Say nothing."""

    def stop(self) -> None:
        """Say nothing."""


def run(
    study: Path | str | Mapping[str, Any] | Study | LoadedStudy,
    *,
    out: Path | str | None = None,
    overrides: Sequence[str] = (),
    limit: int | None = None,
    progress: Progress | None = None,
) -> Result:
    """Run a study and return what it found.

    Parameters
    ----------
    study : path, mapping, Study or LoadedStudy
        A study file, or the same keys as nested dicts.
    out : path, optional
        The run folder; by default ``runs/<UTC>-<name>-<8 hex>``.
    overrides : sequence of str
        ``"key.path=value"``, laid over the study.
    limit : int, optional
        Keep only the first `limit` steps of every experiment: a trial run, and
        every output says so.
    progress : Progress, optional
        Told of every fold that begins or ends.

    Returns
    -------
    Result
        Also where folds failed; see its ``folds.status``.

    Raises
    ------
    GpucvError
        If the study, its data or the machine is at fault; then no run folder is made.
    """
    return start(
        prepare(as_loaded(study, overrides), limit),
        out=Path(out) if out is not None else None,
        progress=progress or Silent(),
    )


def as_loaded(
    study: Path | str | Mapping[str, Any] | Study | LoadedStudy, overrides: Sequence[str] = ()
) -> LoadedStudy:
    """Return `study`, however given, checked."""
    if isinstance(study, Path | str):
        return load_study(study, tuple(overrides))
    if isinstance(study, LoadedStudy) and not overrides:
        return study
    base = study.base if isinstance(study, LoadedStudy) else Path.cwd()
    given = study.study if isinstance(study, LoadedStudy) else study
    if isinstance(given, Study):
        given = given.model_dump(mode="json", by_alias=True, exclude_none=True)
    return study_from_dict(dict(given), base=base, overrides=tuple(overrides))


def start(prepared: PreparedStudy, *, out: Path | None, progress: Progress) -> Result:
    """Make the run folder of a prepared study and run its folds, once.

    Raises
    ------
    StudyError
        If it has run before: its rows were given up when its folds had ended.
    """
    if not len(prepared.table):
        msg = "this prepared study has run, and its rows are gone; prepare it again, or resume"
        raise StudyError(msg)
    layout = RunLayout(new_run_folder(prepared.study.name, out))
    make_folder(layout.root)
    with run_lock(layout.root):
        if layout.manifest.exists():  # another process was faster
            msg = f"{layout.root} is a run by now; choose another --out"
            raise EnvironmentFaultError(msg)
        FoldStore(layout.root).sweep()
        manifest = _found(layout, prepared)
        return _run_and_report(layout, prepared, manifest, progress, retry_failed=False)


def resume(
    folder: Path | str,
    *,
    retry_failed: bool = False,
    overrides: Sequence[str] = (),
    progress: Progress | None = None,
) -> Result:
    """Run the folds a run folder still lacks, and report anew.

    Parameters
    ----------
    folder : path
        A run folder, finished or not.
    retry_failed : bool
        Run failed folds again, too.
    overrides : sequence of str
        ``"key.path=value"``, laid over the study: where folds run and what the verdict
        asks may change, nothing that changes a prediction.
    progress : Progress, optional

    Raises
    ------
    RunError
        If the study or the data is no longer what the run began with.
    RunLockedError
        If another process is writing the folder.
    """
    layout = RunLayout(Path(folder))
    read_manifest(layout)  # before a lock file is put into a folder that is no run
    with run_lock(layout.root):
        manifest = read_manifest(layout)
        as_begun = f"execution.training={began_training(manifest)}"
        loaded = load_study(layout.study, (as_begun, *overrides))
        must_be_same_study(layout, manifest, loaded.study)
        prepared = prepare(loaded, manifest.get("limit"))
        must_be_unchanged(layout, manifest, prepared)
        FoldStore(layout.root).sweep()
        manifest |= {
            "status": "running",
            "resumed": [*manifest.get("resumed", []), now()],
            "placement": prepared.placement.to_json(),
        }
        write_manifest(layout, manifest)
        return _run_and_report(
            layout, prepared, manifest, progress or Silent(), retry_failed=retry_failed
        )


def _found(layout: RunLayout, prepared: PreparedStudy) -> dict[str, Any]:
    """Write what a run can be resumed from, and return its manifest; or leave nothing."""
    notes = [asdict(note) for note in prepared.notes]
    what = {
        **prepared.origin(),
        "study": prepared.study.model_dump(mode="json", by_alias=True),
        "placement": prepared.placement.to_json(),
    }
    manifest = new_manifest(prepared.study.name, prepared.device, what, notes)
    try:
        make_folder(layout.folds)
        atomic_write(layout.study, study_to_toml(prepared.study))
        atomic_write(layout.plan, csv_text(pd.DataFrame(plan_rows(prepared.tasks))))
        write_manifest(layout, manifest)
    except BaseException:
        with contextlib.suppress(OSError):  # what stays, a new run there takes for nothing
            # The lock last: it is what tells these files from somebody's own.
            for path in (layout.manifest, layout.study, layout.plan, layout.lock_holder):
                remove_file(path)
            layout.folds.rmdir()
            remove_file(layout.lock)
            layout.root.rmdir()
        raise
    return manifest


def _run_and_report(
    layout: RunLayout,
    prepared: PreparedStudy,
    manifest: dict[str, Any],
    progress: Progress,
    *,
    retry_failed: bool,
) -> Result:
    request = RunRequest(
        root=layout.root,
        tasks=prepared.tasks,
        execution=prepared.study.execution,
        retry_failed=retry_failed,
        placement=prepared.placement,
    )
    watched: dict[str, list[Sample]] = {}
    try:
        records = run_folds(request, prepared.table, progress, watched)
        prepared.table.release()  # of 100 million rows, gigabytes that the report needs
        give_arrow_memory_back()
        FoldStore(layout.root).sweep()
        if samples := gpu_rows(watched, records):
            atomic_write(layout.gpu_csv, csv_text(pd.DataFrame(samples)))
        return _report(layout, prepared, manifest, records)
    except BaseException as error:
        stopped = "interrupted" if isinstance(error, KeyboardInterrupt) else "stopped"
        with contextlib.suppress(EnvironmentFaultError):  # the first fault is the one to tell
            write_manifest(layout, manifest | {"status": stopped, "ended": now()})
        raise


def _report(
    layout: RunLayout,
    prepared: PreparedStudy,
    manifest: dict[str, Any],
    records: list[FoldRecord],
) -> Result:
    """Write every table, the findings and the page, the manifest last."""
    failed = sum(record.status == "failed" for record in records)
    manifest = manifest | {
        "status": "finished with failed folds" if failed else "finished",
        "ended": now(),
        "outputs": {},  # of an earlier report, where this run is a resumed one
        "device": {**manifest["device"], "by_fold": sorted({r.device for r in records})},
    }
    if any(record.status == "ok" for record in records):
        store = FoldStore(layout.root)
        atomic_write_with(
            layout.predictions, lambda beside: store.gather_predictions(records, beside)
        )
        give_arrow_memory_back()
    tables = _with_uncertainty(collect_tables(records), layout)
    limits = Thresholds(**prepared.study.verdict.model_dump())
    verdicts = tuple(judge(tables.folds, limits, scheme_meanings(prepared.study.schemes)))
    result = Result(layout.root, tables, verdicts, manifest)
    for path, frame in (
        (layout.folds_csv, tables.folds),
        (layout.experiments_csv, tables.experiments),
        (layout.importance_csv, tables.importance),
        (layout.stability_csv, tables.stability),
        (layout.leaderboard_csv, result.leaderboard),
        (layout.differences_csv, result.differences),
        (layout.donors_csv, tables.donors),
        (layout.few_shot_csv, tables.few_shot),
        (layout.next_rows_csv, tables.next_rows),
        (layout.timeline_csv, tables.timeline),
        (layout.intervals_csv, tables.intervals),
        (layout.coverage_csv, tables.coverage),
        (layout.outside_csv, tables.outside),
        (layout.explanations_csv, tables.explanations),
        (layout.learning_curves_csv, tables.learning_curves),
    ):
        if frame is not None:
            atomic_write(path, csv_text(frame))
    atomic_write(layout.verdict, to_json(verdicts_json(verdicts)))
    if prepared.audit is not None:
        atomic_write(layout.audit, to_json(prepared.audit.to_json()))
    if agreed := consensus_toml(prepared.study, records):
        atomic_write(layout.tuned, agreed)
    if drawn := render_timeline(tables.timeline):
        atomic_write(layout.timeline_svg, drawn)
    report = report_input(result)
    if report.errors is not None:
        atomic_write(layout.errors_csv, csv_text(report.errors))
    atomic_write(layout.findings, render_findings(report))
    atomic_write(layout.page, render_page(report))
    write_manifest(layout, manifest)
    return result


def _with_uncertainty(tables: StudyTables, layout: RunLayout) -> StudyTables:
    """Add the intervals of every error, and what prediction intervals cover."""
    if not (tables.folds["status"] == "ok").any():
        return tables
    predictions = read_predictions(layout.predictions)
    return replace(
        tables,
        intervals=interval_table(tables.folds, predictions),
        coverage=coverage_table(predictions),
    )
