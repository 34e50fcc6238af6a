"""An operator as its speed of light plus the time of launching it.

A kernel's launch takes a few microseconds whatever its work, and how many depends on the
engine, its version, the number format and the kernel, hardly on the GPU: ``t = sol_us + c``.
c is learnt for every such cell from GPUs that were measured, so it can be carried to one
that was not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from pydantic import Field

from gpucv.errors import DataError
from gpucv.predictors.base import FitContext, Params

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gpucv.machine import Device

__all__ = ["LAUNCH_INPUTS", "LaunchParams", "LaunchPredictor"]

LAUNCH_INPUTS = (
    "sol_us",
    "gpu_label",
    "op_label",
    "engine_label",
    "engine_version_label",
    "dtype_label",
    "kernel_label",
    "compute_label",
    "architecture_label",
)
_KERNELS: tuple[tuple[str, ...], ...] = (
    ("op", "engine", "engine_version", "dtype", "kernel"),
    ("op", "engine", "engine_version", "dtype"),
    ("op", "engine", "dtype", "kernel"),
    ("op", "engine", "dtype"),
)
_ANYWHERE: tuple[tuple[str, ...], ...] = (
    *_KERNELS,
    ("op", "engine", "compute"),
    ("op", "dtype"),
    ("op",),
    (),
)
_ALIKE: tuple[tuple[str, ...], ...] = tuple(("architecture", *cell) for cell in _KERNELS)
"""What a launch depends on, finest first: a row takes the finest cell that was measured.

A kernel is compiled for an architecture, so cells are looked up twice: on GPUs of the same
architecture, and on all. The lesser answer is taken: a launch is a floor, and a recording
made on a busy host holds times far above it.
"""


class LaunchParams(Params):
    """How the launch is read off the measured times.

    Attributes
    ----------
    quantile : float
        Of a cell's times on one GPU: its shortest rows do next to nothing.
    fewest_rows : int
        Rows of one GPU below which a cell of it says nothing.
    """

    quantile: float = Field(default=0.05, gt=0, lt=1)
    fewest_rows: int = Field(default=20, ge=1)


class LaunchPredictor:
    """``sol_us + c``; c is the median over GPUs of each one's low quantile in the cell."""

    device: Device = "cpu"
    best_iteration: int | None = None

    def __init__(self, params: LaunchParams, context: FitContext) -> None:
        self._params = params
        self._launch: dict[tuple[str, ...], pd.Series[float]] = {}

    def fit(
        self,
        X: NDArray[np.float32],
        y: NDArray[np.float64],
        valid: tuple[NDArray[np.float32], NDArray[np.float64]] | None,
    ) -> None:
        """Learn the launch of every cell, us.

        Raises
        ------
        DataError
            If a row has no speed of light.
        """
        rows = _rows(X).assign(time=y)
        for cell in (*_ALIKE, *_ANYWHERE):
            by_gpu = rows.groupby(["gpu", *cell])["time"]
            enough = by_gpu.size() >= min(self._params.fewest_rows, len(rows))
            low = by_gpu.quantile(self._params.quantile)[enough].reset_index()
            if cell:
                self._launch[cell] = low.groupby(list(cell))["time"].median()
            else:
                # No GPU has enough rows: a launch is short, so all rows' shortest stand in.
                shortest = float(rows["time"].quantile(self._params.quantile))
                least = float(low["time"].median()) if len(low) else shortest
                self._launch[cell] = pd.Series([least])

    def predict(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return one time per row, us."""
        rows = _rows(X)
        launch = np.fmin(self._looked_up(rows, _ALIKE), self._looked_up(rows, _ANYWHERE))
        predicted: NDArray[np.float64] = rows["sol_us"].to_numpy() + launch
        return predicted

    def _looked_up(
        self, rows: pd.DataFrame, cells: tuple[tuple[str, ...], ...]
    ) -> NDArray[np.float64]:
        """Return each row's launch by the finest of `cells` that was measured; NaN by none."""
        launch = np.full(len(rows), np.nan)
        for cell in cells:
            missing = np.isnan(launch)
            if not missing.any():
                break
            known = self._launch[cell]
            if not cell:
                launch[missing] = known.iloc[0]
            elif len(known):
                asked = rows.loc[missing, list(cell)]
                keys = asked[cell[0]] if len(cell) == 1 else pd.MultiIndex.from_frame(asked)
                launch[missing] = known.reindex(keys).to_numpy()
        return launch

    def importance(self) -> None:
        """Return nothing: the labels say which rows are alike."""

    def serialize(self) -> None:
        """Return nothing: the launches are all there is."""


def _rows(X: NDArray[np.float32]) -> pd.DataFrame:
    names = [name.removesuffix("_label") for name in LAUNCH_INPUTS]
    rows = pd.DataFrame(X.astype(np.float64), columns=names)
    if not np.isfinite(rows["sol_us"]).all():
        unknown = int((~np.isfinite(rows["sol_us"])).sum())
        msg = f"launch-roofline needs a speed of light; {unknown:,} of {len(rows):,} rows have none"
        raise DataError(msg)
    return rows
