"""The table under audit: its columns as arrays, and what each of them is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from gpucv.errors import TraceError, nearest
from gpucv.schema import (
    CYCLE_US,
    DECODE_TOKENS,
    DURATION_US,
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
    SCHEDULE_US,
    SCHEDULED_TOKENS,
    SOURCE_FILE,
    STEP_ID,
    TP,
    WORKLOAD,
)
from gpucv.traces.piece import one_line

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from gpucv.catalog import Catalog

__all__ = ["EVERYTHING", "GROUPS", "KNOWN_TARGETS", "AuditScope", "Subject"]

GROUPS = (MODEL, WORKLOAD, GPU, TP, ENGINE, ENGINE_VERSION, EXPERIMENT)
"""Columns rows are grouped by, where the table has them."""
KNOWN_TARGETS = (
    DURATION_US,
    SCHEDULE_US,
    CYCLE_US,
    LATENCY_US,
    "ttft_us",
    "tpot_us",
    "itl_us",
    "e2e_us",
)
"""Targets that are audited where none is named."""

_BATCH = (PREFILL_TOKENS, DECODE_TOKENS, NUM_PREFILL_REQS, NUM_DECODE_REQS)
_PHYSICS = frozenset(column.name for column in PHYSICS_COLUMNS)
_MEASURED = re.compile(r"_(us|ms|ns|s|seconds)$|latency|power|energy|throughput|duration")
_LARGEST_KEY = 1 << 62
_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


@dataclass(frozen=True, slots=True)
class AuditScope:
    """What is audited.

    Attributes
    ----------
    targets : tuple of str
        Times to judge, in us; empty: those of `KNOWN_TARGETS` the table has.
    features : tuple of str
        Columns a study learns from; empty: every numeric column that describes the work.
    groups : tuple of str
        Columns rows are held out by, beside `GROUPS`; those the table lacks are passed over.
    experiment, order_by : str
        Columns that name a recording and number its steps.
    default_gpu : str or None
        GPU of rows that name none.
    """

    targets: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    groups: tuple[str, ...] = GROUPS
    experiment: str = EXPERIMENT
    order_by: str = STEP_ID
    default_gpu: str | None = None


EVERYTHING = AuditScope()
"""The scope of an audit that names nothing."""


class Subject:
    """A table under audit.

    Labels and shapes are turned into small whole numbers once, so that rows are grouped
    by arithmetic on arrays: millions of rows are never walked one by one.

    Parameters
    ----------
    frame : pandas.DataFrame
        Labels as text or categories.
    scope : AuditScope
    catalog : Catalog

    Raises
    ------
    TraceError
        If a target or feature named in the scope is not there, or a target is no number.
    """

    def __init__(self, frame: pd.DataFrame, scope: AuditScope, catalog: Catalog) -> None:
        self.frame = frame
        self.scope = scope
        self.catalog = catalog
        self.rows = len(frame)
        self._codes: dict[str, tuple[NDArray[np.int32], tuple[Any, ...]]] = {}
        names = [str(name) for name in frame.columns]
        for name in (*scope.targets, *scope.features):
            if name not in frame.columns:
                msg = f"no column {name!r} to audit{nearest(name, names)}"
                raise TraceError(msg)
        self.targets = scope.targets or tuple(each for each in KNOWN_TARGETS if each in names)
        for name in self.targets:
            if not self.is_number(name):
                msg = f"target {name!r} holds {frame[name].dtype}, which is no number"
                raise TraceError(msg)

    def __contains__(self, name: str) -> bool:
        return name in self.frame.columns

    def is_number(self, name: str) -> bool:
        """Whether a column holds numbers."""
        import pandas as pd

        kind = self.frame[name].dtype
        return pd.api.types.is_numeric_dtype(kind) and not isinstance(kind, pd.CategoricalDtype)

    def numbers(self, name: str) -> NDArray[np.float64]:
        """Return a column as float64, shape (n_rows,); NaN where it is missing."""
        return self.frame[name].to_numpy(dtype="float64", na_value=np.nan)

    def times(self, target: str) -> NDArray[np.float64]:
        """Return a target, us; NaN where it is missing, infinite or not positive."""
        values = self.numbers(target)
        usable = np.isfinite(values) & (values > 0)
        return values if usable.all() else np.where(usable, values, np.nan)

    def codes(self, name: str) -> tuple[NDArray[np.int32], tuple[Any, ...]]:
        """Return a column as whole numbers (-1: missing) and what each number stands for."""
        import pandas as pd

        if name not in self._codes:
            codes, values = pd.factorize(self.frame[name])
            self._codes[name] = codes.astype(np.int32), tuple(values)
        return self._codes[name]

    def key(self, names: tuple[str, ...]) -> NDArray[np.int64]:
        """Return one whole number per row, equal where all the columns are."""
        import pandas as pd

        key = np.zeros(self.rows, dtype=np.int64)
        size = 1
        for name in names:
            codes, values = self.codes(name)
            if size > _LARGEST_KEY // (len(values) + 1):
                key = pd.factorize(key)[0].astype(np.int64)
                size = int(key.max(initial=0)) + 1
            key *= len(values) + 1
            key += codes
            key += 1
            size *= len(values) + 1
        return key

    def marks(self, names: tuple[str, ...]) -> NDArray[np.uint64]:
        """Return 64 bits per row, equal where all the columns are.

        Unlike `key`, numbers are taken by their bits: a column may have a value per row.
        """
        mixed = np.zeros(self.rows, dtype=np.uint64)
        for name in names if self.rows else ():
            if self.is_number(name):
                values = self.numbers(name) + 0.0  # -0.0 becomes 0.0
                values[np.isnan(values)] = np.nan  # NaN has many bit patterns
                bits = values.view(np.uint64)
            else:
                bits = self.codes(name)[0].astype(np.int64).view(np.uint64)
            if (bits == bits[0]).all():
                continue  # a column of one value tells no rows apart
            mixed ^= bits
            for shift, factor in zip((30, 27), _MIX, strict=True):
                mixed ^= mixed >> np.uint64(shift)
                mixed *= factor
            mixed ^= mixed >> np.uint64(31)
            mixed += np.uint64(0x9E3779B97F4A7C15)
        return mixed

    def combinations(
        self, names: tuple[str, ...]
    ) -> tuple[NDArray[np.int64], list[tuple[Any, ...]]]:
        """Return each row's combination of labels by number, and every combination.

        A missing label is None.
        """
        import pandas as pd

        numbers, keys = pd.factorize(self.key(names))
        first = np.full(len(keys), -1, dtype=np.int64)
        first[numbers[::-1]] = np.arange(self.rows - 1, -1, -1)
        coded = [self.codes(name) for name in names]
        found = [
            tuple(values[codes[row]] if codes[row] >= 0 else None for codes, values in coded)
            for row in first
        ]
        return numbers.astype(np.int64), found

    def is_settled(self, name: str, by: str) -> bool:
        """Whether each row's `by` follows from its `name`: a device's full name settles its GPU."""
        import pandas as pd

        codes, values = self.codes(name)
        others, found = self.codes(by)
        both = codes[(codes >= 0) & (others >= 0)].astype(np.int64) * len(found)
        both += others[(codes >= 0) & (others >= 0)]
        return len(pd.unique(both)) <= len(values)

    @cached_property
    def is_steps(self) -> bool:
        """Whether rows are steps of an engine, not measurements of operators."""
        return SCHEDULED_TOKENS in self or any(name in self for name in _BATCH)

    @cached_property
    def groups(self) -> tuple[str, ...]:
        """The group columns that are here: a study tells rows apart by more than it holds out."""
        named = dict.fromkeys((*self.scope.groups, *GROUPS))
        return tuple(name for name in named if name in self)

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """Columns of text: groups, operators, number formats, kernels; not files."""
        apart = {SOURCE_FILE, self.scope.experiment}
        names = [str(name) for name in self.frame.columns if not self.is_number(str(name))]
        return tuple(name for name in names if name not in apart)

    @cached_property
    def work(self) -> tuple[str, ...]:
        """Numeric columns that describe the work: no time, power, group, number of a row."""
        scope = self.scope
        apart = {*self.targets, *scope.groups, *GROUPS, *_PHYSICS, scope.order_by, "repeats"}
        return tuple(
            name
            for name in map(str, self.frame.columns)
            if name not in apart
            and not name.startswith("step.")
            and not _MEASURED.search(name)
            and self.is_number(name)
        )

    @cached_property
    def shapes(self) -> tuple[str, ...]:
        """Columns that say what was run: a step's batch, or an operator's sizes."""
        if not self.is_steps:
            return self.work
        batch = tuple(name for name in _BATCH if name in self)
        return batch or (SCHEDULED_TOKENS,)

    @cached_property
    def point(self) -> tuple[str, ...]:
        """Columns that tell one measured point from another: repeats agree in all of them.

        Features are among them, since a study may tell shapes by their FLOPs alone.
        """
        columns = (*self.groups, *self.labels, *self.shapes, *self.scope.features)
        return tuple(dict.fromkeys(columns))

    @cached_property
    def candidates(self) -> tuple[str, ...]:
        """Numeric columns that might be learned from: those of the scope, else all but ids."""
        if self.scope.features:
            return tuple(name for name in self.scope.features if self.is_number(name))
        apart = {*self.targets, *KNOWN_TARGETS, *GROUPS, *_PHYSICS, self.scope.order_by}
        names = (str(name) for name in self.frame.columns)
        return tuple(name for name in names if name not in apart and self.is_number(name))

    def shown(self, value: Any) -> str:
        """Return a label from the data as messages show it."""
        return "none" if value is None else one_line(value, 100)
