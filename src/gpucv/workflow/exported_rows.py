"""The rows an export learns from: those of a run, read again, or of a study."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from gpucv.errors import DataError, RunError, StudyError
from gpucv.export.configurations import Configuration, configurations_of
from gpucv.export.formulas import must_describe_batches
from gpucv.features import build_table
from gpucv.runs import RunLayout
from gpucv.study import PredictorSpec, load_study
from gpucv.workflow.preparation import locate_steps
from gpucv.workflow.result import Result
from gpucv.workflow.rows import StudyRows, read_rows

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas as pd

    from gpucv.features import FeatureTable
    from gpucv.study import LoadedStudy, Study

__all__ = ["Subject", "open_subject"]


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """What is exported: rows, and the run that scored predictors on them.

    Attributes
    ----------
    loaded : LoadedStudy
    result : Result or None
    rows : StudyRows
    frame : DataFrame
        The rows in the order of the table.
    table : FeatureTable
    configurations : list of Configuration
    """

    loaded: LoadedStudy
    result: Result | None
    rows: StudyRows
    frame: pd.DataFrame
    table: FeatureTable
    configurations: list[Configuration]

    @property
    def study(self) -> Study:
        """The study itself."""
        return self.loaded.study


def open_subject(source: Path, *, unverified: bool, overrides: Sequence[str] = ()) -> Subject:
    """Read a run folder, or a study file, and its rows again.

    Raises
    ------
    StudyError
        If it is not there, or is a study and no one said that this will do, or its target is
        no time in us.
    RunError
        If the data is not what the run saw.
    DataError
        If the rows are no steps, or do not say which configuration they belong to.
    """
    if not source.exists():
        msg = f"nothing is called {str(source)!r}; name a finished run's folder, or a study file"
        raise StudyError(msg)
    result = Result.load(source) if source.is_dir() else None
    if result is None and not unverified:
        msg = (
            f"{source} is a study, so nothing says how well its predictors do; run it first "
            f"(gpucv run {source} --out DIR, then gpucv export DIR), or add --unverified"
        )
        raise StudyError(msg)
    file = RunLayout(source).study if result is not None else source
    loaded = locate_steps(load_study(file, tuple(overrides)))
    if not loaded.study.data.target.endswith("_us"):
        msg = (
            f"the target {loaded.study.data.target!r} is not in microseconds (its name does not "
            "end in _us), and artifacts are"
        )
        raise StudyError(msg)
    rows = read_rows(
        _with_all_columns(loaded), result.manifest["limit"] if result is not None else None
    )
    must_describe_batches(rows.frame)
    frame = _in_order(rows.frame, loaded.study)
    table = build_table(frame, loaded.study, loaded.catalog)
    if result is not None:
        _must_be_the_runs(result, table, rows)
    found = configurations_of(frame, loaded.catalog)
    return Subject(loaded, result, rows, frame, table, found)


def _with_all_columns(loaded: LoadedStudy) -> LoadedStudy:
    """Return the study as one whose rows keep all that is known of a step and its engine.

    A study reads the columns its predictors need; one of a fixed form may need any of them.
    """
    predictors = (*loaded.study.predictors, PredictorSpec(name="blackbox"))
    return replace(loaded, study=loaded.study.model_copy(update={"predictors": predictors}))


def _in_order(frame: pd.DataFrame, study: Study) -> pd.DataFrame:
    """Return the rows as the feature table has them: by recording and step.

    Raises
    ------
    DataError
        If the data names neither.
    """
    order = [study.data.experiment, study.data.order_by]
    for option, column in zip(("experiment", "order_by"), order, strict=True):
        if column not in frame.columns:
            msg = (
                f"the data has no column {column!r}, so its steps have no order; name one in "
                f"data.{option}, and run again"
            )
            raise DataError(msg)
    return frame.sort_values(order, kind="stable", ignore_index=True)


def _must_be_the_runs(result: Result, table: FeatureTable, rows: StudyRows) -> None:
    """Refuse rows that are not those the run learnt from."""
    was: dict[str, Any] = result.manifest
    same = was["data_fingerprint"] == table.fingerprint
    if not same and was.get("features_on", "numpy") != table.features_on:
        # Computed on a GPU there and here not: last bits may differ, the files do not.
        files = [each.get("sha256") for each in was["data"]]
        same = files == [asdict(each)["sha256"] for each in rows.sources]
        same = same and was.get("rows") == len(table)
    if not same:
        msg = (
            f"{result.path}: the data is not what this run learnt from (fingerprint "
            f"{was['data_fingerprint'][:16]} then, {table.fingerprint[:16]} now); run the study "
            "again"
        )
        raise RunError(msg)
