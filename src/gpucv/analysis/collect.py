"""From the folds' records to the result tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from gpucv.analysis.donors import DONOR_COLUMNS
from gpucv.analysis.error_by_round import LEARNING_CURVE_COLUMNS, learning_curve_rows
from gpucv.analysis.explanations import EXPLANATION_COLUMNS
from gpucv.analysis.failure import OUTSIDE_COLUMNS
from gpucv.analysis.few_shot import FEW_SHOT_COLUMNS, NEXT_ROW_COLUMNS
from gpucv.analysis.stability import stability_table
from gpucv.analysis.tables import (
    EXPERIMENT_COLUMNS,
    FOLD_COLUMNS,
    IMPORTANCE_COLUMNS,
    OPTIONAL_FOLD_COLUMNS,
    StudyTables,
)
from gpucv.analysis.timeline import TIMELINE_COLUMNS, timeline_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from gpucv.runs import FoldRecord

__all__ = ["collect_tables"]

_FOLD = ("scheme", "holdout", "predictor", "transform", "target")


def collect_tables(records: Sequence[FoldRecord]) -> StudyTables:
    """Return the tables of a study, rows in the order of its plan."""
    folds, experiments, importance = [], [], []
    disjoint = any(record.n_left_out is not None for record in records)
    optional = OPTIONAL_FOLD_COLUMNS if disjoint else {}
    for record in records:
        named = {name: getattr(record, name) for name in _FOLD}
        folds.append(
            named
            | {name: getattr(record, name, None) for name in FOLD_COLUMNS if name not in named}
            | {name: getattr(record, name) or 0 for name in optional}
            | record.scores
            | record.seconds
        )
        experiments += [named | row for row in record.experiments]
        ranks = pd.Series(record.importance, dtype=float).rank(ascending=False, method="average")
        importance += [
            named | {"feature": feature, "importance": share, "rank": float(ranks[feature])}
            for feature, share in record.importance.items()
        ]
    table = _frame(importance, IMPORTANCE_COLUMNS)
    return StudyTables(
        folds=_frame(folds, {**FOLD_COLUMNS, **optional}),
        experiments=_frame(experiments, EXPERIMENT_COLUMNS),
        importance=table,
        stability=stability_table(table),
        donors=_frame_of_some(records, _donors, DONOR_COLUMNS),
        few_shot=_frame_of_some(records, _curve, FEW_SHOT_COLUMNS),
        next_rows=_frame_of_some(records, _next_rows, NEXT_ROW_COLUMNS),
        timeline=_frame(timeline_rows(records), TIMELINE_COLUMNS),
        outside=_frame_of_some(records, lambda record: record.outside, OUTSIDE_COLUMNS),
        explanations=_frame_of_some(
            records, lambda record: record.explanations, EXPLANATION_COLUMNS
        ),
        learning_curves=_frame_of_some(records, learning_curve_rows, LEARNING_CURVE_COLUMNS),
    )


def _donors(record: FoldRecord) -> list[dict[str, Any]]:
    return record.donors


def _curve(record: FoldRecord) -> list[dict[str, Any]]:
    return record.curve


def _next_rows(record: FoldRecord) -> list[dict[str, Any]]:
    """Return a row per feature of each row to measure: predictors differ in their features."""
    return [
        {
            "rank": rank,
            "experiment_id": row["experiment_id"],
            "step_id": row["step_id"],
            "feature": feature,
            "value": value,
        }
        for rank, row in enumerate(record.next_rows, start=1)
        for feature, value in row["features"].items()
    ]


def _frame_of_some(
    records: Sequence[FoldRecord],
    rows_of: Callable[[FoldRecord], list[dict[str, Any]]],
    columns: Mapping[str, str],
) -> pd.DataFrame | None:
    """Return a table of what only some studies have; None where no fold has it."""
    rows = [
        {name: getattr(record, name) for name in _FOLD} | row
        for record in records
        for row in rows_of(record)
    ]
    return _frame(rows, columns) if rows else None


def _frame(rows: Iterable[Mapping[str, Any]], columns: Mapping[str, str]) -> pd.DataFrame:
    frame = pd.DataFrame(list(rows), columns=list(columns))
    for name, kind in columns.items():
        if kind == "real" or (kind == "count" and frame[name].isna().any()):
            frame[name] = pd.to_numeric(frame[name]).astype("float64")
        elif kind == "count":
            frame[name] = frame[name].astype("int64")
        elif kind == "flag":
            frame[name] = frame[name].astype(bool)
    return frame
