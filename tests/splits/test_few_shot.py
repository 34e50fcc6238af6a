"""Which rows of a new group are measured, and which are tested."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gpucv.splits import few_shot, split_pool, spread_candidates, spread_order


@given(
    n=st.integers(1, 300),
    share=st.floats(0.01, 0.99),
    seed=st.integers(0, 2**31 - 1),
    repeat=st.integers(0, 20),
)
def test_every_row_is_either_tested_or_may_be_drawn(
    n: int, share: float, seed: int, repeat: int
) -> None:
    pool, test = split_pool(n, share, seed, repeat)
    assert sorted([*pool, *test]) == [*range(n)]
    assert len(test) == min(n, max(1, round(n * share)))
    assert (np.diff(test) > 0).all()
    again = split_pool(n, share, seed, repeat)
    assert all((one == other).all() for one, other in zip((pool, test), again, strict=True))


def test_repeats_and_seeds_draw_and_test_other_rows() -> None:
    drawn = [split_pool(100, 0.5, seed, repeat) for seed in (1, 2) for repeat in range(3)]
    assert len({tuple(test) for _, test in drawn}) == 6
    assert len({tuple(pool) for pool, _ in drawn}) == 6


def farthest_first(X: np.ndarray, most: int) -> list[int]:
    """The same by the definition: no running minimum, all distances every time."""
    scaled = (X - X.mean(axis=0)) / np.where(X.std(axis=0) > 0, X.std(axis=0), 1)
    chosen = [int(np.argmin(np.linalg.norm(scaled, axis=1)))]
    while len(chosen) < min(most, len(X)):
        left = [row for row in range(len(X)) if row not in chosen]
        distance = [min(np.linalg.norm(scaled[row] - scaled[c]) for c in chosen) for row in left]
        chosen.append(left[int(np.argmax(distance))])
    return chosen


@pytest.mark.parametrize("seed", range(5))
def test_spread_rows_are_each_the_farthest_from_all_before(seed: int) -> None:
    X = np.random.default_rng(seed).normal(size=(40, 3)) * [1.0, 1000.0, 0.0]
    assert spread_order(X, 15).tolist() == farthest_first(X, 15)


@given(
    X=arrays(np.float32, (12, 2), elements=st.sampled_from([0.0, 1.0, 2.0, np.nan])),
    most=st.integers(0, 20),
)
def test_spread_rows_are_all_rows_each_once_however_alike_or_incomplete(
    X: np.ndarray, most: int
) -> None:
    order = spread_order(X, most)
    assert len(order) == len(set(order.tolist())) == min(most, 12)
    assert spread_order(X[:0], most).tolist() == []


def test_a_missing_value_stands_at_the_mean() -> None:
    X = np.array([[np.nan, np.nan], [0.0, np.nan], [4.0, np.nan], [2.5, np.nan]])
    assert spread_order(X, 4).tolist()[0] == 0


def test_no_unit_of_a_feature_decides_what_is_far() -> None:
    X = np.random.default_rng(6).normal(size=(40, 3))
    scaled = X * [1e6, 1.0, 1e-6] + [5.0, -3.0, 0.0]
    assert spread_order(X, 20).tolist() == spread_order(scaled, 20).tolist()


def test_of_very_many_rows_a_draw_by_the_seed_is_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(few_shot, "MOST_CANDIDATES", 30)
    X = np.random.default_rng(2).normal(size=(400, 3))
    one, same, other = (spread_order(X, 10, seed) for seed in (1, 1, 2))
    assert one.tolist() == same.tolist() != other.tolist()
    drawn = spread_candidates(400, 1)
    assert len(drawn) == 30
    assert drawn[farthest_first(X[drawn], 10)].tolist() == one.tolist()
    # As many as are asked for are there.
    assert len(set(spread_order(X, 100, 1).tolist())) == 100
    assert spread_candidates(30, 1).tolist() == [*range(30)]


def test_the_order_of_a_million_rows_looks_at_few_of_them() -> None:
    assert len(spread_candidates(1_000_000, 5)) == 50_000


def test_spread_rows_end_where_every_row_left_equals_one_before() -> None:
    X = np.array([[1.0, 1.0], [2.0, 1.0], [1.0, 1.0], [np.nan, 5.0], [np.nan, 5.0]])
    assert sorted(spread_order(X, 5, apart=True).tolist()) == [0, 1, 3]
    assert sorted(spread_order(X, 5).tolist()) == [0, 1, 2, 3, 4]


def test_every_row_is_drawn_first_about_as_often_as_any_other() -> None:
    first = [split_pool(10, 0.5, 3, repeat)[0][0] for repeat in range(2000)]
    counted = np.bincount(first, minlength=10)
    assert counted.min() > 140
    assert counted.max() < 260


@pytest.mark.parametrize(
    ("X", "most", "found"),
    [
        (np.ones((3, 2)), 5, [0, 1, 2]),
        (np.empty((3, 0)), 2, [0, 1]),
        (np.full((2, 2), np.nan), 2, [0, 1]),
    ],
)
def test_rows_that_nothing_tells_apart_stand_in_their_own_order(
    X: np.ndarray, most: int, found: list[int]
) -> None:
    assert spread_order(X, most).tolist() == found
