"""Rows a study selects by their values, and the sample it draws."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gpucv.errors import StudyError, TraceError
from gpucv.study import study_from_dict

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pandas as pd

    from gpucv.workflow.rows import StudyRows

    Rows = Callable[..., StudyRows]


def codes(rows: StudyRows) -> dict[str, str]:
    return {note.code: note.message for note in rows.notes}


@pytest.mark.parametrize(
    ("where", "query"),
    [
        ({"op": "up"}, "op == 'up'"),
        ({"card": ["a100", "h100"]}, "card in ['a100', 'h100']"),
        ({"size": 4}, "size == 4"),
        ({"size": [2, 8]}, "size in [2, 8]"),
        ({"size": 2.0}, "size == 2"),
        ({"scale": 0.25}, "scale == 0.25"),
        ({"fused": True}, "fused"),
        ({"fused": False}, "not fused"),
        ({"op": "up", "size": [1, 4], "fused": True}, "op == 'up' and size in [1, 4] and fused"),
    ],
)
def test_where_takes_the_rows_with_the_values_named(
    where: dict[str, Any], query: str, rows_of: Rows, kernels: pd.DataFrame
) -> None:
    expected = kernels.query(query)
    rows = rows_of(where=where).frame
    assert 0 < len(rows) < len(kernels)
    assert rows["t_us"].tolist() == expected["t_us"].tolist()
    assert rows["card"].tolist() == expected["card"].tolist()


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"card": "h10"}, "no row has card = 'h10'; did you mean 'h100'.; the rows have a100, b2"),
        ({"card": ["h100", "zzz"]}, "no row has card = 'zzz'; the rows have a100, b200, h100$"),
        ({"size": 3}, "no row has size = 3; the rows have 1, 2, 4, 8$"),
        ({"size": "4"}, "no row has size = '4'; it holds numbers: write 4;"),
        ({"scale": 0.3}, r"no row has scale = 0\.3; the rows have 0\.1, 0\.25$"),
        ({"op": []}, "no row fits all of"),
        ({"op": "up", "card": "a100", "size": 99}, "no row has size = 99"),
    ],
)
def test_where_refuses_a_value_that_no_row_has(
    where: dict[str, Any], message: str, rows_of: Rows
) -> None:
    with pytest.raises(StudyError, match=message):
        rows_of(where=where)


def test_where_tells_text_that_looks_like_a_number(rows_of: Rows, kernels: pd.DataFrame) -> None:
    table = kernels.assign(version=np.where(kernels["fused"], "7", "8"))
    with pytest.raises(StudyError, match="version = 7; it holds text: write '7'"):
        rows_of(table, where={"version": 7})
    assert set(rows_of(table, where={"version": "7"}).frame["version"]) == {"7"}


def test_where_looks_for_later_values_among_the_rows_left(
    rows_of: Rows, kernels: pd.DataFrame
) -> None:
    table = kernels.assign(size=np.where(kernels["op"] == "up", 1, kernels["size"]))
    with pytest.raises(StudyError, match=r"no row has size = 8; the rows have 1$"):
        rows_of(table, where={"op": "up", "size": 8})


def test_where_names_a_column_of_the_files_or_a_constant(rows_of: Rows) -> None:
    with pytest.raises(TraceError, match=r"kernels\.parquet.*'engin'"):
        rows_of(where={"engin": "vllm"})
    rows = rows_of(constants={"engine": "vllm"}, where={"engine": "vllm"}).frame
    assert len(rows) == 120
    with pytest.raises(StudyError, match="no row has engine = 'trt'"):
        rows_of(constants={"engine": "vllm"}, where={"engine": "trt"})


def test_where_holds_text_numbers_and_truth_values_only(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"data\.where\.op"):
        study_from_dict({"data": {"where": {"op": [["up"]]}}}, base=tmp_path)


def test_a_sample_is_drawn_by_the_seed_and_keeps_the_order(
    rows_of: Rows, kernels: pd.DataFrame
) -> None:
    drawn = rows_of(sample=30)
    place = {time: at for at, time in enumerate(kernels["t_us"])}
    at = [place[time] for time in drawn.frame["t_us"]]
    assert len(set(at)) == 30
    assert at == sorted(at)
    assert at != list(range(30))
    assert codes(drawn)["sampled"] == "30 of 120 rows drawn at random (data.sample, seed 42)"
    assert rows_of(sample=30).frame.equals(drawn.frame)
    assert not rows_of(sample=30, seed=43).frame.equals(drawn.frame)


@pytest.mark.parametrize("sample", [0, 120, 500])
def test_a_sample_no_smaller_than_the_table_is_the_table(sample: int, rows_of: Rows) -> None:
    rows = rows_of(sample=sample)
    assert len(rows.frame) == 120
    assert "sampled" not in codes(rows)


def test_a_sample_is_drawn_from_the_rows_selected(rows_of: Rows) -> None:
    rows = rows_of(sample=10, where={"op": "down"})
    assert set(rows.frame["op"]) == {"down"}
    assert codes(rows)["sampled"].startswith("10 of 60 rows")
