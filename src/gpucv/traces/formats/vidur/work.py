"""FLOPs and least bytes of Vidur's operators, on one GPU, 16-bit numbers throughout.

With m tokens, width d, h query and g key-value heads of width w on this GPU, f the
feed-forward width on this GPU, and a batch of b requests of c new tokens each after p
in the cache:

==========================  =========================  =================================
operator                    FLOP                       bytes
==========================  =========================  =================================
attn_pre_proj               2 m n k, n = (h + 2 g) w   2 (m k + k n + m n), k = d
attn_post_proj              the same, n = d            the same, k = h w
mlp_up_proj                 the same, n = f or 2 f     the same, k = d
mlp_down_proj               the same, n = d            the same, k = f
emb                         0                          4 m d: rows read and written
norms                       4 m d                      4 m d
attn_rope                   3 m (h + g) w              4 m (h + g) w
mlp_act                     m f (2 m f if gated)       4 m f (6 m f if gated)
add                         m d                        6 m d
attn_kv_cache_save          0                          8 b c g w
attn_prefill, attn_decode   4 b h w (c p + c(c+1)/2)   4 b w (c h + (p + c) g)
==========================  =========================  =================================

All are floors: attention is causal, and its scores never leave the chip. In decode c is
1. A gated feed-forward multiplies gate and up in one product of 2 f columns. What
``attn_input_reshape`` and ``attn_output_reshape`` move depends on the library (often
nothing), so it is not known. An operator whose operands are still in the cache of the
GPU (``add``) can be faster than its bytes through memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gpucv.traces.formats.roofline import gemm_work

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from gpucv.catalog import DtypeSpec

    Floats = NDArray[np.float64]

__all__ = ["AttentionPasses", "LinearPasses", "attention_work", "linear_work", "matrix_shape"]


@dataclass(frozen=True, slots=True)
class LinearPasses:
    """Passes of ``mlp.csv``: arrays of one value per pass, heads and widths of one GPU.

    `up_width` is the columns of the up projection, `width` those of what goes down.
    """

    tokens: Floats
    hidden: Floats
    heads: Floats
    kv_heads: Floats
    head_dim: Floats
    width: Floats
    up_width: Floats


@dataclass(frozen=True, slots=True)
class AttentionPasses:
    """Passes of ``attention.csv``: arrays of one value per pass, heads of one GPU.

    Each of `batch` requests has `new` tokens (1 in decode) after `past` in the cache.
    """

    batch: Floats
    new: Floats
    past: Floats
    heads: Floats
    kv_heads: Floats
    head_dim: Floats


def matrix_shape(op: str, passes: LinearPasses) -> tuple[Floats, Floats, Floats]:
    """Return m, n, k of an operator that is a matrix product."""
    query_width = passes.heads * passes.head_dim
    n, k = {
        "attn_pre_proj": (query_width + 2 * passes.kv_heads * passes.head_dim, passes.hidden),
        "attn_post_proj": (passes.hidden, query_width),
        "mlp_up_proj": (passes.up_width, passes.hidden),
        "mlp_down_proj": (passes.hidden, passes.width),
    }[op]
    return passes.tokens, n, k


def linear_work(op: str, passes: LinearPasses, dtype: DtypeSpec) -> tuple[Floats, Floats]:
    """Return FLOPs and least bytes of an operator of ``mlp.csv``."""
    if op not in _ELEMENTWISE:
        return gemm_work(*matrix_shape(op, passes), dtype)
    return _ELEMENTWISE[op](passes)


def _norm(passes: LinearPasses) -> tuple[Any, Any]:
    values = passes.tokens * passes.hidden
    return 4 * values, 4 * values


def _rope(passes: LinearPasses) -> tuple[Any, Any]:
    rotated = passes.tokens * (passes.heads + passes.kv_heads) * passes.head_dim
    return 3 * rotated, 4 * rotated


def _activation(passes: LinearPasses) -> tuple[Any, Any]:
    return (
        passes.tokens * passes.up_width,
        2 * passes.tokens * (passes.up_width + passes.width),
    )


def _add(passes: LinearPasses) -> tuple[Any, Any]:
    values = passes.tokens * passes.hidden
    return values, 6 * values


def _embedding(passes: LinearPasses) -> tuple[Any, Any]:
    return np.zeros_like(passes.tokens), 4 * passes.tokens * passes.hidden


_ELEMENTWISE: dict[str, Callable[[LinearPasses], tuple[Any, Any]]] = {
    "emb": _embedding,
    "input_layernorm": _norm,
    "post_attention_layernorm": _norm,
    "attn_rope": _rope,
    "mlp_act": _activation,
    "add": _add,
}


def attention_work(op: str, passes: AttentionPasses) -> tuple[Floats, Floats] | None:
    """Return FLOPs and least bytes of an operator of ``attention.csv``, None if not known."""
    new, past = passes.new, passes.past
    if op == "attn_kv_cache_save":
        saved = passes.batch * new * passes.kv_heads * passes.head_dim
        return np.zeros_like(saved), 8 * saved
    if op not in {"attn_prefill", "attn_decode"}:
        return None
    pairs = new * past + new * (new + 1) / 2
    flops = 4 * passes.batch * passes.heads * passes.head_dim * pairs
    queries, context = new * passes.heads, (past + new) * passes.kv_heads
    return flops, 4 * passes.batch * passes.head_dim * (queries + context)
