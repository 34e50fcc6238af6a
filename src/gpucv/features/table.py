"""The feature matrix every fold of a study reads: X, y and the group of each row."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from gpucv import schema
from gpucv.errors import DataError, nearest
from gpucv.features.device import device_library, move_arrays
from gpucv.features.sets import sets_of
from gpucv.features.suitability import must_serve_as_feature
from gpucv.features.views import BLOCK_ROWS, plan_views, reads_physics30, speed_of_light
from gpucv.frames import PandasColumns, to_host
from gpucv.splits import GroupLabels, code_shapes, shape_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from gpucv.catalog import Catalog
    from gpucv.features.contract import FeatureSet, WithTokens
    from gpucv.features.device import DeviceArrays
    from gpucv.frames import Array, Columns
    from gpucv.machine import Device
    from gpucv.study import FeatureSpec, Study

__all__ = ["FeatureTable", "build_features", "build_table", "group_columns", "required_columns"]


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
        SHA-256 over the arrays, the names, the groups and the views.
    views : dict of str to tuple of int
        Which columns of X each predictor reads, by the name of its view (`view_name`);
        "" is the study's own features.
    tokens : dict of str to {"fixed", "rises", "mixed"}
        What a feature does with more tokens, where its set says so.
    sol_us : ndarray of float64, shape (n_rows,), or None
        Speed of light of each row, us, where a transform needs it.
    labels : tuple of str
        Features that are codes of labels, where their set says so.
    features_on : {"numpy", "cudf"}
        What computed the features. The last bits of a logarithm or a power may differ.
    device : DeviceArrays or None
        X and y once more, in the memory of a GPU, where folds run on one.
    combined : dict of tuple of str to GroupLabels
        Combinations of `keys`, kept once made; see `gpucv.pipelines.rows.Inputs`.
    """

    X: NDArray[np.float32]
    y: NDArray[np.float64]
    feature_names: tuple[str, ...]
    keys: dict[str, GroupLabels]
    step_id: NDArray[np.int64]
    fingerprint: str
    views: dict[str, tuple[int, ...]] = field(default_factory=dict)
    tokens: dict[str, WithTokens] = field(default_factory=dict)
    sol_us: NDArray[np.float64] | None = None
    labels: tuple[str, ...] = ()
    features_on: Literal["numpy", "cudf"] = "numpy"
    device: DeviceArrays | None = field(default=None, repr=False)
    # Not a field of `replace`: a table with other keys starts with none.
    combined: dict[tuple[str, ...], GroupLabels] = field(
        default_factory=dict, init=False, repr=False
    )

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.y)

    def release(self) -> None:
        """Give the memory of the rows back; whoever holds the table finds it without any."""
        empty = {
            name: replace(labels, codes=labels.codes[:0].copy())
            for name, labels in self.keys.items()
        }
        for name, value in (
            ("X", np.empty((0, self.X.shape[1]), dtype=self.X.dtype)),
            ("y", self.y[:0].copy()),
            ("keys", empty),
            ("step_id", self.step_id[:0].copy()),
            ("sol_us", None),
            ("device", None),
            ("combined", {}),
        ):
            object.__setattr__(self, name, value)

    def view(self, name: str) -> tuple[int, ...]:
        """Return the columns of X that belong to a view; without views, all of them."""
        return self.views[name] if self.views else tuple(range(self.X.shape[1]))


def required_columns(study: Study) -> tuple[str, ...]:
    """Return the columns the data must have for this study, each once."""
    wanted = [study.data.target, *study.features.columns]
    if reads_physics30(study):
        wanted += [schema.MODEL, study.data.experiment, study.data.order_by]
    wanted += [*group_columns(study), *sorted({c for s in study.schemes for c in s.shape})]
    return tuple(name for name in dict.fromkeys(wanted) if name not in study.data.constants)


def group_columns(study: Study) -> tuple[str, ...]:
    """Return every column rows are held out, validated or fitted apart by, sorted."""
    columns = {c for each in study.schemes for c in (*each.columns, *each.within_columns)}
    columns |= {column for spec in study.predictors for column in spec.per_columns}
    columns |= {spec.choose.group for spec in study.predictors if spec.choose and spec.choose.group}
    if study.validation.order == "group":
        columns.add(study.validation.group)
    return tuple(sorted(columns))


def build_table(
    frame: pd.DataFrame, study: Study, catalog: Catalog, on: Device = "cpu"
) -> FeatureTable:
    """Sort the rows, compute the features and code the groups.

    Parameters
    ----------
    frame : DataFrame
        Checked rows, with every column of `required_columns`.
    study : Study
    catalog : Catalog
    on : {"cpu", "cuda"}
        "cuda": compute the features on the GPU of this process where cuDF is installed, and
        leave the table there beside the host's; with CuPy alone, move what NumPy computed.

    Raises
    ------
    DataError
        If a model is unknown, a column cannot serve as a feature, or a scheme needs an order
        of time that the data does not have.
    """
    frame = _in_order(frame, study)
    library = device_library() if on == "cuda" else ""
    columns = _columns_of(frame, library == "cudf")
    plan = plan_views(study, columns)
    X, names = _compute(columns, plan.sets, plan.raw, catalog, np.float32)
    y = frame[study.data.target].to_numpy(dtype=np.float64)
    table = FeatureTable(
        X=to_host(X),
        y=y,
        feature_names=names,
        keys=_group_keys(frame, study),
        step_id=_order_numbers(frame[study.data.order_by]),
        fingerprint="",
        views=plan.positions(),
        tokens=plan.tokens(),
        labels=plan.labels(),
        sol_us=speed_of_light(columns, study, catalog),
        features_on="cudf" if library == "cudf" else "numpy",
        device=move_arrays(X, y) if library else None,
    )
    return replace(table, fingerprint=_fingerprint(table))


def _in_order(frame: pd.DataFrame, study: Study) -> pd.DataFrame:
    """Return the rows by experiment and step, both named even where the data names neither."""
    data = study.data
    frame = frame.assign(**{k: v for k, v in data.constants.items() if k not in frame.columns})
    _must_know_time(frame, study)
    if data.experiment not in frame.columns:
        frame = frame.assign(**{data.experiment: _joined(frame, group_columns(study))})
    if data.order_by not in frame.columns:
        frame = frame.assign(**{data.order_by: np.arange(len(frame))})
    if _stands_in_order(frame[data.experiment], frame[data.order_by]):
        return frame.reset_index(drop=True)
    return frame.sort_values([data.experiment, data.order_by], kind="stable", ignore_index=True)


def _stands_in_order(experiment: pd.Series[Any], step: pd.Series[Any]) -> bool:
    """Tell whether rows stand as sorting would put them, so that no second copy is made.

    Only of recordings as categories, in the order of their text, and numbered steps.
    """
    if not isinstance(experiment.dtype, pd.CategoricalDtype) or step.dtype.kind not in "iuf":
        return False
    names, codes, steps = experiment.cat.categories, experiment.cat.codes, step.to_numpy()
    if not names.is_monotonic_increasing or (len(codes) and codes.min() < 0):
        return False
    recording = codes.to_numpy()
    rises = recording[1:] > recording[:-1]
    follows = (recording[1:] == recording[:-1]) & (steps[1:] >= steps[:-1])
    return bool((rises | follows).all())


def _group_keys(frame: pd.DataFrame, study: Study) -> dict[str, GroupLabels]:
    """Return the groups of every row; see `FeatureTable.keys`."""
    shown = {c for c in (schema.MODEL, schema.WORKLOAD) if c in frame and frame[c].notna().all()}
    keys = {
        column: GroupLabels.from_values(frame[column])
        for column in sorted({*group_columns(study), study.data.experiment, *shown})
    }
    shapes = sorted({scheme.shape for scheme in study.schemes if scheme.shape})
    return keys | {shape_key(columns): code_shapes(frame, columns) for columns in shapes}


def _columns_of(frame: pd.DataFrame, on_device: bool) -> PandasColumns:
    if not on_device:
        return PandasColumns(frame)
    from gpucv.frames.gpu import CudfColumns

    return CudfColumns(frame)


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
    columns = PandasColumns(frame)
    return _compute(columns, sets_of(spec, columns), spec.columns, catalog, dtype)


def _compute(
    columns: PandasColumns,
    sets: Sequence[FeatureSet[Any]],
    raw: Sequence[str],
    catalog: Catalog,
    dtype: type[Any],
) -> tuple[Array, tuple[str, ...]]:
    """Compute the features of `sets`, then the columns `raw` as they are, where `columns` are."""
    frame = columns.frame
    for column in raw:
        if column not in frame.columns:
            msg = f"no feature column {column!r} in the data{nearest(column, frame.columns)}"
            raise DataError(msg)
        must_serve_as_feature(frame[column])
    names = (*(f.name for part in sets for f in part.features), *raw)
    X = columns.xp.empty((len(frame), len(names)), dtype=dtype)
    for place, block in columns.blocks(BLOCK_ROWS):
        _fill(X[place], block, sets, raw, catalog)
    return X, names


def _fill(
    X: Array,
    block: Columns,
    sets: Sequence[FeatureSet[Any]],
    raw: Sequence[str],
    catalog: Catalog,
) -> None:
    """Write one block of rows; ±inf and NaN of a named set become what it says.

    Finiteness is judged in the result's own dtype: what overflows float32 is infinite.
    """
    xp = block.xp
    position = 0
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        for part in sets:
            quantities = part.quantities(block, catalog)
            for feature in part.features:
                values = feature.formula(quantities).astype(X.dtype)
                X[:, position] = xp.where(xp.isfinite(values), values, part.undefined)
                position += 1
        for column in raw:
            values = block.numbers(column, float("nan")).astype(X.dtype)
            X[:, position] = xp.where(xp.isinf(values), float("nan"), values)
            position += 1


def _must_know_time(frame: pd.DataFrame, study: Study) -> None:
    """Refuse the tails of recordings where rows have no recording, or no place in it."""
    scheme = next((each for each in study.schemes if each.temporal), None)
    if scheme is None:
        return
    for option, column in (
        ("experiment", study.data.experiment),
        ("order_by", study.data.order_by),
    ):
        if column not in frame.columns:
            msg = (
                f"scheme {scheme.name!r}: temporal tests the last rows of each recording, and the "
                f"data has no column {column!r}; name one in data.{option}"
            )
            raise DataError(msg + nearest(column, frame.columns))


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


def _fingerprint(table: FeatureTable) -> str:
    head: dict[str, Any] = {
        "features": table.feature_names,
        "groups": {name: labels.names for name, labels in table.keys.items()},
    }
    if table.views:
        head["views"] = table.views
    digest = hashlib.sha256(json.dumps(head).encode())
    arrays = [table.X, table.y, table.step_id, *(key.codes for key in table.keys.values())]
    arrays += [table.sol_us] if table.sol_us is not None else []
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
