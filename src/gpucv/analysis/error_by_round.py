"""Errors round by round, of every fold that was asked for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gpucv.analysis.tables import Kind
    from gpucv.runs import FoldRecord

__all__ = ["LEARNING_CURVE_COLUMNS", "learning_curve_rows"]

LEARNING_CURVE_COLUMNS: Mapping[str, Kind] = {
    "scheme": "text",
    "holdout": "text",
    "predictor": "text",
    "transform": "text",
    "target": "text",
    "round": "count",
    "valid_mape": "real",
    "test_mape": "real",
    "valid_rmse": "real",
    "test_rmse": "real",
}
"""learning_curves.csv: after how many rounds, MAPE in percent, RMSE in the target's unit.

Of validation rows and of rows held out; the last round of a fold is its predictor.
"""


def learning_curve_rows(record: FoldRecord) -> list[dict[str, Any]]:
    """Return one row per round looked at of a fold."""
    curve = record.learning_curve
    rows = (dict(zip(curve, at, strict=True)) for at in zip(*curve.values(), strict=True))
    return [row | {"round": int(row["round"])} for row in rows]
