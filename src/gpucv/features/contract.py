"""What a feature is: its unit, its formula, and where its inputs can be had."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

from gpucv.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gpucv.catalog import Catalog
    from gpucv.frames import Array, Columns

__all__ = ["Availability", "Feature", "FeatureSet", "WithTokens"]

Availability = Literal["sim-available", "trace-only", "metadata"]
"""Where a simulator finds a feature's inputs.

``sim-available``: in the batch it is about to run. ``metadata``: in the model's and
GPU's descriptions. ``trace-only``: only in a recording (KV-block counters, queue
depths), so a predictor that needs it cannot be shipped to a simulator.
"""

WithTokens = Literal["fixed", "rises", "mixed"]
"""What a feature does as a batch (or an operator) gets more tokens, all else equal.

``fixed``: it does not change. ``rises``: it never falls. ``mixed``: it may fall.
"""

Inputs = TypeVar("Inputs")


@dataclass(frozen=True, slots=True)
class Feature(Generic[Inputs]):
    """One column of a feature matrix.

    Attributes
    ----------
    name, unit : str
    available : Availability
    formula : callable
        From the set's quantities to a float64 array of shape (n_rows,).
    tokens : WithTokens
        Decides what a monotone predictor may do with it.
    source : str
        Where the formula comes from, where the set does not say it for all.
    label : bool
        Whether its values are codes that say which rows are alike: their order and
        distances mean nothing.
    """

    name: str
    unit: str
    available: Availability
    formula: Callable[[Inputs], Array]
    tokens: WithTokens = "mixed"
    source: str = ""
    label: bool = False


@dataclass(frozen=True, slots=True)
class FeatureSet(Generic[Inputs]):
    """Features over one kind of quantities, computed together.

    Attributes
    ----------
    name : str
    quantities : callable
        Makes the quantities of a block of rows from its columns and the catalog.
    features : tuple of Feature
    undefined : float
        What an infinite or undefined value becomes: 0 as the study published, NaN where
        trees are to know that it is missing.
    """

    name: str
    quantities: Callable[[Columns, Catalog], Inputs]
    features: tuple[Feature[Inputs], ...]
    undefined: float = 0.0

    def only(self, names: Sequence[str]) -> FeatureSet[Inputs]:
        """Return the set with the features `names` alone, in that order.

        Raises
        ------
        DataError
            If a table of this kind cannot offer one of them.
        """
        offered = {feature.name: feature for feature in self.features}
        absent = [name for name in names if name not in offered]
        if absent:
            msg = (
                f"a table of this kind has no {absent[0]!r} to offer; it has "
                f"{', '.join(offered) or 'nothing'}"
            )
            raise DataError(msg)
        return replace(self, features=tuple(offered[name] for name in names))
