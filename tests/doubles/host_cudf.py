"""cuDF as far as gpucv uses it, over pandas: columns come out as arrays of the CuPy double.

`scripts/check_gpu_signatures.py` holds the parameters here to those of the real cuDF.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pandas as pd
import pyarrow.parquet as pq


class Series:
    def __init__(self, data: Any = None, *, nan_as_null: bool = True) -> None:
        assert data.dtype.kind in "iufb", "only plain numbers are moved by cuDF"
        assert data.dtype != "float16", "cuDF has no halves"
        self._data, self._nan_as_null = data, nan_as_null

    def astype(self, dtype: Any) -> Series:
        return Series(self._data.astype(dtype), nan_as_null=self._nan_as_null)

    def to_cupy(self) -> Any:
        if self._nan_as_null and self._data.isna().any():
            raise ValueError("Column must have no nulls.")
        return sys.modules["cupy"].asarray(self._data.to_numpy())


class DataFrame:
    def __init__(self, data: Any = None) -> None:
        self._data = data

    def __getitem__(self, arg: str) -> Series:
        return Series(self._data[arg], nan_as_null=False)


def read_parquet(filepath_or_buffer: str, columns: Any = None, row_groups: Any = None) -> DataFrame:
    with pq.ParquetFile(filepath_or_buffer) as file:
        arrow = file.read_row_groups(row_groups, columns=columns)
    for name in columns:
        assert not arrow.schema.field(name).nullable, "a nullable column is no plain array"
    return DataFrame(pd.DataFrame({name: arrow[name].to_numpy() for name in columns}))


def module() -> ModuleType:
    """A module to stand for ``cudf``."""
    made = ModuleType("cudf")
    made.Series, made.DataFrame = Series, DataFrame  # type: ignore[attr-defined]
    made.read_parquet = read_parquet  # type: ignore[attr-defined]
    return made
