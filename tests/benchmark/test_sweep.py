"""The sweep of `gpucv bench`: its sizes, its rows, its figures, its page."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gpucv.benchmark import Sample, read_result
from gpucv.benchmark.page import render_page
from gpucv.benchmark.phases import phases_of, run_study, timed
from gpucv.benchmark.sweep import SweepRequest, default_rows, parse_rows, run_sweep, summarise
from gpucv.benchmark.told import busy, failures, headline, sweep_table, written
from gpucv.benchmark.workload import Workload, build, draw_steps, most_rows, simulate_steps
from gpucv.errors import EnvironmentFaultError, StudyError
from gpucv.predictors.gbdt import XgboostPredictor

if TYPE_CHECKING:
    from gpucv.benchmark import BenchmarkResult


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("steps") / "steps.parquet"
    simulate_steps(path)
    return path


def workload(rows: int = 1_500, features: int = 30) -> Workload:
    return Workload(rows, features, rounds=3, folds=3, device="cpu")


@pytest.mark.parametrize(
    ("texts", "rows"),
    [(["1e4"], (10_000,)), (["200000,1e3", "1e3"], (1_000, 200_000)), ([], ())],
)
def test_sizes_are_read_and_sorted(texts: list[str], rows: tuple[int, ...]) -> None:
    assert parse_rows(texts) == rows


@pytest.mark.parametrize("text", ["many", "999", "1e9", "1000.5", "nan", "inf", ""])
def test_a_size_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(StudyError, match="--rows"):
        parse_rows([text])


def test_the_usual_sizes_are_those_that_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpucv.benchmark.sweep.free_memory_bytes", lambda: 900 << 20)
    assert default_rows("cpu", 30) == (10_000, 100_000)
    assert most_rows(900 << 20, 30) > most_rows(900 << 20, 60) > 100_000


def test_a_size_that_does_not_fit_is_refused_with_the_arithmetic(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gpucv.benchmark.sweep.free_memory_bytes", lambda: 2 << 30)
    with pytest.raises(EnvironmentFaultError, match=r"10,000,000 rows take about 7.0 GiB, and 2.0"):
        run_sweep(SweepRequest((10_000_000,), "cpu"))


@pytest.mark.parametrize(("name", "value"), [("folds", 1), ("rounds", 0), ("repeats", 0)])
def test_a_number_that_makes_no_sense_is_refused(name: str, value: int) -> None:
    request: Any = dataclasses.replace(SweepRequest((1_000,), "cpu"), **{name: value})
    with pytest.raises(StudyError, match=f"--{name} {value}"):
        run_sweep(request)


def test_rows_are_drawn_evenly_from_the_steps_and_shared_out_among_folds(steps: Path) -> None:
    drawn = draw_steps(steps, workload(50_000))
    assert len(drawn) == 50_000
    assert drawn["experiment_id"].nunique() == 16
    assert set(drawn["part"].value_counts()) == {16_666, 16_667}
    assert draw_steps(steps, workload(50_000)).equals(drawn), "the same ones every time"


@pytest.mark.parametrize("features", [5, 30, 70])
def test_a_table_has_as_many_features_as_asked_for(steps: Path, features: int) -> None:
    asked = workload(features=features)
    table = build(draw_steps(steps, asked), asked)
    assert table.X.shape == (1_500, features)
    assert len(table.feature_names) == features
    if features == 70:
        real, repeated = table.X[:, 3], table.X[:, 33]
        assert not np.array_equal(real, repeated)
        assert np.array_equal(np.sort(real), np.sort(repeated)), "shuffled, nothing made up"


def test_every_phase_takes_time(steps: Path) -> None:
    told = phases_of(workload(), steps)
    assert set(told["phases"]) == {"features", "quantise", "fit", "predict", "metrics"}
    assert min(told["phases"].values()) > 0
    assert told["wall_s"] == pytest.approx(sum(told["phases"].values()))


def test_rows_are_binned_by_column_as_those_of_a_fold(
    steps: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_column: list[bool] = []
    fit = XgboostPredictor.fit

    def seen(self: XgboostPredictor, X: Any, *rest: Any) -> None:
        by_column.append(X.flags.f_contiguous)
        fit(self, X, *rest)

    monkeypatch.setattr(XgboostPredictor, "fit", seen)
    phases_of(workload(), steps)
    assert by_column
    assert all(by_column)


def test_a_study_trains_every_fold_on_the_rows_not_held_out(steps: Path) -> None:
    asked = workload()
    told = run_study(build(draw_steps(steps, asked), asked), asked)
    # Three folds hold a third out each; a quarter of the rest is for validation.
    assert told["row_rounds"] == pytest.approx(3 * 1_000 * 0.75 * 3, rel=0.02)
    assert told["scores"]["mape"] > 0
    assert told["training"] == "in-memory"


def test_a_short_phase_is_repeated_and_a_long_one_is_not() -> None:
    calls: list[int] = []
    timed(lambda: calls.append(1), workload())
    assert len(calls) == 50
    import time

    _, seconds = timed(lambda: time.sleep(0.25), workload())
    assert seconds >= 0.25


def test_a_sweep_is_summed_up_by_size(sweep: BenchmarkResult) -> None:
    small, large = summarise(sweep)
    assert (small["rows"], large["rows"]) == (1_000, 100_000)
    assert large["features_rows_per_s"] == 100_000 / 0.5
    assert large["fit_s_per_round"] == 2.0 / 20
    # 100,000 rows x 30 features, 3.5 visits each at depth 6, 1.56 billion visits a second.
    assert large["fit_over_floor"] == pytest.approx(0.1 / (100_000 * 30 * 3.5 / 1.56e9))
    assert [r[0] for r in sweep_table(sweep).rows if "floor" in r[0]] == ["fit, times its floor"]
    assert large["study_s"] == 10.0
    assert (large["study_s_low"], large["study_s_high"]) == (9.0, 11.0)
    assert large["folds_per_min"] == 24.0
    assert large["row_rounds_per_s"] == 800_000
    assert large["peak_bytes"] == 300 << 20


def test_what_failed_is_left_out_and_told(sweep: BenchmarkResult) -> None:
    kept = tuple(each for each in sweep.samples if each.contender != "study 100000")
    lost = dataclasses.replace(
        sweep, samples=(*kept, Sample("study 100000", 0, 0, error="no memory"))
    )
    lost.summary["sizes"] = summarise(lost)
    assert "study_s" not in lost.summary["sizes"][1]
    assert failures(lost) == ["study 100000: no memory"]
    assert sweep_table(lost).rows[6][2] == "-"
    assert "1,000 rows" in headline(lost)
    assert "no memory" in render_page(lost)


def test_the_headline_says_what_the_machine_trains(sweep: BenchmarkResult) -> None:
    assert headline(sweep).startswith("Trains 800k row-rounds a second: a study of 4 folds over")


def test_a_busy_machine_is_told_of(sweep: BenchmarkResult) -> None:
    assert busy(sweep) == ""
    first = dataclasses.replace(sweep.samples[0], load_before=3.0)
    crowded = dataclasses.replace(sweep, samples=(first, *sweep.samples[1:]))
    assert "load 3.0 on 4 cores" in busy(crowded)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0123456, "0.0123"),
        (12.3, "12.3"),
        (1234.0, "1,234"),
        (12_345.0, "12.3k"),
        (2.5e9, "2.5G"),
    ],
)
def test_figures_are_written_shortly(value: float, text: str) -> None:
    assert written(value) == text


def test_the_page_stands_alone_and_is_escaped(sweep: BenchmarkResult) -> None:
    page = render_page(dataclasses.replace(sweep, command="gpucv bench <script>"))
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert not re.search(r"(src|href)=", page)
    assert page.count("<figure>") == 4
    assert page == render_page(dataclasses.replace(sweep, command="gpucv bench <script>"))


def test_a_dot_of_the_page_lies_where_its_figure_says(sweep: BenchmarkResult) -> None:
    figure = render_page(sweep).split("<h3>Row-rounds per second</h3>")[1].split("</svg>")[0]
    dots = [(float(x) + 2, float(y)) for x, y in re.findall(r'd="M([\d.]+) ([\d.]+)a2', figure)]
    ticks = dict(re.findall(r'<text class="end" x="41" y="([\d.]+)">(\w+)</text>', figure))
    heights = {label: float(y) - 3.5 for y, label in ticks.items()}
    # Both sizes train 80 rows a second times their rows: 80k and 800k, a decade apart; so are
    # the ticks 100k and 1M, and the dots lie as far apart as these.
    decade = heights["100k"] - heights["1M"]
    assert dots[0][1] - dots[1][1] == pytest.approx(decade, abs=0.2)
    assert heights["100k"] < dots[0][1]


def gpucv(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("gpucv")), *words]
    return subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)


@pytest.mark.slow
def test_the_command_measures_and_leaves_a_result_and_a_page(tmp_path: Path) -> None:
    small = ["--rounds", "2", "--folds", "2", "--repeats", "1", "--device", "cpu"]
    done = gpucv("bench", "--rows", "1e3", *small, "--out", "out", "--json", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    result = read_result(tmp_path / told["path"])
    assert result.settings["rows"] == [1_000]
    assert {each.contender for each in result.samples} == {"phases 1000", "study 1000"}
    assert len(result.warmups) == 2
    assert result.samples[0].peak_bytes > 50 << 20
    assert (tmp_path / told["page"]).read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert "[4/4]" in done.stderr


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--rows", "lots"], 2, "--rows 'lots' is no number"),
        (["--device", "tpu"], 2, "unknown device 'tpu'"),
        (["--rows", "1e3", "--folds", "1"], 2, "--folds 1: use at least 2"),
    ],
)
def test_the_command_refuses_in_a_line(
    tmp_path: Path, words: list[str], code: int, said: str
) -> None:
    done = gpucv("bench", *words, folder=tmp_path)
    assert done.returncode == code
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
