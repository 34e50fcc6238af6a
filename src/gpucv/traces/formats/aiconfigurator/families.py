"""The families of operators: what their files are called and hold.

A table is one operator's latencies on one GPU system, under one engine and version:
``<system>/<family>/<engine>/<version>/<op>_perf.parquet``. Columns differ in order and
presence from version to version; all families end up in one table, in which the columns
a family does not have are null.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpucv.errors import TraceError
from gpucv.schema import (
    DTYPE,
    GROUP_COLUMNS,
    LATENCY_US,
    OP,
    PHYSICS_COLUMNS,
    Column,
)
from gpucv.traces.formats.aiconfigurator.work import attention_work, moe_work, product_work
from gpucv.traces.piece import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gpucv.catalog import DtypeSpec
    from gpucv.traces.formats.aiconfigurator.work import Rows, Work

__all__ = ["COLUMNS", "FAMILIES", "LATENCY_MS", "Family", "Size", "family_of"]

LATENCY_MS = "latency"
"""The measured time, ms."""

COLUMNS: tuple[Column, ...] = (
    *GROUP_COLUMNS,
    Column("engine_build", "string", "label", "its version, as recorded in the row"),
    Column("device", "string", "label", "the GPU, as recorded in the row"),
    Column(OP, "string", "label", "gemm, context_attention, generation_attention or moe"),
    Column("kernel", "string", "label", "the engine's kernel or path"),
    Column("kv_dtype", "string", "label", "attention: number format of the KV cache"),
    Column("m", "int64", "tokens", "gemm: rows of activations"),
    Column("n", "int64", "columns", "gemm: columns of weights"),
    Column("k", "int64", "columns", "gemm: width summed over"),
    Column("batch_size", "int64", "requests", "attention: requests"),
    Column("query_tokens", "int64", "tokens", "attention: new tokens of each request"),
    Column("context_tokens", "int64", "tokens", "attention: cached tokens before them"),
    Column("num_heads", "int64", "heads", "attention: query heads on the GPU"),
    Column("num_kv_heads", "int64", "heads", "attention: heads of K and V on the GPU"),
    Column("head_dim", "int64", "values", "attention: width of a head"),
    Column("window_size", "int64", "tokens", "attention: keys a query sees at most; 0: all"),
    Column("num_tokens", "int64", "tokens", "moe: tokens of all expert-parallel ranks"),
    Column("hidden_size", "int64", "values", "moe: width of the residual stream"),
    Column("inter_size", "int64", "values", "moe: width of one whole expert"),
    Column("topk", "int64", "experts", "moe: experts each token chooses"),
    Column("num_experts", "int64", "experts", "moe: experts on all ranks"),
    Column("moe_tp", "int64", "GPUs", "moe: GPUs that share an expert's width"),
    Column("moe_ep", "int64", "GPUs", "moe: GPUs that share the experts"),
    Column("distribution", "string", "label", "moe: how tokens choose experts"),
    Column(LATENCY_US, "float64", "us", "measured time"),
    Column("power_w", "float64", "W", "mean power while measuring, where recorded"),
    Column("power_limit_w", "float64", "W", "the GPU's power limit, where recorded"),
    *PHYSICS_COLUMNS,
)
"""One row per measurement. There is no model: an operator's shapes belong to many. There is no
`tp` either: shapes are one GPU's, so tensor parallelism is in them already."""


@dataclass(frozen=True, slots=True)
class Size:
    """One whole number of each row.

    Attributes
    ----------
    source : str
        Its name in the file.
    name : str
        Its name among `COLUMNS`.
    least : int
        The smallest value that makes sense.
    required : bool
        Whether every file has it.
    """

    source: str
    name: str
    least: int = 1
    required: bool = True


def _same(*names: str) -> tuple[Size, ...]:
    return tuple(Size(name, name) for name in names)


@dataclass(frozen=True, slots=True)
class Family:
    """One family of operators.

    Attributes
    ----------
    op : str
        The operator; its files are called ``<op>_perf.parquet``.
    sizes : tuple of Size
        Its shape.
    labels : dict of str to str
        Text columns of its own: name in the file, name among `COLUMNS`.
    formats : tuple of str
        Which of these, under our names, are number formats.
    work : callable
        FLOPs and least bytes of rows, given their number formats.
    """

    op: str
    sizes: tuple[Size, ...]
    labels: dict[str, str]
    formats: tuple[str, ...]
    work: Callable[[Rows, tuple[DtypeSpec, ...]], Work]

    @property
    def file(self) -> str:
        """What its files are called."""
        return f"{self.op}_perf.parquet"

    @property
    def required(self) -> tuple[str, ...]:
        """Columns that its files must have, those of every family included."""
        sizes = (size.source for size in self.sizes if size.required)
        return ("framework", "version", "device", *self.labels, *sizes, LATENCY_MS)


_ATTENTION = (
    Size("batch_size", "batch_size", 0),
    Size("isl", "query_tokens", 0),
    Size("step", "context_tokens", 0),
    Size("num_heads", "num_heads"),
    Size("num_key_value_heads", "num_kv_heads"),
    Size("head_dim", "head_dim"),
    Size("window_size", "window_size", 0, required=False),
)
_ATTENTION_LABELS = {
    "kernel_source": "kernel",
    "attn_dtype": DTYPE,
    "kv_cache_dtype": "kv_dtype",
}
_EXPERTS = (
    Size("num_tokens", "num_tokens", 0),
    *_same("hidden_size", "inter_size", "topk", "num_experts"),
    Size("moe_tp_size", "moe_tp"),
    Size("moe_ep_size", "moe_ep"),
)

FAMILIES: tuple[Family, ...] = (
    Family(
        "gemm",
        (Size("m", "m", 0), *_same("n", "k")),
        {"kernel_source": "kernel", "gemm_dtype": DTYPE},
        (DTYPE,),
        product_work,
    ),
    Family("context_attention", _ATTENTION, _ATTENTION_LABELS, (DTYPE, "kv_dtype"), attention_work),
    Family(
        "generation_attention", _ATTENTION, _ATTENTION_LABELS, (DTYPE, "kv_dtype"), attention_work
    ),
    Family(
        "moe",
        _EXPERTS,
        {"kernel_source": "kernel", "moe_dtype": DTYPE, "distribution": "distribution"},
        (DTYPE,),
        moe_work,
    ),
)


def family_of(file_name: str, columns: Sequence[str], ops: Sequence[str]) -> Family | None:
    """Return the family of a file, by its name, else by what it holds.

    Parameters
    ----------
    file_name : str
        Without folders.
    columns : sequence of str
        Its columns.
    ops : sequence of str
        The values of its column ``op_name``; empty where there is none.

    Raises
    ------
    TraceError
        If the file holds several operators, or another than its name says.
    """
    named = [family for family in FAMILIES if file_name == family.file]
    if named:
        others = sorted(set(ops) - {named[0].op})
        if others:
            shown = one_line(", ".join(others))
            msg = f"{file_name}, column 'op_name' holds {shown}; name the file after its operator"
            raise TraceError(msg)
        return named[0]
    fitting = [family for family in FAMILIES if set(family.required) <= set(columns)]
    if len(fitting) > 1:
        # The attention families have the same columns.
        fitting = [family for family in fitting if family.op in ops]
    if len(fitting) > 1:
        msg = f"{file_name} holds several operators ({one_line(', '.join(ops))}); split it"
        raise TraceError(msg)
    return fitting[0] if fitting else None
