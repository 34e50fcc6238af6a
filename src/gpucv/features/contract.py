"""What a feature is: its unit, its formula, and where its inputs can be had."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpucv.frames import Array

__all__ = ["Availability", "Feature"]

Availability = Literal["sim-available", "trace-only", "metadata"]
"""Where a simulator finds a feature's inputs.

``sim-available``: in the batch it is about to run. ``metadata``: in the model's and
GPU's descriptions. ``trace-only``: only in a recording (KV-block counters, queue
depths), so a predictor that needs it cannot be shipped to a simulator.
"""

Inputs = TypeVar("Inputs")


@dataclass(frozen=True, slots=True)
class Feature(Generic[Inputs]):
    """One column of a feature matrix."""

    name: str
    unit: str
    available: Availability
    formula: Callable[[Inputs], Array]
