"""Work of a forward pass, and the least time it can take.

A pass is told by sums over its requests, so what depends on each of them is bounded from
below: new tokens attend at least to their own prompts (a triangle each, least where all
are of one length), and every request with cached tokens has at least one new token that
reads them. Weights are read once, one expert of each layer; tensor parallelism shares the
work, pipeline stages do not (a pass runs through all of them), and expert parallelism
splits no expert. Where a mixture's experts are split over more GPUs than the rest, all
weights are counted as if they were.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gpucv.schema import (
    DTYPE,
    GPU,
    MODEL,
    NUM_DECODE_REQS,
    NUM_PREFILL_REQS,
    PHYSICS_COLUMNS,
    PREFILL_TOKENS,
    TP,
)
from gpucv.traces.formats.roofline import physics

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gpucv.catalog import Catalog, DtypeSpec, ModelSpec

__all__ = ["with_physics"]

_BF16 = "bfloat16"
"""Number format of a pass that names none: a fit floor for all, as weights of fewer bits
are looked up by name."""


def with_physics(columns: dict[str, Any], catalog: Catalog) -> dict[str, Any]:
    """Return the columns with those of `PHYSICS_COLUMNS`.

    NaN for passes whose LLM or tensor-parallel degree is not known; the speed of light
    also for those whose GPU or number format is not.

    Parameters
    ----------
    columns : dict
        Arrow or NumPy arrays of equal length, by the names of the format's columns.
    catalog : Catalog
    """
    rows = len(columns[MODEL])
    labels = {name: _texts(columns.get(name), rows) for name in (MODEL, GPU, DTYPE)}
    found = {column.name: np.full(rows, np.nan) for column in PHYSICS_COLUMNS}
    kinds: dict[tuple[str, ...], list[int]] = {}
    for row, kind in enumerate(zip(*labels.values(), strict=True)):
        kinds.setdefault(kind, []).append(row)
    for (model, gpu, dtype), at in kinds.items():
        spec = catalog.models.find(model) if model else None
        precision = catalog.dtypes.find(dtype or _BF16)
        if spec is None or precision is None:
            continue
        of = {name: _numbers(columns.get(name), rows)[at] for name in _USED}
        flops, moved = _work(of, spec, precision)
        sheet = catalog.gpus.find(gpu) if gpu else None
        for name, values in physics(flops, moved, sheet, precision).items():
            found[name][at] = values
    return columns | found


_USED = (
    TP,
    NUM_PREFILL_REQS,
    PREFILL_TOKENS,
    "prefill_kv_tokens",
    NUM_DECODE_REQS,
    "decode_kv_tokens",
    "moe_tp",
)


def _work(
    of: dict[str, NDArray[np.float64]], spec: ModelSpec, dtype: DtypeSpec
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return FLOPs and least bytes of one GPU's part of each pass."""
    tp, prompts, new, cached, decodes, context, moe_tp = (of[name] for name in _USED)
    layers, width = spec.num_hidden_layers, spec.hidden_size
    prompt_pairs = (new**2 / np.maximum(prompts, 1) + new) / 2 + cached
    linear = (new + decodes) * spec.flops_per_token
    attention = 4.0 * layers * width * (prompt_pairs + context)
    weights = (spec.weight_bytes + spec.head_bytes) * dtype.weight_bytes / 2
    # The cache may hold values of one byte.
    cache = 2.0 * layers * spec.kv_width * (cached + context)
    shared = np.where(new + decodes > 0, tp, np.nan)  # an idle pass runs nothing
    split = np.where(moe_tp > shared, moe_tp, shared) if spec.is_moe else shared
    return (linear + attention) / shared, weights / split + cache / shared


def _texts(column: Any, rows: int) -> list[str]:
    return [""] * rows if column is None else [value or "" for value in column.to_pylist()]


def _numbers(column: Any, rows: int) -> NDArray[np.float64]:
    """Return a column as float64, NaN where it is missing."""
    if column is None:
        return np.full(rows, np.nan)
    if hasattr(column, "to_numpy"):
        import pyarrow.compute as pc

        return np.asarray(pc.cast(column, "float64").to_numpy(zero_copy_only=False))
    return np.asarray(column, dtype=np.float64)
