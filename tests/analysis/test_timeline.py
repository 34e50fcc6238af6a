"""When folds ran and where: timeline.csv, gpu.csv, and lanes over time."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise, permutations
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpucv.analysis import (
    GPU_COLUMNS,
    TIMELINE_COLUMNS,
    Timeline,
    gpu_rows,
    timeline_of,
    timeline_rows,
)
from gpucv.analysis.collect import collect_tables
from gpucv.runs import FoldRecord

EPOCH = 1.7e9


def fold(fold_id: int, began: float, ended: float, **more: Any) -> FoldRecord:
    """A finished fold of a worker on host a, times in seconds after the epoch given above."""
    queued = more.pop("queued", None)
    times = {"began": EPOCH + began, "ended": EPOCH + ended}
    times |= {} if queued is None else {"queued": EPOCH + queued}
    worker = {"name": more.pop("worker", "w"), "host": more.pop("host", "a"), "pid": 7}
    given: dict[str, Any] = {
        **{"fold_id": fold_id, "key": "k", "scheme": "lomo", "holdout": f"m{fold_id}"},
        **{"predictor": "xgboost", "transform": "raw", "target": "t", "status": "ok"},
        **{"n_train": 90, "n_valid": 10, "n_test": 5, "device": "cuda"},
        **{"times": times, "worker": worker | {"gpu": 1, "gpu_name": "NVIDIA H100"}},
    }
    return FoldRecord(**given | more)


def lanes_of(*records: FoldRecord) -> Timeline:
    table = collect_tables(records).timeline
    assert table is not None
    timeline = timeline_of(table)
    assert timeline is not None
    return timeline


def old(fold_id: int = 0) -> FoldRecord:
    """A fold of an earlier version: its seconds, and nothing of when and where."""
    record = fold(fold_id, 0, 0, seconds={"fit_s": 3.0, "predict_s": 0.5})
    return replace(record, times={}, worker={})


def test_a_fold_is_one_row_with_all_that_is_known() -> None:
    record = fold(
        *(4, 12.5, 20.0),
        queued=10.0,
        attempts=2,
        training="distributed",
        seconds={"load_s": 1.0, "quantise_s": 0.25, "fit_s": 4.0, "predict_s": 0.5},
        gpu={"memory_peak_bytes": 3 * 2.0**30, "utilisation_mean": 71.5},
    )
    early = fold(0, 11.0, 12.0)
    _, row = timeline_rows([early, record])
    assert row == {
        **{"fold_id": 4, "scheme": "lomo", "holdout": "m4", "predictor": "xgboost"},
        **{"transform": "raw", "status": "ok", "attempts": 2, "n_train": 90},
        **{"worker": "w", "host": "a", "pid": "7", "gpu": "1", "gpu_name": "NVIDIA H100"},
        **{"queued_s": 2.5, "load_s": 1.0, "quantise_s": 0.25, "fit_s": 4.0, "predict_s": 0.5},
        **{"began_s": 1.5, "ended_s": 9.0, "training": "distributed"},
        **{"gpu_memory_peak_mib": 3072.0, "gpu_utilisation_mean": 71.5},
    }
    assert set(row) == set(TIMELINE_COLUMNS)


def test_a_fold_of_an_earlier_version_leaves_its_columns_empty() -> None:
    table = collect_tables([old()]).timeline
    assert table is not None
    assert list(table.columns) == list(TIMELINE_COLUMNS)
    row = table.iloc[0]
    assert (row["fit_s"], row["predict_s"], row["worker"], row["pid"]) == (3.0, 0.5, "", "")
    for name in ("queued_s", "load_s", "began_s", "ended_s", "gpu_memory_peak_mib"):
        assert math.isnan(row[name])
    assert timeline_of(table) is None


def test_a_host_whose_clock_is_behind_is_moved_until_no_fold_began_before_it_was_queued() -> None:
    right = fold(0, 1, 3, host="a", queued=0)
    behind = [fold(1, -59, -57, host="b", queued=0), fold(2, -56, -50, host="b", queued=0)]
    rows = timeline_rows([right, *behind])
    assert [row["began_s"] for row in rows] == [1.0, 0.0, 3.0]
    assert [row["ended_s"] for row in rows] == [3.0, 2.0, 9.0]
    assert [row["queued_s"] for row in rows] == [1.0, 0.0, 3.0]


def test_samples_of_a_gpu_lie_on_the_seconds_of_the_folds() -> None:
    folds = [fold(0, 5, 9, host="a", worker="x"), fold(1, -2, 4, host="b", worker="y", queued=3)]
    samples = {"y": [(EPOCH - 1, 2.0**30, 50.0)], "x": [(EPOCH + 6, 2.0**20, 0.0)], "?": []}
    rows = gpu_rows(samples, folds)
    assert rows == [
        {"worker": "y", "at_s": 1.0, "memory_mib": 1024.0, "utilisation": 50.0},
        {"worker": "x", "at_s": 3.0, "memory_mib": 1.0, "utilisation": 0.0},
    ]
    assert set(rows[0]) == set(GPU_COLUMNS)
    assert gpu_rows({}, folds) == []


def test_folds_at_once_stack_into_lanes_and_lanes_of_a_worker_lie_together() -> None:
    timeline = lanes_of(
        fold(0, 0, 4, worker="x"),
        fold(1, 1, 3, worker="y"),
        fold(2, 2, 6, worker="x"),
        fold(3, 4, 5, worker="x"),
    )
    assert timeline.lanes == ("x", "x", "y")
    assert [(bar.fold_id, bar.lane) for bar in timeline.bars] == [(0, 0), (1, 2), (2, 1), (3, 0)]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 9)), min_size=1, max_size=25))
def test_no_lane_has_two_folds_at_once_and_there_are_no_more_than_it_takes(
    spans: list[tuple[int, int]],
) -> None:
    records = [fold(at, began, began + length) for at, (began, length) in enumerate(spans)]
    whole = {**TIMELINE_COLUMNS}
    timeline = timeline_of(pd.DataFrame(timeline_rows(records), columns=list(whole)))
    assert timeline is not None
    for lane in range(len(timeline.lanes)):
        mine = [bar for bar in timeline.bars if bar.lane == lane]
        assert all(first.ended <= second.began for first, second in pairwise(mine))
    at_once = [sum(b <= at < b + n for b, n in spans) for at, _ in spans]
    assert len(timeline.lanes) == max(at_once)


def test_a_wait_begins_when_the_fold_was_queued_and_its_lane_was_free() -> None:
    timeline = lanes_of(
        fold(0, 2, 4, queued=0), fold(1, 6, 7, queued=0), fold(2, 9, 10, queued=7.5)
    )
    assert [bar.waited for bar in timeline.bars] == [0.0, 2.0, 5.5]


def test_binning_is_part_of_the_fit_and_nothing_is_counted_twice() -> None:
    seconds = {"load_s": 1.0, "quantise_s": 0.5, "fit_s": 2.0, "predict_s": 0.25}
    (bar,) = lanes_of(fold(0, 0, 4, seconds=seconds)).bars
    assert bar.parts == (("load", 1.0), ("quantise", 0.5), ("fit", 1.5), ("predict", 0.25))
    (bar,) = lanes_of(fold(0, 0, 4, seconds={"fit_s": 2.0})).bars
    assert bar.parts == (("fit", 2.0),)


def test_a_pause_between_two_sessions_is_cut_out() -> None:
    day = 86_400.0
    timeline = lanes_of(
        fold(0, 0, 10, queued=0), fold(1, day, day + 5, queued=day - 1), fold(2, day + 5, day + 8)
    )
    assert timeline.pauses == ((10.0, day - 11),)
    assert [(bar.began, bar.ended) for bar in timeline.bars] == [(0, 10), (11, 16), (16, 19)]
    assert timeline.wall_s == 19.0
    assert timeline.busy == pytest.approx(18 / 19)


def test_waiting_for_a_worker_is_no_pause() -> None:
    timeline = lanes_of(fold(0, 0, 10, queued=0), fold(1, 500, 505, queued=0))
    assert timeline.pauses == ()
    assert timeline.wall_s == 505.0


def test_the_busy_share_is_of_all_lanes() -> None:
    timeline = lanes_of(fold(0, 0, 10, worker="x"), fold(1, 0, 5, worker="y"))
    assert timeline.busy == 0.75


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(1, 20), min_size=1, max_size=5), st.integers(1, 3))
def test_longest_first_is_what_a_list_scheduler_comes_to(lengths: list[int], lanes: int) -> None:
    """Against a search: never below the best there is, and by Graham at most 4/3 of it."""
    ends = [0.0] * lanes
    records = []
    for at, length in enumerate(lengths):  # as they came, on as many lanes
        lane = ends.index(min(ends))
        records.append(fold(at, ends[lane], ends[lane] + length, worker=f"w{lane}"))
        ends[lane] += length
    timeline = lanes_of(*records)
    used = len(timeline.lanes)

    def span(order: tuple[int, ...]) -> float:
        loads = [0.0] * used
        for length in order:
            loads[loads.index(min(loads))] += length
        return max(loads)

    best = min(span(order) for order in permutations(lengths))
    assert timeline.longest_first_s == pytest.approx(span(tuple(sorted(lengths, reverse=True))))
    assert best <= timeline.longest_first_s + 1e-6 <= best * 4 / 3 + 1e-3


def test_folds_without_times_are_counted_and_have_no_bar() -> None:
    timeline = lanes_of(fold(0, 0, 1), old(1), fold(2, 1, 2, status="failed", attempts=3))
    assert timeline.n_unknown == 1
    assert [(bar.fold_id, bar.ok, bar.attempts) for bar in timeline.bars] == [
        *((0, True, 1), (2, False, 3))
    ]
