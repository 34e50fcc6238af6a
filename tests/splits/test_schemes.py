from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import model_selection
from sklearn.model_selection import GroupKFold, KFold, LeaveOneGroupOut, ShuffleSplit

from gpucv.errors import SplitError, StudyError
from gpucv.splits import GroupLabels, make_split, make_splits
from gpucv.study import SchemeSpec

SEED = 42


def holdouts_of(
    scheme: SchemeSpec, keys: dict[str, GroupLabels], n_rows: int, seed: int
) -> tuple[str, ...]:
    return tuple(split.holdout for split in make_splits(scheme, keys, n_rows, seed))


def keys_for(n_rows: int) -> dict[str, GroupLabels]:
    generator = np.random.default_rng(n_rows)
    return {
        "model": GroupLabels.from_values(generator.choice(["m0", "m1", "m2"], n_rows)),
        "gpu": GroupLabels.from_values(generator.choice(["a100", "h100"], n_rows)),
    }


KEYS = keys_for(60)


def splits_of(scheme: SchemeSpec, keys: dict[str, GroupLabels] = KEYS) -> list[Any]:
    n_rows = len(next(iter(keys.values())).codes)
    holdouts = holdouts_of(scheme, keys, n_rows, SEED)
    made = [make_split(scheme, keys, i, n_rows=n_rows, seed=SEED) for i in range(len(holdouts))]
    assert [split.holdout for split in made] == list(holdouts)
    return made


def splitter(name: str, hold_out: Any = (), **params: Any) -> SchemeSpec:
    return SchemeSpec(name="x", splitter=name, hold_out=hold_out, params=params)


SCHEMES = [
    SchemeSpec(name="lomo", hold_out="model"),
    SchemeSpec(name="both", hold_out=("model", "gpu")),
    SchemeSpec(name="pairs", hold_out=("gpu", "model"), p=2),
    splitter("KFold", n_splits=4),
    splitter("KFold", n_splits=4, shuffle=True),
    splitter("GroupKFold", "model", n_splits=3),
    splitter("ShuffleSplit", n_splits=3, test_size=0.3),
    splitter("RepeatedKFold", n_splits=3, n_repeats=2),
    splitter("GroupShuffleSplit", "model", n_splits=3),
    splitter("LeaveOneGroupOut", "gpu"),
]


@pytest.mark.fault(35)
@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda s: f"{s.name}-{s.splitter}")
@settings(max_examples=20)
@given(n_rows=st.integers(40, 120))
def test_every_fold_of_every_scheme_parts_all_rows(scheme: SchemeSpec, n_rows: int) -> None:
    for split in splits_of(scheme, keys_for(n_rows)):
        both = np.concatenate([split.train, split.test])
        np.testing.assert_array_equal(np.sort(both), np.arange(n_rows))
        assert (np.diff(split.train) > 0).all()
        assert (np.diff(split.test) > 0).all()


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda s: f"{s.name}-{s.splitter}")
def test_a_fold_made_twice_is_the_same_fold(scheme: SchemeSpec) -> None:
    for one, other in zip(splits_of(scheme), splits_of(scheme), strict=True):
        np.testing.assert_array_equal(one.train, other.train)
        np.testing.assert_array_equal(one.test, other.test)


@pytest.mark.parametrize(
    ("scheme", "theirs"),
    [
        (SchemeSpec(name="lomo", hold_out="model"), LeaveOneGroupOut()),
        (splitter("LeaveOneGroupOut", "model"), LeaveOneGroupOut()),
        (splitter("GroupKFold", "model", n_splits=2), GroupKFold(2)),
        (splitter("KFold", n_splits=7), KFold(7)),
        (
            splitter("KFold", n_splits=7, shuffle=True),
            KFold(7, shuffle=True, random_state=SEED),
        ),
        (
            splitter("ShuffleSplit", n_splits=3, random_state=5),
            ShuffleSplit(3, random_state=5),
        ),
        (splitter("ShuffleSplit", n_splits=3), ShuffleSplit(3, random_state=SEED)),
    ],
)
def test_folds_are_those_scikit_learn_makes(scheme: SchemeSpec, theirs: Any) -> None:
    groups = KEYS["model"].codes if scheme.columns else None
    expected = list(theirs.split(np.zeros(60), groups=groups))
    found = splits_of(scheme)
    assert len(found) == len(expected)
    for split, (train, test) in zip(found, expected, strict=True):
        np.testing.assert_array_equal(split.train, np.sort(train))
        np.testing.assert_array_equal(split.test, np.sort(test))


def test_holdouts_are_named_after_their_groups() -> None:
    assert holdouts_of(SCHEMES[0], KEYS, 60, SEED) == ("m0", "m1", "m2")
    assert holdouts_of(SCHEMES[1], KEYS, 60, SEED)[:2] == ("m0 x a100", "m0 x h100")
    assert holdouts_of(SCHEMES[2], KEYS, 60, SEED)[0] == "a100 x m0 + a100 x m1"
    assert holdouts_of(SCHEMES[3], KEYS, 60, SEED) == ("split-0", "split-1", "split-2", "split-3")


def test_another_seed_draws_another_split_and_the_same_groups() -> None:
    drawn = splitter("ShuffleSplit", n_splits=1)
    one, other = (make_split(drawn, KEYS, 0, n_rows=60, seed=seed).test for seed in (1, 2))
    assert one.tolist() != other.tolist()
    grouped = SCHEMES[0]
    one, other = (make_split(grouped, KEYS, 1, n_rows=60, seed=seed).test for seed in (1, 2))
    assert one.tolist() == other.tolist()


@pytest.mark.parametrize(
    "name",
    [
        "os:system",
        "os.system",
        "__class__",
        "__init__",
        "builtins.eval",
        "GridSearchCV",
        "train_test_split",
        "cross_val_score",
        "",
        "sklearn.model_selection.KFold",
        "_split",
    ],
)
def test_a_name_that_is_no_splitter_is_refused_and_never_looked_up(name: str) -> None:
    scheme = SchemeSpec(name="x", hold_out="model", splitter=name or "None")
    with pytest.raises(StudyError, match=r"is not a splitter of sklearn.model_selection"):
        holdouts_of(scheme, KEYS, 60, SEED)


def test_a_mistyped_splitter_gets_the_nearest_one() -> None:
    with pytest.raises(StudyError, match=r"'GroupKfold' is not .*; did you mean 'GroupKFold'?"):
        holdouts_of(splitter("GroupKfold", "model"), KEYS, 60, SEED)


@pytest.mark.parametrize(
    "scheme",
    [
        splitter("KFold", n_splits=1),
        splitter("KFold", n_split=5),
        splitter("KFold", random_state=1),
        splitter("KFold", n_splits="five"),
        splitter("PredefinedSplit"),
        splitter("BaseCrossValidator"),
    ],
    ids=lambda s: f"{s.splitter}-{s.params}",
)
def test_parameters_a_splitter_does_not_take_are_a_fault_of_the_study(scheme: SchemeSpec) -> None:
    with pytest.raises(StudyError, match=rf"scheme 'x': {scheme.splitter}\(") as caught:
        holdouts_of(scheme, KEYS, 60, SEED)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("scheme", "fault"),
    [
        (SchemeSpec(name="x", hold_out="model", p=3), "hold_out model.*the data has 3: 'm0', 'm1'"),
        (splitter("KFold", n_splits=61), "Cannot have number of splits n_splits=61"),
        (splitter("GroupKFold", "gpu", n_splits=3), "greater than the number of groups: 2"),
        (splitter("GroupKFold", n_splits=2), "The 'groups' parameter should not be None"),
        (splitter("LeavePOut", p=3), "LeavePOut: makes 34,220 folds; at most 1,000 are planned"),
    ],
)
def test_rows_a_scheme_cannot_part_are_a_fault_of_the_data(scheme: SchemeSpec, fault: str) -> None:
    with pytest.raises(SplitError, match=f"scheme 'x'.*{fault}.*; drop the scheme or add data"):
        holdouts_of(scheme, KEYS, 60, SEED)


def test_a_splitter_that_would_make_a_fold_per_row_is_refused_before_it_starts() -> None:
    keys = keys_for(1_000_000)
    with pytest.raises(SplitError, match="LeaveOneOut: makes 1,000,000 folds"):
        holdouts_of(splitter("LeaveOneOut"), keys, 1_000_000, SEED)


@pytest.mark.parametrize("name", ["KFold", "ShuffleSplit", "TimeSeriesSplit", "LeaveOneOut"])
def test_a_splitter_that_would_ignore_the_groups_is_refused(name: str) -> None:
    with pytest.raises(StudyError, match=f"{name} takes no notice of groups"):
        holdouts_of(splitter(name, "model"), KEYS, 60, SEED)


def test_every_concrete_splitter_of_scikit_learn_is_offered() -> None:
    given_params: dict[str, dict[str, Any]] = {
        "LeavePOut": {"p": 1},
        "LeavePGroupsOut": {"n_groups": 1},
        "PredefinedSplit": {"test_fold": [0, 1] * 30},
    }
    grouped = {"GroupKFold", "GroupShuffleSplit", "LeaveOneGroupOut", "LeavePGroupsOut"}
    offered = [n for n in model_selection.__all__ if n.endswith(("Fold", "Split", "Out"))]
    for name in offered:
        params = given_params.get(name, {})
        if name in {"GroupKFold", "StratifiedGroupKFold"}:
            params = {"n_splits": 2}
        scheme = splitter(name, "model" if name in grouped else (), **params)
        if name.startswith(("Stratified", "RepeatedStratified")):
            with pytest.raises(SplitError, match=name):  # these need classes to predict
                holdouts_of(scheme, KEYS, 60, SEED)
        else:
            assert splits_of(scheme)


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.name)
def test_a_worker_makes_the_very_splits_that_were_planned(scheme: SchemeSpec) -> None:
    for index, planned in enumerate(make_splits(scheme, KEYS, 60, SEED)):
        made = make_split(scheme, KEYS, index, n_rows=60, seed=SEED)
        assert made.holdout == planned.holdout
        np.testing.assert_array_equal(made.train, planned.train)
        np.testing.assert_array_equal(made.test, planned.test)
