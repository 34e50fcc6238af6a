"""The columns of forward passes, and what all sources of them check."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpucv.errors import TraceError
from gpucv.schema import (
    DECODE_TOKENS,
    DTYPE,
    ENGINE,
    ENGINE_VERSION,
    EXPERIMENT,
    GPU,
    LATENCY_US,
    MODEL,
    NUM_DECODE_REQS,
    NUM_PREFILL_REQS,
    PHYSICS_COLUMNS,
    PREFILL_TOKENS,
    SCHEDULED_TOKENS,
    SOURCE_FILE,
    STEP_ID,
    TP,
    WAITING_DEPTH,
    Column,
)
from gpucv.traces.provenance import Note

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["COLUMNS", "UnitCheck"]

COLUMNS = (
    Column(SOURCE_FILE, "string", "label", "the file a row was read from"),
    Column(EXPERIMENT, "string", "label", "worker and data-parallel rank, or database cell"),
    Column(MODEL, "string", "label", "the LLM, as named in the catalog"),
    Column(GPU, "string", "label", "the GPU, as named in the catalog"),
    Column(TP, "int64", "GPUs", "tensor-parallel degree"),
    Column("pp", "int64", "GPUs", "pipeline-parallel degree"),
    Column("dp", "int64", "ranks", "attention data-parallel degree"),
    Column("moe_tp", "int64", "GPUs", "tensor-parallel degree of the experts"),
    Column("moe_ep", "int64", "GPUs", "expert-parallel degree"),
    Column(ENGINE, "string", "label", "the serving engine"),
    Column(ENGINE_VERSION, "string", "label", "its version"),
    Column(DTYPE, "string", "label", "number format of the matrix products"),
    Column("kv_cache_dtype", "string", "label", "number format of the KV cache"),
    Column("kv_seed_regime", "string", "label", "whether decode points read real KV"),
    Column("dp_rank", "int64", "rank", "data-parallel rank that reported the pass"),
    Column("capture_mode", "string", "label", "full, or sampled: one pass in some seconds"),
    Column("observed_at_unix_ms", "int64", "ms", "when the pass was reported, since 1970"),
    Column(STEP_ID, "int64", "count", "sequence number of the rank's reports"),
    Column("phase", "string", "label", "prefill, decode, mixed, or idle: what was scheduled"),
    Column(NUM_PREFILL_REQS, "int64", "requests", "requests in their prefill phase"),
    Column(PREFILL_TOKENS, "int64", "tokens", "prompt tokens computed in this pass"),
    Column("prefill_kv_tokens", "int64", "tokens", "cached tokens that prefill requests read"),
    Column("var_prefill_length", "float64", "tokens^2", "variance of their prompts' lengths"),
    Column(NUM_DECODE_REQS, "int64", "requests", "requests in their decode phase"),
    Column(DECODE_TOKENS, "int64", "tokens", "one a decode request; drafts are not counted"),
    Column("decode_kv_tokens", "int64", "tokens", "context lengths of decode requests, summed"),
    Column("var_decode_kv_tokens", "float64", "tokens^2", "variance of their context lengths"),
    Column(SCHEDULED_TOKENS, "int64", "tokens", "prefill plus decode tokens"),
    Column(WAITING_DEPTH, "int64", "requests", "requests queued: new ones and preempted ones"),
    Column("queued_prefill_reqs", "int64", "requests", "new requests queued"),
    Column("queued_prefill_tokens", "int64", "tokens", "their prompts, cached or not"),
    Column("queued_var_prefill_length", "float64", "tokens^2", "variance of their lengths"),
    Column("queued_decode_reqs", "int64", "requests", "preempted requests queued"),
    Column("queued_decode_kv_tokens", "int64", "tokens", "their context lengths, summed"),
    Column("queued_var_decode_kv_tokens", "float64", "tokens^2", "variance of these lengths"),
    Column(LATENCY_US, "float64", "us", "wall time of the pass: schedule, forward, update"),
    *PHYSICS_COLUMNS,
)
"""Names of the step table where they mean the same. How many requests run is not
reported, only how many were scheduled, so there is no ``queue.running_depth``."""

_ENOUGH = 20
"""Passes below which half of them outside the bounds says little about the unit."""
_SLOWEST_BASE_S = 2.0
_SLOWEST_TOKENS_PER_S = 200.0
_FASTEST_S = 1e-4


class UnitCheck:
    """Counts of passes no GPU could take so long, or so short, for.

    Slow is a pass over 2 s plus 5 ms a token: a prompt of 100,000 tokens may take minutes
    on a small GPU, but a decode step of seconds, or 200 tokens a second in prefill, is
    another unit. Short is one under 100 us: the layers of the smallest LLM take longer to
    launch.
    """

    def __init__(self) -> None:
        self._passes = self._slow = self._very_slow = self._short = 0

    def count(self, seconds: NDArray[Any], tokens: NDArray[Any]) -> None:
        """Take note of passes: their times, and the tokens scheduled in them."""
        bound = _SLOWEST_BASE_S + tokens / _SLOWEST_TOKENS_PER_S
        self._passes += len(seconds)
        self._slow += int((seconds > bound).sum())
        self._very_slow += int((seconds > 1000 * bound).sum())
        self._short += int((seconds < _FASTEST_S).sum())

    def refuse_long(self, name: str, field: str, smaller: tuple[str, str]) -> None:
        """Raise TraceError if more than half of the passes took too long.

        Parameters
        ----------
        name, field : str
            The file, and the field with the times.
        smaller : tuple of str
            What the values look like: the next smaller unit and how to mend them, and
            the one below.
        """
        if self._passes < _ENOUGH or 2 * self._slow <= self._passes:
            return
        msg = (
            f"{name}: by {field}, {self._slow:,} of {self._passes:,} passes took over "
            f"{_SLOWEST_BASE_S:g} s plus {1000 / _SLOWEST_TOKENS_PER_S:g} ms a token, which no GPU "
            f"does: it looks like {smaller[2 * self._very_slow > self._passes]}"
        )
        raise TraceError(msg)

    def refuse_short(self, name: str, field: str, larger: str) -> None:
        """Raise TraceError if more than half of the passes were too short."""
        if self._too_short():
            msg = f"{name}: by {field}, {self._told_short()}: it looks like {larger}"
            raise TraceError(msg)

    def note_short(self, name: str) -> tuple[Note, ...]:
        """Return a note if more than half of the passes were too short."""
        if not self._too_short():
            return ()
        message = (
            f"{name}: {self._told_short()}; they were simulated, or the clock stopped before "
            "the GPU did"
        )
        return (Note("short_passes", message, self._short, "warning"),)

    def _too_short(self) -> bool:
        return self._passes >= _ENOUGH and 2 * self._short > self._passes

    def _told_short(self) -> str:
        return (
            f"{self._short:,} of {self._passes:,} passes took under {_FASTEST_S * 1e6:g} us, "
            "less than an LLM's layers take to launch"
        )
