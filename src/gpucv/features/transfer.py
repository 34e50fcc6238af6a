"""The ``transfer`` features: quantities that mean the same on any model and GPU.

Holding out a model or a GPU asks a tree about sizes it has never seen, and a tree is flat
beyond them. Ratios of the work to what the hardware offers do not run away: a matrix
product of 16 rows is far below the balance of any GPU, and its last wave of tiles is as
empty on one GPU as on another with as many multiprocessors. Which of them earn their place
was decided on Vidur's profiles (8 models, 3 GPUs), aiconfigurator's GEMMs (10 GPU systems)
and vLLM's steps; docs/formulations.md has the ablations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpucv.features.contract import Feature, FeatureSet
from gpucv.features.operators import OPERATOR_FEATURES, OperatorQuantities
from gpucv.features.work import StepWork, has_operator_work

if TYPE_CHECKING:
    from gpucv.frames import Array, Columns

__all__ = ["STEP_FEATURES", "transfer_set"]

_ROOFLINE = "Williams et al. 2009, Roofline"


def _per_balance(work: StepWork, tokens: Array) -> Array:
    """Return the time to compute `tokens` / the time to read the weights once."""
    compute = tokens * work.by_model("routed_flops_per_token") / work.tp
    return compute / work.by_gpu("peak_bf16_flops") * 1e6 / work.weight_us


STEP_FEATURES: tuple[Feature[StepWork], ...] = (
    Feature(
        "t_compute_per_weights",
        "ratio",
        "sim-available",
        lambda w: _per_balance(w, w.tokens),
        "rises",
        _ROOFLINE,
    ),
    Feature(
        "t_prefill_per_weights",
        "ratio",
        "sim-available",
        lambda w: _per_balance(w, w.prefill),
        "mixed",  # of a mixture, decode tokens touch more experts and so more weights
        _ROOFLINE,
    ),
    Feature(
        "t_tokens_per_expert",
        "tokens",
        "sim-available",
        lambda w: w.tokens * w.by_model("active_expert_ratio"),
        "rises",
        "mean rows of one expert's matrix product; all tokens for a dense model",
    ),
    Feature(
        "t_prefill_requests",
        "requests",
        "sim-available",
        lambda w: w.prefill_requests,
        "rises",
        "each is one more attention kernel of its own length",
    ),
)


def transfer_set(columns: Columns) -> FeatureSet[Any]:
    """Return the set as a table of this kind can compute it; what is undefined is missing."""
    if has_operator_work(columns):
        return FeatureSet("transfer", OperatorQuantities, OPERATOR_FEATURES, float("nan"))
    return FeatureSet("transfer", StepWork, STEP_FEATURES, float("nan"))
