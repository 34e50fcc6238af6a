from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gpucv.analysis.collect import collect_tables
from gpucv.analysis.tables import (
    EXPERIMENT_COLUMNS,
    FOLD_COLUMNS,
    IMPORTANCE_COLUMNS,
    OPTIONAL_FOLD_COLUMNS,
    STABILITY_COLUMNS,
)
from gpucv.runs import FoldRecord


def record(fold_id: int, **changes: Any) -> FoldRecord:
    whole = FoldRecord(
        fold_id=fold_id,
        key=f"{fold_id:016x}",
        scheme="lomo",
        holdout=f"model-{fold_id}",
        predictor="xgboost",
        transform="raw",
        target="step.duration_us",
        status="ok",
        n_train=30,
        n_valid=7,
        n_test=3,
        device="cpu",
        scores={"valid_mape": 1.0, "test_mape": 12.5, "test_r": float("nan")},
        experiments=[{"experiment_id": "a", "model": "m", "workload": "w", "n_test": 3}],
        importance={"depth": 0.25, "tokens": 0.5, "batch": 0.25},
        seconds={"fit_s": 0.25, "predict_s": 0.125},
    )
    return replace(whole, **changes)


FAILED = {"status": "failed", "scores": {}, "experiments": [], "importance": {}, "seconds": {}}


def test_tables_have_their_columns_and_the_order_of_the_plan() -> None:
    tables = collect_tables([record(2), record(1, **FAILED), record(0)])
    assert tables.folds["holdout"].tolist() == ["model-2", "model-1", "model-0"]
    for table, columns in (
        (tables.folds, FOLD_COLUMNS),
        (tables.experiments, EXPERIMENT_COLUMNS),
        (tables.importance, IMPORTANCE_COLUMNS),
        (tables.stability, STABILITY_COLUMNS),
    ):
        assert list(table.columns) == list(columns)


def test_a_failed_fold_is_a_row_without_scores() -> None:
    tables = collect_tables([record(0), record(1, **FAILED)])
    failed = tables.folds.iloc[1]
    assert (failed["status"], failed["n_train"], failed["n_test"]) == ("failed", 30, 3)
    assert failed[["test_mape", "fit_s", "best_iteration"]].isna().all()
    assert set(tables.importance["holdout"]) == set(tables.experiments["holdout"]) == {"model-0"}


def test_ranks_count_down_from_the_highest_share_and_ties_share_theirs() -> None:
    importance = collect_tables([record(0)]).importance.set_index("feature")
    assert importance["rank"].to_dict() == {"depth": 2.5, "tokens": 1.0, "batch": 2.5}
    assert importance["importance"].to_dict() == {"depth": 0.25, "tokens": 0.5, "batch": 0.25}


@pytest.mark.parametrize(("rounds", "dtype"), [((3, 4), "int64"), ((3, None), "float64")])
def test_counts_are_whole_where_none_is_missing(rounds: tuple[Any, Any], dtype: str) -> None:
    records = [record(n, best_iteration=each) for n, each in enumerate(rounds)]
    folds = collect_tables(records).folds
    assert folds["best_iteration"].dtype == dtype
    assert folds["n_test"].dtype == "int64"
    assert folds["test_r"].dtype == "float64"


def test_a_run_without_a_finished_fold_has_empty_tables() -> None:
    tables = collect_tables([record(0, **FAILED)])
    assert len(tables.folds) == 1
    for table in (tables.experiments, tables.importance, tables.stability):
        assert table.empty
    assert tables.importance["rank"].dtype == np.float64


def test_rows_left_out_have_a_column_where_some_scheme_leaves_any_out() -> None:
    shaped = collect_tables([record(0, n_left_out=0), record(1)]).folds
    assert list(shaped.columns) == [*FOLD_COLUMNS, *OPTIONAL_FOLD_COLUMNS]
    assert shaped["n_left_out"].tolist() == [0, 0]
    assert collect_tables([record(0, n_left_out=7)]).folds["n_left_out"].dtype == "int64"
    failed = collect_tables([record(0, n_left_out=7, **FAILED)]).folds
    assert failed["n_left_out"].tolist() == [7]
