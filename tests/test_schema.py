from __future__ import annotations

from typing import get_args

from gpucv.schema import EXPERIMENT_COLUMNS, STEP_COLUMNS, DType, columns_by_name


def test_every_column_has_one_name_a_dtype_a_unit_and_a_meaning() -> None:
    by_name = columns_by_name()
    assert list(by_name) == [column.name for column in STEP_COLUMNS]
    assert len(by_name) == len(STEP_COLUMNS)
    for column in STEP_COLUMNS:
        assert column.dtype in get_args(DType)
        assert column.unit
        assert column.meaning


def test_an_experiment_is_named_by_the_first_columns() -> None:
    assert STEP_COLUMNS[: len(EXPERIMENT_COLUMNS)] == EXPERIMENT_COLUMNS


def test_a_unit_in_a_name_is_the_columns_unit() -> None:
    for column in STEP_COLUMNS:
        for suffix in ("_us", "_ns", "_ratio"):
            assert not column.name.endswith(suffix) or column.unit == suffix[1:]
        if column.name.endswith("_tokens"):
            assert column.unit == "tokens"
