"""Columns as features: those that teach nothing and those that give the answer away."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from gpucv.traces.audit.constants import constant_features
from gpucv.traces.audit.leakage import leakage

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from gpucv.traces.audit.subject import Subject

    Make = Callable[..., pd.DataFrame]
    Subjects = Callable[..., Subject]

TARGET = "step.duration_us"


def test_columns_of_one_value_and_of_none_are_listed(gemms: Make, subject_of: Subjects) -> None:
    table = gemms(10, block=np.nan, seldom=[1.0] + [np.nan] * 9)
    constant, empty = constant_features(subject_of(table))
    assert (constant.code, constant.figures["columns"]) == ("constant_features", ["n", "k"])
    assert constant.message.startswith("n, k: one value in all 10 rows")
    assert (empty.code, empty.figures["columns"]) == ("empty_features", ["block"])


def test_only_the_features_named_are_looked_at(gemms: Make, subject_of: Subjects) -> None:
    (constant,) = constant_features(subject_of(gemms(10), features=("m", "k", "op")))
    assert constant.figures["columns"] == ["k", "op"]
    assert constant_features(subject_of(gemms(10), features=("m",))) == []


@pytest.mark.parametrize(
    ("relation", "told"),
    [
        (lambda y: y, "equal to it"),
        (lambda y: y / 1000, "a straight line of it (r 1.000000)"),
        (lambda y: 7 - 3 * y, "a straight line of it (r -1.000000)"),
        (lambda y: y**3, "a power of it (r of logs 1.000000)"),
    ],
)
def test_a_feature_that_is_the_target_in_other_words_is_a_leak(
    relation: Callable[[np.ndarray], np.ndarray], told: str, steps: Make, subject_of: Subjects
) -> None:
    times = np.random.default_rng(2).lognormal(10, 2, 100)
    table = steps(100, **{TARGET: times, "answer": relation(times)})
    subject = subject_of(table, features=("answer", "batch.decode_tokens"))
    (finding,) = leakage(subject, TARGET)
    assert (finding.code, finding.level) == ("leakage", "warning")
    assert f"answer gives {TARGET} away: {TARGET} is {told}" in finding.message
    (unlisted,) = leakage(subject_of(table), TARGET)
    assert unlisted.level == "info"


def test_a_close_relation_is_no_leak(steps: Make, subject_of: Subjects) -> None:
    rng = np.random.default_rng(2)
    times = rng.lognormal(10, 1, 500)
    near = times * rng.normal(1, 0.05, 500)
    table = steps(500, **{TARGET: times, "near": near})
    assert leakage(subject_of(table, features=("near",)), TARGET) == []


def test_the_target_and_its_clock_are_no_features(steps: Make, subject_of: Subjects) -> None:
    rng = np.random.default_rng(2)
    clock = {"step.ts_end_ns": rng.integers(0, 10**9, 50)}
    table = steps(50, **clock, **{TARGET: rng.lognormal(10, 1, 50)})
    named = (TARGET, "step.ts_end_ns", "batch.num_prefill_reqs")
    found = leakage(subject_of(table, features=named), TARGET)
    assert [each.figures["column"] for each in found] == [TARGET, "step.ts_end_ns"]
    assert "measured by the same clock" in found[1].message
    assert leakage(subject_of(table), TARGET) == []


def test_physics_is_no_leak(gemms: Make, subject_of: Subjects) -> None:
    table = gemms(50)
    assert np.corrcoef(table["sol_us"], table["latency_us"])[0, 1] > 0.9999
    assert leakage(subject_of(table), "latency_us") == []
    subject = subject_of(table, targets=("latency_us",), features=("sol_us", "m"))
    assert leakage(subject, "latency_us") == []
