"""What a row asks of a GPU: FLOPs, bytes, tokens, and the least time they take.

One vocabulary for tables of operators, whose reader has already put work and speed of
light into columns, and for tables of engine steps, where both follow from the batch and
the model. Transforms, the `transfer` features and the physical baselines are written in it.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from gpucv import schema
from gpucv.errors import DataError
from gpucv.features.physics30 import StepQuantities

if TYPE_CHECKING:
    from gpucv.catalog import Catalog
    from gpucv.frames import Array, ArrayNamespace, Columns

__all__ = [
    "BLOCK_TOKENS",
    "SHAPE_COLUMNS",
    "OperatorWork",
    "StepWork",
    "has_operator_work",
    "work_of",
]

SHAPE_COLUMNS = ("m", "n", "k", "num_tokens", "batch_size", "prompt_size", "token_size", "kernel")
"""Shapes of measured operators and requests that inputs and features are made from."""
BLOCK_TOKENS = 16
"""Tokens of one KV-cache block where no context lengths are recorded: vLLM's default."""
_BF16_BYTES = 2.0


def has_operator_work(columns: Columns) -> bool:
    """Tell whether a table carries the work of its rows, as readers of operators write it."""
    return all(name in columns for name in (schema.FLOPS, schema.BYTES, schema.SOL_US))


def work_of(columns: Columns, catalog: Catalog) -> OperatorWork | StepWork:
    """Return the work of a table's rows.

    Raises
    ------
    DataError
        If it is neither a table of operators nor one of steps.
    """
    if has_operator_work(columns):
        return OperatorWork(columns, catalog)
    if schema.SCHEDULED_TOKENS in columns and schema.MODEL in columns:
        return StepWork(columns, catalog)
    msg = (
        f"the data has neither {schema.FLOPS!r}, {schema.BYTES!r} and {schema.SOL_US!r} "
        f"(operators) nor {schema.SCHEDULED_TOKENS!r} and {schema.MODEL!r} (steps), so its speed "
        "of light is not known; name its own feature columns, and learn 'raw' or 'log'"
    )
    raise DataError(msg)


class OperatorWork:
    """Work of measured operators, from the columns their reader wrote.

    All arrays are float64 of shape (n_rows,), NaN where the reader knew nothing.
    """

    def __init__(self, columns: Columns, catalog: Catalog) -> None:
        self.xp: ArrayNamespace = columns.xp
        self.columns = columns
        self.catalog = catalog

    def number(self, name: str) -> Array:
        """Return a column, NaN where it is empty or absent."""
        return self.columns.numbers(name, float("nan"))

    @cached_property
    def flops(self) -> Array:
        """FLOP on one GPU."""
        return self.number(schema.FLOPS)

    @cached_property
    def bytes(self) -> Array:
        """Least bytes moved on one GPU."""
        return self.number(schema.BYTES)

    @cached_property
    def compute_us(self) -> Array:
        """Least time to compute, us."""
        return self.flops / self.number(schema.PEAK_FLOPS) * 1e6

    @cached_property
    def memory_us(self) -> Array:
        """Least time to move the bytes, us."""
        return self.bytes / self.number(schema.MEMORY_BANDWIDTH) * 1e6

    @cached_property
    def sol_us(self) -> Array:
        """Speed of light, us."""
        return self.number(schema.SOL_US)


class StepWork:
    """Work of engine steps, from their batch, the model and the GPU; on one GPU of the group.

    Every weight of the layers and of the output head is read once, of a mixture the
    experts its tokens are expected to touch, E (1 - (1 - k/E)^tokens); every cached key
    and value of the running requests is read once. Context lengths are those recorded,
    else KV-cache blocks in use x 16 tokens, else none.

    All arrays are float64 of shape (n_rows,). Tokens and requests that are not recorded are
    NaN, and so is what follows from them: nothing tells them from an idle step otherwise.
    """

    def __init__(self, columns: Columns, catalog: Catalog) -> None:
        self.xp: ArrayNamespace = columns.xp
        self.columns = columns
        self.catalog = catalog

    def number(self, name: str) -> Array:
        """Return a column, NaN where it is empty or absent."""
        return self.columns.numbers(name, float("nan"))

    @cached_property
    def batch(self) -> StepQuantities:
        """The batch and the model in the published study's quantities."""
        return StepQuantities(self.columns, self.catalog)

    def by_model(self, name: str) -> Array:
        """Return a field or property of each row's model as float64."""
        models = self.catalog.models
        values = {n: float(getattr(models.get(n), name)) for n in self.columns.labels(schema.MODEL)}
        return self.columns.lookup(schema.MODEL, values)

    def by_gpu(self, name: str) -> Array:
        """Return a field or property of each row's GPU as float64."""
        if schema.GPU not in self.columns:
            msg = (
                f"the data has no column {schema.GPU!r}, so its speed of light is not known; "
                f'add it, or data.constants = {{ gpu = "..." }}'
            )
            raise DataError(msg)
        gpus = self.catalog.gpus
        values = {n: float(getattr(gpus.get(n), name)) for n in self.columns.labels(schema.GPU)}
        return self.columns.lookup(schema.GPU, values)

    @cached_property
    def prefill(self) -> Array:
        """Prompt tokens of the batch."""
        return self.number(schema.PREFILL_TOKENS)

    @cached_property
    def decode(self) -> Array:
        """Output tokens of the batch."""
        return self.number(schema.DECODE_TOKENS)

    @cached_property
    def tokens(self) -> Array:
        """All tokens of the batch."""
        return self.number(schema.SCHEDULED_TOKENS)

    @cached_property
    def tp(self) -> Array:
        """Tensor-parallel degree."""
        return self.batch.tp

    @cached_property
    def layers(self) -> Array:
        """Layers."""
        return self.by_model("num_hidden_layers")

    @cached_property
    def requests(self) -> Array:
        """Requests in the batch."""
        return self.prefill_requests + self.decode_requests

    @cached_property
    def prefill_requests(self) -> Array:
        """Requests in prefill."""
        return self.number(schema.NUM_PREFILL_REQS)

    @cached_property
    def decode_requests(self) -> Array:
        """Requests in decode."""
        return self.number(schema.NUM_DECODE_REQS)

    @cached_property
    def kv_tokens(self) -> Array:
        """Tokens in the KV cache of the running requests, as recorded or by blocks in use.

        0 where neither is recorded: attention is then left out, the weights are not.
        """
        recorded = self.number(schema.KV_TOKENS_SUM)
        used = self.number(schema.KV_BLOCKS_TOTAL) - self.number(schema.KV_BLOCKS_FREE)
        by_blocks = BLOCK_TOKENS * used
        best = self.xp.where(self.xp.isnan(recorded), by_blocks, recorded)
        return self.xp.where(self.xp.isnan(best), 0.0, self.xp.maximum(best, 0.0))

    @cached_property
    def kv_bytes(self) -> Array:
        """Bytes of cached keys and values read, on one GPU."""
        width = self.by_model("kv_width")
        return 2 * _BF16_BYTES * self.kv_tokens * width * self.layers / self.tp

    @cached_property
    def weight_bytes(self) -> Array:
        """Bytes of weights read, on one GPU."""
        one = self.by_model("weight_bytes")
        experts = self.by_model("num_local_experts")
        active = self.by_model("active_expert_ratio")
        touched = experts * (1.0 - (1.0 - active) ** self.xp.maximum(self.tokens, 0.0))
        # `active` is 1 for a dense model, so one "expert" is touched by any token.
        extra = self.xp.maximum(touched - 1.0, 0.0) * self.by_model("expert_bytes")
        return (one + extra + self.by_model("head_bytes")) / self.tp

    @cached_property
    def weight_us(self) -> Array:
        """Least time to read the weights, us."""
        return self.weight_bytes / self.by_gpu("memory_bandwidth") * 1e6

    @cached_property
    def bytes(self) -> Array:
        """Bytes of weights, keys and values read, on one GPU."""
        return self.weight_bytes + self.kv_bytes

    @cached_property
    def flops(self) -> Array:
        """FLOP on one GPU: matrix products of all tokens, every chosen expert's counted."""
        per_token = self.by_model("routed_flops_per_token")
        head = self.by_model("head_bytes") * self.requests  # 2 FLOP for each 2-byte weight
        return (self.tokens * per_token + head) / self.tp

    @cached_property
    def compute_us(self) -> Array:
        """Least time to compute, us."""
        return self.flops / self.by_gpu("peak_bf16_flops") * 1e6

    @cached_property
    def memory_us(self) -> Array:
        """Least time to read weights, keys and values, us."""
        return self.bytes / self.by_gpu("memory_bandwidth") * 1e6

    @cached_property
    def sol_us(self) -> Array:
        """Speed of light, us."""
        return self.xp.maximum(self.compute_us, self.memory_us)
