"""Vidur's rules for a step: which times of operators a batch is made of, and how often.

Source: microsoft/vidur, ``vidur/execution_time_predictor/sklearn_execution_time_predictor.py``
(what is looked up), ``vidur/entities/execution_time.py`` (how it adds up) and
``vidur/entities/batch.py`` (rounding of tokens). Neither the embedding nor the output head nor
sampling is counted, nor, by Vidur's default, any time of the CPU: beside a measured cycle a
step is short by a constant, which a fair comparison adds and says.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from gpucv.errors import DataError

__all__ = [
    "OpTimes",
    "PrefillChunk",
    "VidurBatch",
    "VidurOverheads",
    "VidurShape",
    "compose_step",
]

OpTimes = Callable[[str, tuple[int, ...]], float]
"""From an operator under Vidur's name, and what it is looked up by, to its time in ms.

``attn_decode`` by (requests, context), ``attn_prefill`` by (context, square of the chunk's
tokens), every other one by (tokens,).
"""

_TOKEN_STEP = 8
_CONTEXT_STEP = 64


class PrefillChunk(NamedTuple):
    """The part of a prompt that one step works on.

    Attributes
    ----------
    tokens : int
        Of this step.
    context : int
        Tokens of the request that earlier steps have put into the cache.
    """

    tokens: int
    context: int = 0


@dataclass(frozen=True, slots=True)
class VidurBatch:
    """The requests of one step; each that decodes has one token.

    Attributes
    ----------
    prefills : tuple of PrefillChunk
    decodes : tuple of int
        Tokens each decoding request has in the cache.

    Raises
    ------
    DataError
        If there is no request, or a count is impossible.
    """

    prefills: tuple[PrefillChunk, ...] = ()
    decodes: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what no engine runs."""
        if not self.prefills and not self.decodes:
            msg = "a batch without requests takes no step; give it prefills or decodes"
            raise DataError(msg)
        contexts = [*(chunk.context for chunk in self.prefills), *self.decodes]
        if min(contexts) < 0 or any(chunk.tokens < 1 for chunk in self.prefills):
            msg = (
                "a chunk has at least 1 token and a context at least 0, found "
                f"prefills {self.prefills} and decodes {self.decodes}"
            )
            raise DataError(msg)

    @property
    def tokens(self) -> int:
        """Tokens of the step."""
        return sum(chunk.tokens for chunk in self.prefills) + len(self.decodes)


@dataclass(frozen=True, slots=True)
class VidurShape:
    """The LLM and how it is spread over GPUs.

    Attributes
    ----------
    layers : int
        Of the whole model.
    query_heads, kv_heads : int
        Of the whole model; attention is grouped where there are fewer of the latter.
    tp, pp : int
        Tensor-parallel degree and pipeline stages.
    norm_after_attention : bool
        Whether a layer has a second norm; phi-2's has not.

    Raises
    ------
    DataError
        If a count is below 1, or there are more stages than layers.
    """

    layers: int
    query_heads: int
    kv_heads: int
    tp: int = 1
    pp: int = 1
    norm_after_attention: bool = True

    def __post_init__(self) -> None:
        """Refuse what is no model."""
        least = min(self.layers, self.query_heads, self.kv_heads, self.tp, self.pp)
        if least < 1 or self.pp > self.layers:
            msg = f"every count must be at least 1, and pp at most the layers; found {self}"
            raise DataError(msg)

    @property
    def is_grouped(self) -> bool:
        """Whether query heads share keys and values."""
        return self.query_heads > self.kv_heads


@dataclass(frozen=True, slots=True)
class VidurOverheads:
    """What Vidur adds to its profiles, at its own defaults.

    Attributes
    ----------
    prefill_batching, decode_batching : float
        Share of attention's time added where more than one request of a kind runs and
        attention is grouped.
    launch_ms, skew_ms : float
        Added to each all-reduce: a constant, and so much times tp ** 1.25.
    """

    prefill_batching: float = 0.1
    decode_batching: float = 0.1
    launch_ms: float = 0.02
    skew_ms: float = 0.0


_PER_TOKEN_OPS = (
    "input_layernorm",
    "attn_pre_proj",
    "attn_rope",
    "attn_post_proj",
    "mlp_up_proj",
    "mlp_act",
    "mlp_down_proj",
    "add",
)
"""Operators of every layer that are looked up by tokens, rounded up."""


@dataclass(frozen=True, slots=True)
class _Layer:
    """One layer's times, ms."""

    batch: VidurBatch
    op_times: OpTimes
    shape: VidurShape
    overheads: VidurOverheads

    @property
    def tokens(self) -> tuple[int]:
        """What operators are looked up by that work token by token."""
        return (_rounded_up(self.batch.tokens, _TOKEN_STEP),)

    def parts(self) -> dict[str, float]:
        """Return the time of each part."""
        timed = {op: self.op_times(op, self.tokens) for op in _PER_TOKEN_OPS}
        if self.shape.norm_after_attention:
            timed["post_attention_layernorm"] = self.op_times(
                "post_attention_layernorm", self.tokens
            )
        # Saved token by token, so this one is not rounded.
        timed["attn_kv_cache_save"] = self.op_times("attn_kv_cache_save", (self.batch.tokens,))
        if self.batch.prefills:
            timed["attn_prefill"] = self.prefill()
        if self.batch.decodes:
            timed["attn_decode"] = self.decode()
        if self.shape.tp > 1:
            # One after attention, one after the feed-forward layer.
            timed["all_reduce"] = 2 * self.all_reduce()
        return timed

    def prefill(self) -> float:
        """Return the attention of all chunks: one chunk whose square is the sum of theirs."""
        chunks = self.batch.prefills
        context = sum(_rounded_up(chunk.context, _CONTEXT_STEP) for chunk in chunks)
        length = round(math.sqrt(sum(chunk.tokens**2 for chunk in chunks)))
        factor = self.batching(len(chunks), self.overheads.prefill_batching)
        return self.op_times("attn_prefill", (context, length**2)) * factor

    def decode(self) -> float:
        """Return the attention of all decodes: as many requests, all of the mean context."""
        contexts = self.batch.decodes
        mean = _rounded_up(sum(contexts) // len(contexts), _CONTEXT_STEP)
        factor = self.batching(len(contexts), self.overheads.decode_batching)
        return self.op_times("attn_decode", (len(contexts), mean)) * factor

    def batching(self, requests: int, share: float) -> float:
        """Return what the time of a kind of attention is multiplied by."""
        return 1 + share if requests > 1 and self.shape.is_grouped else 1.0

    def all_reduce(self) -> float:
        """Return the time of one sum over the tensor-parallel GPUs."""
        skew: float = self.overheads.skew_ms * self.shape.tp**1.25
        return self.op_times("all_reduce", self.tokens) + self.overheads.launch_ms + skew


def compose_step(
    batch: VidurBatch,
    op_times: OpTimes,
    shape: VidurShape,
    stage: int = 0,
    overheads: VidurOverheads = VidurOverheads(),
) -> dict[str, float]:
    """Return what one pipeline stage spends on each part of a step, ms; it takes their sum.

    Parameters
    ----------
    batch : VidurBatch
    op_times : callable
        See `OpTimes`: times of one layer's operators, of profiles, regressors or a table.
    shape : VidurShape
    stage : int
        From 0; every stage but the last sends its activations on (``send_recv``).
    overheads : VidurOverheads

    Returns
    -------
    dict of str to float
        By operator, all layers of the stage together: ``layers // pp`` of them.
        ``all_reduce`` (with two or more GPUs) is two per layer, overheads included.

    Raises
    ------
    DataError
        If there is no such stage.

    Examples
    --------
    >>> shape = VidurShape(layers=2, query_heads=8, kv_heads=8)
    >>> parts = compose_step(VidurBatch(decodes=(100, 31)), lambda op, at: 1.0, shape)
    >>> parts["attn_decode"], sum(parts.values())
    (2.0, 22.0)
    """
    if not 0 <= stage < shape.pp:
        msg = f"no pipeline stage {stage}; they are 0 to {shape.pp - 1}"
        raise DataError(msg)
    layer = _Layer(batch, op_times, shape, overheads)
    layers = shape.layers // shape.pp
    parts = {part: layers * time for part, time in layer.parts().items()}
    if stage < shape.pp - 1:
        parts["send_recv"] = op_times("send_recv", layer.tokens)
    return parts


def _rounded_up(count: int, step: int) -> int:
    return -(-count // step) * step
