"""Formulas as data: a short straight program over the counts of a batch.

Register 0 onwards hold the inputs, then the constants, then one result per operation. Every
operation is one rounded float64 operation with NumPy's meaning, so whoever runs the program,
in whatever language, gets the same bits.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gpucv import schema
from gpucv.errors import DataError, shown
from gpucv.export.exact import exact_exp

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

__all__ = ["ARITIES", "INPUTS", "Program", "apply", "number_from_json", "number_to_json"]

INPUTS = (
    schema.PREFILL_TOKENS,
    schema.DECODE_TOKENS,
    schema.SCHEDULED_TOKENS,
    schema.NUM_PREFILL_REQS,
    schema.NUM_DECODE_REQS,
    schema.KV_TOKENS_SUM,
    schema.KV_TOKENS_MAX,
    schema.KV_TOKENS_MEAN,
)
"""What a simulator knows of the batch it is about to run."""

MOST_OPS = 100_000
"""Of one program; the 30 published features take some forty."""


def _truth(condition: NDArray[np.bool_]) -> NDArray[np.float64]:
    return np.where(condition, 1.0, 0.0)


def _sign(x: Any) -> Any:
    return np.where(x > 0, 1.0, np.where(x < 0, -1.0, np.where(x == 0, 0.0, x)))


# Selections are written out, so that even the sign of a zero is the same everywhere.
_OPS: dict[str, tuple[int, Callable[..., Any]]] = {
    "add": (2, lambda a, b: a + b),
    "sub": (2, lambda a, b: a - b),
    "mul": (2, lambda a, b: a * b),
    "div": (2, lambda a, b: a / b),
    "max": (2, lambda a, b: np.where((a >= b) | np.isnan(a), a, b)),
    "min": (2, lambda a, b: np.where((a <= b) | np.isnan(a), a, b)),
    "neg": (1, lambda a: -a),
    "abs": (1, np.abs),
    "sign": (1, _sign),
    "gt": (2, lambda a, b: _truth(a > b)),
    "ge": (2, lambda a, b: _truth(a >= b)),
    "lt": (2, lambda a, b: _truth(a < b)),
    "le": (2, lambda a, b: _truth(a <= b)),
    "eq": (2, lambda a, b: _truth(a == b)),
    "ne": (2, lambda a, b: _truth(a != b)),
    "and": (2, lambda a, b: _truth((a != 0) & (b != 0))),
    "or": (2, lambda a, b: _truth((a != 0) | (b != 0))),
    "not": (1, lambda a: _truth(a == 0)),
    "where": (3, lambda c, a, b: np.where(c != 0, a, b)),
    "isnan": (1, lambda a: _truth(np.isnan(a))),
    "floor": (1, np.floor),
    "ceil": (1, np.ceil),
    "exp": (1, exact_exp),
    "f32": (1, lambda a: a.astype(np.float32).astype(np.float64)),
}
ARITIES = {name: arity for name, (arity, _) in _OPS.items()}
"""Operations and how many registers each reads."""


def apply(name: str, *values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the result of one operation on float64 arrays; nothing is an error."""
    with np.errstate(all="ignore"):
        result: NDArray[np.float64] = _OPS[name][1](*values)
    return result


@dataclass(frozen=True, slots=True)
class Program:
    """Constants and operations over `INPUTS`.

    Attributes
    ----------
    consts : tuple of float
        Their registers follow those of the inputs.
    ops : tuple of (str, int, ...)
        A name and the registers read, all before its own.
    """

    consts: tuple[float, ...]
    ops: tuple[tuple[Any, ...], ...]

    def __len__(self) -> int:
        """Return the number of registers."""
        return len(INPUTS) + len(self.consts) + len(self.ops)

    def run(self, inputs: NDArray[np.float64], wanted: Sequence[int]) -> list[NDArray[np.float64]]:
        """Return the registers `wanted`.

        Parameters
        ----------
        inputs : ndarray of float64, shape (len(INPUTS), n)
            NaN where a count is not known.
        wanted : sequence of int

        Returns
        -------
        list of ndarray, each of shape (n,)
        """
        n = inputs.shape[1]
        registers = [*inputs, *(np.full(n, value) for value in self.consts)]
        for name, *operands in self.ops:
            registers.append(apply(name, *(registers[at] for at in operands)))
        return [registers[at] for at in wanted]

    def only(self, wanted: int) -> Program:
        """Return the part that one register needs; its own is then the last."""
        base = len(INPUTS) + len(self.consts)
        needed = {wanted}
        for at in range(len(self.ops) - 1, -1, -1):
            if base + at in needed:
                needed.update(self.ops[at][1:])
        place = {at: at for at in range(len(INPUTS))}
        consts = [at for at in range(len(INPUTS), base) if at in needed]
        place |= {at: len(INPUTS) + new for new, at in enumerate(consts)}
        ops = [at for at in range(len(self.ops)) if base + at in needed]
        place |= {base + at: len(INPUTS) + len(consts) + new for new, at in enumerate(ops)}
        return Program(
            tuple(self.consts[at - len(INPUTS)] for at in consts),
            tuple((self.ops[at][0], *(place[r] for r in self.ops[at][1:])) for at in ops),
        )

    def version(self, register: int, undefined: float) -> str:
        """Return 8 hex digits that change with the formula of `register`, and with nothing else."""
        part = self.only(register).to_json()
        at = register if register < len(INPUTS) else -1
        what = {"inputs": INPUTS, "input": at, **part, "undefined": number_to_json(undefined)}
        return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:8]

    def to_json(self) -> dict[str, Any]:
        """Return the program as plain data."""
        consts = [number_to_json(value) for value in self.consts]
        return {"consts": consts, "ops": [list(op) for op in self.ops]}

    @classmethod
    def from_json(cls, raw: Any) -> Program:
        """Read a program from anyone's hands.

        Raises
        ------
        DataError
            If an operation is unknown, or reads a register that is not made before it.
        """
        if not isinstance(raw, dict) or not all(
            isinstance(raw.get(key), list) for key in ("consts", "ops")
        ):
            msg = f"program is {shown(raw)}, not constants and operations"
            raise DataError(msg)
        if len(raw["consts"]) + len(raw["ops"]) > MOST_OPS:
            msg = f"program has more than {MOST_OPS:,} constants and operations"
            raise DataError(msg)
        consts = tuple(number_from_json(value, "program.consts") for value in raw["consts"])
        ops: list[tuple[Any, ...]] = []
        for op in raw["ops"]:
            known = len(INPUTS) + len(consts) + len(ops)
            if not _is_sound(op, known):
                msg = f"program: operation {len(ops)} is {shown(op)}, which this version cannot run"
                raise DataError(msg)
            ops.append(tuple(op))
        return cls(consts, tuple(ops))


def _is_sound(op: Any, known: int) -> bool:
    if not isinstance(op, list) or not op or not isinstance(op[0], str):
        return False
    return len(op) - 1 == ARITIES.get(op[0], -1) and all(
        type(at) is int and 0 <= at < known for at in op[1:]
    )


def number_to_json(value: float) -> float | str:
    """Return a number as JSON holds it: what is not finite by name."""
    if math.isnan(value):
        return "nan"
    return float(value) if math.isfinite(value) else ("inf" if value > 0 else "-inf")


def number_from_json(value: Any, place: str) -> float:
    """Return a number that `number_to_json` wrote.

    Raises
    ------
    DataError
        If it is none.
    """
    if isinstance(value, str) and value in ("nan", "inf", "-inf"):
        return float(value)
    if type(value) in (int, float) and abs(value) <= _LARGEST:
        return float(value)
    msg = f"{place} holds {shown(value)}, not a number"
    raise DataError(msg)


_LARGEST = 1.7976931348623157e308
