"""What a fold says of its errors, which must decide nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gpucv.folds import plan_folds, run_fold
from gpucv.folds.sharing import shared_table
from gpucv.runs import FoldRecord
from gpucv.runs.layout import to_json
from gpucv.splits import make_split

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpucv.features import FeatureTable
    from gpucv.folds import FoldTask
    from gpucv.runs import FoldArrays
    from gpucv.study import LoadedStudy


def ran(task: FoldTask, table: FeatureTable) -> tuple[FoldRecord, FoldArrays]:
    with shared_table(table) as ref:
        record, arrays = run_fold(replace(task, table=ref))
    assert arrays is not None, record.traceback
    return record, arrays


def test_the_rows_held_out_are_compared_with_those_learnt_from(
    tasks: tuple[FoldTask, ...], table: FeatureTable
) -> None:
    record, arrays = ran(tasks[0], table)
    split = make_split(tasks[0].scheme, table.keys, 0, n_rows=len(table), seed=42)
    assert [row["feature"] for row in record.outside] == ["tokens", "depth"]
    assert arrays.outside is not None
    assert len(arrays.outside) == len(split.test)
    for at, row in enumerate(record.outside):
        held_out = table.X[split.test, at]
        assert (row["test_low"], row["test_high"]) == (held_out.min(), held_out.max())
        beyond = (held_out < row["train_low"]) | (held_out > row["train_high"])
        assert row["share"] == beyond.mean()
        # Validation rows are kept from the fit, so they widen no range.
        assert table.X[split.train, at].min() <= row["train_low"]


def test_every_feature_is_explained_on_rows_held_out(
    tasks: tuple[FoldTask, ...], table: FeatureTable
) -> None:
    record, _ = ran(tasks[0], table)
    found = {row["feature"]: row for row in record.explanations}
    assert list(found) == ["tokens", "depth"]
    assert found["tokens"]["permutation"] > found["depth"]["permutation"]
    assert found["tokens"]["shap"] + found["depth"]["shap"] == pytest.approx(1.0)
    assert found["tokens"]["n_permutation"] == record.n_test
    read = FoldRecord.from_json_object(json.loads(to_json(record.to_json_object())))
    assert (read.outside, read.explanations) == (record.outside, record.explanations)


def test_explaining_changes_nothing_a_fold_finds(
    tasks: tuple[FoldTask, ...], table: FeatureTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    explained, theirs = ran(tasks[0], table)
    monkeypatch.setattr("gpucv.folds.task._explained", lambda outcome, *_: outcome)
    plain, ours = ran(tasks[0], table)
    assert theirs.model == ours.model
    np.testing.assert_array_equal(theirs.predicted, ours.predicted)
    for name in ("key", "scores", "experiments", "importance", "chosen"):
        assert getattr(explained, name) == getattr(plain, name)


@pytest.mark.parametrize(
    "predictor",
    [
        {"name": "constant"},
        {"name": "ridge"},
        {"name": "xgboost", "per": "workload", "params": {"n_estimators": 3}},
        {"name": "random-forest", "params": {"n_estimators": 3}},
        {"name": "xgboost", "transform": "auto", "params": {"n_estimators": 3}},
    ],
)
def test_every_kind_of_predictor_is_explained_as_far_as_it_can_be(
    loaded: Callable[..., LoadedStudy],
    table_of: Callable[[LoadedStudy], FeatureTable],
    predictor: dict[str, Any],
) -> None:
    study = loaded(predictors=[predictor])
    table = table_of(study)
    record, arrays = ran(plan_folds(study.study, table)[0], table)
    features = [] if predictor["name"] == "constant" else ["tokens", "depth"]
    assert [row["feature"] for row in record.explanations] == features
    assert (arrays.outside is None) == (not features)
    by_trees = predictor["name"] in ("xgboost", "random-forest") and "per" not in predictor
    assert all(("shap" in row) == by_trees for row in record.explanations)


def test_phases_are_known_where_features_count_tokens(
    tasks: tuple[FoldTask, ...], table: FeatureTable
) -> None:
    assert ran(tasks[0], table)[1].phase is None
    named = replace(table, feature_names=("f_prefill_tokens", "f_decode_tokens"))
    phase = ran(tasks[0], named)[1].phase
    assert phase is not None
    assert set(phase) == {1}


def test_a_record_of_an_earlier_version_reads_as_one_that_knows_nothing(
    tasks: tuple[FoldTask, ...], table: FeatureTable
) -> None:
    value = json.loads(to_json(ran(tasks[0], table)[0].to_json_object()))
    del value["outside"], value["explanations"]
    read = FoldRecord.from_json_object(value)
    assert (read.outside, read.explanations) == ([], [])
