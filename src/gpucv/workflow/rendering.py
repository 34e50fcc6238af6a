"""What a rendering of a finished run is made from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpucv.report import FoldFailure, ReportInput
from gpucv.report.csv import read_csv
from gpucv.runs import FoldStore, RunLayout

if TYPE_CHECKING:
    from gpucv.runs import FoldRecord
    from gpucv.workflow.result import Result

__all__ = ["report_input"]


def report_input(result: Result) -> ReportInput:
    """Return what a rendering of `result` may use."""
    manifest = result.manifest
    finished = RunLayout(result.path).predictions.exists()
    return ReportInput(
        name=str(manifest["name"]),
        tables=result.tables,
        verdicts=result.verdicts,
        predictions=result.predictions if finished else None,
        errors=result.errors if finished else None,
        provenance=manifest,
        # The audit's own words stand in its section.
        notes=tuple(
            (note["level"], note["message"])
            for note in manifest["notes"]
            if not str(note["code"]).startswith("audit_")
        ),
        audit=result.audit,
        failures=tuple(
            FoldFailure(r.scheme, r.holdout, r.predictor, r.transform, r.target, r.error)
            for r in _unfinished(result)
        ),
        synthetic=bool(manifest["synthetic"]),
    )


def _unfinished(result: Result) -> list[FoldRecord]:
    """Return the records of the folds that did not finish: they hold the reasons."""
    if (result.folds["status"] == "ok").all():
        return []
    store = FoldStore(result.path)
    plan = read_csv(RunLayout(result.path).plan, {"fold_id": "count", "key": "text"})
    planned = zip(plan["fold_id"].tolist(), plan["key"].tolist(), strict=True)
    records = (store.read(fold_id, key) for fold_id, key in planned)
    return [record for record in records if record is not None and record.status != "ok"]
