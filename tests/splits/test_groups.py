from __future__ import annotations

import doctest
from itertools import combinations
from math import comb
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.dummy import DummyRegressor
from sklearn.model_selection import LeaveOneGroupOut, LeavePGroupsOut, cross_val_score

from gpucv.errors import SplitError
from gpucv.splits import GroupLabels, LeaveGroupsOut, combine, groups

labels = st.lists(st.sampled_from("abcdef"), min_size=1, max_size=60)
many_labels = labels.filter(lambda values: len(set(values)) > 2)


def rows_by_test_groups(values: list[str], p: int) -> dict[str, tuple[set[int], set[int]]]:
    coded = GroupLabels.from_values(values)
    splitter = LeaveGroupsOut(p)
    splits = [splitter.split_at(coded, i) for i in range(comb(len(coded.names), p))]
    return {s.holdout: (set(s.train.tolist()), set(s.test.tolist())) for s in splits}


@pytest.mark.fault(35)
@given(many_labels, st.integers(1, 2))
def test_train_and_test_are_disjoint_and_together_every_row(values: list[str], p: int) -> None:
    for train, test in rows_by_test_groups(values, p).values():
        assert not train & test
        assert train | test == set(range(len(values)))


@given(many_labels)
def test_every_row_is_held_out_exactly_once(values: list[str]) -> None:
    held = [test for _, test in rows_by_test_groups(values, 1).values()]
    assert sorted(row for test in held for row in test) == list(range(len(values)))


@pytest.mark.fault(35)
@given(many_labels, st.integers(1, 2))
def test_no_group_is_on_both_sides(values: list[str], p: int) -> None:
    for holdout, (train, test) in rows_by_test_groups(values, p).items():
        assert {values[row] for row in test} == set(holdout.split(" + "))
        assert not {values[row] for row in test} & {values[row] for row in train}


@given(many_labels, st.integers(1, 2), st.randoms())
def test_folds_do_not_depend_on_the_order_of_rows(values: list[str], p: int, random: Any) -> None:
    order = list(range(len(values)))
    random.shuffle(order)
    shuffled = rows_by_test_groups([values[row] for row in order], p)
    back = {
        holdout: ({order[row] for row in train}, {order[row] for row in test})
        for holdout, (train, test) in shuffled.items()
    }
    assert back == rows_by_test_groups(values, p)
    assert list(back) == list(rows_by_test_groups(values, p))


@given(many_labels, st.integers(1, 2))
def test_folds_are_those_of_scikit_learn(values: list[str], p: int) -> None:
    ours, theirs = LeaveGroupsOut(p), LeavePGroupsOut(p)
    assert ours.get_n_splits(groups=values) == theirs.get_n_splits(groups=values)
    pairs = zip(ours.split(values, None, values), theirs.split(values, None, values), strict=True)
    for (train, test), (their_train, their_test) in pairs:
        np.testing.assert_array_equal(train, their_train)
        np.testing.assert_array_equal(test, their_test)


def test_a_holdout_has_the_rows_its_name_says_and_ascending() -> None:
    coded = GroupLabels.from_values(["b", "a", "c", "a"])
    splits = LeaveGroupsOut(2).splits(coded)
    assert [split.holdout for split in splits] == ["a + b", "a + c", "b + c"]
    split = LeaveGroupsOut(2).split_at(coded, 1)
    assert (split.holdout, split.train.tolist(), split.test.tolist()) == ("a + c", [0], [1, 2, 3])


def test_scikit_learn_takes_the_splitter_for_its_own() -> None:
    generator = np.random.default_rng(0)
    X, y = generator.normal(size=(40, 2)), generator.normal(size=40)
    values = np.repeat(list("abcd"), 10)
    scores = [
        cross_val_score(DummyRegressor(), X, y, groups=values, cv=splitter)
        for splitter in (LeaveGroupsOut(), LeaveOneGroupOut())
    ]
    np.testing.assert_array_equal(*scores)


@given(st.integers(1, 9).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n))))
def test_any_combination_is_found_without_the_ones_before_it(n_p: tuple[int, int]) -> None:
    n, p = n_p
    found = [groups._combination_at(n, p, index) for index in range(comb(n, p))]
    assert found == list(combinations(range(n), p))
    for index in (-1, comb(n, p)):
        with pytest.raises(IndexError, match=f"fold {index} of {comb(n, p)}"):
            groups._combination_at(n, p, index)


# Labels --------------------------------------------------------------------------------


@given(labels)
def test_codes_and_names_give_the_values_back(values: list[str]) -> None:
    coded = GroupLabels.from_values(values)
    assert [coded.names[code] for code in coded.codes] == values
    assert list(coded.names) == sorted(set(values))
    assert coded.codes.dtype == np.int32


@pytest.mark.fault(36)
@pytest.mark.parametrize(
    ("values", "names"),
    [
        (np.array([10, 9, 10]), ("10", "9")),
        (pd.Series(["b", "a"], dtype="category"), ("a", "b")),
        (pd.Series(["x", "y"], dtype="string"), ("x", "y")),
        (pd.Series([1, 2], dtype="Int64"), ("1", "2")),
        ([True, False], ("False", "True")),
        ([1, "1"], ("1",)),
        ([], ()),
    ],
)
def test_any_column_can_name_groups(values: Any, names: tuple[str, ...]) -> None:
    assert GroupLabels.from_values(values).names == names


@pytest.mark.fault(36)
@pytest.mark.parametrize("missing", [None, float("nan"), pd.NA])
def test_a_row_without_a_group_is_refused(missing: object) -> None:
    column = pd.Series(["a", missing, missing], name="gpu", dtype=object)
    with pytest.raises(SplitError, match="2 rows have no group in column 'gpu'"):
        GroupLabels.from_values(column)
    with pytest.raises(SplitError, match="2 rows have no group; drop them"):
        LeaveGroupsOut().get_n_splits(groups=["a", missing, missing])


@given(st.lists(st.tuples(*[st.sampled_from("xyz")] * 3), min_size=1, max_size=40))
def test_combined_groups_are_the_combinations_that_occur(rows: list[tuple[str, ...]]) -> None:
    combined = combine([GroupLabels.from_values(column) for column in zip(*rows, strict=True)])
    assert [combined.names[code] for code in combined.codes] == [" x ".join(row) for row in rows]
    assert list(combined.names) == [" x ".join(row) for row in sorted(set(rows))]


def test_combining_many_wide_columns_does_not_overflow() -> None:
    # The product of the widths is 10**20, beyond 64 bits.
    column = GroupLabels(np.arange(100_000, dtype=np.int32), tuple(map(str, range(100_000))))
    combined = combine([column] * 4)
    np.testing.assert_array_equal(combined.codes, column.codes)
    assert combined.names[-1] == "99999 x 99999 x 99999 x 99999"


# Errors --------------------------------------------------------------------------------


@pytest.mark.fault(33)
@pytest.mark.parametrize(
    ("values", "p", "fault"),
    [
        (["a"], 1, "leaving 1 group out needs at least 2 groups, and the data has 1: 'a'$"),
        (["a", "b"], 2, "leaving 2 groups out needs at least 3 groups.* has 2: 'a', 'b'$"),
        (list("abcdefg"), 9, r"the data has 7: 'a', 'b', 'c', 'd', 'e', \.\.\.$"),
        ([], 1, "the data has 0: none$"),
        (range(200), 5, "leaving 5 of 200 groups out makes 2,535,650,040 folds; at most 100,000"),
    ],
)
def test_groups_that_cannot_be_left_out_are_named(values: Any, p: int, fault: str) -> None:
    with pytest.raises(SplitError, match=fault):
        next(LeaveGroupsOut(p).split(values, groups=values))
    with pytest.raises(SplitError, match=fault):
        list(LeaveGroupsOut(p).splits(GroupLabels.from_values(list(values))))


def test_leaving_groups_out_needs_groups() -> None:
    with pytest.raises(SplitError, match="groups are needed"):
        LeaveGroupsOut().get_n_splits([1, 2])


def test_the_examples_in_the_docstrings_hold() -> None:
    result = doctest.testmod(groups)
    assert result.attempted
    assert not result.failed
