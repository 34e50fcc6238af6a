"""Groups: too few, of mixed kinds, empty after filters, repeated; train and test stay apart."""

from __future__ import annotations

from dataclasses import replace
from html import unescape
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import gpucv
from gpucv.errors import DataError, SplitError
from gpucv.folds import task as fold_task
from gpucv.splits import GroupLabels, Split, code_shapes, make_splits, shape_key
from gpucv.study import SchemeSpec, study_from_dict
from gpucv.workflow import prepare

if TYPE_CHECKING:
    from pathlib import Path

    from gpucv.workflow import PreparedStudy

CARDS = ["a", "b", "c"]


def rows_of(sizes: dict[Any, int]) -> pd.DataFrame:
    cards = [card for card, count in sizes.items() for _ in range(count)]
    size = np.arange(1, len(cards) + 1)
    return pd.DataFrame({"card": cards, "size": size, "t_us": size * 2.0 + 5})


def study_of(folder: Path, frame: pd.DataFrame, scheme: Any = None, **data: Any) -> dict[str, Any]:
    frame.to_parquet(folder / "rows.parquet")
    steps = [str(folder / "rows.parquet")]
    return {
        "data": {"steps": steps, "target": "t_us", "audit": "off", **data},
        "features": {"columns": ["size"]},
        "schemes": [{"name": "cards", "hold_out": "card"} if scheme is None else scheme],
        "predictors": [{"name": "constant"}],
        "execution": {"workers": 1, "threads_per_fold": 1},
    }


def prepared(folder: Path, frame: pd.DataFrame, scheme: Any = None, **data: Any) -> PreparedStudy:
    return prepare(study_from_dict(study_of(folder, frame, scheme, **data), base=folder))


@pytest.mark.fault(33)
@pytest.mark.parametrize("groups", [1, 2, 3, 4])
@pytest.mark.parametrize("asked", ["one out", "two out", "five folds"])
def test_fewer_groups_than_are_asked_for_are_refused_before_anything_starts(
    tmp_path: Path, groups: int, asked: str
) -> None:
    scheme = {
        "one out": {"name": "cards", "hold_out": "card"},
        "two out": {"name": "cards", "hold_out": "card", "p": 2},
        "five folds": {
            "name": "cards",
            "hold_out": "card",
            "splitter": "GroupKFold",
            "params": {"n_splits": 5},
        },
    }[asked]
    frame = rows_of({f"card {group}": 10 for group in range(groups)})
    needed = {"one out": 2, "two out": 3, "five folds": 5}[asked]
    if groups >= needed:
        assert prepared(tmp_path, frame, scheme).tasks
        return
    with pytest.raises(SplitError, match=r"scheme 'cards'") as refused:
        prepared(tmp_path, frame, scheme)
    told = str(refused.value)
    assert f"n_splits=5 greater than the number of groups: {groups}" in told or (
        f"needs at least {needed}; the data has {groups}: 'card 0" in told
    )
    assert refused.value.exit_code == 3


@pytest.mark.fault(34)
def test_a_group_whose_rows_are_all_dropped_has_no_fold_and_is_named(tmp_path: Path) -> None:
    frame = rows_of({"a": 12, "b": 12, "c": 12, "lost": 4})
    frame.loc[frame["card"] == "lost", "t_us"] = np.nan
    result = gpucv.run(study_of(tmp_path, frame, bad_rows="drop"), out=tmp_path / "run")
    assert result.folds["holdout"].tolist() == CARDS
    told = "1 of the groups of 'card' have no row left, and no fold: lost"
    assert told in (tmp_path / "run" / "FINDINGS.md").read_text()
    assert told in unescape((tmp_path / "run" / "report.html").read_text())


@pytest.mark.fault(34)
def test_a_fold_of_one_row_is_scored_as_far_as_that_is_defined(tmp_path: Path) -> None:
    frame = rows_of({"a": 12, "b": 12, "lonely": 1})
    result = gpucv.run(study_of(tmp_path, frame), out=tmp_path / "run")
    fold = result.folds.set_index("holdout").loc["lonely"]
    assert (fold["status"], fold["n_test"]) == ("ok", 1)
    assert np.isfinite(fold["test_mape"])
    assert np.isnan(fold["test_r"])


@pytest.mark.fault(34)
def test_a_fold_without_rows_is_skipped_and_enters_no_average(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = fold_task.make_split

    def emptied(*words: Any, **more: Any) -> Split:
        split = whole(*words, **more)
        return replace(split, test=split.test[:0]) if split.holdout == "c" else split

    monkeypatch.setattr(fold_task, "make_split", emptied)
    frame = rows_of(dict.fromkeys(CARDS, 12))
    result = gpucv.run(study_of(tmp_path, frame), out=tmp_path / "run")
    folds = result.folds.set_index("holdout")
    assert folds["status"].to_dict() == {"a": "ok", "b": "ok", "c": "skipped"}
    assert np.isnan(folds.loc["c", "test_mape"])
    (summary,) = gpucv.analysis.summarise_schemes(result.folds)
    assert (summary.n_finished, summary.n_planned) == (2, 3)
    assert summary.average_mape == pytest.approx(folds.loc[["a", "b"], "test_mape"].mean())
    findings = (tmp_path / "run" / "FINDINGS.md").read_text()
    assert "2 of 3 folds" in findings
    assert "no rows held out" in findings


@pytest.mark.fault(34)
def test_a_fold_without_a_row_to_train_on_is_never_planned(tmp_path: Path) -> None:
    frame = rows_of(dict.fromkeys(CARDS, 12)).assign(shape=7)
    scheme = {"name": "cards", "hold_out": "card", "disjoint": ["shape"]}
    with pytest.raises(SplitError, match="holding 'a' out leaves no row to train on") as refused:
        prepared(tmp_path, frame, scheme)
    assert refused.value.exit_code == 3


LABELS = st.lists(st.sampled_from(["m0", "m1", "m2", "m3"]), min_size=6, max_size=60)


@pytest.mark.fault(35)
@settings(max_examples=80, deadline=None)
@given(
    labels=LABELS,
    scheme=st.sampled_from(
        [
            SchemeSpec(name="one", hold_out="model"),
            SchemeSpec(name="two", hold_out="model", p=2),
            SchemeSpec(name="pairs", hold_out=("model", "card")),
            SchemeSpec(name="k", hold_out="model", splitter="GroupKFold", params={"n_splits": 2}),
            SchemeSpec(
                name="drawn", hold_out="model", splitter="GroupShuffleSplit", params={"n_splits": 3}
            ),
            SchemeSpec(name="shapes", hold_out="model", disjoint=("shape",)),
        ]
    ),
    seed=st.integers(0, 5),
)
def test_no_group_no_shape_and_no_row_is_both_trained_on_and_tested(
    labels: list[str], scheme: SchemeSpec, seed: int
) -> None:
    frame = pd.DataFrame({"model": labels})
    frame["card"] = ["x", "y"] * (len(frame) // 2) + ["x"] * (len(frame) % 2)
    frame["shape"] = np.arange(len(frame)) % 5
    study_keys = {name: GroupLabels.from_values(frame[name]) for name in ("model", "card")}
    if scheme.shape:
        study_keys[shape_key(scheme.shape)] = code_shapes(frame, scheme.shape)
    assume(frame["model"].nunique() > scheme.p + 1)
    tested = []
    for split in make_splits(scheme, study_keys, len(frame), seed):
        assert not set(split.train) & set(split.test)
        train, test = frame.iloc[split.train], frame.iloc[split.test]
        columns = list(scheme.columns)
        groups = [set(map(tuple, part[columns].to_numpy())) for part in (train, test)]
        assert not groups[0] & groups[1]
        if scheme.shape:
            assert not set(train["shape"]) & set(test["shape"])
        assert len(train) + len(test) + split.n_left_out == len(frame)
        tested += split.test.tolist()
    if scheme.p == 1 and scheme.name != "drawn":
        assert sorted(tested) == list(range(len(frame)))  # every row is tested, once


@pytest.mark.fault(35)
def test_rows_with_one_name_are_refused_or_but_the_first_dropped(tmp_path: Path) -> None:
    frame = rows_of(dict.fromkeys(CARDS, 12))
    frame = frame.assign(**{"experiment_id": frame["card"], "step.id": frame.index})
    frame.loc[5, "step.id"] = 4
    with pytest.raises(DataError) as refused:
        prepared(tmp_path, frame)
    assert str(refused.value).startswith(
        "1 of 36 rows cannot be used: 1 with repeated experiment_id + step.id (first: row 6, "
        "experiment a, step 4); mend the data, or leave them out"
    )
    study = prepared(tmp_path, frame, bad_rows="drop")
    assert len(study.table) == 35
    assert (
        "dropped 1 of 36 rows with repeated"
        in {n.code: n.message for n in study.notes}["dropped_duplicate_key"]
    )


@pytest.mark.fault(35)
def test_rows_that_are_the_same_in_every_column_are_told_by_the_audit(tmp_path: Path) -> None:
    frame = rows_of(dict.fromkeys(CARDS, 40))
    frame = pd.concat([frame, frame.iloc[:30]], ignore_index=True)
    study = prepared(tmp_path, frame, audit="warn")
    messages = " ".join(note.message for note in study.notes)
    assert "rows equal another in every column read" in messages


@pytest.mark.fault(36)
def test_groups_of_mixed_kinds_are_labels_as_text_and_in_one_order() -> None:
    values = [2, "10", 1.5, "b", True, 2]
    labels = GroupLabels.from_values(np.array(values, dtype=object))
    assert labels.names == ("1.5", "10", "2", "True", "b")
    assert [labels.names[code] for code in labels.codes] == ["2", "10", "1.5", "b", "True", "2"]


@pytest.mark.fault(36)
@pytest.mark.parametrize("missing", [None, np.nan, pd.NA, ""])
def test_a_row_without_a_group_is_refused_with_its_place_or_dropped(
    tmp_path: Path, missing: Any
) -> None:
    frame = rows_of(dict.fromkeys(CARDS, 12))
    frame["card"] = frame["card"].astype(object)
    frame.loc[[7, 9], "card"] = missing
    with pytest.raises(DataError) as refused:
        prepared(tmp_path, frame)
    assert str(refused.value).startswith(
        "2 of 36 rows cannot be used: 2 with missing card (first: row 8, card is empty)"
    )
    assert refused.value.exit_code == 3
    assert len(prepared(tmp_path, frame, bad_rows="drop").table) == 34


@pytest.mark.fault(36)
def test_groups_that_are_numbers_in_one_file_and_text_in_another_are_refused(
    tmp_path: Path,
) -> None:
    rows_of({1: 12, 2: 12}).to_parquet(tmp_path / "1.parquet")
    rows_of({"a": 12, "b": 12}).to_parquet(tmp_path / "2.parquet")
    study = study_of(tmp_path, rows_of({"a": 2, "b": 2}))
    study["data"]["steps"] = ["1.parquet", "2.parquet"]
    with pytest.raises(
        DataError, match=r"column 'card' differs between files: int64 in .*string in"
    ):
        prepare(study_from_dict(study, base=tmp_path))
