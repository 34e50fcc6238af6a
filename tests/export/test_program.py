from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from gpucv.errors import DataError
from gpucv.export.program import ARITIES, INPUTS, Program, apply

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("op", "operands", "wanted"),
    [
        ("max", (1.0, 2.0), 2.0),
        ("max", (NAN, 2.0), NAN),
        ("max", (2.0, NAN), NAN),
        ("max", (-0.0, 0.0), -0.0),  # the first of equals
        ("min", (1.0, 2.0), 1.0),
        ("min", (1.0, NAN), NAN),
        ("sign", (-0.0,), 0.0),
        ("sign", (-INF,), -1.0),
        ("sign", (NAN,), NAN),
        ("gt", (NAN, 1.0), 0.0),
        ("ne", (NAN, NAN), 1.0),
        ("eq", (-0.0, 0.0), 1.0),
        ("and", (NAN, 1.0), 1.0),
        ("not", (NAN,), 0.0),
        ("where", (NAN, 1.0, 2.0), 1.0),
        ("where", (0.0, 1.0, 2.0), 2.0),
        ("isnan", (NAN,), 1.0),
        ("div", (1.0, 0.0), INF),
        ("div", (0.0, 0.0), NAN),
        ("floor", (-0.5,), -1.0),
        ("ceil", (-0.5,), -0.0),
        ("f32", (0.1,), 0.10000000149011612),
        ("f32", (1e300,), INF),
        ("exp", (0.0,), 1.0),
    ],
)
def test_an_operation_means_what_numpy_means(
    op: str, operands: tuple[float, ...], wanted: float
) -> None:
    (found,) = apply(op, *(np.array([value]) for value in operands))
    assert np.array([found]).tobytes() == np.array([wanted]).tobytes() or (
        np.isnan(found) and np.isnan(wanted)
    )


def test_a_program_runs_over_inputs_constants_and_results() -> None:
    base = len(INPUTS)
    program = Program((2.0, 0.5), (("add", 0, base), ("mul", base + 2, base + 1)))
    inputs = np.zeros((base, 3))
    inputs[0] = [1, 2, 3]
    both = program.run(inputs, [base + 3, 0])
    assert [each.tolist() for each in both] == [[1.5, 2.0, 2.5], [1.0, 2.0, 3.0]]


def test_json_gives_the_same_program_back_to_the_last_bit() -> None:
    program = Program((0.1, 1e-320, NAN, -INF, 1e22), (("add", 0, 8),))
    again = Program.from_json(json.loads(json.dumps(program.to_json())))
    assert np.array(again.consts).tobytes() == np.array(program.consts).tobytes()
    assert again.ops == program.ops


@pytest.mark.parametrize(
    "raw",
    [
        None,
        {"consts": []},
        {"consts": [], "ops": [["pow", 0, 1]]},
        {"consts": [], "ops": [["add", 0]]},
        {"consts": [], "ops": [["add", 0, 8]]},  # its own register
        {"consts": [], "ops": [["add", 0, -1]]},
        {"consts": [], "ops": [["add", 0, True]]},
        {"consts": [], "ops": [["add", 0, 1.0]]},
        {"consts": ["1"], "ops": []},
        {"consts": [10**400], "ops": []},
        {"consts": [0.0] * 100_001, "ops": []},
    ],
)
def test_a_program_that_cannot_run_is_refused(raw: Any) -> None:
    with pytest.raises(DataError, match="program"):
        Program.from_json(raw)


def test_a_version_changes_with_its_formula_and_with_nothing_else() -> None:
    alone = Program((2.0,), (("add", 0, 8),))
    among = Program((7.0, 2.0), (("mul", 1, 8), ("add", 0, 9), ("sub", 10, 11)))
    other = Program((2.5,), (("add", 0, 8),))
    assert alone.version(9, 0.0) == among.version(11, 0.0)
    assert alone.version(9, 0.0) != other.version(9, 0.0)
    assert alone.version(9, 0.0) != alone.version(9, NAN)
    assert alone.version(0, 0.0) != alone.version(1, 0.0)
    assert len(alone.version(9, 0.0)) == 8


def test_every_operation_has_its_number_of_operands() -> None:
    for op, arity in ARITIES.items():
        assert apply(op, *(np.ones(4) for _ in range(arity))).shape == (4,)
