from __future__ import annotations

import pytest

from gpucv.errors import TraceError
from gpucv.traces import memory
from gpucv.traces.memory import MemoryBudget, available_bytes


def test_what_is_held_counts_and_what_is_asked_does_not() -> None:
    budget = MemoryBudget(100)
    budget.require(100, "a")
    budget.hold(60, "a")
    budget.require(40, "b")
    with pytest.raises(TraceError, match="b: needs"):
        budget.hold(41, "b")
    budget.hold(40, "b")


def test_the_limit_is_a_share_of_what_this_machine_has_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = available_bytes()
    assert found is None or found > 0
    monkeypatch.setattr(memory, "available_bytes", lambda: 1000)
    MemoryBudget().hold(600, "a")
    with pytest.raises(TraceError, match="more than the"):
        MemoryBudget().hold(601, "a")


def test_a_machine_that_does_not_say_has_no_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda: None)
    MemoryBudget().hold(2**80, "a")


def test_the_tighter_of_machine_and_control_group_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_meminfo", lambda: 500)
    monkeypatch.setattr(memory, "_control_group", lambda: 300)
    assert available_bytes() == 300
    monkeypatch.setattr(memory, "_control_group", lambda: None)
    assert available_bytes() == 500
