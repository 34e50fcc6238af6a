"""Which fold goes where next, and who is silent, without a cluster."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from gpucv.folds.cluster import Seat, heartbeats
from gpucv.folds.cluster.heartbeats import Heartbeats, MemorySample
from gpucv.folds.cluster.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpucv.folds import FoldTask


class Ends:
    """A cluster that remembers which workers it was told to end."""

    def __init__(self) -> None:
        self.ended: list[str] = []

    def end(self, addresses: Sequence[str]) -> None:
        self.ended += addresses


def seats(**slots: int) -> dict[str, Seat]:
    return {at: Seat(f"process of {at}", n, True, True) for at, n in slots.items()}


def given(turns: Turns, at: dict[str, Seat], busy: dict[str, int], *taken: str) -> list[Any]:
    shared = turns.share_out(at, Counter(busy), set(taken))
    return [(task.fold_id, address, alone) for task, address, alone in shared]


def test_folds_go_to_who_has_most_room_and_no_more_than_fit(tasks: tuple[FoldTask, ...]) -> None:
    turns = Turns(Ends(), tasks)  # type: ignore[arg-type]
    at = seats(a=1, b=3)
    assert given(turns, at, {"b": 1}) == [(0, "b", False), (1, "a", False), (2, "b", False)]
    assert len(turns) == 2
    closed = {"a": Seat("p", 5, False, True)}
    assert given(turns, closed, {}) == []


@pytest.mark.fault(2)
def test_a_suspect_waits_for_a_worker_to_itself_which_takes_no_other(
    tasks: tuple[FoldTask, ...],
) -> None:
    turns = Turns(Ends(), tasks[1:])  # type: ignore[arg-type]
    turns.again_alone(tasks[0])
    at = seats(a=3, b=2)
    # b has fewer folds, so it is the one to empty; a goes on.
    assert given(turns, at, {"a": 2, "b": 1}) == [(1, "a", False)]
    assert given(turns, at, {"a": 3}) == [(0, "b", True)]
    assert given(turns, at, {"a": 2, "b": 1}, "b") == [(2, "a", False)]


@pytest.mark.fault(8)
def test_a_fold_without_memory_gets_a_process_that_ran_none_or_one_started_anew(
    tasks: tuple[FoldTask, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Ends()
    turns = Turns(cluster, tasks[1:])  # type: ignore[arg-type]
    at = seats(a=1)
    assert given(turns, at, {}) == [(1, "a", False)]
    turns.again_alone(tasks[0], fresh=True)
    assert given(turns, at, {}) == []  # nor anything else: the worker is being ended
    assert cluster.ended == ["a"]
    assert given(turns, at, {}) == []
    new = {"a": Seat("another process", 1, True, True)}
    assert given(turns, new, {}) == [(0, "a", True)]
    # Where no new one comes in time, or can, another has to do.
    turns.again_alone(tasks[0], fresh=True)
    assert given(turns, {"b": Seat("another process", 1, True, False)}, {}) == [(0, "b", True)]
    turns.again_alone(tasks[0], fresh=True)
    monkeypatch.setattr("gpucv.folds.cluster.turns.FRESH_SECONDS", -1)
    assert given(turns, new, {}) == []
    used = {"c": Seat("another process", 1, True, True)}
    turns.ended.clear()
    assert given(turns, used, {}) == [(0, "c", True)]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(heartbeats, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


@pytest.mark.fault(6)
def test_who_sends_no_heartbeat_for_a_minute_is_silent(clock: list[float]) -> None:
    ear = Heartbeats()
    for second in range(61):
        clock[0] = second
        assert ear.silent({"a": 7.0, "b": second}) == set()
    clock[0] = 62
    assert ear.silent({"a": 7.0, "b": 61.5}) == {"a"}
    assert ear.silent({"a": 8.0, "b": 61.5}) == set()


@pytest.mark.fault(6)
def test_time_in_which_nobody_listened_is_no_silence(clock: list[float]) -> None:
    """As when this machine was suspended, or its scheduler did not answer."""
    ear = Heartbeats()
    for at in (0, 1000, 2000, 3000):
        clock[0] = at
        assert ear.silent({"a": 7.0}) == set()


def worker(memory: int, limit: int, **more: Any) -> dict[str, Any]:
    return {"metrics": {"memory": memory, **more.pop("metrics", {})}, "memory_limit": limit, **more}


@pytest.mark.fault(2, 9)
def test_only_a_sample_near_the_limit_is_called_a_lack_of_memory() -> None:
    half, full = (MemorySample.of(worker(n << 30, 4 << 30), "cpu") for n in (2, 4))
    assert str(half) == "2.0 GiB of 4.0 GiB of memory in use (its last memory sample)"
    assert str(full).endswith("(its last memory sample), so probably out of memory")
    assert "probably" not in str(MemorySample.of(worker(4 << 30, 0), "cpu"))


@pytest.mark.fault(9)
def test_on_a_gpu_its_memory_is_what_counts_where_it_is_known() -> None:
    gpu = {"metrics": {"gpu": {"memory-used": 79 << 30}}, "gpu": {"memory-total": 80 << 30}}
    told = str(MemorySample.of(worker(1 << 30, 0, **gpu), "cuda"))
    assert told.startswith("79.0 GiB of 80.0 GiB of GPU memory in use (its last memory sample), so")
    assert str(MemorySample.of(worker(1 << 30, 0), "cuda")).startswith("1.0 GiB of memory in use")
