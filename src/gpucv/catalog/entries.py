"""What the catalog knows of an LLM, of a GPU and of a number format.

A `ModelSpec` carries the fields of a Hugging Face ``config.json`` under their own
names; a `GpuSpec` the figures of a data sheet in SI units.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = ["CatalogEntry", "Compute", "DtypeSpec", "GpuSpec", "ModelSpec"]

Compute = Literal["bf16", "fp8", "int8", "fp4"]
"""The format a matrix unit multiplies in; FP16 runs at BF16's rate."""

# Bounded, so that no product of sizes overflows float64.
Size = Annotated[int, Field(gt=0, le=1_000_000_000)]


class CatalogEntry(BaseModel):
    """What every entry has: a name, and the other names it goes by."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: str = Field(min_length=1)
    aliases: tuple[str, ...] = ()

    @property
    def known_names(self) -> tuple[str, ...]:
        """Every name this entry is found by."""
        return (self.name, *self.aliases)


class ModelSpec(CatalogEntry):
    """One LLM's architecture.

    Attributes
    ----------
    hidden_size : int
        Width d of the residual stream.
    num_key_value_heads : int
        Heads of K and V; equal to `num_attention_heads` without grouping.
    intermediate_size : int
        Width f of one (expert's) feed-forward layer.
    num_local_experts, num_experts_per_tok : int
        1 and 1 for a dense model.
    gated_mlp : bool
        Whether the feed-forward layer has three matrices (gate, up, down) or two.
    """

    hf_repo: str = ""
    hidden_size: Size
    num_hidden_layers: Size
    num_attention_heads: Size
    num_key_value_heads: Size
    intermediate_size: Size
    num_local_experts: Size = 1
    num_experts_per_tok: Size = 1
    vocab_size: Size = 32000
    gated_mlp: bool = True

    @model_validator(mode="after")
    def _heads_must_divide_the_width(self) -> Self:
        if self.hidden_size % self.num_attention_heads:
            msg = (
                f"hidden_size {self.hidden_size} is not a multiple of "
                f"num_attention_heads {self.num_attention_heads}"
            )
            raise ValueError(msg)
        if self.num_experts_per_tok > self.num_local_experts:
            msg = (
                f"num_experts_per_tok {self.num_experts_per_tok} exceeds "
                f"num_local_experts {self.num_local_experts}"
            )
            raise ValueError(msg)
        return self

    @property
    def known_names(self) -> tuple[str, ...]:
        """Every name this entry is found by."""
        return (*super().known_names, *((self.hf_repo,) if self.hf_repo else ()))

    @property
    def head_size(self) -> int:
        """Width of one attention head."""
        return self.hidden_size // self.num_attention_heads

    @property
    def kv_width(self) -> int:
        """Width of K (and of V): key-value heads x head size."""
        return self.num_key_value_heads * self.head_size

    @property
    def flops_per_token(self) -> float:
        """FLOP of all layers for one token, attention over the context not counted."""
        return self.num_hidden_layers * (
            2 * self._attention_weights + 2 * self._expert_weights * self.active_expert_ratio
        )

    @property
    def weight_bytes(self) -> float:
        """Bytes of all layers' BF16 weights, one expert of each layer counted.

        The least any step reads, whichever experts its tokens choose.
        """
        return 2 * self.num_hidden_layers * (self._attention_weights + self._expert_weights)

    @property
    def expert_bytes(self) -> float:
        """Bytes of one BF16 expert of every layer; of a dense model, its feed-forward layers."""
        return 2.0 * self.num_hidden_layers * self._expert_weights

    @property
    def routed_flops_per_token(self) -> float:
        """FLOP of all layers for one token, each of its k experts counted whole.

        `flops_per_token` is the published formula, which counts k / E of one expert.
        """
        return self.num_hidden_layers * (
            2 * self._attention_weights + 2 * self._expert_weights * self.num_experts_per_tok
        )

    @property
    def head_bytes(self) -> float:
        """Bytes of the BF16 output head, read whenever a token is sampled."""
        return 2 * self.vocab_size * self.hidden_size

    @property
    def _attention_weights(self) -> int:
        return self.hidden_size * (self.hidden_size + 2 * self.kv_width) + self.hidden_size**2

    @property
    def _expert_weights(self) -> int:
        matrices = 3 if self.gated_mlp else 2
        return matrices * self.hidden_size * self.intermediate_size

    @property
    def is_moe(self) -> bool:
        """Whether the feed-forward layers are a mixture of experts."""
        return self.num_local_experts > 1

    @property
    def active_expert_ratio(self) -> float:
        """Experts used per token / experts; 1 for a dense model."""
        return self.num_experts_per_tok / self.num_local_experts


class GpuSpec(CatalogEntry):
    """One GPU's data sheet.

    Attributes
    ----------
    peak_bf16_flops : float
        Dense BF16 tensor-core peak, FLOP/s.
    peak_fp8_flops, peak_int8_flops, peak_fp4_flops : float or None
        Dense peaks of narrower formats, FLOP/s; None where the GPU has no such unit.
    memory_bandwidth : float
        Bytes/s.
    bandwidth_efficiency : float
        Share of the bandwidth a streaming kernel reaches.
    memory_bytes : int
        Device memory, bytes.
    multiprocessors : int or None
        Units that each compute one tile at a time: streaming multiprocessors, Xe cores.
    architecture : str
        Whose kernels it runs: ``ampere``, ``ada``, ``hopper``, ``blackwell``,
        ``blackwell-rtx``, ``xe2`` or another; "" where it is not known.
    superchip : bool
        Whether the host's CPU is on the module (Grace), which changes what a launch costs.
    """

    peak_bf16_flops: float = Field(gt=0)
    peak_fp8_flops: float | None = Field(default=None, gt=0)
    peak_int8_flops: float | None = Field(default=None, gt=0)
    peak_fp4_flops: float | None = Field(default=None, gt=0)
    memory_bandwidth: float = Field(gt=0)
    bandwidth_efficiency: float = Field(gt=0, le=1)
    memory_bytes: int = Field(gt=0)
    multiprocessors: int | None = Field(default=None, gt=0)
    architecture: str = ""
    superchip: bool = False

    def peak_flops(self, compute: Compute) -> float | None:
        """Return the dense peak for arithmetic in `compute`, FLOP/s; None without such a unit."""
        return {
            "bf16": self.peak_bf16_flops,
            "fp8": self.peak_fp8_flops,
            "int8": self.peak_int8_flops,
            "fp4": self.peak_fp4_flops,
        }[compute]

    @property
    def machine_balance(self) -> float:
        """FLOP per byte above which a kernel is limited by compute, not memory."""
        return self.peak_bf16_flops / (self.memory_bandwidth * self.bandwidth_efficiency)


class DtypeSpec(CatalogEntry):
    """One number format (or quantisation) of weights and arithmetic.

    Attributes
    ----------
    weight_bytes : float
        Bytes of one weight, its share of the scales included.
    activation_bytes : float
        Least bytes of one input activation; outputs are two bytes.
    compute : {"bf16", "fp8", "int8", "fp4"}
        What the matrix unit multiplies in.
    """

    weight_bytes: float = Field(gt=0)
    activation_bytes: float = Field(gt=0)
    compute: Compute
