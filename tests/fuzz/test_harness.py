"""The harness itself: what it must call a fault, and what bounds the memory of a reader."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest
from tests.fuzz.damage import damaged
from tests.fuzz.target import Target, explore, meet

from gpucv.errors import DataError, GpucvError

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "fuzz.py"
BOUNDED = ("table-csv", "table-parquet", "otel", "blis", "fpm", "study", "set-models")


def refusing(error: Exception) -> Target:
    def read(content: bytes) -> NoReturn:
        raise error

    return Target("refusing", (b"a seed",), read)


def test_a_refusal_in_one_line_is_met() -> None:
    assert meet(refusing(DataError("x.csv, line 3: no number")), b"") is False
    assert meet(Target("reading", (b"",), lambda content: None), b"") is True


@pytest.mark.parametrize(
    "error",
    [
        KeyError("a reader's own slip"),
        MemoryError(),
        RecursionError(),
        GpucvError("of no kind, so of exit code 1"),
        DataError("two\nlines"),
        DataError("two\x85lines"),
        DataError(" "),
        DataError("x" * 5_000),
    ],
    ids=repr,
)
def test_anything_else_is_found(error: Exception) -> None:
    with pytest.raises((AssertionError, type(error))):
        explore(refusing(error), 2, stable=True)


def test_damage_is_done_and_is_the_same_for_the_same_draw() -> None:
    seed = b'{"a": [1, 2.5], "b": "text"}\n1,2,3\n'
    made = [damaged(seed, random.Random(number)) for number in range(300)]
    assert made == [damaged(seed, random.Random(number)) for number in range(300)]
    assert len(set(made) - {seed}) > 200


@pytest.mark.fault(40)
def test_readers_of_damaged_files_stay_within_256_mib() -> None:
    done = subprocess.run(
        [sys.executable, SCRIPT, *BOUNDED, "--examples", "30", "--memory-mib", "256"],
        capture_output=True,
        check=False,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count(": held") == len(BOUNDED)


def test_a_target_nobody_knows_is_refused_with_those_there_are() -> None:
    done = subprocess.run(
        [sys.executable, SCRIPT, "stduy"], capture_output=True, check=False, text=True
    )
    assert done.returncode == 2
    assert done.stdout.startswith("unknown target: stduy\n")
    assert "\nstudy\n" in done.stdout
