"""Columns and arrays on a GPU: the only importer of cuDF and CuPy.

Both are loaded inside functions, which are called only where folds run on a GPU. All work
goes to CUDA's default stream, which XGBoost's own streams wait for and which waits for
them; before another thread sees an array it did not make, the device is synchronised.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Literal

import numpy as np

from gpucv.frames.cpu import PandasColumns

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import pandas as pd

    from gpucv.frames.protocol import Array

__all__ = [
    "CudfColumns",
    "available",
    "free_unused",
    "give_back",
    "read_matrix",
    "synchronise",
    "to_device",
]

_KEPT_BYTES = 256 * 2**20
"""What pools may keep for later: XGBoost allocates past them."""


class CudfColumns(PandasColumns):
    """`gpucv.frames.protocol.Columns` over a pandas frame whose columns move to the GPU.

    Each column moves when it is first asked for, as numbers in the frame's own dtype or, of
    text, as codes: distinct labels are read on the host, so what is made of them is the same
    to the bit on any device.
    """

    def __init__(self, frame: pd.DataFrame) -> None:
        import cupy

        super().__init__(frame)
        self.xp = cupy
        self._numbers: dict[str, Array] = {}

    def numbers(self, name: str, missing: float) -> Array:
        """Return column `name` as float64, nulls and an absent column read as `missing`."""
        if name not in self.frame.columns:
            return self.xp.full(len(self), missing)
        if name not in self._numbers:
            self._numbers[name] = self._moved(name)
        values = self._numbers[name]
        return self.xp.where(self.xp.isnan(values), missing, values)

    def _moved(self, name: str) -> Array:
        """Return a column on the device as float64, NaN where it is empty."""
        import cudf

        column = self.frame[name]
        plain = isinstance(column.dtype, np.dtype) and column.dtype.kind in "iufb"
        if not plain or column.dtype == np.float16:
            # Objects, nullable types and halves, which cuDF has not: as a CPU reads them.
            return self.xp.asarray(super().numbers(name, float("nan")))
        # With nulls in it, a column of cuDF's is no plain array.
        return cudf.Series(column, nan_as_null=False).astype("float64").to_cupy()

    def blocks(self, rows: int) -> Iterator[tuple[slice, CudfColumns]]:
        """Yield the frame in blocks of at most `rows` rows, with their place in it."""
        for place in self._places(rows):
            yield place, CudfColumns(self.frame.iloc[place])


def available() -> Literal["cudf", "cupy", ""]:
    """Return what can hold arrays on a GPU here: cuDF with CuPy, CuPy alone, or nothing.

    Where it is cuDF, a pool for its memory is made, unless somebody has chosen one.
    """
    try:
        import cupy

        if not cupy.cuda.runtime.getDeviceCount():
            return ""
    except (ImportError, RuntimeError):  # no CuPy; no driver
        return ""
    try:
        import cudf  # noqa: F401
    except (ImportError, RuntimeError):
        return "cupy"
    _draw_on_pool()
    return "cudf"


def _draw_on_pool() -> None:
    """Let cuDF, and through it CuPy, draw on a pool of the driver's that gives memory back.

    Loading cuDF hands CuPy's arrays to RMM, which by itself asks the driver for each, and
    waits for all that runs on the GPU to free one. RMM's own pool keeps what it once had
    unless told how much, and XGBoost, whose wheels are built without RMM, would not find it.
    """
    try:
        from rmm import mr
    except ImportError:
        return
    if type(mr.get_current_device_resource()) is not mr.CudaMemoryResource:
        return
    with contextlib.suppress(RuntimeError):  # some virtual GPUs have no pools
        mr.set_current_device_resource(mr.CudaAsyncMemoryResource(release_threshold=_KEPT_BYTES))


def to_device(array: Array) -> Array:
    """Return `array` in device memory, C order, complete when this returns."""
    import cupy

    moved = cupy.asarray(array, order="C")
    cupy.cuda.runtime.deviceSynchronize()
    return moved


def synchronise() -> None:
    """Wait until the GPU has done all it was given, by whomever: before a clock is read."""
    import cupy

    cupy.cuda.runtime.deviceSynchronize()


def read_matrix(path: Path | str, names: Sequence[str]) -> Array:
    """Read float32 columns of a parquet file straight into device memory.

    Row group by row group, so that beside the matrix there is one row group at a time:
    cuDF's frames lie column by column, the matrix row by row.

    Parameters
    ----------
    path : path
        A local file.
    names : sequence of str
        Its columns, in the order of the matrix; none may have nulls.

    Returns
    -------
    cupy.ndarray of float32, shape (n_rows, len(names)), C order

    Raises
    ------
    OSError, ValueError, RuntimeError
        If the file cannot be read: as pyarrow and cuDF raise them.
    """
    import cudf
    import cupy
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
    X = cupy.empty((sum(sizes), len(names)), dtype=np.float32)
    start = 0
    for group, size in enumerate(sizes if names else []):
        part = cudf.read_parquet(str(path), columns=list(names), row_groups=[group])
        for position, name in enumerate(names):
            X[start : start + size, position] = part[name].to_cupy()
        start += size
    cupy.cuda.runtime.deviceSynchronize()
    return X


def free_unused() -> None:
    """Give device memory that CuPy keeps for later arrays back, where it is much.

    XGBoost allocates past CuPy's pool, and would not find it. Giving back waits for the
    whole device, so a little is kept. Where cuDF is loaded, RMM has the memory instead and
    gives it back by itself.
    """
    import cupy

    pool = cupy.get_default_memory_pool()
    if pool.free_bytes() > _KEPT_BYTES:
        pool.free_all_blocks()


def give_back() -> None:
    """Give back the device memory nobody uses any more, so that other processes find it."""
    import cupy

    cupy.get_default_memory_pool().free_all_blocks()
    cupy.cuda.runtime.deviceSynchronize()  # where RMM has the memory, this is when it gives back
