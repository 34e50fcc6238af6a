"""The floor against arithmetic by hand and against the measured and published runs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gpucv.benchmark.floor import CPU_CORE, H100, H200, Work, floor_of, floor_seconds

STUDY = Work(rows=92_000, features=30, rounds=300)


def test_visits_by_hand() -> None:
    # Depth 3: the root visits every row, each of two levels below it half of them: 2 visits.
    assert Work(rows=1_000, features=10, rounds=5, depth=3).visits == 1_000 * 10 * 5 * 2
    assert Work(rows=1_000, features=10, rounds=5, depth=1).visits == 1_000 * 10 * 5
    assert Work(rows=1_000, features=10, rounds=5, depth=6, folds=4).visits == 700_000


@pytest.mark.parametrize(
    ("rows", "measured_s"), [(100_000, 0.0108), (1_000_000, 0.092), (75_700, 0.0072)]
)
def test_measured_rounds_on_a_core_lie_above_the_floor_and_within_twice_it(
    rows: int, measured_s: float
) -> None:
    floor_s = floor_seconds(Work(rows=rows, features=30, rounds=1), "cpu")
    assert 1.0 <= measured_s / floor_s < 2.0


def test_few_rows_on_a_gpu_wait_for_launches_and_many_for_atomics() -> None:
    assert floor_of(STUDY, H100).held_by == "launches"
    assert floor_of(replace(STUDY, rows=100_000_000), H100).held_by == "visits"
    assert floor_of(STUDY, CPU_CORE).held_by == "visits"
    assert floor_of(STUDY, CPU_CORE).launches_s == 0


def test_launches_do_not_depend_on_rows() -> None:
    few, many = (floor_of(replace(STUDY, rows=rows), H100) for rows in (10, 10_000_000))
    # By hand: 130 launches of 3 us and 15 waits of 12 us are 0.57 ms a tree.
    assert few.launches_s == many.launches_s == pytest.approx(300 * 0.57e-3)


def test_memory_traffic_of_a_row_is_as_counted_by_hand() -> None:
    # 30 bins and 36 bytes for the root, 30 and 86 for each of 5 levels, 120 once: 766 bytes.
    moved = floor_of(Work(rows=1_000_000, features=30, rounds=1), H100).bytes_s * H100.bytes_per_s
    assert moved == pytest.approx(766e6)


def test_a_faster_memory_lowers_that_bound_alone() -> None:
    slow, fast = (floor_of(STUDY, gpu) for gpu in (H100, H200))
    assert fast.bytes_s < slow.bytes_s
    assert (fast.visits_s, fast.launches_s) == (slow.visits_s, slow.launches_s)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_the_floor_grows_with_the_work_and_falls_with_the_units(device: str) -> None:
    base = floor_seconds(STUDY, device)  # type: ignore[arg-type]
    for more in (replace(STUDY, rounds=600), replace(STUDY, folds=2)):
        assert floor_seconds(more, device) == pytest.approx(2 * base)  # type: ignore[arg-type]
    assert floor_seconds(STUDY, device, units=4) == pytest.approx(base / 4)  # type: ignore[arg-type]


def test_figures_of_a_gpu_say_that_they_are_estimates() -> None:
    assert "not yet run" in floor_of(STUDY, H100).source
    assert "not yet run" in floor_of(STUDY, H200).source
    assert "measured" in floor_of(STUDY, CPU_CORE).source
