"""What is measured decides the bars, and the page tells of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from bars.judge import equality, judge, longest_first, not_measured, start_up
from bars.page import peer_lines, write_page

from gpucv.benchmark import Sample, new_result, write_result

if TYPE_CHECKING:
    from pathlib import Path

WALLS = {
    "gpucv": 10.0,
    "gpucv-shared": 8.0,
    "gpucv-single": 36.0,
    "sklearn-loky": 13.0,
    "sklearn-threading": 12.0,
    "sklearn-longest-first": 12.5,
    "sklearn-1xn": 20.0,
    "xgb-cv": 17.0,
    "study-loop": 26.0,
}
PEAKS = {"gpucv": 300, "sklearn-loky": 700, "xgb-cv": 600}


def runs(repeats: int = 3) -> list[Sample]:
    """A machine that slows down steadily: the ratios within a repeat stay what they are."""
    return [
        Sample(
            name,
            repeat,
            0,
            wall_s=wall * (1 + repeat),
            process_s=wall * (1 + repeat) + 2,
            cpu_s=wall,
            peak_bytes=PEAKS.get(name, 100) * 2**20,
            told={"fold_s": [(1 + repeat) * s for s in (6.0, 5.0, 4.0, 4.0)]},
            scores={"lomo_mape": 20.0, "lowo_mape": 30.0, "rmse": 100.0},
        )
        for repeat in range(repeats)
        for name, wall in WALLS.items()
    ]


def test_ratios_are_taken_within_a_repeat_and_against_the_best_peer() -> None:
    bars = {bar.name: bar for bar in judge(runs(), cores=2)}
    exact = bars["best scikit-learn (sklearn-threading) / gpucv"]
    assert (exact.found, exact.low, exact.high) == pytest.approx((1.2, 1.2, 1.2))
    assert exact.verdict == "pass"
    shared = bars["best scikit-learn (sklearn-threading) / gpucv-shared"]
    assert shared.found == pytest.approx(1.5)
    assert bars["xgb-cv / gpucv"].verdict == "short"
    assert bars["study-loop / gpucv"].verdict == "pass"


def test_memory_is_short_above_its_bar() -> None:
    bars = {bar.name: bar for bar in judge(runs(), cores=2)}
    assert bars["peak memory of gpucv / sklearn-loky"].verdict == "pass"
    assert bars["peak memory of gpucv / xgb-cv"].found == pytest.approx(0.5)
    assert bars["peak memory of gpucv / xgb-cv"].verdict == "short"


@pytest.mark.parametrize(
    ("seconds", "cores", "expected"),
    [
        ([3, 2, 2], 2, 4),
        ([6, 5, 4, 4], 2, 10),
        ([1, 1, 1, 1], 4, 1),
        ([5, 1], 8, 5),
        ([2, 3], 1, 5),
    ],
)
def test_the_bound_hands_the_longest_fold_out_first(
    seconds: list[float], cores: int, expected: float
) -> None:
    assert longest_first(seconds, cores) == expected


def test_the_bound_is_of_folds_run_alone() -> None:
    (bar,) = [bar for bar in judge(runs(), cores=2) if "bound" in bar.name]
    assert bar.found == pytest.approx(1.0)  # 10 s of single folds / 10 s
    assert bar.verdict == "pass"


def test_what_was_not_run_decides_nothing() -> None:
    kept = [each for each in runs() if each.contender not in ("xgb-cv", "gpucv-single")]
    verdicts = {bar.name: bar.verdict for bar in judge(kept, cores=2)}
    assert verdicts["xgb-cv / gpucv"] == "not run"
    assert verdicts["longest-first bound of single folds / gpucv"] == "not run"


def test_a_failed_run_is_no_measurement() -> None:
    failed = [replace(each, error="fell over") for each in runs() if each.contender == "gpucv"]
    others = [each for each in runs() if each.contender != "gpucv"]
    verdicts = {bar.name: bar.verdict for bar in judge([*others, *failed], cores=2)}
    assert verdicts["xgb-cv / gpucv"] == "not run"
    assert verdicts["peak memory of gpucv / xgb-cv"] == "not run"


@pytest.mark.parametrize(("seconds", "verdict"), [(0.2, "pass"), (0.4, "short")])
def test_a_start_counts_from_start_to_end(seconds: float, verdict: str) -> None:
    samples = [Sample("gpucv -h", i, 0, wall_s=0.0, process_s=seconds) for i in range(3)]
    assert start_up(samples, "gpucv -h").verdict == verdict


def test_one_fold_that_differs_somewhere_is_not_equal() -> None:
    hashes = {"serial": ["a", "b", "c"], "threads": ["a", "b", "c"]}
    assert equality(hashes).verdict == "pass"
    odd = equality(hashes | {"dask": ["a", "x", "c"]})
    assert (odd.found, odd.asked, odd.verdict) == (2.0, "3 of 3", "short")


def test_a_way_that_failed_is_not_equal() -> None:
    bar = equality({"serial": ["a", "b"], "threads": ["a", "b"], "dask": []})
    assert (bar.found, bar.verdict, bar.note) == (2.0, "short", "failed: dask")
    assert equality({"serial": [], "dask": []}).verdict == "not run"


def test_bars_of_a_gpu_are_listed_as_not_run() -> None:
    listed = not_measured(judge(runs(), cores=2))
    assert {bar.verdict for bar in listed} == {"not run"}
    assert any("cuda" in bar.name for bar in listed)


def test_a_row_of_the_table_holds_time_memory_and_accuracy() -> None:
    (row,) = [line for line in peer_lines(runs()) if line.startswith("| sklearn-loky")]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells == [
        "sklearn-loky (3 runs)", "26.00", "13.00 to 39.00", "1.30", "2.0", "13.0", "700",
        "20.00", "30.00", "100.00",
    ]  # fmt: skip


def test_the_page_shows_the_newest_result_and_keeps_its_words(tmp_path: Path) -> None:
    settings = {"cores": 2, "rows": 100, "features": 3, "folds": 8, "rounds": 10}
    summary = {"bars": [bar.to_json() for bar in judge(runs(), cores=2)]}
    for day, repeats in (("01", 5), ("02", 3)):
        made = new_result("side-by-side-2-cores", "cpu", settings, tuple(runs(repeats)))
        made = replace(made, summary=summary, date=f"2026-11-{day}T00:00:00Z")
        write_result(made, tmp_path / "bench" / "results")
    (tmp_path / "docs").mkdir()
    page = tmp_path / "docs" / "benchmarks.md"
    page.write_text(
        "before\n<!-- measured: begin -->\nof last year\n<!-- measured: end -->\nafter\n",
        encoding="utf-8",
    )
    write_page(tmp_path)
    once = page.read_text(encoding="utf-8")
    assert once.startswith("before\n")
    assert once.endswith("\nafter\n")
    assert "of last year" not in once
    assert "2026-11-02" in once
    assert "2026-11-01" not in once
    assert "| xgb-cv / gpucv " in once
    write_page(tmp_path)
    assert page.read_text(encoding="utf-8") == once


def test_a_page_without_a_result_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="measure first"):
        write_page(tmp_path)
