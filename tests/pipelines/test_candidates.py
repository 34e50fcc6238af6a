"""Candidates are checked when a study is planned, not in a fold."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gpucv.errors import SplitError, StudyError
from gpucv.folds import plan_folds
from gpucv.folds.plan import assign
from gpucv.pipelines import n_fits
from gpucv.study import study_from_dict

if TYPE_CHECKING:
    from gpucv.features import FeatureTable
    from gpucv.folds import FoldTask

GRID = {"grid": {"max_depth": [1, 3, 6]}}


def task_of(table: FeatureTable, predictor: dict[str, Any], **sections: Any) -> FoldTask:
    """The fold that holds model "d" out."""
    raw = {
        "features": {"columns": list(table.feature_names)},
        "data": {"target": "time_us"},
        "schemes": [{"name": "lomo", "hold_out": "model"}],
        "predictors": [predictor],
    }
    return plan_folds(study_from_dict({**raw, **sections}, base=Path()).study, table)[-1]


@pytest.mark.parametrize(
    ("choose", "fault"),
    [
        (
            {"grid": {"max_deph": [3]}},
            "'trees': choose.grid: unknown parameter 'max_deph'; did you mean 'max_depth'",
        ),
        ({"grid": {"max_depth": [3, 2.5]}}, "choose.grid: max_depth: .* integer, found 2.5"),
        ({"grid": {"subsample": [0.5, 1.5]}}, "choose.grid: subsample: .* found 1.5"),
        ({"space": {"eta": [0.1, 1.0]}, "trials": 2}, "choose.space: unknown parameter 'eta'"),
        ({"space": {"subsample": [0.0, 1.0]}, "trials": 2}, "choose.space: subsample: .* 0.0"),
        ({"space": {"max_depth": [3, 65]}, "trials": 2}, "choose.space: max_depth: .* found 65"),
        ({"space": {"max_depth": [1.5, 3]}, "trials": 2}, "choose.space: max_depth: .* found 1.5"),
    ],
)
def test_candidates_no_fold_could_fit_are_refused_when_the_study_is_planned(
    choose: dict[str, Any], fault: str, table: FeatureTable
) -> None:
    with pytest.raises(StudyError, match=fault):
        task_of(table, {"label": "trees", "choose": choose})


def test_choosing_by_validation_rows_needs_some(table: FeatureTable) -> None:
    with pytest.raises(SplitError, match=r"chooses by validation rows, and scheme 'lomo' has none"):
        task_of(table, {"choose": {"by": "validation", **GRID}}, validation={"fraction": 0})


def test_folds_that_choose_start_before_those_that_do_not(table: FeatureTable) -> None:
    plain, choosing = task_of(table, {}), task_of(table, {"choose": GRID})
    order = assign([plain, choosing], study_from_dict({}, base=Path()).study.execution, cores=2)
    assert [task.predictor.choose is None for task in order] == [False, True]


def test_folds_with_a_few_shot_curve_start_before_those_without(table: FeatureTable) -> None:
    few = {"name": "few", "hold_out": "model", "few_shot": {"k": [0, 30]}}
    plain, curve = task_of(table, {}), task_of(table, {}, schemes=[few])
    order = assign([plain, curve], study_from_dict({}, base=Path()).study.execution, cores=2)
    assert [task.scheme.name for task in order] == ["few", "lomo"]


@pytest.mark.parametrize(
    ("predictor", "fits"),
    [
        ({}, 1),
        # Candidates x 5 inner folds, and the last fit; by validation the candidates alone.
        ({"choose": GRID}, 3 * 5 + 1),
        ({"choose": {"by": "validation", **GRID}}, 3),
        ({"transform": "auto"}, 3 * 5 + 1),
        ({"transform": "auto", "choose": {"transform": ["raw", "log"]}}, 2 * 5 + 1),
        ({"transform": "auto", "choose": GRID}, 3 * 3 * 5 + 1),
        # What is drawn comes after the parameters as they stand, on every transform.
        ({"choose": {"space": {"max_depth": [1, 9]}, "trials": 7}}, (1 + 7) * 5 + 1),
        (
            {"transform": "auto", "choose": {"space": {"max_depth": [1, 9]}, "trials": 7}},
            (3 + 7) * 5 + 1,
        ),
    ],
)
def test_the_number_of_fits_follows_from_what_is_offered(
    predictor: dict[str, Any], fits: int, table: FeatureTable
) -> None:
    assert n_fits(task_of(table, predictor).predictor) == fits
