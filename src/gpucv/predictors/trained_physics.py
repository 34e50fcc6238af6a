"""BLIS's trained physics: an analytical step, each of its terms corrected by one number.

Source: inference-sim, ``sim/latency/trained_physics_model.go`` (``StepTime``) and
``defaults.yaml`` (``trained_physics_coefficients``). The form is the bundled one, prefill and
decode split into compute and memory, without data parallelism and with experts in every
layer or in none; its terms for dispatch between data-parallel ranks and for layers that
alternate are then 0, and are left out. On one GPU of the group, with T tokens, d the width,
v the width of K, f that of a feed-forward layer, L layers and tp GPUs:

- ``prefill_compute``, ``decode_compute``: ``L (4 T d (d + v) + attention + 6 T k d f) / tp``
  FLOP at the data sheet's BF16 peak; k experts answer each token, 1 in a dense model.
  Attention is ``4 d`` FLOP per token and context token: for a chunk of t tokens of a prompt of
  s, ``t (s + t / 2)`` of them; for a decode, its context.
- ``prefill_kv``, ``decode_kv``: ``4 L v / tp`` bytes, at the data sheet's bandwidth, for each
  prompt token written, and for each decode's context token read and new token written.
- ``weights``: ``2 L (2 d (d + v) + 3 E d f) / tp`` bytes, all E experts read in every step.
- ``all_reduce``: two per layer, each ``4 T d (tp - 1) / tp`` bytes at the *memory's*
  bandwidth; the coefficient makes up for the link being another one.
- ``layers``, ``requests`` and a constant, in us each.

A feed-forward layer has three matrices here as there, gated or not.

A table of steps knows no single request, so three things stand in for what BLIS is told:
the context of all decodes together is `kv_tokens` (recorded before the step; else KV-cache
blocks in use x 16; where prompts run in chunks, theirs are among them); prompts are taken to
run whole and to be of one length; and a step decodes as many tokens as requests. On whole
prompts of one length with recorded contexts the terms are BLIS's own. BLIS cuts a step to
whole microseconds; here it stays as computed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from gpucv.predictors.base import FitContext, Params
from gpucv.predictors.complete import complete, positive_times
from gpucv.predictors.least_squares import least_squares

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gpucv.machine import Device

__all__ = [
    "BUNDLED",
    "TRAINED_PHYSICS_INPUTS",
    "TrainedPhysicsParams",
    "TrainedPhysicsPredictor",
    "physics_terms",
]

TRAINED_PHYSICS_INPUTS = (
    "prefill_tokens",
    "decode_tokens",
    "prefill_requests",
    "decode_requests",
    "kv_tokens",
    "layers",
    "tp",
    "hidden_size",
    "kv_width",
    "intermediate_size",
    "experts",
    "experts_per_token",
    "peak_flops",
    "memory_bandwidth",
)

BUNDLED = {
    "prefill_compute": 0.152128,
    "prefill_kv": 0.0,
    "decode_compute": 0.0,
    "decode_kv": 1.94710771,
    "weights": 1.36252915,
    "all_reduce": 0.752037,
    "layers": 32.09546717,
    "requests": 4.41684444,
    "constant": 126.024825,
}
"""The coefficients BLIS ships, learnt on H100 recordings: of a term in us, none; else us."""

_BYTES = 2.0  # BF16: weights, activations, keys and values
_LEAST_US = 1.0  # BLIS's answer to an empty batch, and the least it gives at all


class TrainedPhysicsParams(Params):
    """Where the coefficients come from.

    Attributes
    ----------
    coefficients : {"bundled", "fitted"}
        Those BLIS ships, or non-negative least squares of the relative error over the
        training rows.
    """

    coefficients: Literal["bundled", "fitted"] = "bundled"


class TrainedPhysicsPredictor:
    """Nine terms, each times its coefficient; times in us, so it wants ``transform = "raw"``."""

    device: Device = "cpu"
    best_iteration: int | None = None

    def __init__(self, params: TrainedPhysicsParams, context: FitContext) -> None:
        self._is_fitted = params.coefficients == "fitted"
        self._coefficients = np.array(list(BUNDLED.values()))

    def fit(
        self,
        X: NDArray[np.float32],
        y: NDArray[np.float64],
        valid: tuple[NDArray[np.float32], NDArray[np.float64]] | None,
    ) -> None:
        """Fit the coefficients to X and y, us; learn nothing where they are BLIS's own.

        Raises
        ------
        DataError
            If they are to be fitted, and an input is missing or a target not above 0.
        """
        if not self._is_fitted:
            return
        positive_times(y, "trained-physics")
        relative = self._terms(X) / y[:, None]
        self._coefficients = least_squares(relative, np.ones(len(y)), nonnegative=True)

    def predict(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return one time per row, us, at least 1.

        Raises
        ------
        DataError
            If an input is missing in some row.
        """
        predicted: NDArray[np.float64] = self._terms(X) @ self._coefficients
        return np.maximum(predicted, _LEAST_US)

    def coefficients(self) -> dict[str, float]:
        """Return the coefficients by the name of their term."""
        return dict(zip(BUNDLED, self._coefficients.tolist(), strict=True))

    def importance(self) -> None:
        """Return nothing: no gain is shared among the terms."""

    def serialize(self) -> None:
        """Return nothing: the coefficients are all there is."""

    def _terms(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        values = complete(X, "trained-physics", TRAINED_PHYSICS_INPUTS)
        return physics_terms(dict(zip(TRAINED_PHYSICS_INPUTS, values.T, strict=True)))


def physics_terms(step: dict[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return the terms of steps, in the order of `BUNDLED`.

    Parameters
    ----------
    step : dict of str to ndarray, each of shape (n,)
        Every one of `TRAINED_PHYSICS_INPUTS`; FLOP/s and bytes/s.

    Returns
    -------
    ndarray, shape (n, 9)
        us; counts for layers, requests and the constant. A step without requests is 0.
    """
    layers, tp, width, kv_width = (
        step[name] for name in ("layers", "tp", "hidden_size", "kv_width")
    )
    prompts, decodes = step["prefill_tokens"], step["decode_tokens"]
    chunk = prompts / np.maximum(step["prefill_requests"], 1.0)
    context = np.where(decodes > 0, step["kv_tokens"], 0.0)
    attention_weights = 2 * width * (width + kv_width)
    one_expert = 3 * width * step["intermediate_size"]
    routed = 2 * attention_weights + 2 * one_expert * step["experts_per_token"]
    flop_us = tp * step["peak_flops"] / 1e6
    byte_us = tp * step["memory_bandwidth"] / 1e6
    requests = step["prefill_requests"] + step["decode_requests"]
    tokens = prompts + decodes
    terms = [
        layers * (prompts * routed + 4 * width * prompts * 1.5 * chunk) / flop_us,
        layers * 2 * kv_width * _BYTES * prompts / byte_us,
        layers * (decodes * routed + 4 * width * context) / flop_us,
        layers * 2 * kv_width * _BYTES * (context + decodes) / byte_us,
        layers * (attention_weights + step["experts"] * one_expert) * _BYTES / byte_us,
        layers * 2 * tokens * width * _BYTES * 2 * (tp - 1) / byte_us,
        layers,
        requests,
        np.ones(len(layers)),
    ]
    runs = (requests > 0) | (tokens > 0)
    return np.column_stack(terms) * runs[:, None]
