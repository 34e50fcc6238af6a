"""The tail of every recording tested, against the published study's arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gpucv.errors import SplitError
from gpucv.splits import GroupLabels, make_split, make_splits, split_validation
from gpucv.study import SchemeSpec, ValidationSpec

SHARES = (0.6, 0.2)
sizes = st.lists(st.integers(5, 80), min_size=1, max_size=6)


def scheme(shares: tuple[float, float] = SHARES, **more: Any) -> SchemeSpec:
    return SchemeSpec(name="tails", hold_out="experiment_id", temporal=shares, **more)


def keys_of(n_rows: list[int]) -> dict[str, GroupLabels]:
    labels = np.repeat([f"e{number}" for number in range(len(n_rows))], n_rows)
    return {"experiment_id": GroupLabels.from_values(labels)}


def parts(
    n_rows: list[int], shares: tuple[float, float] = SHARES
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Fitted, watching and tested rows of every fold."""
    keys = keys_of(n_rows)
    found = []
    for split in make_splits(scheme(shares), keys, sum(n_rows), seed=0):
        fit, valid = split_validation(
            split, ValidationSpec(), keys, experiment="experiment_id", seed=0
        )
        found.append((fit, valid, split.test))
    return found


@pytest.mark.parametrize(
    ("n_rows", "published"),
    [(5992, (3595, 1198, 1199)), (7441, (4465, 1488, 1488))],
)
def test_a_recording_is_parted_as_the_published_study_parted_it(
    n_rows: int, published: tuple[int, int, int]
) -> None:
    ((fit, valid, test),) = parts([n_rows])
    assert (len(fit), len(valid), len(test)) == published
    np.testing.assert_array_equal(np.concatenate([fit, valid, test]), np.arange(n_rows))


@given(sizes)
def test_every_fold_learns_from_all_heads_and_tests_one_tail(n_rows: list[int]) -> None:
    """Against pandas: the first and next rows of each group, by rounded shares."""
    frame = pd.DataFrame({"e": np.repeat(np.arange(len(n_rows)), n_rows)})
    place = frame.groupby("e").cumcount()
    n = frame.groupby("e")["e"].transform("size")
    head = place < (n * 0.6).round()
    middle = ~head & (place < (n * 0.6).round() + (n * 0.2).round())
    folds = parts(n_rows)
    assert len(folds) == len(n_rows)
    for number, (fit, valid, test) in enumerate(folds):
        np.testing.assert_array_equal(fit, np.flatnonzero(head))
        np.testing.assert_array_equal(valid, np.flatnonzero(middle))
        np.testing.assert_array_equal(
            test, np.flatnonzero(~head & ~middle & (frame["e"] == number))
        )


@given(sizes)
def test_no_row_is_on_two_sides_and_the_tails_cover_what_is_not_learnt_from(
    n_rows: list[int],
) -> None:
    folds = parts(n_rows)
    tails = np.concatenate([test for *_, test in folds])
    fit, valid, _ = folds[0]
    every = np.concatenate([fit, valid, tails])
    assert len(set(every.tolist())) == len(every) == sum(n_rows)


@given(sizes)
def test_every_row_of_a_tail_comes_after_every_row_learnt_from_its_recording(
    n_rows: list[int],
) -> None:
    codes = keys_of(n_rows)["experiment_id"].codes
    for number, (fit, valid, test) in enumerate(parts(n_rows)):
        learnt = np.concatenate([fit, valid])
        assert learnt[codes[learnt] == number].max() < test.min()


def test_recordings_may_lie_in_any_order_and_are_named_in_theirs() -> None:
    labels = np.array(list("bbbbb") + list("aaaaaaaaaa"))
    keys = {"experiment_id": GroupLabels.from_values(labels)}
    first, second = make_splits(scheme(), keys, 15, seed=0)
    assert (first.holdout, first.test.tolist()) == ("a", [13, 14])
    assert (second.holdout, second.test.tolist()) == ("b", [4])


def test_a_worker_makes_the_very_split_that_was_planned() -> None:
    keys = keys_of([9, 30, 12])
    for index, planned in enumerate(make_splits(scheme(), keys, 51, seed=0)):
        made = make_split(scheme(), keys, index, n_rows=51, seed=0)
        assert made.holdout == planned.holdout
        for name in ("train", "test", "valid"):
            np.testing.assert_array_equal(getattr(made, name), getattr(planned, name))


def test_the_studys_own_validation_has_no_say_in_a_temporal_scheme() -> None:
    keys = keys_of([20, 20])
    (split, _) = make_splits(scheme(), keys, 40, seed=0)
    for spec in (ValidationSpec(fraction=0.0), ValidationSpec(fraction=0.5, order="time")):
        _, valid = split_validation(split, spec, keys, experiment="experiment_id", seed=0)
        assert valid.tolist() == [12, 13, 14, 15, 32, 33, 34, 35]


@pytest.mark.parametrize(
    ("n_rows", "shares", "named"),
    [([10, 1], SHARES, "'e1' has 1 rows"), ([4], (0.1, 0.1), "'e0' has 4 rows")],
)
def test_a_recording_too_short_to_part_is_refused_by_name(
    n_rows: list[int], shares: tuple[float, float], named: str
) -> None:
    with pytest.raises(SplitError, match=f"scheme 'tails'.*{named}, too few to fit to the first"):
        list(make_splits(scheme(shares), keys_of(n_rows), sum(n_rows), seed=0))


@pytest.mark.parametrize(
    "more", [{"p": 2}, {"splitter": "GroupKFold"}, {"disjoint": "n"}, {"temporal": (0.7, 0.3)}]
)
def test_a_temporal_scheme_takes_nothing_that_would_hold_other_rows_out(
    more: dict[str, Any],
) -> None:
    with pytest.raises(ValidationError, match="temporal takes the tail of every group"):
        SchemeSpec(**{"name": "x", "hold_out": "e", "temporal": SHARES, **more})
