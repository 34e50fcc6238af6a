"""What folds on a GPU read of a table, in its memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from gpucv.frames import Array

__all__ = ["DeviceArrays", "device_library", "move_arrays"]


@dataclass(frozen=True, slots=True, eq=False)
class DeviceArrays:
    """A table's arrays in the memory of a GPU, complete: any thread may read them.

    Attributes
    ----------
    X : cupy.ndarray of float32, shape (n_rows, n_features), C order
    y : cupy.ndarray of float64, shape (n_rows,)
    """

    X: Array
    y: Array


def device_library() -> Literal["cudf", "cupy", ""]:
    """Return what can hold a table on a GPU here: cuDF with CuPy, CuPy alone, or nothing."""
    from gpucv.frames import gpu

    return gpu.available()


def move_arrays(X: Array, y: NDArray[np.float64]) -> DeviceArrays:
    """Return the arrays on the GPU; X may be there already.

    Raises
    ------
    MemoryError
        If the GPU has no room for them.
    """
    from gpucv.frames import gpu

    return DeviceArrays(gpu.to_device(X), gpu.to_device(y))
