from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpucv.errors import DataError
from gpucv.frames import PandasColumns

if TYPE_CHECKING:
    from gpucv.frames import Columns


def columns(**values: Any) -> Columns:
    """The frame of these columns, seen through the protocol: checked by the type checker."""
    return PandasColumns(pd.DataFrame(values))


def test_a_frame_tells_its_length_and_its_columns() -> None:
    found = columns(a=[1, 2, 3])
    assert len(found) == 3
    assert "a" in found
    assert "b" not in found


@given(st.lists(st.one_of(st.integers(-(2**40), 2**40), st.none()), min_size=1))
@pytest.mark.parametrize("dtype", ["Int64", "float64", "object"])
def test_numbers_are_float64_and_nulls_read_as_asked(dtype: str, values: list[int | None]) -> None:
    found = columns(a=pd.Series(values, dtype=dtype)).numbers("a", 7.0)
    assert found.dtype == np.float64
    assert found.tolist() == [7.0 if value is None else float(value) for value in values]


@pytest.mark.parametrize("values", [[True, False], np.array([1, 0], dtype=np.uint8), [1.0, 0.0]])
def test_any_numbers_will_do(values: Any) -> None:
    assert columns(a=values).numbers("a", 0.0).tolist() == [1.0, 0.0]


def test_an_absent_column_reads_as_asked_in_every_row() -> None:
    assert columns(a=[1, 2]).numbers("b", 3.0).tolist() == [3.0, 3.0]


def test_reading_numbers_leaves_the_frame_alone() -> None:
    frame = pd.DataFrame({"a": [1.0, np.nan]})
    PandasColumns(frame).numbers("a", 5.0)[:] = 9.0
    assert frame["a"].tolist()[0] == 1.0
    assert frame["a"].isna().tolist() == [False, True]


def test_text_is_no_number() -> None:
    with pytest.raises(DataError, match=r"column 'a' holds (str|object), not numbers: .*'x'"):
        columns(a=["1", "x"]).numbers("a", 0.0)


@pytest.mark.parametrize("dtype", ["object", "string", "category"])
def test_labels_are_distinct_and_sorted_and_looked_up_row_by_row(dtype: str) -> None:
    found = columns(a=pd.Series(["b", "a", "b"], dtype=dtype))
    assert found.labels("a") == ["a", "b"]
    assert found.lookup("a", {"a": 1.5, "b": 2.5}).tolist() == [2.5, 1.5, 2.5]
    assert found.lookup("a", {"a": 0.0, "b": 1.0}).dtype == np.float64


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA])
def test_a_row_without_a_label_is_refused_and_counted(missing: Any) -> None:
    found = columns(a=pd.Series(["b", missing, missing], dtype=object))
    with pytest.raises(DataError, match="column 'a' is empty in 2 rows"):
        found.labels("a")
    with pytest.raises(DataError, match="column 'a' is empty in 2 rows"):
        found.lookup("a", {"b": 1.0})


@given(st.integers(0, 25), st.integers(1, 30))
def test_blocks_are_the_rows_in_order_each_once(n_rows: int, size: int) -> None:
    found = columns(a=np.arange(n_rows), b=[str(row) for row in range(n_rows)])
    out = np.full(n_rows, -1.0)
    for place, block in found.blocks(size):
        assert len(block) == place.stop - place.start <= size
        out[place] = block.numbers("a", -2.0)
        assert set(block.labels("b")) == {str(row) for row in range(place.start, place.stop)}
    assert out.tolist() == list(range(n_rows))
