"""The feature matrix every fold of a study reads: X, y and the group of each row."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gpucv import schema
from gpucv.errors import DataError, nearest
from gpucv.features.physics30 import FEATURES, StepQuantities
from gpucv.frames import PandasColumns
from gpucv.splits import GroupLabels, code_shapes, shape_key

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gpucv.catalog import Catalog
    from gpucv.frames import Columns
    from gpucv.study import FeatureSpec, Study

__all__ = ["FeatureTable", "build_features", "build_table", "group_columns", "required_columns"]

_BLOCK_ROWS = 1_000_000
_FLOAT32_EXACT = 2**24


@dataclass(frozen=True, slots=True, eq=False)
class FeatureTable:
    """What a study learns from, in (experiment, step) order.

    Attributes
    ----------
    X : ndarray of float32, shape (n_rows, n_features)
        C order, so that a fold gathers whole rows.
    y : ndarray of float64, shape (n_rows,)
        The target, in the unit of its column.
    feature_names : tuple of str
    keys : dict of str to GroupLabels
        Experiment, every column some scheme groups by, model and workload where the
        data names them in every row, and the shapes schemes keep disjoint (`shape_key`).
    step_id : ndarray of int64, shape (n_rows,)
        Position within the experiment, as recorded.
    fingerprint : str
        SHA-256 over all of the above.
    """

    X: NDArray[np.float32]
    y: NDArray[np.float64]
    feature_names: tuple[str, ...]
    keys: dict[str, GroupLabels]
    step_id: NDArray[np.int64]
    fingerprint: str

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.y)


def required_columns(study: Study) -> tuple[str, ...]:
    """Return the columns the data must have for this study, each once."""
    wanted = [study.data.target, *study.features.columns]
    if study.features.set:
        wanted += [schema.MODEL, study.data.experiment, study.data.order_by]
    wanted += [*group_columns(study), *sorted({c for s in study.schemes for c in s.shape})]
    return tuple(name for name in dict.fromkeys(wanted) if name not in study.data.constants)


def group_columns(study: Study) -> tuple[str, ...]:
    """Return every column rows are held out or validated by, sorted."""
    columns = {column for scheme in study.schemes for column in scheme.columns}
    if study.validation.order == "group":
        columns.add(study.validation.group)
    return tuple(sorted(columns))


def build_table(frame: pd.DataFrame, study: Study, catalog: Catalog) -> FeatureTable:
    """Sort the rows, compute the features and code the groups.

    Parameters
    ----------
    frame : DataFrame
        Checked rows, with every column of `required_columns`.
    study : Study
    catalog : Catalog

    Raises
    ------
    DataError
        If a model is unknown, or a column cannot serve as a feature.
    """
    data = study.data
    frame = frame.assign(**{k: v for k, v in data.constants.items() if k not in frame.columns})
    groups = group_columns(study)
    if data.experiment not in frame.columns:
        frame = frame.assign(**{data.experiment: _joined(frame, groups)})
    if data.order_by not in frame.columns:
        frame = frame.assign(**{data.order_by: np.arange(len(frame))})
    frame = frame.sort_values([data.experiment, data.order_by], kind="stable", ignore_index=True)
    X, names = build_features(frame, study.features, catalog, dtype=np.float32)
    shown = {c for c in (schema.MODEL, schema.WORKLOAD) if c in frame and frame[c].notna().all()}
    keys = {
        column: GroupLabels.from_values(frame[column])
        for column in sorted({*groups, data.experiment, *shown})
    }
    shapes = sorted({scheme.shape for scheme in study.schemes if scheme.shape})
    keys |= {shape_key(columns): code_shapes(frame, columns) for columns in shapes}
    y = frame[data.target].to_numpy(dtype=np.float64)
    step_id = _order_numbers(frame[data.order_by])
    return FeatureTable(X, y, names, keys, step_id, _fingerprint(X, y, names, keys, step_id))


def build_features(
    frame: pd.DataFrame,
    spec: FeatureSpec,
    catalog: Catalog,
    dtype: type[np.float32] | type[np.float64] = np.float64,
) -> tuple[NDArray[np.floating], tuple[str, ...]]:
    """Compute a study's features, row by row.

    Parameters
    ----------
    frame : DataFrame
    spec : FeatureSpec
    catalog : Catalog
    dtype : type
        Of the result; the arithmetic is float64 either way.

    Returns
    -------
    X : ndarray, shape (n_rows, n_features), C order
    names : tuple of str
        One per column of X.

    Raises
    ------
    DataError
        If a model is unknown, or a column cannot serve as a feature.
    """
    steps = PandasColumns(frame)
    for column in spec.columns:
        if column not in frame.columns:
            msg = f"no feature column {column!r} in the data{nearest(column, frame.columns)}"
            raise DataError(msg)
        _must_serve_as_feature(frame[column])
    names = (*(f.name for f in FEATURES if spec.set), *spec.columns)
    X = np.empty((len(frame), len(names)), dtype=dtype)
    for place, block in steps.blocks(_BLOCK_ROWS):
        _fill(X[place], block, spec, catalog)
    return X, names


def _fill(X: NDArray[np.floating], block: Columns, spec: FeatureSpec, catalog: Catalog) -> None:
    """Write one block of rows; ±inf and NaN of the named set become 0, as published.

    Finiteness is judged in the result's own dtype: what overflows float32 is infinite.
    """
    xp = block.xp
    named = len(FEATURES) if spec.set else 0
    with np.errstate(over="ignore", invalid="ignore"):
        if spec.set:
            quantities = StepQuantities(block, catalog)
            for position, feature in enumerate(FEATURES):
                values = feature.formula(quantities).astype(X.dtype)
                X[:, position] = xp.where(xp.isfinite(values), values, 0.0)
        for position, column in enumerate(spec.columns, start=named):
            values = block.numbers(column, float("nan")).astype(X.dtype)
            X[:, position] = xp.where(xp.isinf(values), float("nan"), values)


def _must_serve_as_feature(column: pd.Series[Any]) -> None:
    """Refuse text, and whole numbers that a tree's float32 would merge.

    XGBoost keeps features as float32: clock readings and ids beyond 2**24 would
    silently become equal. Whole numbers of which some are missing stand in a float64 column.
    """
    if not pd.api.types.is_numeric_dtype(column):
        msg = (
            f"feature column {column.name!r} holds {column.dtype}, not numbers; "
            "encode it as numbers or hold it out as a group"
        )
        raise DataError(msg)
    if column.notna().sum() == 0:
        msg = f"feature column {column.name!r} is empty in all {len(column):,} rows; leave it out"
        raise DataError(msg)
    present = column.dropna()
    are_integers = pd.api.types.is_integer_dtype(column) or len(present) < len(column)
    if are_integers and _merged_by_float32(present):
        msg = (
            f"feature column {column.name!r} has integers up to {column.max():,.0f} that XGBoost's "
            "float32 would merge; rescale it or leave it out (ids and clocks never help)"
        )
        raise DataError(msg)


def _merged_by_float32(column: pd.Series[Any]) -> bool:
    """Tell whether `column` holds whole numbers that differ, and would be equal as float32."""
    magnitude = np.abs(column.to_numpy(dtype=np.float64))
    if not (magnitude > _FLOAT32_EXACT).any() or (magnitude % 1 != 0).any():
        return False
    distinct = column[magnitude >= _FLOAT32_EXACT].unique()
    return len(np.unique(np.asarray(distinct, dtype=np.float32))) < len(distinct)


def _joined(frame: pd.DataFrame, columns: tuple[str, ...]) -> pd.Series[Any] | str:
    """Name recordings by their groups where the data does not name them."""
    if not columns:
        return "all"
    joined = frame[columns[0]].astype(str)
    for column in columns[1:]:
        joined = joined + " / " + frame[column].astype(str)
    return joined


def _order_numbers(column: pd.Series[Any]) -> NDArray[np.int64]:
    if not pd.api.types.is_numeric_dtype(column):
        msg = f"data.order_by column {column.name!r} holds {column.dtype}; it must be a number"
        raise DataError(msg + nearest(str(column.name), [schema.STEP_ID]))
    if pd.api.types.is_integer_dtype(column):
        return column.to_numpy(dtype=np.int64)
    return np.arange(len(column), dtype=np.int64)


def _fingerprint(
    X: NDArray[np.floating],
    y: NDArray[np.float64],
    names: tuple[str, ...],
    keys: dict[str, GroupLabels],
    step_id: NDArray[np.int64],
) -> str:
    head = {"features": names, "groups": {name: labels.names for name, labels in keys.items()}}
    digest = hashlib.sha256(json.dumps(head).encode())
    for array in (X, y, step_id, *(labels.codes for labels in keys.values())):
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
