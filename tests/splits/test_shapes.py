"""No training row has the shape of a test row, and nothing else is left out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from sklearn.model_selection import LeaveOneGroupOut

from gpucv.splits import (
    GroupLabels,
    code_shapes,
    leave_shapes_out,
    make_split,
    make_splits,
    shape_key,
)
from gpucv.study import FewShotSpec, SchemeSpec, Study, fingerprint

if TYPE_CHECKING:
    from gpucv.splits import Split

NAN = float("nan")
SHAPE = ("n", "op")
LOMO = SchemeSpec(name="lomo", hold_out="model", disjoint=("op", "n"))
SCHEMES = [
    LOMO,
    SchemeSpec(name="pairs", hold_out="model", p=2, disjoint=SHAPE),
    SchemeSpec(name="combined", hold_out=("model", "tp"), disjoint=SHAPE),
    SchemeSpec(name="folds", hold_out="model", splitter="GroupKFold", disjoint=SHAPE).model_copy(
        update={"params": {"n_splits": 2}}
    ),
    SchemeSpec(name="drawn", splitter="KFold", disjoint=SHAPE).model_copy(
        update={"params": {"n_splits": 3, "shuffle": True}}
    ),
]

rows = st.tuples(
    st.sampled_from("abc"),
    st.sampled_from([1, 2]),
    st.sampled_from(["gemm", "attention", None]),
    st.sampled_from([1.0, 2.0, 3.0, NAN]),
)
tables = (
    st.lists(rows, min_size=12, max_size=40)
    .filter(lambda table: {row[0] for row in table} == set("abc"))
    .map(lambda table: pd.DataFrame(table, columns=["model", "tp", "op", "n"]))
)


def keys_of(frame: pd.DataFrame) -> dict[str, GroupLabels]:
    groups = {name: GroupLabels.from_values(frame[name]) for name in ("model", "tp")}
    return {**groups, shape_key(SHAPE): code_shapes(frame, SHAPE)}


def splits_of(scheme: SchemeSpec, frame: pd.DataFrame) -> list[Split]:
    return list(make_splits(scheme, keys_of(frame), len(frame), 42))


def shape_of(frame: pd.DataFrame, row: Any) -> tuple[str, str]:
    """A row's shape as text, in which one missing value equals another."""
    return str(frame["op"].iloc[row]), str(frame["n"].iloc[row])


def without(scheme: SchemeSpec) -> SchemeSpec:
    return scheme.model_copy(update={"disjoint": ()})


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.name)
@given(frame=tables)
def test_training_is_the_rows_not_held_out_that_share_no_shape_with_a_test_row(
    scheme: SchemeSpec, frame: pd.DataFrame
) -> None:
    plain = splits_of(without(scheme), frame)
    for split, whole in zip(splits_of(scheme, frame), plain, strict=True):
        tested = {shape_of(frame, row) for row in split.test}
        kept = [row for row in whole.train if shape_of(frame, row) not in tested]
        assert split.train.tolist() == kept
        assert split.test.tolist() == whole.test.tolist()
        assert split.n_left_out == len(whole.train) - len(kept)
        assert split.holdout == whole.holdout


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.name)
@given(frame=tables)
def test_a_worker_leaves_out_the_rows_that_were_planned(
    scheme: SchemeSpec, frame: pd.DataFrame
) -> None:
    keys = keys_of(frame)
    for index, planned in enumerate(make_splits(scheme, keys, len(frame), 42)):
        made = make_split(scheme, keys, index, n_rows=len(frame), seed=42)
        assert made.train.tolist() == planned.train.tolist()
        assert (made.holdout, made.n_left_out) == (planned.holdout, planned.n_left_out)


@given(tables, st.randoms())
def test_what_is_left_out_does_not_depend_on_the_order_of_rows(
    frame: pd.DataFrame, random: Any
) -> None:
    order = list(range(len(frame)))
    random.shuffle(order)
    before = {split.holdout: set(split.train) for split in splits_of(LOMO, frame)}
    shuffled = splits_of(LOMO, frame.iloc[order].reset_index(drop=True))
    assert {split.holdout: {order[row] for row in split.train} for split in shuffled} == before


@given(tables)
def test_without_shapes_the_folds_are_those_of_scikit_learn(frame: pd.DataFrame) -> None:
    theirs = LeaveOneGroupOut().split(frame, groups=frame["model"])
    for split, (train, test) in zip(splits_of(without(LOMO), frame), theirs, strict=True):
        np.testing.assert_array_equal(split.train, train)
        np.testing.assert_array_equal(split.test, test)
        assert split.n_left_out == 0


def test_the_twin_of_a_held_out_row_is_left_out_by_hand() -> None:
    frame = pd.DataFrame(
        [
            ("llama-2-70b", 1, "gemm", 8192.0),
            ("codellama-34b", 1, "gemm", 8192.0),
            ("codellama-34b", 1, "attention", NAN),
            ("qwen-72b", 1, "attention", NAN),
            ("qwen-72b", 1, "gemm", 4096.0),
        ],
        columns=["model", "tp", "op", "n"],
    )
    found = {
        split.holdout: (split.train.tolist(), split.n_left_out) for split in splits_of(LOMO, frame)
    }
    assert found == {
        "codellama-34b": ([4], 2),
        "llama-2-70b": ([2, 3, 4], 1),
        "qwen-72b": ([0, 1], 1),
    }


@given(tables)
def test_shapes_are_the_groups_pandas_makes(frame: pd.DataFrame) -> None:
    expected = frame.groupby(list(SHAPE), dropna=False, sort=False).ngroup()
    np.testing.assert_array_equal(code_shapes(frame, SHAPE).codes, expected)


@pytest.mark.parametrize(
    "column",
    [
        pd.Series([1, 2, None, 1, None], dtype="Int64"),
        pd.Series(["a", "b", None, "a", None], dtype="category"),
        pd.Series(["a", "b", None, "a", NAN], dtype=object),
        pd.Series(["a", "b", pd.NA, "a", pd.NA], dtype="string"),
        pd.Series([0.5, 1.5, NAN, 0.5, NAN]),
        pd.Series([True, False, None, True, None], dtype=object),
        pd.Series([0.0, 1.0, NAN, -0.0, NAN]),
    ],
    ids=lambda column: str(column.dtype),
)
def test_a_missing_value_is_a_value_of_its_own_in_every_dtype(column: pd.Series[Any]) -> None:
    coded = code_shapes(column.to_frame("n"), ["n"])
    assert coded.codes.tolist() == [0, 1, 2, 0, 2]
    assert coded.codes.dtype == np.int32


def test_many_columns_of_many_values_do_not_collide() -> None:
    draw = np.random.default_rng(0)
    frame = pd.DataFrame(draw.integers(0, 50_000, (100_000, 5)), columns=list("abcde"))
    frame = pd.concat([frame, frame.iloc[:1000]], ignore_index=True)
    codes = code_shapes(frame, list("abcde")).codes
    assert len(set(codes.tolist())) == len(frame.drop_duplicates())
    np.testing.assert_array_equal(codes[-1000:], codes[:1000])


def test_a_fold_that_tests_nothing_leaves_nothing_out() -> None:
    frame = pd.DataFrame({"n": [1.0, 1.0]})
    (split, *_) = make_splits(
        SchemeSpec(name="x", hold_out="m"), {"m": GroupLabels.from_values(["a", "b"])}, 2, 0
    )
    empty = replace(split, test=split.test[:0])
    assert leave_shapes_out(empty, code_shapes(frame, ["n"])) is empty


# What a study may say -----------------------------------------------------------------


def test_the_order_of_the_columns_and_a_repeated_one_mean_nothing() -> None:
    shapes = {
        SchemeSpec(name="x", hold_out="model", disjoint=columns).shape
        for columns in (("op", "n"), ("n", "op"), ("n", "op", "n"))
    }
    assert shapes == {("n", "op")}
    assert SchemeSpec(name="x", hold_out="model", disjoint="n").shape == ("n",)
    assert shape_key(("n",)) != "n"


@pytest.mark.parametrize(
    ("hold_out", "disjoint"),
    [("model", "model"), ("model", ("n", "model")), (("tp", "model"), ("model", "n", "tp"))],
)
def test_shapes_that_no_training_row_can_share_are_refused(hold_out: Any, disjoint: Any) -> None:
    with pytest.raises(ValidationError, match="which no training row shares: it leaves none out"):
        SchemeSpec(name="x", hold_out=hold_out, disjoint=disjoint)
    SchemeSpec(name="x", hold_out=("model", "tp"), disjoint=("model", "n"))


def test_a_scheme_says_nothing_of_shapes_it_does_not_have() -> None:
    plain = SchemeSpec(name="lomo", hold_out="model")
    assert "disjoint" not in plain.model_dump(mode="json")
    assert LOMO.model_dump(mode="json", exclude={"name"})["disjoint"] == ["op", "n"]
    assert SchemeSpec.model_validate_json(LOMO.model_dump_json()) == LOMO


def test_shapes_are_part_of_a_studys_fingerprint() -> None:
    plain = Study(schemes=(without(LOMO),))
    shaped = Study(schemes=(LOMO,))
    other = Study(schemes=(LOMO.model_copy(update={"disjoint": ("op",)}),))
    assert len({fingerprint(study) for study in (plain, shaped, other)}) == 3


def test_a_few_shot_curve_beside_shapes_kept_apart_is_refused() -> None:
    # The rows drawn share their shape with the rows tested, in the very group held out.
    with pytest.raises(ValueError, match=r"few_shot .* disjoint has no place beside it"):
        SchemeSpec(name="x", hold_out="model", disjoint="n", few_shot=FewShotSpec())
