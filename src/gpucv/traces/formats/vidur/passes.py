"""The passes of a profile: sizes of each row, and what its operators do in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gpucv.errors import TraceError
from gpucv.schema import BYTES, FLOPS, TP
from gpucv.traces.formats.vidur.columns import MATRIX_OPS
from gpucv.traces.formats.vidur.work import (
    AttentionPasses,
    LinearPasses,
    attention_work,
    linear_work,
    matrix_shape,
)
from gpucv.traces.provenance import Note

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from gpucv.catalog import DtypeSpec
    from gpucv.traces.formats.csv_columns import CsvColumns

__all__ = ["Profile", "attention_profile", "mlp_profile"]

_WORKERS = "num_tensor_parallel_workers"
_MIXED = ("is_mixed_batch", "is_true_mixed_batch")
_FIELDS = {
    "n_embd": "hidden_size",
    "n_head": "num_attention_heads",
    "n_q_head": "num_attention_heads",
    "n_kv_head": "num_key_value_heads",
    "n_expanded_embd": "intermediate_size",
}
"""Columns that describe the LLM, and the catalog's fields. The vocabulary is padded."""
_ONE_MODEL = "a profile is of one model: keep each in a file of its own"


@dataclass(frozen=True, slots=True)
class Profile:
    """What a file says about its passes, one value per row of the file.

    Attributes
    ----------
    sizes : mapping of str to ndarray
        Columns of the row that all operators share.
    model : mapping of str to float
        Sizes of the LLM, under the file's names.
    runs : callable
        For an operator: which rows measure it.
    of : callable
        For an operator: the columns that are its own (shape and work).
    notes : tuple of Note
    """

    sizes: Mapping[str, NDArray[Any]]
    model: Mapping[str, float]
    runs: Callable[[str], NDArray[np.bool_]]
    of: Callable[[str], Mapping[str, NDArray[Any]]]
    notes: tuple[Note, ...] = ()

    @property
    def fields(self) -> dict[str, str]:
        """The file's columns that the catalog has a field for."""
        return {column: field for column, field in _FIELDS.items() if column in self.model}


def mlp_profile(file: CsvColumns, dtype: DtypeSpec) -> Profile:
    """Return the passes of an ``mlp.csv``.

    Raises
    ------
    TraceError
        If a size is missing or impossible, or the file is of two LLMs.
    """
    whole = ["n_head", "n_kv_head", "n_embd", "n_expanded_embd", "vocab_size"]
    file.require([*whole, "use_gated_mlp", "num_tokens", _WORKERS])
    model = {name: _one(file, name) for name in whole}
    gated = bool(file.one("use_gated_mlp", file.flags("use_gated_mlp"), _ONE_MODEL))
    tokens = file.numbers("num_tokens", least=1, whole=True)
    tp = file.numbers(_WORKERS, least=1, whole=True)
    heads, kv_heads, head_dim = _heads(file, model, "n_head", tp)
    width = _shard(file, "n_expanded_embd", model["n_expanded_embd"], tp)
    passes = LinearPasses(
        tokens=tokens,
        hidden=np.full(len(file), model["n_embd"]),
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        width=width,
        up_width=width * (2 if gated else 1),
    )

    def of(op: str) -> dict[str, NDArray[Any]]:
        flops, moved = linear_work(op, passes, dtype)
        shape = dict(zip("mnk", matrix_shape(op, passes), strict=True)) if op in MATRIX_OPS else {}
        return {FLOPS: flops, BYTES: moved, **shape}

    sizes = {
        TP: tp,
        "num_tokens": tokens,
        "num_heads": heads,
        "num_kv_heads": kv_heads,
        "head_dim": head_dim,
        **_everywhere(
            len(file),
            hidden_size=model["n_embd"],
            intermediate_size=model["n_expanded_embd"],
            vocab_size=model["vocab_size"],
            gated_mlp=float(gated),
        ),
    }
    return Profile(sizes, model, lambda _: np.ones(len(file), dtype=bool), of)


def attention_profile(file: CsvColumns) -> Profile:
    """Return the passes of an ``attention.csv``, of any age.

    Older files have no ``is_prefill`` and no ``attention_backend``. Newer ones also
    measure batches whose requests differ; one chunk and one cache size cannot describe
    them, so they are left out.

    Raises
    ------
    TraceError
        If a size is missing or impossible, or the file is of two LLMs.
    """
    counts = ["batch_size", "prefill_chunk_size", "kv_cache_size"]
    file.require(["n_embd", "n_q_head", "n_kv_head", _WORKERS, *counts])
    model = {name: _one(file, name) for name in ("n_embd", "n_q_head", "n_kv_head")}
    tp = file.numbers(_WORKERS, least=1, whole=True)
    batch = file.numbers("batch_size", least=1, whole=True)
    chunk = file.numbers("prefill_chunk_size", whole=True)
    past = file.numbers("kv_cache_size", whole=True)
    heads, kv_heads, head_dim = _heads(file, model, "n_q_head", tp)
    # A decode pass adds one token to each request.
    passes = AttentionPasses(batch, np.maximum(chunk, 1), past, heads, kv_heads, head_dim)
    prefill = chunk > 0
    alike = ~_mixed(file)

    def runs(op: str) -> NDArray[np.bool_]:
        return alike & {"attn_prefill": prefill, "attn_decode": ~prefill}.get(op, True)

    def of(op: str) -> dict[str, NDArray[Any]]:
        flops, moved = attention_work(op, passes) or (np.full(len(file), np.nan),) * 2
        return {FLOPS: flops, BYTES: moved}

    sizes = {
        TP: tp,
        "num_tokens": batch * passes.new,
        "batch_size": batch,
        "prefill_chunk_size": chunk,
        "kv_cache_size": past,
        "num_heads": heads,
        "num_kv_heads": kv_heads,
        "head_dim": head_dim,
        **_everywhere(len(file), hidden_size=model["n_embd"]),
        **{
            name: file.numbers(name, least=1, whole=True)
            for name in ("block_size", "max_model_len")
            if name in file
        },
        "is_prefill": (file.flags("is_prefill") if "is_prefill" in file else prefill).astype(float),
    }
    if "attention_backend" in file:
        # Some profiles write the member of an enumeration: AttentionBackend.FLASHINFER.
        backends = [label.rpartition(".")[2] for label in file.labels("attention_backend")]
        sizes["attention_backend"] = np.array(backends, dtype=object)
    return Profile(sizes, model, runs, of, _mixed_notes(file, ~alike))


def _one(file: CsvColumns, column: str) -> float:
    return float(file.one(column, file.numbers(column, least=1, whole=True), _ONE_MODEL))


def _heads(
    file: CsvColumns, model: Mapping[str, float], heads: str, tp: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return query and key-value heads on one GPU, and the width of a head."""
    if model["n_embd"] % model[heads]:
        msg = (
            f"{file.name}: n_embd {model['n_embd']:g} is not a multiple of {heads} "
            f"{model[heads]:g}; these are not the sizes of one model"
        )
        raise TraceError(msg)
    query_heads = _shard(file, heads, model[heads], tp)
    # With fewer key-value heads than GPUs each GPU keeps a copy of one.
    kv_heads = np.maximum(1, model["n_kv_head"] / tp)
    if (kv_heads != np.floor(kv_heads)).any():
        _shard(file, "n_kv_head", model["n_kv_head"], tp)
    head_dim = np.full(len(file), model["n_embd"] / model[heads])
    return query_heads, kv_heads, head_dim


def _shard(
    file: CsvColumns, column: str, value: float, tp: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return what one GPU holds of `value`."""
    uneven = tp[value % tp != 0]
    if uneven.size:
        msg = (
            f"{file.name}: {column} {value:g} cannot be shared by {uneven[0]:g} GPUs "
            f"({_WORKERS}); one of the two is wrong"
        )
        raise TraceError(msg)
    return value / tp


def _mixed(file: CsvColumns) -> NDArray[np.bool_]:
    mixed = np.zeros(len(file), dtype=bool)
    for column in _MIXED:
        if column in file:
            mixed |= file.flags(column, gaps=True)
    return mixed


def _mixed_notes(file: CsvColumns, mixed: NDArray[np.bool_]) -> tuple[Note, ...]:
    count = int(mixed.sum())
    if not count:
        return ()
    message = (
        f"{file.name}: {count:,} rows of mixed batches were left out: one chunk and one cache "
        "size do not describe them"
    )
    return (Note("mixed_batches_left_out", message, count, "warning"),)


def _everywhere(rows: int, **values: float) -> dict[str, NDArray[np.float64]]:
    return {name: np.full(rows, value) for name, value in values.items()}
