"""Formulas run once over symbols: what comes out is the program they are.

A formula is Python over arrays and an array namespace ``xp``. Given arrays that write down
what is done to them, it leaves the operations behind, in its own order. What is known of a
configuration is a number from the start, so that all that follows from it is worked out here.
"""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from gpucv.errors import UntraceableError
from gpucv.export.program import INPUTS, Program, apply
from gpucv.frames.cpu import PandasColumns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import pandas as pd

    from gpucv.frames import Columns

__all__ = ["Trace", "TracedArray", "TracedColumns"]


class Trace:
    """Operations written down so far, each once."""

    def __init__(self) -> None:
        self._nodes: list[tuple[Any, ...]] = []
        self._known: dict[tuple[Any, ...], int] = {}

    def input(self, name: str) -> TracedArray:
        """Return one of `INPUTS`."""
        return self._node("input", INPUTS.index(name))

    def const(self, value: float) -> TracedArray:
        """Return a number that is the same for every batch."""
        # By its bits: 0.0 == -0.0, and NaN is not itself.
        return self._node("const", struct.pack("<d", float(value)))

    def of(self, value: Any) -> TracedArray:
        """Return `value` traced: itself, or a constant."""
        return value if isinstance(value, TracedArray) else self.const(value)

    def op(self, name: str, *operands: Any) -> TracedArray:
        """Return the result of an operation; of constants alone, it is worked out at once."""
        traced = [self.of(operand) for operand in operands]
        if all(each.is_const for each in traced):
            values = [np.array([each.value]) for each in traced]
            return self.const(float(apply(name, *values)[0]))
        if name == "where" and traced[0].is_const:
            return traced[1] if traced[0].value != 0 else traced[2]
        return self._node(name, *(each.at for each in traced))

    def program(self, outputs: Sequence[TracedArray]) -> tuple[Program, list[int]]:
        """Return what `outputs` need, and the register of each."""
        needed: set[int] = set()
        waiting = [each.at for each in outputs]
        while waiting:
            at = waiting.pop()
            if at not in needed:
                needed.add(at)
                name, *operands = self._nodes[at]
                waiting += operands if name not in ("input", "const") else []
        order = sorted(needed)  # a node stands behind what it reads
        consts = [at for at in order if self._nodes[at][0] == "const"]
        ops = [at for at in order if self._nodes[at][0] not in ("input", "const")]
        place = {at: self._nodes[at][1] for at in order if self._nodes[at][0] == "input"}
        place |= {at: len(INPUTS) + n for n, at in enumerate((*consts, *ops))}
        program = Program(
            tuple(struct.unpack("<d", self._nodes[at][1])[0] for at in consts),
            tuple(
                (self._nodes[at][0], *(place[read] for read in self._nodes[at][1:])) for at in ops
            ),
        )
        return program, [place[each.at] for each in outputs]

    def _node(self, *node: Any) -> TracedArray:
        at = self._known.setdefault(node, len(self._nodes))
        if at == len(self._nodes):
            self._nodes.append(node)
        return TracedArray(self, at)

    def node(self, at: int) -> tuple[Any, ...]:
        """Return what was written down at place `at`."""
        return self._nodes[at]


def _binary(name: str, *, swapped: bool = False) -> Callable[[TracedArray, Any], TracedArray]:
    def operator(self: TracedArray, other: Any) -> TracedArray:
        pair = (other, self) if swapped else (self, other)
        return self.trace.op(name, *pair)

    return operator


class TracedArray:
    """An array of which only its place in a trace is known, or its one value."""

    __array_ufunc__ = None  # NumPy's numbers leave the arithmetic to this class
    __hash__ = None  # type: ignore[assignment]  # `==` is an operation of the trace

    def __init__(self, trace: Trace, at: int) -> None:
        self.trace = trace
        self.at = at

    @property
    def is_const(self) -> bool:
        """Whether it is the same for every batch."""
        return bool(self.trace.node(self.at)[0] == "const")

    @property
    def value(self) -> float:
        """The value of a constant.

        Raises
        ------
        UntraceableError
            If it depends on the batch.
        """
        if not self.is_const:
            msg = "a formula decides in Python by the counts of a batch"
            raise UntraceableError(msg)
        number: float = struct.unpack("<d", self.trace.node(self.at)[1])[0]
        return number

    __add__ = _binary("add")
    __radd__ = _binary("add", swapped=True)
    __sub__ = _binary("sub")
    __rsub__ = _binary("sub", swapped=True)
    __mul__ = _binary("mul")
    __rmul__ = _binary("mul", swapped=True)
    __truediv__ = _binary("div")
    __rtruediv__ = _binary("div", swapped=True)
    __gt__ = _binary("gt")
    __ge__ = _binary("ge")
    __lt__ = _binary("lt")
    __le__ = _binary("le")
    __eq__ = _binary("eq")  # type: ignore[assignment]
    __ne__ = _binary("ne")  # type: ignore[assignment]
    __and__ = _binary("and")
    __rand__ = _binary("and", swapped=True)
    __or__ = _binary("or")
    __ror__ = _binary("or", swapped=True)

    def __neg__(self) -> TracedArray:
        return self.trace.op("neg", self)

    def __abs__(self) -> TracedArray:
        return self.trace.op("abs", self)

    def __invert__(self) -> TracedArray:
        return self.trace.op("not", self)

    def __pow__(self, power: Any) -> TracedArray:
        """Return a known base to any power, as an exponential; or a square."""
        trace, power = self.trace, self.trace.of(power)
        if not self.is_const:
            if power.is_const and power.value == 2.0:
                return self * self
            msg = "a formula takes a power of the batch; programs have squares only"
            raise UntraceableError(msg)
        base = self.value
        if power.is_const:
            return trace.const(float(np.float64(base) ** np.float64(power.value)))
        if base == 1.0:
            return trace.const(1.0)
        if base == 0.0:
            positive = trace.op("where", power > 0.0, 0.0, power)
            return trace.op("where", power == 0.0, 1.0, positive)
        if not base > 0:
            msg = f"a formula takes {base:g} to the power of a count"
            raise UntraceableError(msg)
        return trace.op("exp", power * math.log(base))

    def __rpow__(self, base: Any) -> TracedArray:
        return self.trace.of(base) ** self

    def __bool__(self) -> bool:
        return self.value != 0

    def __float__(self) -> float:
        return self.value

    def any(self) -> TracedArray:
        """Return itself: a constant is true everywhere or nowhere."""
        return self.trace.const(float(self.value != 0))

    all = any

    def min(self) -> TracedArray:
        """Return itself: a constant is its own minimum."""
        return self.trace.const(self.value)

    max = min


class _Namespace:
    """What formulas use of NumPy, over traced arrays."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace

    def __getattr__(self, name: str) -> Any:
        if name not in _FUNCTIONS:
            msg = f"a formula uses {name}, which programs lack"
            raise UntraceableError(msg)
        trace, op = self._trace, _FUNCTIONS[name]
        return lambda *operands: trace.op(op, *operands)

    def log(self, value: Any) -> TracedArray:
        """Return the logarithm of a constant."""
        with np.errstate(all="ignore"):
            return self._trace.const(float(np.log(self._trace.of(value).value)))

    def full(self, length: int, value: Any) -> TracedArray:
        """Return a column of one value."""
        return self._trace.of(value)

    def zeros(self, length: int) -> TracedArray:
        """Return a column of zeros."""
        return self._trace.const(0.0)


_FUNCTIONS = {
    "maximum": "max",
    "minimum": "min",
    "abs": "abs",
    "sign": "sign",
    "where": "where",
    "isnan": "isnan",
    "floor": "floor",
    "ceil": "ceil",
    "exp": "exp",
    "logical_and": "and",
    "logical_or": "or",
    "logical_not": "not",
}


class TracedColumns:
    """`gpucv.frames.protocol.Columns` of a batch not yet known, of a configuration that is.

    Parameters
    ----------
    trace : Trace
    known : DataFrame
        One row: what is the same in every step of the configuration (model, GPU, TP).
    present : set of str
        Columns the rows learnt from have. What they lack is missing to any formula, and so is
        what only a recording knows: whether that changes a feature is checked on the rows.
    """

    def __init__(self, trace: Trace, known: pd.DataFrame, present: frozenset[str]) -> None:
        self.xp = _Namespace(trace)
        self._trace = trace
        self._known = PandasColumns(known)
        self._present = present

    def __len__(self) -> int:
        """Return 1: the one batch."""
        return 1

    def __contains__(self, name: object) -> bool:
        """Tell whether the rows learnt from have a column of that name."""
        return name in self._present

    def numbers(self, name: str, missing: float) -> TracedArray:
        """Return a count of the batch, or what is known of the configuration."""
        if name in self._present and name in self._known:
            return self._trace.const(float(self._known.numbers(name, missing)[0]))
        if name not in self._present or name not in INPUTS:
            return self._trace.const(missing)
        count = self._trace.input(name)
        if math.isnan(missing):
            return count
        return self._trace.op("where", self._trace.op("isnan", count), missing, count)

    def labels(self, name: str) -> list[str]:
        """Return the one label of the configuration."""
        return self._of(name).labels(name)

    def lookup(self, name: str, values: Mapping[str, float]) -> TracedArray:
        """Return the number `values` gives the configuration's label."""
        return self._trace.const(float(self._of(name).lookup(name, values)[0]))

    def label_codes(self, name: str, reading: Callable[[str], str] = str) -> TracedArray:
        """Return the code of the configuration's label; 0 where there is none."""
        if name not in self._present:
            return self._trace.const(0.0)
        return self._trace.const(float(self._of(name).label_codes(name, reading)[0]))

    def reading(self, name: str, number: Callable[[str], float]) -> TracedArray:
        """Return what `number` makes of the configuration's label."""
        return self._trace.const(float(self._of(name).reading(name, number)[0]))

    def blocks(self, rows: int) -> Iterator[tuple[slice, Columns]]:
        """Refuse: there is one batch."""
        self._refuse("blocks of rows")

    def _of(self, name: str) -> PandasColumns:
        if name not in self._known:
            self._refuse(f"the label {name!r}")
        return self._known

    def _refuse(self, what: str) -> NoReturn:
        msg = f"a formula reads {what}, which no simulator knows of a batch"
        raise UntraceableError(msg)
