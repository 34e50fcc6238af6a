"""What a fold chooses by: whole groups of its training rows, held out in turn."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gpucv.errors import SplitError
from gpucv.pipelines import examples_of
from gpucv.pipelines.choice import fit_chosen, inner_folds
from gpucv.splits import GroupLabels
from gpucv.study import ChooseSpec, PredictorSpec

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpucv.features import FeatureTable
    from gpucv.pipelines import Setting

TREES = {"n_estimators": 10, "min_child_weight": 1.0}
DEPTHS = {"max_depth": (1, 3, 6)}


def chosen_of(fitted: Any) -> dict[str, Any]:
    chosen: dict[str, Any] = fitted.report().chosen
    return chosen


def test_whole_groups_are_dealt_to_at_most_five_inner_folds_of_like_size(
    table: FeatureTable, setting: Setting
) -> None:
    sizes = [60, 10, 40, 20, 30, 25, 15]
    names = np.repeat(list("gfedcba"), sizes)
    keys = {**table.keys, "kind": GroupLabels.from_values(names)}
    told, folds = inner_folds(
        examples_of(replace(table, keys=keys), np.arange(200)), ("kind",), setting
    )
    assert told == "groups of kind"
    tested = [set(names[test.inputs.rows]) for _, test in folds]
    # Largest first, each to the fold with the fewest rows: 60, 40, 30, 25+10, 20+15.
    assert tested == [{"g"}, {"e"}, {"c"}, {"b", "f"}, {"d", "a"}]
    for fit, test in folds:
        assert not set(names[fit.inputs.rows]) & set(names[test.inputs.rows])
        assert sorted([*fit.inputs.rows, *test.inputs.rows]) == list(range(200))
    assert sorted(row for _, test in folds for row in test.inputs.rows) == list(range(200))


@pytest.mark.parametrize(
    ("rows", "group", "told", "count"),
    [
        (slice(0, 200), ("gpu",), "groups of gpu", 2),
        (slice(0, 200), ("model", "gpu"), "groups of model x gpu", 5),
        (slice(0, 50), ("model",), "groups of experiment_id", 2),
        (slice(0, 50), (), "groups of experiment_id", 2),
        (slice(0, 25), ("model",), "blocks of consecutive rows", 5),
        (slice(0, 3), ("model",), "blocks of consecutive rows", 3),
    ],
)
def test_rows_of_one_group_are_split_by_recordings_then_in_blocks(
    rows: slice,
    group: tuple[str, ...],
    told: str,
    count: int,
    table: FeatureTable,
    setting: Setting,
) -> None:
    train = examples_of(table, np.arange(200)[rows])
    by, folds = inner_folds(train, group, setting)
    assert (by, len(folds)) == (told, count)
    tested = [row for _, test in folds for row in test.inputs.rows]
    assert sorted(tested) == list(train.inputs.rows)


def test_a_group_may_be_named_to_choose_by(
    table: FeatureTable, setting: Setting, held_out: Callable[..., Any]
) -> None:
    train, _, _ = held_out(table)
    spec = PredictorSpec(params=TREES, choose=ChooseSpec(group="gpu", grid=DEPTHS))
    assert chosen_of(fit_chosen(spec, train, None, setting))["by"] == "groups of gpu, 2 inner folds"


def test_no_row_cannot_be_split_and_one_row_gets_the_first_candidate(
    table: FeatureTable, setting: Setting
) -> None:
    one = examples_of(table, np.arange(1))
    with pytest.raises(SplitError, match="1 training rows cannot be split again to choose by"):
        inner_folds(one, ("model",), setting)
    rule = ChooseSpec(transform=("log", "raw"), grid={"max_depth": (2, 3)})
    spec = PredictorSpec(transform="auto", params=TREES, choose=rule)
    chosen = chosen_of(fit_chosen(spec, one, None, setting))
    assert chosen == {
        "by": "nothing: a single training row",
        "transform": "log",
        "max_depth": 2,
        "candidates": [],
    }


def test_without_validation_rows_groups_decide(
    table: FeatureTable, setting: Setting, held_out: Callable[..., Any]
) -> None:
    train, _, _ = held_out(table)
    spec = PredictorSpec(params=TREES, choose=ChooseSpec(by="validation", grid=DEPTHS))
    for valid in (None, train.take(np.arange(0))):
        chosen = chosen_of(fit_chosen(spec, train, valid, setting))
        assert chosen["by"] == "groups of model, 3 inner folds"


def test_early_stopping_watches_the_last_fit_alone(
    table: FeatureTable, setting_of: Callable[..., Setting], held_out: Callable[..., Any]
) -> None:
    train, _, _ = held_out(table)
    spec = PredictorSpec(params=TREES, choose=ChooseSpec(grid=DEPTHS))
    stopping = fit_chosen(spec, train, train, setting_of(table, early_stopping_rounds=2))
    plain = fit_chosen(spec, train, None, setting_of(table))
    assert chosen_of(stopping) == chosen_of(plain)
    assert stopping.report().best_iteration is not None
