"""Which columns can be features, and what becomes of values that float32 cannot keep."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gpucv.errors import DataError, shown
from gpucv.traces import Note
from gpucv.traces.rows import no_number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["check_features", "empty_features", "must_serve_as_feature"]

_FLOAT32_EXACT = 2**24


def must_serve_as_feature(column: pd.Series[Any]) -> None:
    """Refuse a column without numbers, and whole numbers that float32 would merge.

    XGBoost keeps features as float32: clock readings and ids beyond 2**24 would
    silently become equal. Whole numbers of which some are missing stand in a float64 column.

    Raises
    ------
    DataError
    """
    name, count = column.name, len(column)
    if not pd.api.types.is_numeric_dtype(column):
        msg = (
            f"feature column {name!r} holds {no_number(column)}, which is no number; "
            "encode it as numbers or hold it out as a group"
        )
        raise DataError(msg)
    if column.notna().sum() == 0:
        msg = f"feature column {name!r} is empty in all {count:,} rows; leave it out"
        raise DataError(msg)
    if not np.isfinite(_floats(column)).any():
        msg = f"feature column {name!r} is infinite or empty in all {count:,} rows; leave it out"
        raise DataError(msg)
    present = column.dropna()
    are_integers = pd.api.types.is_integer_dtype(column) or len(present) < count
    if are_integers and _merged_by_float32(present):
        msg = (
            f"feature column {name!r} has integers up to {column.max():,.0f} that XGBoost's "
            "float32 would merge; rescale it or leave it out (ids and clocks never help)"
        )
        raise DataError(msg)


def check_features(frame: pd.DataFrame, columns: Sequence[str]) -> list[Note]:
    """Return what is lost of the columns that are to be features as they are.

    Parameters
    ----------
    frame : DataFrame
        Rows in the order they were read, so that messages name the right one.
    columns : sequence of str
        Each a column of `frame`.

    Raises
    ------
    DataError
        If one cannot serve as a feature.
    """
    notes = []
    for name in columns:
        must_serve_as_feature(frame[name])
        notes += [*_infinite(frame[name]), *_rounded(frame[name])]
    return notes


def empty_features(X: NDArray[np.float32], names: Sequence[str]) -> list[Note]:
    """Return a note naming the features that no row has a value of.

    They stay in the table: no tree splits on them, and predictors that need them say so.
    """
    empty = [name for name, column in zip(names, X.T, strict=True) if np.isnan(column).all()]
    if not empty:
        return []
    message = (
        f"{len(empty)} of {len(names)} features have no value in any row, and no tree can use "
        f"them: {shown(', '.join(empty))}"
    )
    return [Note("empty_feature", message, len(empty), "warning")]


def _infinite(column: pd.Series[Any]) -> list[Note]:
    with np.errstate(over="ignore"):
        infinite = np.isinf(_floats(column).astype(np.float32))
    count = int(infinite.sum())
    if not count:
        return []
    message = (
        f"feature {shown(str(column.name))} is infinite in {count:,} of {len(column):,} rows; "
        "there it counts as missing"
    )
    return [Note("infinite_feature", message, count, "warning")]


def _rounded(column: pd.Series[Any]) -> list[Note]:
    """Tell of whole numbers that float32 changes; those it merges may have been refused."""
    values = _floats(column)
    large = np.isfinite(values) & (np.abs(values) > _FLOAT32_EXACT) & (values == np.floor(values))
    with np.errstate(over="ignore"):
        kept = values.astype(np.float32)
    changed = large & (kept != values) & np.isfinite(kept)
    count = int(changed.sum())
    if not count:
        return []
    message = (
        f"feature {shown(str(column.name))} holds whole numbers beyond 2^24, and float32 rounds "
        f"{count:,} of {len(column):,} rows"
    )
    return [Note("rounded_feature", message, count, "warning")]


def _floats(column: pd.Series[Any]) -> NDArray[np.float64]:
    return column.to_numpy(dtype=np.float64, na_value=np.nan)


def _merged_by_float32(column: pd.Series[Any]) -> bool:
    """Tell whether `column` holds whole numbers that differ, and would be equal as float32."""
    magnitude = np.abs(column.to_numpy(dtype=np.float64))
    if not (magnitude > _FLOAT32_EXACT).any() or (magnitude % 1 != 0).any():
        return False
    distinct = column[magnitude >= _FLOAT32_EXACT].unique()
    return len(np.unique(np.asarray(distinct, dtype=np.float32))) < len(distinct)
