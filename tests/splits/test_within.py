"""Splits inside every group, and the control that tests what it learnt."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from sklearn.model_selection import GroupKFold, KFold, ShuffleSplit

from gpucv.errors import SplitError
from gpucv.splits import GroupLabels, make_split, make_splits, split_validation
from gpucv.study import RESUBSTITUTION, SchemeSpec, ValidationSpec

SEED = 7


def within(splitter: str = "KFold", columns: Any = "model", **more: Any) -> SchemeSpec:
    params = more.pop("params", {"n_splits": 3})
    return SchemeSpec(name="inside", splitter=splitter, within=columns, params=params, **more)


def keys_for(labels: list[str]) -> dict[str, GroupLabels]:
    draw = np.random.default_rng(len(labels))
    return {
        "model": GroupLabels.from_values(labels),
        "gpu": GroupLabels.from_values(draw.choice(["a100", "h100"], len(labels))),
    }


labelled = st.lists(st.sampled_from("abc"), min_size=3, max_size=60).map(
    lambda rows: [*rows, *"aaaabbbbcccc"]
)


@pytest.mark.parametrize("shuffle", [False, True])
@given(labels=labelled)
def test_fold_i_tests_the_ith_part_of_every_group_as_scikit_learn_parts_it_alone(
    shuffle: bool, labels: list[str]
) -> None:
    params: dict[str, Any] = {"n_splits": 4, "shuffle": shuffle}
    alone = KFold(4, shuffle=shuffle, random_state=SEED if shuffle else None)
    expected: list[list[int]] = [[], [], [], []]
    for model in "abc":
        rows = np.flatnonzero(np.array(labels) == model)
        for number, (_, test) in enumerate(alone.split(rows)):
            expected[number] += rows[test].tolist()
    found = list(make_splits(within(params=params), keys_for(labels), len(labels), SEED))
    assert [split.test.tolist() for split in found] == [sorted(rows) for rows in expected]
    for split in found:
        assert sorted([*split.train, *split.test]) == list(range(len(labels)))


def test_contiguous_parts_of_a_sorted_group_are_ranges_of_it() -> None:
    keys = keys_for(list("a" * 10 + "b" * 5))
    folds = list(make_splits(within(params={"n_splits": 5}), keys, 15, SEED))
    assert [split.test.tolist() for split in folds] == [
        [0, 1, 10], [2, 3, 11], [4, 5, 12], [6, 7, 13], [8, 9, 14],
    ]  # fmt: skip


def test_the_groups_of_several_columns_are_their_combinations() -> None:
    keys = keys_for(list("ab" * 40))
    folds = list(make_splits(within(columns=("model", "gpu")), keys, 80, SEED))
    pairs = list(zip(keys["model"].codes, keys["gpu"].codes, strict=True))
    for model in (0, 1):
        for gpu in (0, 1):
            rows = [row for row, pair in enumerate(pairs) if pair == (model, gpu)]
            for split, (_, test) in zip(folds, KFold(3).split(rows), strict=True):
                assert set(np.array(rows)[test]) == set(split.test) & set(rows)


def test_a_splitter_of_groups_keeps_them_together_inside_each_group() -> None:
    labels = np.repeat(["a", "b"], 30)
    runs = np.tile(np.repeat([f"r{number}" for number in range(6)], 5), 2)
    keys = {"model": GroupLabels.from_values(labels), "run": GroupLabels.from_values(runs)}
    scheme = within("GroupKFold", hold_out="run")
    for index, split in enumerate(make_splits(scheme, keys, 60, SEED)):
        for model in ("a", "b"):
            rows = np.flatnonzero(labels == model)
            (_, test) = list(GroupKFold(3).split(rows, groups=runs[rows]))[index]
            np.testing.assert_array_equal(split.test[labels[split.test] == model], rows[test])


def test_random_parts_are_drawn_by_the_studys_seed() -> None:
    keys = keys_for(list("a" * 20 + "b" * 30))
    scheme = within("ShuffleSplit", params={"n_splits": 2, "test_size": 0.2})
    first, _ = make_splits(scheme, keys, 50, SEED)
    alone = ShuffleSplit(2, test_size=0.2, random_state=SEED)
    expected = [
        start + test
        for start, size in ((0, 20), (20, 30))
        for test in [next(alone.split(np.zeros(size)))[1]]
    ]
    assert first.test.tolist() == sorted(np.concatenate(expected).tolist())
    # Such a splitter tests a part only, and the rest of each group is all learnt from.
    assert len(first.train) == 40


@pytest.mark.parametrize(
    "scheme",
    [
        within(params={"n_splits": 4, "shuffle": True}),
        within("ShuffleSplit", params={"n_splits": 3, "test_size": 0.3}),
        within("GroupKFold", hold_out="gpu", params={"n_splits": 2}),
    ],
    ids=lambda scheme: scheme.splitter,
)
def test_a_worker_makes_the_very_split_that_was_planned(scheme: SchemeSpec) -> None:
    keys = keys_for(list("abc" * 20))
    for index, planned in enumerate(make_splits(scheme, keys, 60, SEED)):
        made = make_split(scheme, keys, index, n_rows=60, seed=SEED)
        np.testing.assert_array_equal(made.train, planned.train)
        np.testing.assert_array_equal(made.test, planned.test)


def test_a_group_too_small_to_part_is_refused_by_name() -> None:
    keys = keys_for(list("a" * 9 + "b" * 2))
    told = "scheme 'inside'.*inside 'b': KFold: .*n_splits=3 greater than the number of samples"
    with pytest.raises(SplitError, match=told):
        list(make_splits(within(), keys, 11, SEED))


def test_a_splitter_that_parts_groups_into_different_numbers_is_refused() -> None:
    labels = np.repeat(["a", "b"], [4, 6])
    runs = np.array(["r0", "r0", "r1", "r1", "r0", "r0", "r1", "r1", "r2", "r2"])
    keys = {"model": GroupLabels.from_values(labels), "run": GroupLabels.from_values(runs)}
    scheme = within("LeaveOneGroupOut", hold_out="run", params={})
    with pytest.raises(SplitError, match="different numbers of folds inside different groups"):
        list(make_splits(scheme, keys, 10, SEED))


def test_within_needs_a_splitter() -> None:
    with pytest.raises(ValidationError, match="within belongs to a splitter, and none is named"):
        SchemeSpec(name="x", hold_out="model", within="gpu")


def in_sample(**more: Any) -> SchemeSpec:
    return SchemeSpec(name="control", splitter=RESUBSTITUTION, **more)


@pytest.mark.parametrize("order", ["experiment", "time"])
@pytest.mark.parametrize("stops", [0, 5])
def test_resubstitution_fits_to_every_row_it_tests_whatever_watches(order: Any, stops: int) -> None:
    keys = {"experiment_id": GroupLabels.from_values(list("a" * 12 + "b" * 8))}
    (split,) = make_splits(in_sample(), keys, 20, SEED)
    assert split.holdout == "in-sample"
    assert split.train.tolist() == split.test.tolist() == list(range(20))
    made = make_split(in_sample(), keys, 0, n_rows=20, seed=SEED)
    assert made.in_sample
    validation = ValidationSpec(fraction=0.25, order=order, early_stopping_rounds=stops)
    fit, valid = split_validation(made, validation, keys, experiment="experiment_id", seed=SEED)
    assert fit.tolist() == list(range(20))
    expected = range(15, 20) if order == "experiment" else [9, 10, 11, 18, 19]
    assert valid.tolist() == list(expected)


@pytest.mark.parametrize(
    "more",
    [{"hold_out": "model"}, {"within": "model"}, {"disjoint": "n"}, {"params": {"n_splits": 3}}],
    ids=str,
)
def test_resubstitution_holds_nothing_out_and_says_so(more: dict[str, Any]) -> None:
    told = "Resubstitution tests on the training rows, all of them: hold_out, params, within"
    with pytest.raises(ValidationError, match=told):
        in_sample(**more)


@given(labelled)
def test_the_rows_of_every_group_are_those_bearing_its_name(labels: list[str]) -> None:
    groups = GroupLabels.from_values(labels)
    found = groups.rows_by_group()
    assert len(found) == len(groups.names)
    for name, rows in zip(groups.names, found, strict=True):
        np.testing.assert_array_equal(rows, np.flatnonzero(np.array(labels) == name))
