from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from gpucv.errors import TraceError
from gpucv.traces import read_steps
from gpucv.traces.csv_stream import _BLOCK, _LONGEST_ROW

if TYPE_CHECKING:
    from pathlib import Path

    from gpucv.catalog import Catalog
    from gpucv.traces import StepTable

HEADER = b"experiment_id,tp,step.id,x\n"
MANY = HEADER + b"e,1,7,3\n" * (_BLOCK // 8 + 1000)
"""Longer than one block, so that the types guessed from the first are put to the test."""


def read(folder: Path, content: bytes, catalog: Catalog, *required: str) -> StepTable:
    (folder / "steps.csv").write_bytes(content)
    return read_steps(["steps.csv"], base=folder, catalog=catalog, required=required)


@pytest.mark.fault(28)
@pytest.mark.parametrize(
    "content",
    [
        b"experiment_id,tp,x\n001,2,1.5\n002,4,\n",
        b"experiment_id,tp,x\r\n001,2,1.5\r\n002,4,\r\n",
        b"experiment_id,tp,x\r001,2,1.5\r002,4,NA\r",
        b"\xef\xbb\xbfexperiment_id,tp,x\n001,2,1.5\n002,4,nan",
        b'"experiment_id","tp","x"\n"001","2","1.5"\n\n"002",4.0,null\n',
    ],
    ids=["unix", "dos", "mac", "bom", "quoted"],
)
def test_every_dialect_of_one_table_reads_the_same(
    tmp_path: Path, content: bytes, catalog: Catalog
) -> None:
    frame = read(tmp_path, content, catalog).frame
    assert frame["experiment_id"].tolist() == ["001", "002"]
    assert frame["tp"].dtype == "int64"
    assert frame["tp"].tolist() == [2, 4]
    np.testing.assert_array_equal(frame["x"], [1.5, np.nan])


def test_agrees_with_pandas_on_real_tables(shared_data: Path, catalog: Catalog) -> None:
    for name in ("published/h3_cv_summary.csv", "published/h3_feature_importance.csv"):
        table = read_steps([name], base=shared_data, catalog=catalog, required=[])
        expected = pd.read_csv(shared_data / name)
        text = expected.select_dtypes(exclude="number").columns
        expected[text] = expected[text].fillna("")  # an empty text is a text
        # pandas' parser may miss the last bit of a float.
        pd.testing.assert_frame_equal(table.frame, expected, rtol=1e-15)


@pytest.mark.parametrize(
    ("last", "dtype", "value"),
    [
        (b"2.5", "float64", 2.5),
        (b"", "float64", np.nan),
        (b"9999999999999999999999", "float64", 1e22),
    ],
)
def test_a_late_value_widens_its_column_exactly(
    tmp_path: Path, catalog: Catalog, last: bytes, dtype: str, value: float
) -> None:
    frame = read(tmp_path, MANY + b"e,1,7," + last + b"\n", catalog).frame
    assert frame["x"].dtype == dtype
    assert frame["x"].iloc[0] == 3
    np.testing.assert_equal(frame["x"].iloc[-1], value)


def test_a_late_word_makes_a_column_text_and_is_noted_with_its_line(
    tmp_path: Path, catalog: Catalog
) -> None:
    table = read(tmp_path, MANY + b"\ne,1,7,seven\n", catalog)
    assert table.frame["x"].iloc[[0, -1]].tolist() == ["3", "seven"]
    (note,) = table.notes
    assert note.level == "warning"
    assert f"line {MANY.count(10) + 2} holds 'seven'" in note.message


def test_dates_and_words_for_nothing_stay_text_in_text_columns(
    tmp_path: Path, catalog: Catalog
) -> None:
    frame = read(tmp_path, b"workload,when\nNA,2024-01-01\n2024-01-02,x\n", catalog).frame
    assert frame["workload"].tolist() == ["NA", "2024-01-02"]
    assert frame["when"].tolist() == ["2024-01-01", "x"]


def test_an_unnamed_column_is_passed_over(tmp_path: Path, catalog: Catalog) -> None:
    table = read(tmp_path, b",x\n0,1\n", catalog)
    assert list(table.frame.columns) == ["x"]
    assert table.notes[0].code == "column_passed_over"


def test_text_that_runs_over_lines_is_noted(tmp_path: Path, catalog: Catalog) -> None:
    for content, rows in ((b'name,x\n"a,1\nb",2\nc,3\n', 2), (b'x,name\n1,"left open\n', 1)):
        table = read(tmp_path, content, catalog)
        assert len(table.frame) == rows
        assert [note.code for note in table.notes] == ["text_over_lines"]


@pytest.mark.parametrize(
    "name", ["a[", "<script>", "../x", "=cmd", "\u202egnp", "é 漢 🚀", "x" * 9999]
)
def test_hostile_names_are_just_names(tmp_path: Path, catalog: Catalog, name: str) -> None:
    content = f"{name},workload\n1,{name}\n".encode()
    frame = read(tmp_path, content, catalog, name).frame
    assert frame[name].tolist() == [1]
    assert frame["workload"].tolist() == [name]


@pytest.mark.fault(23, 28)
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"steps.csv is empty \(0 bytes\)"),
        (b"\n\n", r"steps.csv is empty \(2 bytes\)"),
        (b"experiment_id,tp", "no rows in steps.csv"),
        (b"experiment_id,tp\n", "no rows in steps.csv"),
        (b"x,y\n1,2\n1,2,3\n", "line 3: Expected 2 columns, got 3: 1,2,3; mend"),
        (b"x,y\n1,2\n\n\n1\n", "line 5: Expected 2 columns, got 1"),
        (b'x,y\n"1\n1",2\n1\n', "line 4: Expected 2 columns, got 1"),
        (b"x,y\n1,2,\n", "line 2: Expected 2 columns, got 3"),
        (b"x,x\n1,2\n", "column 'x' stands twice"),
        (b"x;y\n1,5;2\n", "parted by ';'; save it with commas"),
        (b"x\ty\n1\t2\n", r"parted by '\\t'"),
        (b"x,name\n1,ok\n1,caf\xe9\n", "line 3: not UTF-8 text"),
        (b"x,workload\n1,ok\n1,caf\xe9\n", "line 3: not UTF-8 text"),
        (b"x,caf\xe9\n1,2\n", "line 1: not UTF-8 text"),
        ("x,y\n1,2\n".encode("utf-16"), "line 1: not UTF-8 text"),
        ("x,y\n1,2\n".encode("utf-16-le"), "line 1: not UTF-8 text"),
        (b"tp,x\n1,2\nfour,2\n", "line 3: 'tp' holds 'four', which is no number"),
        (b"tp,x\n1,2\n2.5,2\n", "column 'tp' counts whole units, and holds 2.5"),
        (b"kv.usage_gpu_ratio\n0.5\n0,5\n", "line 3: Expected 1 columns, got 2"),
        (MANY + b"e,1,7\n", f"line {MANY.count(10) + 1}: Expected 4 columns, got 3"),
        (MANY + b"e,1,seven,3\n", f"line {MANY.count(10) + 1}: 'step.id' holds 'seven'"),
        (HEADER + b"e,1,2," + b"x" * (2 * _LONGEST_ROW), "a row is longer than 8 MiB"),
    ],
)
def test_damage_is_one_line_with_file_and_line(
    tmp_path: Path, catalog: Catalog, content: bytes, message: str
) -> None:
    with pytest.raises(TraceError, match=message) as caught:
        read(tmp_path, content, catalog)
    assert "\n" not in str(caught.value)
    assert "steps.csv" in str(caught.value)


def test_a_missing_column_is_named_with_its_neighbour(tmp_path: Path, catalog: Catalog) -> None:
    with pytest.raises(
        TraceError, match=r"steps.csv: no column 'latencyy'; did you mean 'latency'"
    ):
        read(tmp_path, b"latency,n\n1,2\n", catalog, "latencyy")


def test_a_row_longer_than_a_block_is_read(tmp_path: Path, catalog: Catalog) -> None:
    long = b"y" * (_LONGEST_ROW // 2)
    frame = read(tmp_path, b"x,name\n1,a\n2," + long + b"\n3,b\n", catalog).frame
    assert frame["x"].tolist() == [1, 2, 3]
    assert frame["name"].str.len().tolist() == [1, _LONGEST_ROW // 2, 1]
