"""Points that a profile measures more than once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gpucv.schema import LATENCY_US
from gpucv.traces.formats.vidur.columns import STATISTICS

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["collapse", "repeated"]

_JOINED = {
    LATENCY_US: "median",
    "latency_min_us": "min",
    "latency_max_us": "max",
    "latency_mean_us": "mean",
    "repeats": "sum",
}


def repeated(frame: pd.DataFrame) -> int:
    """Return how many rows are of a point that an earlier row is of."""
    return int(frame.duplicated(_point(frame)).sum())


def collapse(frame: pd.DataFrame) -> pd.DataFrame:
    """Return one row per point: the median of the medians, the least and most of all runs.

    The deviation of all runs together is not known, so it is NaN where rows were joined.
    """
    how = {name: how for name, how in _JOINED.items() if name in frame}
    grouped = frame.groupby(_point(frame), sort=False, dropna=False)
    joined = grouped.agg({**how, **_first(frame)}).reset_index()
    if "latency_std_us" in joined:
        alone = joined["repeats"] == 1
        joined["latency_std_us"] = joined["latency_std_us"].where(alone, np.nan)
    return joined


def _point(frame: pd.DataFrame) -> list[str]:
    measured = {*STATISTICS.values(), "repeats"}
    return [name for name in frame.columns if name not in measured]


def _first(frame: pd.DataFrame) -> dict[str, str]:
    return {"latency_std_us": "first"} if "latency_std_us" in frame else {}
