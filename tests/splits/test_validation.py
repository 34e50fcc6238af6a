from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gpucv.errors import SplitError
from gpucv.splits import GroupLabels, Split, split_validation
from gpucv.study import ValidationSpec

orders = st.sampled_from(["experiment", "time", "group"])
fractions = st.floats(0, 0.9)
experiments = st.lists(st.sampled_from("abcd"), min_size=2, max_size=80).map(sorted)


def spec(order: str, fraction: float, **more: Any) -> ValidationSpec:
    return ValidationSpec(order=order, fraction=fraction, **more)  # type: ignore[arg-type]


def parted(
    experiment_of_row: list[str],
    how: ValidationSpec,
    train: np.ndarray | None = None,
    seed: int = 0,
) -> tuple[list[int], list[int]]:
    keys = {"experiment_id": GroupLabels.from_values(experiment_of_row)}
    rows = np.arange(len(experiment_of_row)) if train is None else train
    whole = Split("x", rows, np.empty(0, dtype=np.intp))
    fit, valid = split_validation(whole, how, keys, experiment="experiment_id", seed=seed)
    return fit.tolist(), valid.tolist()


@given(experiments, orders, fractions, st.integers(0, 5))
def test_fit_and_validation_part_the_training_rows(
    rows: list[str], order: str, fraction: float, seed: int
) -> None:
    assume(order != "group" or len(set(rows)) > 1)
    fit, valid = parted(rows, spec(order, fraction), seed=seed)
    assert sorted(fit + valid) == list(range(len(rows)))
    assert (fit, valid) == (sorted(fit), sorted(valid))
    assert fit


@given(experiments, orders, fractions)
def test_rows_held_out_are_on_neither_side(rows: list[str], order: str, fraction: float) -> None:
    train = np.flatnonzero(np.array(rows) != rows[0])
    assume(len({rows[row] for row in train}) > 1)
    fit, valid = parted(rows, spec(order, fraction), train)
    assert sorted(fit + valid) == train.tolist()


@given(experiments, orders)
def test_a_fraction_of_nothing_validates_on_nothing(rows: list[str], order: str) -> None:
    assert parted(rows, spec(order, 0)) == (list(range(len(rows))), [])


@given(experiments, fractions)
def test_the_published_order_takes_the_last_rows_rounded_down(
    rows: list[str], fraction: float
) -> None:
    fit, valid = parted(rows, spec("experiment", fraction))
    assert len(valid) == int(len(rows) * fraction)
    assert fit == list(range(len(rows) - len(valid)))


def test_the_published_protocol_counts_as_published() -> None:
    # 122,752 rows, of which the 4,107 of one holdout are left out, say.
    fit, valid = parted(["a"] * 118_645, spec("experiment", 0.25))
    assert (len(fit), len(valid)) == (88_984, 29_661)


@given(experiments, fractions)
def test_by_time_the_tail_of_every_experiment_is_validated_on(
    rows: list[str], fraction: float
) -> None:
    fit, valid = map(set, parted(rows, spec("time", fraction)))
    for name in set(rows):
        own = [row for row, experiment in enumerate(rows) if experiment == name]
        cut = len(own) - int(len(own) * fraction)
        assert set(own[:cut]) <= fit
        assert set(own[cut:]) <= valid


def test_by_time_an_experiment_need_not_lie_in_one_piece() -> None:
    assert parted(list("abababab"), spec("time", 0.5)) == ([0, 1, 2, 3], [4, 5, 6, 7])


@given(experiments, fractions, st.integers(0, 20))
def test_by_group_no_group_is_on_both_sides(rows: list[str], fraction: float, seed: int) -> None:
    assume(len(set(rows)) > 1)
    fit, valid = parted(rows, spec("group", fraction), seed=seed)
    assert not {rows[row] for row in fit} & {rows[row] for row in valid}


@given(st.integers(0, 20))
def test_by_group_the_fraction_is_reached_and_a_group_is_always_left_to_fit_on(seed: int) -> None:
    rows = sorted(["a"] * 5 + ["b"] * 90 + ["c"] * 5)
    fit, valid = parted(rows, spec("group", 0.25), seed=seed)
    assert fit
    assert len(valid) >= 25 or {rows[row] for row in valid} == {"a", "c"}


def test_by_group_the_seed_draws_the_groups() -> None:
    rows = [name for name in "abcdefgh" for _ in range(3)]
    drawn = {tuple(parted(rows, spec("group", 0.25), seed=seed)[1]) for seed in range(20)}
    assert len(drawn) > 5
    assert all(len(valid) == 6 for valid in drawn)


def test_by_group_any_column_can_be_the_group() -> None:
    keys = {
        "experiment_id": GroupLabels.from_values(["a", "b", "c", "d"]),
        "gpu": GroupLabels.from_values(["h100", "a100", "h100", "a100"]),
    }
    how = spec("group", 0.5, group="gpu")
    whole = Split("x", np.arange(4), np.empty(0, dtype=np.intp))
    _, valid = split_validation(whole, how, keys, experiment="experiment_id", seed=1)
    assert valid.tolist() in ([0, 2], [1, 3])


def test_a_group_that_is_all_there_is_cannot_be_validated_on() -> None:
    with pytest.raises(SplitError, match=r"takes all 3 training rows.*'group'.*smaller fraction"):
        parted(["a"] * 3, spec("group", 0.5))


def test_no_rows_are_no_training_rows() -> None:
    with pytest.raises(SplitError, match="takes all 0 training rows"):
        parted(["a", "b"], spec("experiment", 0.5), np.array([], dtype=np.intp))


@pytest.mark.parametrize("order", ["experiment", "time"])
def test_early_stopping_without_a_row_to_watch_is_refused(order: str) -> None:
    how = spec(order, 0.25, early_stopping_rounds=5)
    with pytest.raises(SplitError, match=r"nothing to watch: fraction 0.25 of 3 training rows"):
        parted(["a"] * 3, how)
