"""Read the results of a study that was recorded elsewhere, in the published layout."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pandas as pd

from gpucv.analysis.stability import fold_ranks, stability_table
from gpucv.analysis.tables import (
    EXPERIMENT_COLUMNS,
    FOLD_COLUMNS,
    IMPORTANCE_COLUMNS,
    StudyTables,
)
from gpucv.errors import StudyError, TraceError, clipped, nearest, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

__all__ = ["read_recorded"]

_PER_EXPERIMENT = "_per_exp"
_FOLD_TEXT = ("cv_type", "holdout", "experiment_id", "model", "workload")
_FOLD_NUMBERS = ("n_train", "n_test", "valid_mape", "test_mape", "test_mspe", "test_r")
_IMPORTANCE_TEXT = ("cv_type", "holdout", "feature")
_EMPTY = ("", "NaN", "nan")

# The published files do not say what was trained; the study's protocol does.
_PROTOCOL = {"predictor": "xgboost", "transform": "raw", "target": "step.duration_us"}


def read_recorded(folds_csv: Path, importance_csv: Path) -> StudyTables:
    """Read a recorded study.

    Parameters
    ----------
    folds_csv : Path
        Columns ``cv_type, holdout, n_train, n_test, valid_mape, test_mape,
        test_mspe, test_r, experiment_id, model, workload`` (percent). A row whose
        ``cv_type`` is a scheme is a fold; with ``_per_exp`` behind it, it is one
        experiment of that fold. As in the published ``h3_cv_summary.csv``.
    importance_csv : Path
        Columns ``cv_type, holdout, feature, importance``. As in the published
        ``h3_feature_importance.csv``.

    Returns
    -------
    StudyTables
        What the files do not hold (WAPE, times, validation rows) is NaN, and
        the device is ``not recorded``.

    Raises
    ------
    StudyError
        A file is not there.
    TraceError
        A file is not such a table; the message names file, column and value.
    """
    rows = _read(folds_csv, _FOLD_TEXT, _FOLD_NUMBERS)
    of_experiment = rows["cv_type"].str.endswith(_PER_EXPERIMENT)
    folds = _folds(rows[~of_experiment], folds_csv)
    experiments = _experiments(rows[of_experiment], folds, folds_csv)
    importance = _importance(folds, importance_csv)
    return StudyTables(folds, experiments, importance, stability_table(importance))


def _folds(rows: pd.DataFrame, path: Path) -> pd.DataFrame:
    if rows.empty:
        raise TraceError(
            f"{path}: no fold in column 'cv_type', only rows ending in {_PER_EXPERIMENT!r}"
        )
    repeated = rows[rows.duplicated(["cv_type", "holdout"])]
    if len(repeated):
        first = repeated.iloc[0]
        raise TraceError(f"{path}: fold {_named(first)} stands there more than once")
    _require_numbers(rows, ("n_train", "n_test", "test_mape"), path)
    known = rows.rename(columns={"cv_type": "scheme"}).assign(
        **_PROTOCOL, status="ok", device="not recorded"
    )
    return _shaped(known, FOLD_COLUMNS)


def _experiments(rows: pd.DataFrame, folds: pd.DataFrame, path: Path) -> pd.DataFrame:
    _require_numbers(rows, ("n_test", "test_mape"), path)
    scheme = rows["cv_type"].str.removesuffix(_PER_EXPERIMENT)
    experiments = _shaped(rows.assign(**_PROTOCOL, scheme=scheme), EXPERIMENT_COLUMNS)
    _require_folds(experiments, folds, path)
    return experiments


def _importance(folds: pd.DataFrame, path: Path) -> pd.DataFrame:
    rows = _read(path, _IMPORTANCE_TEXT, ("importance",))
    _require_numbers(rows, ("importance",), path)
    named = rows.rename(columns={"cv_type": "scheme"}).assign(**_PROTOCOL)
    repeated = named[named.duplicated(["scheme", "holdout", "feature"])]
    if len(repeated):
        first = repeated.iloc[0]
        raise TraceError(
            f"{path}: feature {shown(first['feature'])} stands more than once in fold "
            f"{_named(first, 'scheme')}"
        )
    _require_folds(named, folds, path)
    return _shaped(named.assign(rank=fold_ranks(named)), IMPORTANCE_COLUMNS)


def _shaped(frame: pd.DataFrame, columns: Mapping[str, str]) -> pd.DataFrame:
    """Give `frame` exactly `columns`: numbers it lacks are NaN, whole counts are integers."""
    shaped = frame.reindex(columns=list(columns)).reset_index(drop=True)
    for name, kind in columns.items():
        if kind == "count" and shaped[name].notna().all() and (shaped[name] % 1 == 0).all():
            shaped[name] = shaped[name].astype("int64")
        elif kind != "text":
            shaped[name] = shaped[name].astype("float64")
    return shaped


def _read(path: Path, text: Sequence[str], numbers: Sequence[str]) -> pd.DataFrame:
    frame = _read_text(path)
    expected = (*text, *numbers)
    for column in expected:
        if column not in frame.columns:
            guess = nearest(column, [name for name in frame.columns if name not in expected])
            raise TraceError(
                f"{path}: column {column!r} is missing{guess}; "
                f"found {', '.join(map(shown, frame.columns[:12]))}"
            )
    if frame.empty:
        raise TraceError(f"{path}: a header and no rows")
    for column in numbers:
        frame[column] = _numbers(frame[column], column, path)
    return frame


def _read_text(path: Path) -> pd.DataFrame:
    """Read every cell as text, so that a group called ``NA`` or ``007`` keeps its name."""
    if not path.is_file():
        kind = "a folder, not a file" if path.is_dir() else "no such file"
        raise StudyError(f"{path}: {kind}; name the recorded CSV")
    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    except pd.errors.EmptyDataError:
        raise TraceError(f"{path}: the file is empty") from None
    except UnicodeDecodeError:
        raise TraceError(f"{path}: not a text file in UTF-8") from None
    except (pd.errors.ParserError, ValueError) as error:
        raise TraceError(f"{path}: not a CSV table ({str(error).splitlines()[0]})") from None
    except OSError as error:
        raise StudyError(f"{path}: cannot be read ({error.strerror})") from None


def _numbers(cells: pd.Series[str], column: str, path: Path) -> pd.Series[float]:
    blank = cells.str.strip().isin(_EMPTY)
    values = pd.to_numeric(cells.mask(blank), errors="coerce").astype("float64")
    wrong = ~blank & ~values.map(math.isfinite)
    if wrong.any():
        line, cell = int(wrong.to_numpy().argmax()) + 2, cells[wrong].iloc[0]
        raise TraceError(f"{path}: column {column!r}, row {line}: {cell!r:.60} is not a number")
    return values


def _require_numbers(rows: pd.DataFrame, columns: Iterable[str], path: Path) -> None:
    for column in columns:
        missing = rows[rows[column].isna()]
        if len(missing):
            first = missing.iloc[0]
            raise TraceError(
                f"{path}: column {column!r} is empty in {len(missing)} rows, first for "
                f"{_named(first)}"
            )


def _named(row: pd.Series[Any], scheme: str = "cv_type") -> str:
    """Return how a message calls a fold: on one line, whatever its names hold."""
    return " / ".join(clipped(row[name]) for name in (scheme, "holdout"))


def _require_folds(rows: pd.DataFrame, folds: pd.DataFrame, path: Path) -> None:
    known = set(zip(folds["scheme"], folds["holdout"], strict=True))
    for at, fold in enumerate(zip(rows["scheme"], rows["holdout"], strict=True)):
        if fold not in known:
            raise TraceError(
                f"{path}: {_named(rows.iloc[at], 'scheme')} is none of the recorded folds; are "
                f"the two files from the same study?"
            )
