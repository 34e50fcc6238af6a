from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import pytest

from gpucv.traces.audit.light import speed_of_light

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpucv.traces.audit.result import Judgement
    from gpucv.traces.audit.subject import Subject

    Make = Callable[..., pd.DataFrame]
    Subjects = Callable[..., Subject]


def judged(subject: Subject) -> Judgement:
    judgement = speed_of_light(subject, "latency_us")
    assert judgement is not None
    return judgement


def test_twice_the_speed_of_light_takes_half_the_light(gemms: Make, subject_of: Subjects) -> None:
    found = judged(subject_of(gemms(100)))
    assert (found.level, found.decides) == ("pass", True)
    assert found.figures["max_utilisation"] == pytest.approx(0.5)
    assert found.reason == "none of 100 rows is faster than light"


def test_being_faster_than_memory_alone_is_a_warning(gemms: Make, subject_of: Subjects) -> None:
    table = gemms(100)
    compute = table["flops"] / table["peak_flops"] * 1e6
    # Small m: bound by memory, so there is room between the two limits.
    table.loc[:9, "latency_us"] = compute[:10] * 1.01
    found = judged(subject_of(table))
    assert found.level == "warn"
    assert found.figures["rows_faster_than_memory_only"] == 10
    assert found.figures["rows_faster_than_compute"] == 0
    assert "10 only faster than memory" in found.reason
    slowest = table["sol_us"][:10] / table["latency_us"][:10]
    assert found.figures["max_utilisation"] == pytest.approx(slowest.max())
    beyond = int((slowest > 10).sum())
    assert 0 < beyond < 10
    assert found.figures["rows_faster_than_any_cache"] == beyond


@pytest.mark.parametrize(("rows", "level"), [(1, "warn"), (5, "warn"), (6, "fail")])
def test_more_than_one_row_in_twenty_faster_than_compute_fails(
    rows: int, level: str, gemms: Make, subject_of: Subjects
) -> None:
    table = gemms(100)
    compute = table["flops"] / table["peak_flops"] * 1e6
    table.loc[: rows - 1, "latency_us"] = compute[:rows] / 2
    found = judged(subject_of(table))
    assert found.level == level
    assert found.figures["rows_faster_than_compute"] == rows
    assert found.figures["share_faster_than_compute"] == rows / 100
    assert f"{rows} faster than the peak FLOP rate, which no kernel is" in found.reason


def test_the_worst_files_and_formats_are_named(gemms: Make, subject_of: Subjects) -> None:
    parts = []
    for number in range(12):
        part = gemms(20, source_file=f"{number}.parquet", gpu="h100" if number % 2 else "h200")
        part.loc[: number - 1, "latency_us"] = part["sol_us"] / 1.5
        parts.append(part)
    found = judged(subject_of(pd.concat(parts, ignore_index=True)))
    by_file = found.figures["faster_than_light_by_file"]
    assert [each["source_file"] for each in by_file] == [f"{n}.parquet" for n in range(11, 1, -1)]
    assert [each["faster_than_light"] for each in by_file] == list(range(11, 1, -1))
    assert by_file[0]["max_utilisation"] == pytest.approx(1.5)
    assert "most in 11.parquet (11)" in found.reason
    by_kind = {
        each["gpu"]: each["faster_than_light"]
        for each in found.figures["faster_than_light_by_gpu_and_dtype"]
    }
    assert by_kind == {"h100": 1 + 3 + 5 + 7 + 9 + 11, "h200": 2 + 4 + 6 + 8 + 10}


def test_rows_of_unknown_speed_of_light_are_not_judged(gemms: Make, subject_of: Subjects) -> None:
    table = gemms(10)
    table.loc[:3, ["sol_us", "peak_flops"]] = None
    found = judged(subject_of(table))
    assert found.figures["rows_with_speed_of_light"] == 6
    assert found.figures["rows_without_speed_of_light"] == 4
    found = judged(subject_of(gemms(10, sol_us=float("nan"))))
    assert (found.level, found.figures) == ("unknown", {})
    found = judged(subject_of(gemms(10).drop(columns="sol_us")))
    assert found.reason == "no speed of light: the table has no column 'sol_us'"
