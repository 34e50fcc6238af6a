from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from gpucv.machine import GpuWatch, Sample, shared_watch

if TYPE_CHECKING:
    from collections.abc import Callable

    FakeNvml = Any


def wait_for(what: Callable[[], bool]) -> None:
    """Wait until something another thread does is done."""
    for _ in range(2000):
        if what():
            return
        time.sleep(0.005)
    pytest.fail("it never happened")


def watchers() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == "gpucv-gpu-watch"]


class Readings:
    """A GPU that takes one byte more at every look."""

    def __init__(self) -> None:
        self.looks = 0

    def __call__(self) -> tuple[int, float]:
        self.looks += 1
        return self.looks, 10.0 * (self.looks % 2)


def filled(*samples: tuple[float, int, float]) -> GpuWatch:
    watch = GpuWatch()
    watch._samples = [Sample(*each) for each in samples]
    return watch


def test_what_was_seen_between_two_moments_is_the_peak_and_the_mean() -> None:
    watch = filled((1.0, 5, 0.0), (2.0, 9, 50.0), (3.0, 7, 100.0), (4.0, 99, 100.0))
    assert watch.between(1.5, 3.0) == {"memory_peak_bytes": 9, "utilisation_mean": 75.0}
    assert watch.between(4.5, 9.0) == {}


def test_a_utilisation_nobody_tells_is_left_out() -> None:
    watch = filled((1.0, 5, math.nan), (2.0, 6, math.nan))
    assert watch.between(0.0, 3.0) == {"memory_peak_bytes": 6}
    watch = filled((1.0, 5, math.nan), (2.0, 6, 40.0))
    assert watch.between(0.0, 3.0)["utilisation_mean"] == 40.0


def test_samples_are_taken_while_somebody_watches() -> None:
    reading = Readings()
    watch = GpuWatch(interval_s=0.001, reader=reading)
    assert watch.samples() == []
    before = time.time()
    with watch:
        wait_for(lambda: len(watch.samples()) >= 3)
    wait_for(lambda: not watchers())
    taken = watch.samples()
    assert [each.memory_bytes for each in taken[:3]] == [1, 2, 3]
    assert all(before <= each.time <= time.time() for each in taken)
    assert watch.between(before, time.time())["memory_peak_bytes"] == taken[-1].memory_bytes


def test_one_thread_serves_all_who_watch_and_ends_with_the_last() -> None:
    watch = GpuWatch(interval_s=0.001, reader=Readings())
    watch.start()
    watch.start()
    assert len(watchers()) == 1
    watch.stop()
    seen = len(watch.samples())
    wait_for(lambda: len(watch.samples()) > seen)
    watch.stop()
    wait_for(lambda: not watchers())
    watch.stop()  # once too often does no harm
    watch.start()
    assert len(watchers()) == 1
    watch.stop()


def test_a_start_right_after_a_stop_leaves_one_thread() -> None:
    watch = GpuWatch(interval_s=0.001, reader=Readings())
    for _ in range(50):
        watch.start()
        watch.stop()
    watch.start()
    wait_for(lambda: len(watchers()) == 1)
    seen = len(watch.samples())
    wait_for(lambda: len(watch.samples()) > seen)
    watch.stop()


def test_a_full_watch_halves_its_resolution_and_loses_no_peak() -> None:
    watch = GpuWatch(interval_s=1.0, capacity=8, reader=Readings())
    going = threading.Event()
    for time_s in range(1, 101):
        watch._keep(Sample(float(time_s), 1000 if time_s == 3 else time_s, 50.0), going)
    samples = watch.samples()
    assert len(samples) < 8
    assert samples[-1].time >= 97.0
    assert max(each.memory_bytes for each in samples) == 1000
    assert watch.between(0.0, 200.0)["utilisation_mean"] == 50.0
    assert watch._interval > 8.0
    times = [each.time for each in samples]
    assert times == sorted(times)


def test_without_a_gpu_there_is_nothing_to_see(
    nvml: FakeNvml, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    for nvml.missing in (False, True):
        watch = GpuWatch(interval_s=0.001)
        with watch:
            wait_for(lambda: not watchers())
        assert watch.samples() == []
        assert watch.between(0.0, time.time()) == {}


def test_the_gpu_watched_is_the_first_this_process_sees(
    nvml: FakeNvml, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvml.boards[2].memory, nvml.boards[2].utilisation = (100, 40), 75
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,0")
    watch = GpuWatch(interval_s=0.001)
    with watch:
        wait_for(lambda: bool(watch.samples()))
    wait_for(lambda: not watchers())
    assert watch.samples()[0][1:] == (60, 75.0)


def test_an_instance_of_a_board_tells_memory_alone(nvml: FakeNvml) -> None:
    nvml.boards[0].instances = [("MIG-a", 1000)]
    watch = GpuWatch(interval_s=0.001)
    with watch:
        wait_for(lambda: bool(watch.samples()))
    wait_for(lambda: not watchers())
    assert watch.between(0.0, time.time()) == {"memory_peak_bytes": 0}


def test_a_gpu_that_is_lost_ends_the_watch_and_nothing_else() -> None:
    def lost() -> tuple[int, float]:
        raise OSError("fallen off the bus")

    with GpuWatch(interval_s=0.001, reader=lost) as watch:
        wait_for(lambda: not watchers())
        assert watch.samples() == []


def test_a_process_shares_one_watch() -> None:
    assert shared_watch() is shared_watch()
