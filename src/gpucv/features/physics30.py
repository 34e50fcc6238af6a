"""The published study's 30 features, formula by formula.

Source: inference-sim, ``hypotheses/h-stepml``, round 1, idea 1, h1. Missing batch,
KV-cache and queue counts read as 0, a missing ``kv.blocks_total_gpu`` as 1;
infinite and undefined values become 0. All arithmetic is float64.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from gpucv import schema
from gpucv.errors import DataError
from gpucv.features.contract import Feature

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gpucv.catalog import Catalog, GpuSpec
    from gpucv.frames import Array, ArrayNamespace, Columns

__all__ = ["FEATURES", "INPUT_COLUMNS", "STUDY_GPU", "StepQuantities"]

_MODEL_LABELS = {"codellama-34b": 0.0, "llama-2-7b": 1.0, "llama-2-70b": 2.0}
_MODEL_LABELS["mixtral-8x7b-v0-1"] = 3.0
_STUDY_TP = {"llama-2-7b": 1.0, "codellama-34b": 2.0, "mixtral-8x7b-v0-1": 2.0, "llama-2-70b": 4.0}
STUDY_GPU = "h100"
"""The GPU of every published recording; taken where the data names none."""

INPUT_COLUMNS = (
    schema.PREFILL_TOKENS,
    schema.DECODE_TOKENS,
    schema.SCHEDULED_TOKENS,
    schema.NUM_PREFILL_REQS,
    schema.NUM_DECODE_REQS,
    schema.KV_USAGE_RATIO,
    schema.KV_BLOCKS_TOTAL,
    schema.KV_BLOCKS_FREE,
    schema.RUNNING_DEPTH,
)
"""The recorded counts the formulas read, beside model, GPU and tensor-parallel degree."""


class StepQuantities:
    """The quantities the 30 formulas are written in, each computed once per block of rows.

    Parameters
    ----------
    steps : Columns
        Rows of a step table.
    catalog : Catalog
        Architectures of the models and peaks of the GPUs named there.

    Raises
    ------
    DataError
        If a model or GPU is in neither the catalog nor the study, or is missing in
        some row, or a row has no valid tensor-parallel degree.
    """

    def __init__(self, steps: Columns, catalog: Catalog) -> None:
        self.xp: ArrayNamespace = steps.xp
        self._steps = steps
        if schema.MODEL not in steps:
            msg = f"physics-30 needs the column {schema.MODEL!r}, and the data has none"
            raise DataError(msg)
        self._models = {name: catalog.models.get(name) for name in steps.labels(schema.MODEL)}
        self._gpus: dict[str, GpuSpec] = (
            {name: catalog.gpus.get(name) for name in steps.labels(schema.GPU)}
            if schema.GPU in steps
            else {}
        )
        self._study_gpu = catalog.gpus.get(STUDY_GPU)

    def _count(self, name: str, missing: float = 0.0) -> Array:
        return self._steps.numbers(name, missing)

    def _by_model(self, value: Mapping[str, float]) -> Array:
        return self._steps.lookup(schema.MODEL, value)

    # Tokens and requests of the batch ------------------------------------------------

    @cached_property
    def prefill(self) -> Array:
        """Prompt tokens, P."""
        return self._count(schema.PREFILL_TOKENS)

    @cached_property
    def decode(self) -> Array:
        """Output tokens, D."""
        return self._count(schema.DECODE_TOKENS)

    @cached_property
    def scheduled(self) -> Array:
        """All tokens, S."""
        return self._count(schema.SCHEDULED_TOKENS)

    @cached_property
    def prefill_requests(self) -> Array:
        """Requests in prefill, np."""
        return self._count(schema.NUM_PREFILL_REQS)

    @cached_property
    def decode_requests(self) -> Array:
        """Requests in decode, nd."""
        return self._count(schema.NUM_DECODE_REQS)

    # KV cache and queue --------------------------------------------------------------

    @cached_property
    def kv_usage(self) -> Array:
        """Share of KV-cache blocks in use, as recorded."""
        return self._count(schema.KV_USAGE_RATIO)

    @cached_property
    def kv_total(self) -> Array:
        """KV-cache blocks."""
        return self._count(schema.KV_BLOCKS_TOTAL, 1.0)

    @cached_property
    def kv_free(self) -> Array:
        """KV-cache blocks free."""
        return self._count(schema.KV_BLOCKS_FREE)

    @cached_property
    def kv_used(self) -> Array:
        """KV-cache blocks in use."""
        return self.kv_total - self.kv_free

    @cached_property
    def kv_pressure(self) -> Array:
        """Blocks in use / blocks."""
        return self.kv_used / self.xp.maximum(self.kv_total, 1.0)

    @cached_property
    def running(self) -> Array:
        """Requests running."""
        return self._count(schema.RUNNING_DEPTH)

    # Architecture --------------------------------------------------------------------

    @cached_property
    def tp(self) -> Array:
        """Tensor-parallel degree, t; the study's own for rows that give none."""
        nan = float("nan")
        given = self._count(schema.TP, nan)
        published = self._by_model({n: _STUDY_TP.get(m.name, nan) for n, m in self._models.items()})
        degree = self.xp.where(self.xp.isnan(given), published, given)
        if bool(self.xp.isnan(degree).any()):
            unknown = [n for n, m in self._models.items() if m.name not in _STUDY_TP]
            msg = (
                f"rows without {schema.TP!r}, and no tensor-parallel degree is published for "
                f"model {' or '.join(map(repr, unknown))}; add the column or data.constants.tp"
            )
            raise DataError(msg)
        if bool((degree < 1).any()):
            msg = f"column {schema.TP!r} holds {float(degree.min()):g}; a degree is at least 1"
            raise DataError(msg)
        return degree

    @cached_property
    def moe_ratio(self) -> Array:
        """Experts per token / experts; 1 if dense."""
        return self._by_model({n: m.active_expert_ratio for n, m in self._models.items()})

    @cached_property
    def is_moe(self) -> Array:
        """1 for a mixture of experts."""
        return self._by_model({n: float(m.is_moe) for n, m in self._models.items()})

    @cached_property
    def model_label(self) -> Array:
        """The study's integer label of the model, -1 for any other."""
        return self._by_model({n: _MODEL_LABELS.get(m.name, -1.0) for n, m in self._models.items()})

    # Physics -------------------------------------------------------------------------

    @cached_property
    def flops_per_token(self) -> Array:
        """FLOP per token and GPU."""
        return self._by_model({n: m.flops_per_token for n, m in self._models.items()}) / self.tp

    @cached_property
    def weight_bytes(self) -> Array:
        """Bytes of BF16 weights per GPU, experts not multiplied, W."""
        return self._by_model({n: m.weight_bytes for n, m in self._models.items()}) / self.tp

    @cached_property
    def balance(self) -> Array:
        """FLOP per byte at which the GPU turns from memory-bound to compute-bound."""
        if not self._gpus:
            return self._study_gpu.machine_balance
        return self._steps.lookup(
            schema.GPU, {name: gpu.machine_balance for name, gpu in self._gpus.items()}
        )

    @cached_property
    def flops(self) -> Array:
        """FLOP of the step per GPU."""
        return self.scheduled * self.flops_per_token

    @cached_property
    def intensity(self) -> Array:
        """FLOP per byte of weights."""
        return self.flops / self.xp.maximum(self.weight_bytes, 1.0)

    def prefill_intensity(self) -> Array:
        """FLOP of the prompt tokens per byte of weights, 0 without any."""
        return self.prefill * self.flops_per_token / self.xp.maximum(self.weight_bytes, 1.0)

    def decode_intensity(self) -> Array:
        """Bytes of weights per FLOP of the output tokens, 0 without any."""
        value = self.weight_bytes / self.xp.maximum(self.decode * self.flops_per_token, 1.0)
        return self.xp.where(self.decode > 0, value, 0.0)

    def share(self, tokens: Array) -> Array:
        """`tokens` / all tokens."""
        return tokens / self.xp.maximum(self.scheduled, 1.0)

    def flag(self, condition: Array) -> Array:
        """Write a condition as 0 and 1."""
        return self.xp.where(condition, 1.0, 0.0)

    def constant(self, value: float) -> Array:
        """Return a column of one value."""
        return self.xp.full(len(self._steps), value)


_Q = StepQuantities
FEATURES: tuple[Feature[StepQuantities], ...] = (
    # batch tokens
    Feature("f_prefill_tokens", "tokens", "sim-available", lambda q: q.prefill),
    Feature("f_decode_tokens", "tokens", "sim-available", lambda q: q.decode),
    Feature("f_scheduled_tokens", "tokens", "sim-available", lambda q: q.scheduled),
    Feature("f_num_prefill_reqs", "requests", "sim-available", lambda q: q.prefill_requests),
    Feature("f_num_decode_reqs", "requests", "sim-available", lambda q: q.decode_requests),
    # KV proxies
    Feature("f_kv_gpu_usage", "ratio", "trace-only", lambda q: q.kv_usage),
    Feature("f_kv_blocks_used", "blocks", "trace-only", lambda q: q.kv_used),
    Feature("f_kv_blocks_free", "blocks", "trace-only", lambda q: q.kv_free),
    Feature("f_running_depth", "requests", "trace-only", lambda q: q.running),
    Feature("f_kv_pressure", "ratio", "trace-only", lambda q: q.kv_pressure),
    # phase
    Feature("f_prefill_fraction", "ratio", "sim-available", lambda q: q.share(q.prefill)),
    Feature("f_decode_fraction", "ratio", "sim-available", lambda q: q.share(q.decode)),
    Feature(
        "f_is_mixed_batch",
        "0/1",
        "sim-available",
        lambda q: q.flag((q.prefill_requests > 0) & (q.decode_requests > 0)),
    ),
    Feature("f_is_pure_prefill", "0/1", "sim-available", lambda q: q.flag(q.decode_requests == 0)),
    # physics
    Feature("f_total_flops_estimate", "FLOP", "sim-available", lambda q: q.flops),
    Feature("f_arithmetic_intensity", "FLOP/byte", "sim-available", lambda q: q.intensity),
    Feature(
        "f_compute_bound_indicator",
        "0/1",
        "sim-available",
        lambda q: q.flag(q.intensity > q.balance),
    ),
    Feature("f_prefill_compute_intensity", "FLOP/byte", "sim-available", _Q.prefill_intensity),
    Feature("f_decode_memory_intensity", "byte/FLOP", "sim-available", _Q.decode_intensity),
    Feature("f_attention_flops_ratio", "ratio", "metadata", lambda q: q.constant(0.0)),
    Feature("f_gemm_flops_ratio", "ratio", "metadata", lambda q: q.constant(1.0)),
    Feature("f_active_param_ratio", "ratio", "metadata", lambda q: q.moe_ratio),
    # architecture
    Feature("f_model_id", "label", "metadata", lambda q: q.model_label),
    Feature("f_tp_degree", "count", "metadata", lambda q: q.tp),
    Feature("f_is_moe", "0/1", "metadata", lambda q: q.is_moe),
    # interactions
    Feature("f_prefill_x_decode", "tokens^2", "sim-available", lambda q: q.prefill * q.decode),
    Feature(
        "f_kv_pressure_x_decode_reqs",
        "requests",
        "trace-only",
        lambda q: q.kv_pressure * q.decode_requests,
    ),
    Feature("f_intensity_x_moe", "FLOP/byte", "sim-available", lambda q: q.intensity * q.is_moe),
    Feature("f_prefill_x_kv_usage", "tokens", "trace-only", lambda q: q.prefill * q.kv_usage),
    Feature(
        "f_batch_size_x_kv_pressure",
        "requests",
        "trace-only",
        lambda q: (q.prefill_requests + q.decode_requests) * q.kv_pressure,
    ),
)
