"""What a report is made from: result tables, verdicts and where they came from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from gpucv.analysis import StudyTables, Verdict
    from gpucv.traces.audit import Audit

__all__ = ["FoldFailure", "ReportInput"]


@dataclass(frozen=True, slots=True)
class FoldFailure:
    """One fold that did not finish, and the one line that says why."""

    scheme: str
    holdout: str
    predictor: str
    transform: str
    target: str
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class ReportInput:
    """Everything a rendering may use; rendering reads nothing else.

    Attributes
    ----------
    name : str
        Name of the study.
    tables : StudyTables
    verdicts : tuple of Verdict
        One per formulation, in study order; the first one leads the report.
    predictions : pandas.DataFrame, optional
        ``predictions.parquet``: one row per test row of every fold, actual and
        predicted in the target's unit; without it the figures drawn from single
        steps are left out, with a sentence saying so.
    errors : pandas.DataFrame, optional
        `gpucv.analysis.error_table` of them.
    provenance : Mapping
        The run's manifest: machine, versions, seed, data files, times. Nested
        values are shown under dotted names.
    notes : tuple of (level, message)
        What reading the data had to say; level ``warning`` or ``info``.
    failures : tuple of FoldFailure
        Reasons of the folds that did not finish, as far as they are known.
    audit : Audit, optional
        What the audit said of the target before anything was trained.
    synthetic : bool
        Whether the steps were generated rather than measured.
    recorded : bool
        Whether the tables were read from recorded results of another program.
    """

    name: str
    tables: StudyTables
    verdicts: tuple[Verdict, ...]
    predictions: pd.DataFrame | None = None
    errors: pd.DataFrame | None = None
    provenance: Mapping[str, object] = field(default_factory=dict)
    notes: tuple[tuple[str, str], ...] = ()
    failures: tuple[FoldFailure, ...] = ()
    audit: Audit | None = None
    synthetic: bool = False
    recorded: bool = False
