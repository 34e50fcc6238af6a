"""Which features a simulator can compute for itself, and how.

A feature may be shipped if the counts of a batch and the configuration give every value it had
on the rows learnt from. What only a recording knows (KV-block counters, queue depths) reads as
absent in a program, so a feature that needed it has other values there, and is found out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gpucv.errors import DataError, UntraceableError
from gpucv.export.program import INPUTS, Program
from gpucv.export.tracing import Trace, TracedColumns
from gpucv.features.work import work_of
from gpucv.schema import DTYPE, ENGINE, ENGINE_VERSION, GPU, MODEL, TP

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from gpucv.catalog import Catalog
    from gpucv.export.tracing import TracedArray
    from gpucv.features import Availability
    from gpucv.features.views import ViewPlan

__all__ = ["Formula", "Formulas", "evaluate", "inputs_of_frame", "same_features"]

KNOWN_COLUMNS = (MODEL, GPU, TP, ENGINE, ENGINE_VERSION, DTYPE)
"""What a configuration says of every step run under it."""


@dataclass(frozen=True, slots=True, eq=False)
class Formula:
    """A feature as a place in a trace.

    Attributes
    ----------
    name, unit : str
    available : Availability
    undefined : float
        What a value that is not finite as float32 becomes.
    traced : TracedArray
    """

    name: str
    unit: str
    available: Availability
    undefined: float
    traced: TracedArray


class Formulas:
    """The formulas of a study's features for one configuration, traced as they are asked for.

    Parameters
    ----------
    rows : DataFrame
        The configuration's rows.
    plan : ViewPlan
    catalog : Catalog
    """

    def __init__(self, rows: pd.DataFrame, plan: ViewPlan, catalog: Catalog) -> None:
        self.trace = Trace()
        known = [
            name
            for name in KNOWN_COLUMNS
            if name in rows.columns and rows[name].nunique(dropna=False) == 1
        ]
        self._columns = TracedColumns(
            self.trace, rows[known].head(1).reset_index(drop=True), frozenset(rows.columns)
        )
        self._catalog = catalog
        self._raw = plan.raw
        self._offered = {f.name: (part, f) for part in plan.sets for f in part.features}
        self._quantities: dict[str, Any] = {}

    def of(self, name: str) -> Formula | None:
        """Return the formula of a feature; None where it asks for more than is known."""
        nan = float("nan")
        if name in self._raw:
            known = name in KNOWN_COLUMNS
            traced = self._columns.numbers(name, nan)
            return Formula(name, "", "metadata" if known else "sim-available", nan, traced)
        part, feature = self._offered[name]
        try:
            if part.name not in self._quantities:
                self._quantities[part.name] = part.quantities(self._columns, self._catalog)
            traced = self.trace.of(feature.formula(self._quantities[part.name]))
        except UntraceableError:
            return None
        tag: Availability = "metadata" if feature.available == "metadata" else "sim-available"
        return Formula(name, feature.unit, tag, part.undefined, traced)

    def speed_of_light(self) -> TracedArray | None:
        """Return the least time of a step, us, in float64; None where it is not known."""
        try:
            return self.trace.of(work_of(self._columns, self._catalog).sol_us)
        except UntraceableError:
            return None


def inputs_of_frame(frame: pd.DataFrame) -> NDArray[np.float64]:
    """Return the counts of each row's batch, shape (len(INPUTS), n); NaN where not known.

    Raises
    ------
    DataError
        If a column holds no numbers.
    """
    from gpucv.frames.cpu import PandasColumns

    columns = PandasColumns(frame)
    nan = float("nan")
    return np.array([columns.numbers(name, nan) for name in INPUTS]).reshape(len(INPUTS), -1)


def evaluate(
    program: Program,
    registers: Sequence[int],
    undefined: Sequence[float],
    inputs: NDArray[np.float64],
) -> NDArray[np.float32]:
    """Return the features of batches, as trees compare them.

    Parameters
    ----------
    program : Program
    registers : sequence of int
        Where each feature stands.
    undefined : sequence of float
        What each is where its value is not finite as float32.
    inputs : ndarray of float64, shape (len(INPUTS), n)

    Returns
    -------
    ndarray of float32, shape (n, len(registers)), C order
    """
    X = np.empty((inputs.shape[1], len(registers)), dtype=np.float32)
    found = program.run(inputs, registers)
    for at, (values, instead) in enumerate(zip(found, undefined, strict=True)):
        with np.errstate(over="ignore", invalid="ignore"):
            single = values.astype(np.float32)
        X[:, at] = np.where(np.isfinite(single), single, np.float32(instead))
    return X


def same_features(one: NDArray[np.float32], other: NDArray[np.float32]) -> bool:
    """Tell whether two columns agree in every row, but for the last bit of a power."""
    both = np.isnan(one) & np.isnan(other)
    near = (one == other) | (np.nextafter(one, other, dtype=np.float32) == other)
    return bool((both | near).all())


def must_describe_batches(frame: pd.DataFrame) -> None:
    """Refuse rows that are not steps of an engine.

    Raises
    ------
    DataError
        If they name no batch.
    """
    if not any(name in frame.columns for name in INPUTS):
        msg = (
            f"the data has none of {', '.join(INPUTS[:5])}: only predictors of engine steps "
            "can be exported"
        )
        raise DataError(msg)
