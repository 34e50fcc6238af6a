from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpucv.errors import TraceError
from gpucv.traces import check_rows

TARGET = "step.duration_us"
KEYS = ("experiment_id", "step.id")


def frame(targets: list[Any], **columns: Any) -> pd.DataFrame:
    count = len(targets)
    base = {"experiment_id": ["e"] * count, "step.id": range(10, 10 + count), TARGET: targets}
    return pd.DataFrame({**base, **{key.replace("__", "."): v for key, v in columns.items()}})


def check(rows: pd.DataFrame, policy: Any = "stop", **options: Any) -> Any:
    return check_rows(rows, target=TARGET, keys=KEYS, policy=policy, **options)


def test_usable_rows_pass_untouched() -> None:
    rows = frame([1, 2, 3])
    found, notes = check(rows)
    assert found is rows
    assert notes == ()


@pytest.mark.fault(29, 31, 35)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([1.0, 2.5, 0.0, -1.0, np.nan, np.inf, -np.inf]),
            st.sampled_from(["a", "b", None, ""]),
            st.sampled_from([1, 2, 3]),
        ),
        max_size=12,
    )
)
def test_dropping_leaves_exactly_the_usable_rows_and_counts_the_rest(
    rows: list[tuple[float, str | None, int]],
) -> None:
    seen: set[tuple[str | None, int]] = set()
    expected = []
    for value, experiment, step in rows:
        usable = np.isfinite(value) and value >= 0 and bool(experiment)
        if usable and (experiment, step) not in seen:
            seen.add((experiment, step))
            expected.append((value, experiment, step))
    table = pd.DataFrame(rows, columns=[TARGET, "experiment_id", "step.id"])
    table[TARGET] = table[TARGET].astype("float64")
    if not any(value for value, _, _ in expected):
        with pytest.raises(TraceError, match=r"nothing is left|no rows|is zero in all"):
            check(table, "drop")
        return
    found, notes = check(table, "drop")
    assert list(found[[TARGET, "experiment_id", "step.id"]].itertuples(index=False)) == expected
    dropped = sum(note.count for note in notes if note.code.startswith("dropped_"))
    assert dropped == len(rows) - len(expected)
    if dropped:
        with pytest.raises(TraceError, match=f"{dropped} of {len(rows)} rows cannot be used"):
            check(table, "stop")


@pytest.mark.fault(29, 31, 35)
@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            frame([1, -5, 3, -6]),
            "2 of 4 rows cannot be used: 2 with negative step.duration_us .first: row 2, "
            'experiment e, step 11, step.duration_us is -5.; mend the data, or .*bad_rows = "drop"',
        ),
        (frame([1, np.nan]), "1 with missing step.duration_us .first: .*step.duration_us is empty"),
        (frame([np.inf, 1]), "1 with infinite step.duration_us .*is inf"),
        (
            frame([1, 2, 3], step__id=[7, 8, 7]),
            "1 with repeated experiment_id . step.id .first: row 3",
        ),
        (frame([1, 2], step__id=[1234567.0, np.nan]), "1 with missing step.id .*step empty"),
        (frame([1, 2, 3], experiment_id=["e", None, ""]), "2 with missing experiment_id"),
        (frame([-1, np.nan, 3], step__id=[1, 2, 2]), "2 of 3 rows.*first: row 1"),
        (frame([1, 2], step__id=[1234567.0, 1234567.0]), "step 1234567"),
    ],
)
def test_an_unusable_row_stops_with_counts_and_the_first(rows: pd.DataFrame, message: str) -> None:
    with pytest.raises(TraceError, match=message) as caught:
        check(rows)
    assert "\n" not in str(caught.value)


@pytest.mark.fault(36)
def test_a_row_without_a_group_belongs_to_no_fold() -> None:
    rows = frame([1, 2], workload=["general", None])
    check(rows)
    with pytest.raises(TraceError, match="1 with missing workload"):
        check(rows, groups=["workload"])
    found, _ = check(rows, "drop", groups=["workload"])
    assert found["workload"].tolist() == ["general"]


def test_the_first_of_repeated_rows_stays_even_after_an_unusable_one() -> None:
    found, _ = check(frame([-1, 5, 6], step__id=[7, 7, 7]), "drop")
    assert found[TARGET].tolist() == [5]


def test_the_same_step_of_two_experiments_is_no_repetition() -> None:
    _, notes = check(frame([1, 2], experiment_id=["a", "b"], step__id=[7, 7]))
    assert notes == ()


def test_rows_without_names_are_not_compared() -> None:
    rows = pd.DataFrame({"latency": [1.0, 1.0]})
    found, notes = check_rows(rows, target="latency", keys=(), policy="stop")
    assert found is rows
    assert notes == ()


def test_counts_are_whole_again_once_their_gaps_are_dropped() -> None:
    found, _ = check(frame([1, 2], step__id=[7, np.nan], experiment_id=["e", "e"]), "drop")
    assert found["step.id"].dtype == "int64"
    found, _ = check(frame([1, np.nan]), "drop")
    assert found[TARGET].dtype == "int64"


def test_zero_targets_stay_and_are_noted() -> None:
    found, (note,) = check(frame([0, 1, 0, 2]))
    assert len(found) == 4
    assert (note.code, note.count, note.level) == ("zero_target", 2, "warning")
    assert "2 of 4 rows (50.00%)" in note.message


def test_nullable_columns_are_judged_like_others() -> None:
    rows = frame(pd.array([1, None], dtype="Int64"))
    with pytest.raises(TraceError, match="1 with missing"):
        check(rows)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (frame([0, 0]), "is zero in all 2 rows; name another target"),
        (frame([]).astype({TARGET: "float64"}), "the step table has no rows"),
        (frame(["fast", "slow"]), "holds 'fast' in row 1, which is no number"),
        (frame([1]).drop(columns=TARGET), "no column 'step.duration_us'"),
        (frame([1]).rename(columns={"step.id": "step.idx"}), "did you mean 'step.idx'"),
    ],
)
def test_a_table_nothing_can_be_learnt_from_is_refused(rows: pd.DataFrame, message: str) -> None:
    with pytest.raises(TraceError, match=message):
        check(rows, "drop")


def test_all_rows_unusable_is_refused_even_when_dropping() -> None:
    with pytest.raises(TraceError, match="all 2 rows cannot be used; nothing is left"):
        check(frame([-1, np.nan]), "drop")
