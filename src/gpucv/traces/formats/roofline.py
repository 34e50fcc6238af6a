"""Work of operators and the least time it can take: FLOPs, bytes and speed of light.

The speed of light of a row is ``max(flops / peak, bytes / bandwidth)`` at the data
sheet's figures. It is a floor, not a prediction: a matrix product of 16 tokens on an
idle GPU takes longer, and one whose operands stay in the cache may read them faster
than memory could deliver.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gpucv.schema import BYTES, FLOPS, MEMORY_BANDWIDTH, PEAK_FLOPS, SOL_US

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gpucv.catalog import DtypeSpec, GpuSpec

__all__ = ["gemm_work", "physics"]

OUTPUT_BYTES = 2
"""Bytes of one output value: matrix products write 16-bit results."""


def gemm_work(
    m: NDArray[Any], n: NDArray[Any], k: NDArray[Any], dtype: DtypeSpec
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return FLOPs and least bytes of (m x k) @ (k x n), each operand moved once.

    Parameters
    ----------
    m, n, k : ndarray
        Rows of activations, columns of weights, and the width summed over.
    dtype : DtypeSpec
    """
    m, n, k = (np.asarray(each, dtype=np.float64) for each in (m, n, k))
    moved = dtype.activation_bytes * m * k + dtype.weight_bytes * k * n + OUTPUT_BYTES * m * n
    return 2 * m * n * k, moved


def physics(
    flops: NDArray[Any], bytes_: NDArray[Any], gpu: GpuSpec | None, dtype: DtypeSpec | None
) -> dict[str, Any]:
    """Return the columns of `PHYSICS_COLUMNS` for rows of one GPU and number format.

    Parameters
    ----------
    flops, bytes_ : ndarray, shape (n_rows,)
        Work of one GPU.
    gpu, dtype : GpuSpec, DtypeSpec or None
        Where either is unknown, or the GPU has no unit for the format, the speed of
        light is null.
    """
    known: dict[str, Any] = {FLOPS: flops, BYTES: bytes_}
    if gpu is None:
        return known
    known[MEMORY_BANDWIDTH] = gpu.memory_bandwidth
    peak = gpu.peak_flops(dtype.compute) if dtype is not None else None
    if peak is None:
        return known
    known[PEAK_FLOPS] = peak
    known[SOL_US] = np.maximum(flops / peak, bytes_ / gpu.memory_bandwidth) * 1e6
    return known
