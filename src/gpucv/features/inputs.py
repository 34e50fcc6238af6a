"""Inputs of predictors whose form is fixed: plain counts and times under plain names."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from gpucv import schema
from gpucv.features.contract import Feature, FeatureSet
from gpucv.features.work import OperatorWork, StepWork, has_operator_work

if TYPE_CHECKING:
    from gpucv.frames import Array, Columns

__all__ = ["OPERATOR_INPUTS", "STEP_INPUTS", "inputs_set"]


def _label(column: str, work: OperatorWork) -> Array:
    """Return the code of a text column; it says which rows are alike, nothing else."""
    return work.columns.label_codes(column)


def _architecture(work: OperatorWork) -> Array:
    """Return the code of the architecture of each row's GPU; 0 where it is not known."""

    def of(gpu: str) -> str:
        spec = work.catalog.gpus.find(gpu)
        return spec.architecture if spec is not None else ""

    return work.columns.label_codes(schema.GPU, of)


def _compute(work: OperatorWork) -> Array:
    """Return the code of what each row's matrix unit multiplies in; 0 where it is not known."""

    def of(dtype: str) -> str:
        spec = work.catalog.dtypes.find(dtype)
        return spec.compute if spec is not None else ""

    return work.columns.label_codes(schema.DTYPE, of)


def _has_op(op: str, work: OperatorWork) -> Array:
    """Return 1 where a row measured `op`, else 0; a table of one operator may not name it."""
    if schema.OP not in work.columns:
        return work.xp.zeros(len(work.columns))
    values = {label: float(label == op) for label in work.columns.labels(schema.OP)}
    return work.columns.lookup(schema.OP, values)


def _pass_tokens(work: OperatorWork) -> Array:
    """Return the tokens of a pass; of a matrix product that names none, its m."""
    named = work.number("num_tokens")
    return work.xp.where(work.xp.isnan(named), work.number("m"), named)


def _of_model(field: str, work: StepWork) -> Array:
    return work.by_model(field)


def _of_gpu(field: str, work: StepWork) -> Array:
    return work.by_gpu(field)


STEP_INPUTS: tuple[Feature[StepWork], ...] = (
    Feature("prefill_tokens", "tokens", "sim-available", lambda w: w.prefill, "rises"),
    Feature("decode_tokens", "tokens", "sim-available", lambda w: w.decode, "rises"),
    Feature("tokens", "tokens", "sim-available", lambda w: w.tokens, "rises"),
    Feature("kv_tokens", "tokens", "trace-only", lambda w: w.kv_tokens, "mixed"),
    Feature("compute_us", "us", "sim-available", lambda w: w.compute_us, "rises"),
    Feature("memory_us", "us", "trace-only", lambda w: w.memory_us, "rises"),
    Feature("weight_us", "us", "sim-available", lambda w: w.weight_us, "rises"),
    Feature("layers", "layers", "metadata", lambda w: w.layers, "fixed"),
    # Splitwise counts the prompts' tokens and one for each request that decodes.
    Feature("curve_tokens", "tokens", "sim-available", lambda w: w.prefill + w.decode, "rises"),
    Feature("has_prefill", "0 or 1", "sim-available", lambda w: w.xp.sign(w.prefill), "mixed"),
    Feature("has_decode", "0 or 1", "sim-available", lambda w: w.xp.sign(w.decode), "mixed"),
    # What BLIS's trained physics is written in, beside tokens and layers.
    Feature("prefill_requests", "requests", "sim-available", lambda w: w.prefill_requests, "mixed"),
    Feature("decode_requests", "requests", "sim-available", lambda w: w.decode_requests, "mixed"),
    Feature("tp", "GPUs", "metadata", lambda w: w.tp, "fixed"),
    *(
        Feature(name, unit, "metadata", partial(_of_model, field), "fixed")
        for name, unit, field in (
            ("hidden_size", "count", "hidden_size"),
            ("kv_width", "count", "kv_width"),
            ("intermediate_size", "count", "intermediate_size"),
            ("experts", "count", "num_local_experts"),
            ("experts_per_token", "count", "num_experts_per_tok"),
        )
    ),
    Feature("peak_flops", "FLOP/s", "metadata", partial(_of_gpu, "peak_bf16_flops"), "fixed"),
    Feature(
        "memory_bandwidth", "bytes/s", "metadata", partial(_of_gpu, "memory_bandwidth"), "fixed"
    ),
)
OPERATOR_INPUTS: tuple[Feature[OperatorWork], ...] = (
    Feature("sol_us", "us", "sim-available", lambda w: w.sol_us, "rises"),
    *(
        Feature(
            f"{column}_label", "label", "metadata", partial(_label, column), "fixed", label=True
        )
        for column in (
            schema.GPU,
            schema.ENGINE,
            schema.ENGINE_VERSION,
            schema.DTYPE,
            schema.OP,
            "kernel",
        )
    ),
    Feature("architecture_label", "label", "metadata", _architecture, "fixed", label=True),
    Feature("compute_label", "label", "metadata", _compute, "fixed", label=True),
    Feature("compute_us", "us", "sim-available", lambda w: w.compute_us, "rises"),
    Feature("memory_us", "us", "sim-available", lambda w: w.memory_us, "rises"),
    Feature("num_tokens", "tokens", "sim-available", _pass_tokens, "rises"),
    # Of Splitwise's own table: prompt size x batch size, for prompt and token passes alike.
    Feature("curve_tokens", "tokens", "sim-available", lambda w: w.number("num_tokens"), "rises"),
    Feature("has_prefill", "0 or 1", "sim-available", partial(_has_op, "prompt"), "fixed"),
    Feature("has_decode", "0 or 1", "sim-available", partial(_has_op, "token"), "fixed"),
)


def inputs_set(columns: Columns) -> FeatureSet[StepWork] | FeatureSet[OperatorWork]:
    """Return the inputs a table of this kind can offer; what is not known is NaN."""
    unknown = float("nan")
    if has_operator_work(columns):
        return FeatureSet("inputs", OperatorWork, OPERATOR_INPUTS, unknown)
    return FeatureSet("inputs", StepWork, STEP_INPUTS, unknown)
