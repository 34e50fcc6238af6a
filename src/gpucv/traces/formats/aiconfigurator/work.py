"""Work of aiconfigurator's operators: floors under what one GPU computes and moves.

What is measured is one GPU's share of an operator. Where the tables leave something
open, such as which experts the tokens chose, the least that is possible is counted, so
that the speed of light stays a floor. Source of what the columns mean: aiconfigurator's
collectors (``collector/{trtllm,vllm,sglang}/collect_{gemm,attn,moe}.py``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from gpucv.traces.formats.roofline import OUTPUT_BYTES, gemm_work

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from gpucv.catalog import DtypeSpec

__all__ = ["Rows", "Work", "attention_work", "moe_work", "product_work"]

Work: TypeAlias = "tuple[NDArray[np.float64], NDArray[np.float64]]"
"""FLOPs and least bytes, each of shape (n_rows,)."""

_CHUNK = 8192
"""Window size that stands for Llama 4's chunks: tokens see the start of their chunk only."""
_VALUE_WIDTH = {192: 128}
"""Width of V where it is not K's: 192 is MiMo-V2-Flash's (``v_head_dim`` of its config)."""
_TWO_MATRICES = ((2688, 1856), (1024, 2688), (4096, 2688), (2048, 5120), (8192, 5120))
"""(hidden, inter) of experts without a gate: Nemotron-3 Nano, and the latent and full widths of
Super and Ultra (relu2; ``collector/cases/models/NemotronHForCausalLM_cases.yaml``).

Only TensorRT-LLM's kernels say so by name.
"""


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one family and one combination of number formats.

    Attributes
    ----------
    sizes : mapping of str to ndarray, shape (n_rows,)
        Shape columns as float64; a column the file lacks is missing.
    labels : mapping of str to (codes, texts)
        Text columns: each row's position in `texts`.
    """

    sizes: Mapping[str, NDArray[np.float64]]
    labels: Mapping[str, tuple[NDArray[Any], list[str | None]]]

    def at(self, mask: NDArray[np.bool_]) -> Rows:
        """Return the rows where `mask` is true."""
        return Rows(
            {name: values[mask] for name, values in self.sizes.items()},
            {name: (codes[mask], texts) for name, (codes, texts) in self.labels.items()},
        )

    def where(self, column: str, test: Callable[[str], bool]) -> NDArray[np.bool_]:
        """Return which rows have a text in `column` that passes `test`."""
        codes, texts = self.labels[column]
        passed = np.array([text is not None and test(text) for text in texts] or [False])
        return np.asarray((codes >= 0) & passed[codes])


def product_work(rows: Rows, formats: tuple[DtypeSpec, ...]) -> Work:
    """Return the work of a matrix product."""
    size = rows.sizes
    return gemm_work(size["m"], size["n"], size["k"], formats[0])


def attention_work(rows: Rows, formats: tuple[DtypeSpec, ...]) -> Work:
    """Return the work of causal attention of each request's new tokens.

    A request has ``query_tokens`` new tokens after ``context_tokens`` cached ones: the
    collectors write a prompt as isl = its length and step = 0, a decode step as isl = 1
    and step = tokens before it (the key of the new token itself comes on top). Query i
    attends to the keys up to its own, at most ``window_size`` of them, where that is
    above 0. Each (query, key) pair of a head takes 2 FLOPs per value of K and of V.

    Q, K and V are read and O is written once, all as wide as the cache: engines with an
    FP8 cache may cast the queries first and write FP8 (vLLM, TensorRT-LLM).

    Parameters
    ----------
    rows : Rows
    formats : (DtypeSpec, DtypeSpec)
        Of the arithmetic and of the KV cache.
    """
    size = rows.sizes
    new, past = size["query_tokens"], size["context_tokens"]
    window = size.get("window_size", np.zeros_like(new))
    key_width = size["head_dim"]
    width = key_width + _value_width(key_width)
    flops = 2 * size["batch_size"] * size["num_heads"] * width * _pairs(new, past, window)
    moved = size["num_heads"] * new + size["num_kv_heads"] * _keys(new, past, window)
    return flops, formats[1].activation_bytes * size["batch_size"] * moved * width


def _value_width(key_width: NDArray[np.float64]) -> NDArray[np.float64]:
    value_width = key_width.copy()
    for keys, values in _VALUE_WIDTH.items():
        value_width[key_width == keys] = values
    return value_width


def _pairs(
    new: NDArray[np.float64], past: NDArray[np.float64], window: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return how many (query, key) pairs of one request and head are computed."""
    limit = np.where(window > 0, window, past + new + 1)
    growing = np.clip(limit - past, 0, new)
    sliding = growing * past + growing * (growing + 1) / 2 + (new - growing) * limit
    chunked = _in_chunks(past + new) - _in_chunks(past)
    return np.where(window == _CHUNK, chunked, sliding)


def _in_chunks(tokens: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the pairs of the first `tokens` tokens, each seeing its own chunk so far."""
    whole, rest = np.divmod(tokens, _CHUNK)
    pairs: NDArray[np.float64] = whole * (_CHUNK * (_CHUNK + 1) / 2) + rest * (rest + 1) / 2
    return pairs


def _keys(
    new: NDArray[np.float64], past: NDArray[np.float64], window: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return how many keys of one request are read by any of its queries."""
    sliding = np.where(window > 0, np.minimum(past + new, window + new - 1), past + new)
    chunked = past + new - np.floor(past / _CHUNK) * _CHUNK
    return np.where(window == _CHUNK, np.minimum(sliding, chunked), sliding)


def moe_work(rows: Rows, formats: tuple[DtypeSpec, ...]) -> Work:
    """Return the least work of a mixture of experts on the GPU measured.

    ``num_tokens`` tokens choose ``topk`` different experts each; the GPU holds
    ``num_experts / moe_ep`` whole experts, ``inter_size / moe_tp`` of each one's width.
    An expert has three matrices, or two without a gate. Measured is rank 0, which gets

    - under ``power_law_*`` the most (token, expert) pairs of all ranks, so at least the
      mean (``power_law_logits_v3`` swaps the busiest rank to the front);
    - under ``balanced`` token i's experts i + j x stride, stride = ceil(experts / topk):
      each of its experts once in every `stride` tokens (``balanced_logits``);
    - all pairs where experts are not split. What another split routing does is not
      known: NaN.

    An expert is chosen by a token at most once, so the pairs of T tokens touch at least
    pairs / T experts, whose weights are read. More are touched in most rows; how many is
    not in the table, and routing in groups of experts touches few even when "balanced".
    """
    size, dtype = rows.sizes, formats[0]
    tokens, hidden = size["num_tokens"], size["hidden_size"]
    matrices = np.where(_without_gate(rows), 2, 3)
    weights = matrices * hidden * size["inter_size"] / size["moe_tp"]
    pairs = _least_pairs(rows)
    experts = np.ceil(pairs / np.maximum(tokens, 1))
    rank_experts = size["num_experts"] / size["moe_ep"]
    rank_tokens = np.ceil(pairs / np.minimum(size["topk"], rank_experts))
    activations = (dtype.activation_bytes + OUTPUT_BYTES) * rank_tokens * hidden
    return 2 * pairs * weights, dtype.weight_bytes * experts * weights + activations


def _without_gate(rows: Rows) -> NDArray[np.bool_]:
    found = rows.where("kernel", lambda kernel: "nongated" in kernel)
    for hidden, inter in _TWO_MATRICES:
        found |= (rows.sizes["hidden_size"] == hidden) & (rows.sizes["inter_size"] == inter)
    return found


def _least_pairs(rows: Rows) -> NDArray[np.float64]:
    """Return how many (token, expert) pairs the GPU measured computes at least."""
    size = rows.sizes
    tokens, topk, ranks = size["num_tokens"], size["topk"], size["moe_ep"]
    rank_experts, stride = size["num_experts"] / ranks, np.ceil(size["num_experts"] / topk)
    balanced = np.where(
        tokens < stride,
        np.ceil(rank_experts * tokens / stride),
        rank_experts * np.floor(tokens / stride),
    )
    known = [
        ranks == 1,
        rows.where("distribution", lambda name: name.startswith("power_law")),
        rows.where("distribution", lambda name: name == "balanced"),
    ]
    least = [tokens * topk, np.ceil(tokens * topk / ranks), balanced]
    return np.select(known, least, np.nan)
