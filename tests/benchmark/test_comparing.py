"""Results of benchmarks against each other: ratios, gates, and what is refused."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.benchmark.conftest import sweep_result

from gpucv.benchmark import BenchmarkResult, Sample, write_result
from gpucv.benchmark.comparing import _ratio, compare_results
from gpucv.cli.main import main
from gpucv.errors import RunError, StudyError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Written = Callable[..., Path]


@pytest.fixture
def written(tmp_path: Path) -> Written:
    """Write a sweep whose times are `times` as long, and return its file."""

    def write(name: str, times: float = 1.0, **change: Any) -> Path:
        made = sweep_result(**change)
        samples = tuple(
            replace(
                each,
                wall_s=each.wall_s * times,
                phases={phase: seconds * times for phase, seconds in each.phases.items()},
            )
            for each in made.samples
        )
        return write_result(replace(made, samples=samples), tmp_path / name)

    return write


def figure(found: Any, benchmark: str, name: str) -> Any:
    (each,) = [x for x in found.figures if (x.benchmark, x.figure) == (benchmark, name)]
    return each


def test_the_ratio_is_how_many_times_longer_it_takes(written: Written) -> None:
    found = compare_results(written("a"), written("b", 2.0))
    wall = figure(found, "study 100000", "wall")
    assert wall.ratio == pytest.approx(2.0)
    assert (wall.baseline, wall.value) == (10.0, 20.0)
    assert wall.standing == "slower"
    assert figure(found, "phases 1000", "fit").ratio == pytest.approx(2.0)
    assert figure(found, "study 1000", "memory").ratio == pytest.approx(1.0)


def test_the_interval_is_that_of_one_further_run_of_each(written: Written) -> None:
    # Five runs of each with a known spread; the sixth pair lies outside in 5 % of cases.
    draw = np.random.default_rng(0)
    outside = 0
    for _ in range(300):
        before, after = np.exp(draw.normal(0, 0.1, 6)), np.exp(draw.normal(0.2, 0.1, 6))
        _, low, high = _ratio(list(before[:5]), list(after[:5]))
        outside += not low <= after[5] / before[5] <= high
    assert outside / 300 == pytest.approx(0.05, abs=0.03)


def test_a_gate_fails_where_the_whole_interval_lies_beyond(written: Written) -> None:
    base = written("a")
    assert compare_results(base, written("b", 3.0), fail=["wall:+10%"]).ok is False
    assert compare_results(base, written("c", 1.0), fail=["wall:+10%"]).ok is True
    found = compare_results(base, written("d", 1.15), fail=["wall:+10%"])
    assert found.ok is True
    assert "the interval holds it" in found.gates[0]["said"]


def test_a_gate_may_name_a_phase_or_the_memory(written: Written) -> None:
    found = compare_results(written("a"), written("b", 2.0), fail=["fit:+10%", "memory:+1%"])
    assert {(gate["figure"], gate["status"]) for gate in found.gates} == {
        ("fit", "fail"),
        ("memory", "pass"),
    }


def test_too_few_runs_decide_nothing(written: Written) -> None:
    few = tuple(each for each in sweep_result().samples if each.repeat < 2)
    found = compare_results(written("a"), written("b", 5.0, samples=few), fail=["wall:+10%"])
    assert found.ok is True
    assert {gate["status"] for gate in found.gates} == {"undecided"}
    assert math.isnan(figure(found, "study 1000", "wall").low)


def test_what_failed_in_the_run_fails_its_gates(written: Written) -> None:
    whole = sweep_result().samples
    kept = tuple(each for each in whole if each.contender != "study 1000")
    lost = (*kept, Sample("study 1000", 0, 0, error="no memory"))
    found = compare_results(written("a"), written("b", samples=lost), fail=["wall:+50%"])
    assert found.ok is False
    assert "no memory" in next(g["said"] for g in found.gates if g["status"] == "fail")


def test_what_the_run_did_not_measure_is_not_judged(written: Written) -> None:
    fewer = tuple(each for each in sweep_result().samples if each.contender.endswith(" 1000"))
    settings = {**sweep_result().settings, "rows": [1_000]}
    found = compare_results(
        written("a"),
        written("b", samples=fewer, settings=settings),
        fail=["wall:+10%"],
    )
    assert found.ok is True
    assert {each.benchmark for each in found.figures} == {"phases 1000", "study 1000"}


MACHINE = sweep_result().machine


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"device": "cuda"}, "device is cuda, not cpu"),
        ({"machine": {**MACHINE, "cpu": "Other"}}, "cpu is Other, not Some CPU"),
        ({"machine": {**MACHINE, "cores": 8}}, "cores is 8, not 4"),
        ({"settings": {**sweep_result().settings, "rounds": 9}}, "rounds is 9, not 20"),
        ({"suite": "peers"}, "suite is peers, not sweep"),
    ],
)
def test_another_measurement_is_refused_unless_forced(
    written: Written, change: dict[str, Any], said: str
) -> None:
    base, other = written("a"), written("b", **change)
    with pytest.raises(RunError, match=said):
        compare_results(base, other)
    assert compare_results(base, other, force=True).differences


def test_other_versions_are_what_a_comparison_is_for(written: Written) -> None:
    newer = {**MACHINE, "versions": {"numpy": "3.0"}}
    found = compare_results(written("a"), written("b", machine=newer, revision="def"))
    assert [row["what"] for row in found.differences] == ["numpy", "gpucv's revision"]


@pytest.mark.parametrize("gate", ["wall:+5", "speed:+5%", "mape:+2%"])
def test_a_gate_that_cannot_be_read_is_refused(written: Written, gate: str) -> None:
    with pytest.raises(StudyError, match="--fail"):
        compare_results(written("a"), written("b"), fail=[gate])


def test_a_result_compares_with_results_alone(written: Written, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="two results or more"):
        compare_results(written("a"))
    with pytest.raises(StudyError, match="no such file"):
        compare_results(written("a"), tmp_path)


@pytest.mark.parametrize(("times", "code"), [(1.0, 0), (3.0, 5)])
def test_the_command_ends_with_5_where_a_gate_failed(
    written: Written, capsys: pytest.CaptureFixture[str], times: float, code: int
) -> None:
    words = ["compare", str(written("a")), str(written("b", times)), "--fail", "wall:+10%"]
    with pytest.raises(SystemExit) as ended:
        main([*words, "--json"])
    assert ended.value.code == code
    out, err = capsys.readouterr()
    assert json.loads(out)["ok"] is (code == 0)
    assert err.count("beyond a threshold") == (4 if code else 0)


@pytest.mark.parametrize("option", [[], ["--markdown"]])
def test_the_command_shows_every_figure(
    written: Written, capsys: pytest.CaptureFixture[str], option: list[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["compare", str(written("a")), str(written("b", 2.0)), *option])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert "study 100000" in out
    assert "300 MiB" in out
    assert "2.00" in out


def test_a_result_that_measured_other_things_is_refused(written: Written) -> None:
    other = (Sample("x", 0, 0, wall_s=1.0),)
    assert isinstance(sweep_result(), BenchmarkResult)
    base = written("a")
    plain = replace(sweep_result(), samples=other)
    path = write_result(plain, base.parent.parent.parent / "c")
    with pytest.raises(RunError, match="measured nothing"):
        compare_results(base, path)
