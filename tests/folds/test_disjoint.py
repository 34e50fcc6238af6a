"""Folds that leave training rows of a held-out shape out."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from gpucv.errors import SplitError
from gpucv.features import build_table, required_columns
from gpucv.folds import plan_folds, plan_rows, run_fold
from gpucv.folds.sharing import open_table, save_table, shared_table
from gpucv.schema import PROTOCOL

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gpucv.features import FeatureTable
    from gpucv.study import LoadedStudy

    Load = Callable[..., LoadedStudy]
    Build = Callable[[LoadedStudy], FeatureTable]

SCHEME: dict[str, Any] = {"name": "lomo", "hold_out": "model", "disjoint": ["n", "k"]}


@pytest.fixture
def frame(frame: pd.DataFrame) -> pd.DataFrame:
    """The table with a shape: models a and b share the one whose k is not known."""
    frame["n"] = np.where(frame["model"] == "c", 3.0, 1.0) + (frame.index % 2)
    frame["k"] = np.where(frame["step.id"] < 5, float("nan"), frame["model"].map(ord))
    return frame


def shapes(rows: pd.DataFrame) -> set[tuple[str, str]]:
    return set(zip(rows["n"].astype(str), rows["k"].astype(str), strict=True))


def test_a_plan_counts_what_every_fold_leaves_out(
    loaded: Load, table_of: Build, frame: pd.DataFrame
) -> None:
    study = loaded(schemes=[SCHEME, {"name": "lowo", "hold_out": "workload"}])
    plan = plan_folds(study.study, table_of(study))
    expected = []
    for column, value in [("model", m) for m in "abc"] + [("workload", "chat")]:
        held, rest = frame[frame[column] == value], frame[frame[column] != value]
        shared = [
            one in shapes(held)
            for one in zip(rest["n"].astype(str), rest["k"].astype(str), strict=True)
        ]
        left = sum(shared) if column == "model" else None
        expected.append((value, len(rest) - (left or 0), len(held), left))
    found = [(t.holdout, t.n_train, t.n_test, t.n_left_out) for t in plan]
    assert found[:4] == expected
    assert [n for *_, n in expected] == [10, 10, 0, None]
    written = pd.DataFrame(plan_rows(plan))
    assert written["n_left_out"].tolist() == [10, 10, 0, 0, 0]
    assert list(written)[-2:] == ["n_test", "n_left_out"]


def test_a_plan_without_shapes_says_nothing_of_them(tasks: Any) -> None:
    assert list(plan_rows(tasks)[0])[-1] == "n_test"


def test_a_fold_trains_and_validates_on_no_row_of_a_held_out_shape(
    loaded: Load, table_of: Build, frame: pd.DataFrame
) -> None:
    study = loaded(schemes=[SCHEME], predictors=[{"name": "constant"}])
    table = table_of(study)
    with shared_table(table):
        record, arrays = run_fold(plan_folds(study.study, table)[0])
    ordered = frame.sort_values(["experiment_id", "step.id"])
    held, rest = ordered[ordered["model"] == "a"], ordered[ordered["model"] != "a"]
    twin = rest["k"].isna() & rest["n"].isin(held["n"])
    kept = rest[~twin]
    assert twin.sum() == 10
    assert not shapes(kept) & shapes(held)
    assert (record.n_train, record.n_valid, record.n_test) == (70, 17, 40)
    assert record.n_left_out == 10
    assert record.to_json_object()["n_left_out"] == 10
    assert arrays is not None
    np.testing.assert_array_equal(arrays.predicted, np.median(kept["time_us"].iloc[:53]))


def test_a_worker_reads_the_shapes_from_the_file(
    loaded: Load, table_of: Build, tmp_path: Path
) -> None:
    study = loaded(schemes=[SCHEME])
    table = table_of(study)
    read = open_table(save_table(table, tmp_path / "table.parquet"))
    again, before = plan_folds(study.study, read), plan_folds(study.study, table)
    assert [task.key for task in again] == [task.key for task in before]
    assert again[0].n_left_out == 10


def test_a_fold_with_nothing_left_to_train_on_is_refused_by_scheme_holdout_and_columns(
    loaded: Load, table_of: Build, frame: pd.DataFrame
) -> None:
    frame[["n", "k"]] = 1.0
    study = loaded(schemes=[SCHEME])
    told = (
        r"scheme 'lomo': holding 'a' out leaves no row to train on: all 80 rows not held out "
        r"share k x n with it; name more columns in disjoint, or drop the scheme"
    )
    with pytest.raises(SplitError, match=told):
        plan_folds(study.study, table_of(study))


def test_shapes_change_every_key(loaded: Load, table_of: Build) -> None:
    def keys(disjoint: list[str]) -> list[str]:
        study = loaded(schemes=[{**SCHEME, "disjoint": disjoint}])
        return [task.key for task in plan_folds(study.study, table_of(study))]

    assert not set(keys([])) & set(keys(["n"]))
    assert not set(keys(["n"])) & set(keys(["n", "k"]))


def test_a_scheme_without_shapes_keeps_the_key_it_had_before_there_were_any(
    tasks: Any, table: FeatureTable
) -> None:
    task = tasks[0]
    before = {
        "protocol": PROTOCOL,
        "device": "cpu",
        "table": table.fingerprint,
        "scheme": {"hold_out": "model", "p": 1, "splitter": "", "params": {}},
        "index": 0,
        "holdout": "a",
        "predictor": task.predictor.model_dump(mode="json", exclude={"label"}),
        "validation": task.validation.model_dump(mode="json"),
        "target": "time_us",
        "seed": 42,
    }
    text = json.dumps(before, sort_keys=True).encode()
    assert task.key == hashlib.sha256(text).hexdigest()[:16]


def test_a_column_may_be_a_group_of_one_scheme_and_a_shape_of_another(
    loaded: Load, table_of: Build, frame: pd.DataFrame
) -> None:
    by_n = {"name": "by n", "hold_out": "n"}
    study = loaded(schemes=[by_n, {**SCHEME, "disjoint": "n"}])
    plan = plan_folds(study.study, table_of(study))
    assert [task.holdout for task in plan[:4]] == ["1.0", "2.0", "3.0", "4.0"]
    assert [task.n_left_out for task in plan] == [None, None, None, None, 40, 40, 0]
    assert [row["n_left_out"] for row in plan_rows(plan)] == [0, 0, 0, 0, 40, 40, 0]
    assert {"n", "model"} <= set(required_columns(study.study))


def test_shape_columns_are_asked_of_the_data_but_not_as_groups(loaded: Load) -> None:
    from gpucv.features import group_columns

    study = loaded(schemes=[SCHEME], data={"target": "time_us", "constants": {"k": 1}}).study
    assert "n" in required_columns(study)
    assert "k" not in required_columns(study)  # the study itself gives it
    assert group_columns(study) == ("model",)


def test_a_constant_may_be_part_of_a_shape(loaded: Load, frame: pd.DataFrame) -> None:
    study = loaded(
        schemes=[{**SCHEME, "disjoint": ["n", "dtype"]}],
        data={"target": "time_us", "constants": {"dtype": "bfloat16"}},
    )
    plan = plan_folds(study.study, build_table(frame, study.study, study.catalog))
    assert [task.n_left_out for task in plan] == [40, 40, 0]
