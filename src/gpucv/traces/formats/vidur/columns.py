"""What Vidur's profiles hold: operators, their statistics, and the columns of a row."""

from __future__ import annotations

from gpucv.schema import GROUP_COLUMNS, LATENCY_US, OP, PHYSICS_COLUMNS, Column

__all__ = ["ATTENTION_OPS", "COLUMNS", "MATRIX_OPS", "MLP_OPS", "STATISTICS", "stat_column"]

MATRIX_OPS = ("attn_pre_proj", "attn_post_proj", "mlp_up_proj", "mlp_down_proj")
"""Operators that are one matrix product."""

MLP_OPS = (
    "emb",
    "input_layernorm",
    "attn_pre_proj",
    "attn_rope",
    "attn_post_proj",
    "post_attention_layernorm",
    "mlp_up_proj",
    "mlp_act",
    "mlp_down_proj",
    "add",
)
"""Operators of ``mlp.csv``; phi-2 has no ``post_attention_layernorm``."""

ATTENTION_OPS = (
    "attn_input_reshape",
    "attn_kv_cache_save",
    "attn_prefill",
    "attn_decode",
    "attn_output_reshape",
)
"""Operators of ``attention.csv``."""

STATISTICS = {
    "median": LATENCY_US,
    "min": "latency_min_us",
    "max": "latency_max_us",
    "mean": "latency_mean_us",
    "std": "latency_std_us",
}
"""Vidur's statistics over the runs of one point (ms), and what they are called here."""

COLUMNS: tuple[Column, ...] = (
    *GROUP_COLUMNS,
    Column(OP, "string", "label", "the operator, under Vidur's name"),
    Column("num_tokens", "int64", "tokens", "tokens of the pass"),
    Column("m", "int64", "count", "rows of activations of a matrix product"),
    Column("n", "int64", "count", "columns of its weights, on one GPU"),
    Column("k", "int64", "count", "width it sums over, on one GPU"),
    Column("batch_size", "int64", "requests", "requests of an attention pass"),
    Column("prefill_chunk_size", "int64", "tokens", "prompt tokens per request, 0 in decode"),
    Column("kv_cache_size", "int64", "tokens", "tokens per request already in the cache"),
    Column("num_heads", "int64", "count", "query heads on one GPU"),
    Column("num_kv_heads", "int64", "count", "key-value heads on one GPU"),
    Column("head_dim", "int64", "count", "width of a head"),
    Column("hidden_size", "int64", "count", "width of the residual stream"),
    Column("intermediate_size", "int64", "count", "width of the feed-forward layer, all GPUs"),
    Column("vocab_size", "int64", "count", "vocabulary as profiled (padded), all GPUs"),
    Column("gated_mlp", "int64", "0 or 1", "whether gate and up are one product"),
    Column("block_size", "int64", "tokens", "tokens of a block of the KV cache"),
    Column("max_model_len", "int64", "tokens", "longest context the profile allowed for"),
    Column("attention_backend", "string", "label", "library of the attention kernels"),
    Column("is_prefill", "int64", "0 or 1", "whether the attention pass is a prefill"),
    Column(LATENCY_US, "float64", "us", "median of the runs: what Vidur predicts"),
    Column("latency_min_us", "float64", "us", "fastest run"),
    Column("latency_max_us", "float64", "us", "slowest run"),
    Column("latency_mean_us", "float64", "us", "mean of the runs"),
    Column("latency_std_us", "float64", "us", "standard deviation of the runs"),
    Column("repeats", "int64", "count", "rows of the file this one was made from"),
    *PHYSICS_COLUMNS,
)
"""Columns of one row: one operator at one point of a profile."""


def stat_column(op: str, statistic: str) -> str:
    """Return the name of an operator's statistic in the file."""
    return f"time_stats.{op}.{statistic}"
