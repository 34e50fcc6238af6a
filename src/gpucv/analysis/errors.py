"""How the errors of every fold are spread: by phase, by step time, and before and after scaling."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gpucv.analysis.fold_rows import rows_by
from gpucv.schema import PHASES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from gpucv.analysis.tables import Kind

__all__ = ["ERROR_COLUMNS", "error_table", "part_means", "scale_factor"]

_FOLD = ("scheme", "holdout", "predictor", "transform", "target")
_ERRORS = ("mape", "mspe", "p50", "p90", "p99")

ERROR_COLUMNS: Mapping[str, Kind] = {
    "scheme": "text",
    "holdout": "text",
    "predictor": "text",
    "transform": "text",
    "target": "text",
    "by": "text",
    "part": "text",
    "n_test": "count",
    "mape": "real",
    "mspe": "real",
    "p50": "real",
    "p90": "real",
    "p99": "real",
    "factor": "real",
    "scaled_mape": "real",
    "rows_outside": "real",
}
"""errors.csv: the held-out rows of each fold, all of them (`by` is ``all``) and in parts.

`by` ``phase`` has the parts of `gpucv.schema.PHASES`; ``decade`` those of the measured time,
``1e3`` being from 1,000 to below 10,000. `n_test` counts rows whose measured time is not 0.
Errors are in percent: `p50`, `p90`, `p99` are quantiles of the absolute one: the smallest of
the rows' errors that at least that share of them do not exceed. Of all rows alone:
`factor` and `scaled_mape`, see `scale_factor`; `rows_outside`, the share of rows in percent
with a feature outside the range of the rows learnt from, empty where not known.
"""


def error_table(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the error table of a study.

    Parameters
    ----------
    predictions : pandas.DataFrame
        ``predictions.parquet``; its columns ``phase`` and ``outside`` are used where it has
        them.

    Returns
    -------
    pandas.DataFrame
        With `ERROR_COLUMNS`; folds in order of appearance, of each first all rows, then its
        phases, then its decades from the shortest time on. Parts without rows are left out.
    """
    rows: list[dict[str, Any]] = []
    measured, predicted = (predictions[name].to_numpy(float) for name in ("actual", "predicted"))
    phase = _phase_codes(predictions)
    outside = predictions["outside"].to_numpy(float) if "outside" in predictions else None
    for named, here in rows_by(predictions, _FOLD).items():
        at = here[measured[here] != 0]
        parts = _parts(
            measured[at],
            predicted[at],
            None if phase is None else phase[at],
            None if outside is None else outside[at],
        )
        rows += [dict(zip(_FOLD, named, strict=True)) | part for part in parts]
    return pd.DataFrame(rows, columns=list(ERROR_COLUMNS)).astype(
        {
            name: {"text": str, "count": np.int64}.get(kind, np.float64)
            for name, kind in ERROR_COLUMNS.items()
        }
    )


def _phase_codes(predictions: pd.DataFrame) -> NDArray[np.int8] | None:
    """Return the place of each row's phase in `PHASES`, -1 for none; None where not known."""
    if "phase" not in predictions:
        return None
    return pd.Categorical(predictions["phase"], categories=list(PHASES)).codes


def _parts(
    measured: NDArray[np.float64],
    predicted: NDArray[np.float64],
    phase: NDArray[np.int8] | None,
    outside: NDArray[np.float64] | None,
) -> Iterator[dict[str, Any]]:
    if not len(measured):
        return
    with np.errstate(over="ignore"):
        signed = 100.0 * (predicted / measured - 1.0)
    factor, scaled = scale_factor(measured, predicted)
    whole = {"factor": factor, "scaled_mape": scaled}
    if outside is not None and not np.isnan(outside).all():
        whole["rows_outside"] = 100.0 * float((outside > 0).mean())
    yield _errors("all", "", signed) | whole
    if phase is not None:
        yield from _each("phase", {name: phase == at for at, name in enumerate(PHASES)}, signed)
    with np.errstate(divide="ignore", invalid="ignore"):
        power = np.floor(np.log10(measured))
    powers = np.unique(power[np.isfinite(power)])
    yield from _each("decade", {f"1e{int(each)}": power == each for each in powers}, signed)


def _each(
    by: str, parts: Mapping[str, NDArray[np.bool_]], signed: NDArray[np.float64]
) -> Iterator[dict[str, Any]]:
    for name, here in parts.items():
        if here.any():
            yield _errors(by, name, signed[here])


def _errors(by: str, part: str, signed: NDArray[np.float64]) -> dict[str, Any]:
    absolute = np.abs(signed)
    # An error that a row has: between two infinite ones there is no middle, and of two rows
    # 99 % lie at or below the larger alone.
    p50, p90, p99 = np.quantile(absolute, (0.5, 0.9, 0.99), method="inverted_cdf")
    return {
        **{"by": by, "part": part, "n_test": len(signed)},
        **{"mape": float(absolute.mean()), "mspe": float(signed.mean())},
        **{"p50": float(p50), "p90": float(p90), "p99": float(p99)},
    }


def scale_factor(
    measured: NDArray[np.float64], predicted: NDArray[np.float64]
) -> tuple[float, float]:
    """Return the one factor that puts predictions right at the median, and the MAPE it leaves.

    Parameters
    ----------
    measured, predicted : ndarray of float64, shape (n,)

    Returns
    -------
    factor : float
        The median of measured over predicted; NaN without a prediction above 0.
    scaled_mape : float
        MAPE of the predictions times `factor`, in percent.

    Notes
    -----
    The factor is chosen with the measured times of the very rows it is then judged by. So what
    it leaves is no prediction's error, but the part that no factor of this kind explains: the
    shape. It is the median ratio, not the factor of least MAPE, which shrinks towards 0 where
    ratios scatter.
    """
    usable = np.isfinite(predicted) & (predicted > 0) & (measured > 0)
    if not usable.any():
        return float("nan"), float("nan")
    factor = float(np.median(measured[usable] / predicted[usable]))
    with np.errstate(over="ignore", invalid="ignore"):
        left = 100.0 * np.abs(factor * predicted / measured - 1.0)
    return factor, float(left[measured != 0].mean())


def part_means(errors: pd.DataFrame, by: str) -> pd.DataFrame:
    """Average the errors of each part over the folds that have it.

    Parameters
    ----------
    errors : pandas.DataFrame
        Rows of one formulation and scheme, with `ERROR_COLUMNS`.
    by : {"phase", "decade"}

    Returns
    -------
    pandas.DataFrame
        ``part, n_folds, n_rows, mape, mspe, p50, p90, p99``: plain means over folds. Phases in
        their order, decades from the shortest time on.
    """
    grouped = errors[errors["by"] == by].groupby("part")
    table = grouped[list(_ERRORS)].mean()
    table.insert(0, "n_rows", grouped["n_test"].sum())
    table.insert(0, "n_folds", grouped["holdout"].nunique())
    order = [name for name in PHASES if name in table.index]
    if by == "decade":
        order = sorted(table.index, key=lambda part: int(part.removeprefix("1e")))
    return table.loc[order].reset_index()
