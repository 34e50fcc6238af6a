"""What a rendering of a finished run is made from, and whose fault it is if there is none."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import numpy as np

from gpucv.errors import RunError, clipped
from gpucv.report import FoldFailure, ReportInput
from gpucv.report.csv import read_csv
from gpucv.runs import FoldStore, RunLayout

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gpucv.runs import FoldRecord
    from gpucv.workflow.result import Result

__all__ = ["from_others", "report_input"]


@contextlib.contextmanager
def from_others(*folders: Path) -> Iterator[None]:
    """Refuse run folders whose tables read well, one by one, and do not fit together.

    Not for a run just made: there such a thing is a fault of gpucv, and must look like one.

    Raises
    ------
    RunError
        In place of what went wrong in making something of them.
    """
    try:
        with np.errstate(all="ignore"):
            yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        what = clipped(" ".join(f"{type(error).__name__}: {error}".split()))
        named = " or ".join(map(str, folders))
        msg = (
            f"the tables of {named} do not fit together ({what}; GPUCV_DEBUG=1 shows where); "
            "run the study again"
        )
        raise RunError(msg) from error


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
