from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpucv.errors import RunError
from gpucv.report.csv import csv_text, read_csv

if TYPE_CHECKING:
    from pathlib import Path

COLUMNS = {"name": "text", "n": "count", "score": "real"}


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "'=1", "''@x"])
def test_a_text_cell_that_could_be_a_formula_is_disarmed(cell: str) -> None:
    (_, row) = list(csv.reader(csv_text(pd.DataFrame({"name": [cell]})).splitlines()))
    assert row == [f"'{cell}"]


def test_numbers_keep_their_sign_and_every_digit() -> None:
    text = csv_text(pd.DataFrame({"score": [-0.1, 1 / 3, np.nan], "n": [1, -2, 3]}))
    assert text == "score,n\n-0.1,1\n0.3333333333333333,-2\n,3\n"


@given(st.lists(st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\r\0"))))
def test_any_text_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, names: list[str]
) -> None:
    path = tmp_path_factory.mktemp("csv") / "table.csv"
    frame = pd.DataFrame({"name": pd.Series(names, dtype=str), "other": 1})
    path.write_text(csv_text(frame), encoding="utf-8", newline="")
    assert read_csv(path, {"name": "text", "other": "count"})["name"].tolist() == names


def test_a_table_comes_back_with_its_dtypes(tmp_path: Path) -> None:
    frame = pd.DataFrame({"name": ["NA", "007"], "n": [1, 2], "score": [-1.5, np.nan]})
    (tmp_path / "table.csv").write_text(csv_text(frame), encoding="utf-8", newline="")
    back = read_csv(tmp_path / "table.csv", COLUMNS)
    pd.testing.assert_frame_equal(back, frame)
    assert back["n"].dtype == np.int64


def test_a_count_that_is_missing_somewhere_is_a_real(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("name,n,score\na,,1\nb,2,1\n")
    assert read_csv(tmp_path / "t.csv", COLUMNS)["n"].isna().tolist() == [True, False]


def test_a_column_that_earlier_versions_lack_reads_as_nan_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("name,n\na,2\nb,3\n")
    columns = {"name": "text", "score": "real", "n": "count"}
    back = read_csv(tmp_path / "t.csv", columns, later=("score",))
    assert list(back) == list(columns)
    assert back["score"].isna().all()
    assert back["score"].dtype == "float64"
    with pytest.raises(RunError, match="column 'score' is missing"):
        read_csv(tmp_path / "t.csv", columns)


def test_truth_is_written_as_json_writes_it() -> None:
    assert csv_text(pd.DataFrame({"tie": [True, False]})) == "tie\ntrue\nfalse\n"


def test_the_frame_given_is_not_changed() -> None:
    frame = pd.DataFrame({"name": ["=x"]})
    csv_text(frame)
    assert frame["name"].tolist() == ["=x"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a table of this run"),
        (b"\xff\xfe\x00", "not a table of this run"),
        (b"name,n\na,1\n", "column 'score' is missing"),
        (b"name,n,score\na,1,fast\n", "column 'score'"),
    ],
)
def test_a_damaged_table_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "folds.csv"
    path.write_bytes(content)
    with pytest.raises(RunError, match=message) as error:
        read_csv(path, COLUMNS)
    assert "folds.csv" in str(error.value)


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"folds\.csv: no such file"):
        read_csv(tmp_path / "folds.csv", COLUMNS)


def test_optional_columns_are_read_where_they_are(tmp_path: Path) -> None:
    frame = pd.DataFrame({"n": [1, 2], "more": [3, 4], "text": ["a", "b"]})
    path = tmp_path / "table.csv"
    path.write_text(csv_text(frame), encoding="utf-8")
    read = read_csv(path, {"text": "text"}, {"more": "count", "absent": "count"})
    assert read.to_dict("list") == {"text": ["a", "b"], "more": [3, 4]}
    assert list(read_csv(path, {"text": "text"})) == ["text"]
