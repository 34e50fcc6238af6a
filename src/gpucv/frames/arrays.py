"""Arrays wherever they lie: which library they belong to, and how they cross.

NumPy's functions work on CuPy arrays too, as long as every array of a call is on the same
device; what is not is refused by CuPy. So only the crossings need names.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gpucv.frames.protocol import Array, ArrayNamespace

__all__ = ["bit_sums", "is_on_device", "like", "namespace_of", "take", "to_host"]


def is_on_device(array: object) -> bool:
    """Tell whether `array` is CuPy's. CuPy is not loaded to find out."""
    return type(array).__module__.partition(".")[0] == "cupy"


def namespace_of(array: object) -> ArrayNamespace:
    """Return the module whose functions make arrays like this one: NumPy, or CuPy."""
    # Whoever made a CuPy array has loaded CuPy.
    return sys.modules["cupy"] if is_on_device(array) else np


def to_host(array: Any) -> NDArray[Any]:
    """Return `array` in host memory; a NumPy array as it is."""
    host: NDArray[Any] = array.get() if is_on_device(array) else np.asarray(array)
    return host


def like(array: Any, other: Any) -> Array:
    """Return `array` where `other` lies, of the dtype it has; as it is, if it is there."""
    if is_on_device(array) == is_on_device(other):
        return array
    return to_host(array) if is_on_device(array) else namespace_of(other).asarray(array)


def take(array: Any, rows: NDArray[np.integer[Any]]) -> Array:
    """Return some rows of an array, where it lies; `rows` are moved there if they are not."""
    return array.take(like(rows, array), axis=0)


def bit_sums(X: Any) -> list[int]:
    """Return, of each float32 column, the sum of its bit patterns as whole numbers.

    The same on either device whatever the order of the additions, and another if one bit is.
    """
    columns = (X[:, at].copy().view(np.uint32) for at in range(X.shape[1]))
    return [int(column.sum(dtype=np.uint64)) for column in columns]
