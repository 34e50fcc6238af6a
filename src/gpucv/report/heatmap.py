"""MAPE by model and workload as a coloured table, one per scheme."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from gpucv.report.cells import ABSENT, clean, count, percent

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    import pandas as pd

__all__ = ["Cell", "HeatMap", "heat_map", "legend"]

_STEPS = (0.25, 0.5, 1.0, 2.0, 5.0, 20.0, 100.0)
"""Where the colour changes, as multiples of the threshold: finer where it decides."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell: its number, its colour class and what it says in words."""

    text: str
    css: str
    title: str


@dataclass(frozen=True, slots=True)
class HeatMap:
    """A heat map as text: column names, and rows of a name and its cells."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]


def heat_map(experiments: pd.DataFrame, mape_max: float) -> HeatMap | None:
    """Lay out the experiments of one scheme by model and workload.

    Parameters
    ----------
    experiments : pandas.DataFrame
        Rows of one formulation and scheme (`gpucv.analysis.EXPERIMENT_COLUMNS`).
        Rows that share a model and workload are averaged, and the cell says how
        many they are: several experiments, or several folds that test rows of one.
    mape_max : float
        The threshold in percent that the colour scale is centred on.

    Returns
    -------
    HeatMap or None
        None where the data names no model or no workload.
    """
    known = experiments[(experiments["model"] != "") & (experiments["workload"] != "")]
    if known.empty:
        return None
    workloads = sorted(known["workload"].unique())
    table = known.groupby(["model", "workload"], as_index=False).agg(
        mape=("test_mape", "mean"),
        n_test=("n_test", "sum"),
        experiments=("experiment_id", "nunique"),
        folds=("n_test", "size"),
    )
    cells = {
        (row["model"], row["workload"]): _cell(row, mape_max) for row in table.to_dict("records")
    }
    rows = tuple(
        (
            clean(model),
            tuple(cells.get((model, workload), _NO_ROWS) for workload in workloads),
        )
        for model in sorted(known["model"].unique())
    )
    return HeatMap(tuple(clean(workload) for workload in workloads), rows)


def legend(mape_max: float) -> tuple[tuple[str, str], ...]:
    """Return the colour scale as (class, range of MAPE in percent)."""
    edges = [step * mape_max for step in _STEPS]
    ranges = [f"< {edges[0]:g}"]
    ranges += [f"{low:g} to {high:g}" for low, high in pairwise(edges)]
    ranges.append(f"≥ {edges[-1]:g}")
    return tuple((f"h{index}", label) for index, label in enumerate(ranges))


_NO_ROWS = Cell(ABSENT, "none", "no test rows")


def _cell(row: Mapping[Hashable, Any], mape_max: float) -> Cell:
    mape, experiments, folds = row["mape"], row["experiments"], row["folds"]
    if math.isnan(mape):
        return _NO_ROWS
    title = f"{count(row['n_test'])} test rows"
    if experiments > 1:
        title += f", average of {experiments} experiments"
    if folds > experiments:
        title += f", average over {folds} folds"
    return Cell(percent(mape), _shade(mape, mape_max), title)


def _shade(mape: float, mape_max: float) -> str:
    if math.isinf(mape):
        return f"h{len(_STEPS)}"
    return f"h{sum(mape >= step * mape_max for step in _STEPS)}"
