"""Contenders run in turn; what each takes is measured as the kernel and the clock see it."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from gpucv.benchmark import Contender, Sample, measure, median_interval, ratios
from gpucv.benchmark.process_tree import tree_memory, tree_of
from gpucv.errors import StudyError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MIB = 2**20


def python(name: str, program: str, **options: Any) -> Contender:
    return Contender(name, command=(sys.executable, "-c", program), **options)


def only(contender: Contender) -> Sample:
    (sample,) = measure([contender], repeats=1, warmup=0).samples
    return sample


def holding(mib: int) -> str:
    return f"import time; held = bytearray(b'x') * ({mib} << 20); time.sleep(0.4)"


def test_contenders_take_turns_and_each_repeat_begins_with_another() -> None:
    begun: list[str] = []

    def named(name: str) -> Contender:
        return Contender(name, call=lambda: {"n": begun.append(name)})

    found = measure([named("a"), named("b"), named("c")], repeats=3, warmup=1)
    assert "".join(begun[3:]) == "abcbcacab"
    assert [(each.contender, each.position) for each in found.samples[:4]] == [
        ("a", 0),
        ("b", 1),
        ("c", 2),
        ("b", 0),
    ]


def test_a_warm_up_is_run_and_counts_nowhere() -> None:
    seconds = iter([100.0, 1.0, 2.0])
    found = measure([Contender("a", call=lambda: {"wall_s": next(seconds)})], repeats=2, warmup=1)
    assert [each.wall_s for each in found.samples] == [1.0, 2.0]
    assert [each.wall_s for each in found.warmups] == [100.0]
    assert [each.repeat for each in found.samples] == [0, 1]


def test_what_a_process_allocates_is_its_peak() -> None:
    small, large = only(python("s", holding(0))), only(python("l", holding(200)))
    assert large.peak_bytes - small.peak_bytes == pytest.approx(200 * MIB, rel=0.02)


def test_what_children_of_a_process_hold_counts_with_it() -> None:
    child = f"import sys, subprocess; subprocess.run([sys.executable, '-c', {holding(100)!r}])"
    sample = only(python("parent", child))
    assert 100 * MIB < sample.peak_bytes < 150 * MIB


def test_memory_two_processes_share_counts_once() -> None:
    program = (
        "import os, time\n"
        "held = bytearray(b'x') * (200 << 20)\n"
        "pid = os.fork()\n"
        "time.sleep(0.4)\n"
        "pid and os.waitpid(pid, 0)\n"
    )
    sample = only(python("fork", program))
    if sample.peak_kind != "pss":
        pytest.skip("this kernel does not tell proportional set sizes")
    assert 200 * MIB < sample.peak_bytes < 250 * MIB


def test_without_proportional_sizes_resident_ones_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpucv.benchmark.process_tree._pss", lambda pid: None)
    import os

    held, kind = tree_memory(os.getpid())
    assert kind == "rss"
    assert held > MIB


def test_a_process_that_is_gone_holds_nothing() -> None:
    assert tree_memory(2**22 + 1) == (0, "")
    assert tree_of(2**22 + 1) == [2**22 + 1]


def test_without_a_region_of_its_own_a_command_is_timed_as_a_whole() -> None:
    sample = only(python("sleep", "import time; time.sleep(0.5)"))
    assert sample.wall_s == sample.process_s >= 0.5
    assert sample.cpu_s < sample.wall_s


def test_a_region_of_its_own_leaves_starting_up_out() -> None:
    told = {"wall_s": 0.25, "phases": {"fit": 0.2}, "scores": {"mape": 3.0}, "folds": 8}
    sample = only(python("p", f"print('loading')\nprint({json.dumps(json.dumps(told))})"))
    assert (sample.wall_s, sample.phases, sample.scores) == (0.25, {"fit": 0.2}, {"mape": 3.0})
    assert sample.told == {"folds": 8}


def test_cpu_seconds_are_those_of_a_command_and_its_children() -> None:
    busy = "import time\nwhile time.process_time() < 0.3: pass"
    program = f"import sys, subprocess; subprocess.run([sys.executable, '-c', {busy!r}])"
    assert only(python("busy", program)).cpu_s >= 0.3


MEASURES_ITSELF = """
import json, os, time
from gpucv.benchmark import Contender, measure
from gpucv.benchmark.process_tree import tree_memory

def work():
    held = bytearray(b"x") * (100 * 2**20)
    began = time.process_time()
    while time.process_time() - began < 0.15:
        pass
    return {"held": len(held)}

before = tree_memory(os.getpid())[0]
(sample,) = measure([Contender("call", call=work)], repeats=1, warmup=0).samples
print(json.dumps([sample.cpu_s, sample.wall_s, sample.peak_bytes - before]))
"""


def test_a_call_is_measured_in_its_own_process() -> None:
    # In a process of its own: what earlier tests hold here may be freed meanwhile.
    done = subprocess.run(
        [sys.executable, "-c", MEASURES_ITSELF], capture_output=True, text=True, check=True
    )
    cpu_s, wall_s, grown = json.loads(done.stdout)
    assert cpu_s >= 0.15
    assert wall_s >= 0.15
    assert grown > 90 * MIB


def test_a_contender_that_fails_says_why_and_does_not_cost_the_others() -> None:
    program = "import sys; print('first', file=sys.stderr); raise ValueError('no such fold')"
    others = Contender("good", call=dict)
    found = measure([python("bad", program), others], repeats=3, warmup=0)
    assert found.failures() == {"bad": "ValueError: no such fold"}
    assert len(found.of("good")) == 3
    assert [each.contender for each in found.samples].count("bad") == 1, "it is not tried again"
    assert math.isnan(found.samples[0].wall_s)


@pytest.mark.parametrize(
    ("contender", "said"),
    [
        (python("silent", "raise SystemExit(7)"), "ended with exit code 7"),
        (Contender("absent", command=("no-such-program",)), "cannot start no-such-program"),
        (python("slow", "import time; time.sleep(60)", timeout_s=0.2), "ended after 0.2 s"),
        (Contender("call", call=lambda: {}["x"]), "KeyError: 'x'"),
    ],
    ids=lambda each: getattr(each, "name", ""),
)
def test_every_way_to_fail_is_told_in_a_line(contender: Contender, said: str) -> None:
    assert only(contender).error.startswith(said)


def test_what_a_command_that_is_too_slow_started_is_ended_with_it() -> None:
    import os

    grandchild = "import time; time.sleep(60)"
    program = (
        "import subprocess, sys\n"
        f"each = subprocess.Popen([sys.executable, '-c', {grandchild!r}])\n"
        "print(each.pid, file=sys.stderr, flush=True)\n"
        "each.wait()\n"
    )
    before = set(tree_of(os.getpid()))
    sample = only(python("slow", program, timeout_s=0.5))
    assert sample.error == "ended after 0.5 s"
    assert set(tree_of(os.getpid())) <= before


def test_what_a_command_left_running_is_ended_before_the_next(tmp_path: Path) -> None:
    left = tmp_path / "left"
    # Out of its parent's tree, so that nothing but the session holds them together.
    program = f"import os, time\nif not os.fork(): time.sleep(2); open({str(left)!r}, 'w')"
    assert only(python("leaves", program)).error == ""
    time.sleep(2.5)
    assert not left.exists()


def test_the_environment_and_the_folder_reach_a_command(tmp_path: Path) -> None:
    program = "import os, json; print(json.dumps({'at': os.getcwd(), 'n': os.environ['N']}))"
    told = only(python("p", program, environment={"N": "2"}, folder=tmp_path)).told
    assert told == {"at": str(tmp_path), "n": "2"}


def test_the_load_of_the_machine_is_kept_beside_every_run() -> None:
    sample = only(Contender("a", call=dict))
    assert sample.load_before >= 0
    assert sample.load_after >= 0


def test_every_run_is_told_of_as_it_ends() -> None:
    told: list[Sample] = []
    found = measure([Contender("a", call=dict)], repeats=2, warmup=1, tell=told.append)
    assert told == [*found.warmups, *found.samples]


@pytest.mark.parametrize(
    ("contenders", "said"),
    [
        ([Contender("a", call=dict), Contender("a", call=dict)], "names two contenders"),
        ([Contender("a")], "give it a command or a callable"),
        ([Contender("a", command=("true",), call=dict)], "give it a command or a callable"),
    ],
)
def test_contenders_that_make_no_sense_are_refused(
    contenders: Sequence[Contender], said: str
) -> None:
    with pytest.raises(StudyError, match=said):
        measure(contenders)


def runs(**walls: Sequence[float]) -> list[Sample]:
    return [
        Sample(name, repeat, 0, wall_s=wall)
        for name, each in walls.items()
        for repeat, wall in enumerate(each)
    ]


def test_ratios_are_taken_within_a_repeat() -> None:
    # A machine twice as slow in every other repeat: the ratio of sums would be 2 as well, but
    # no single figure would be.
    found = ratios(runs(a=[2, 4, 2, 4, 2], b=[1, 2, 1, 2, 1]), "a", "b")
    assert found.pairs == (2.0,) * 5
    assert (found.median, found.low, found.high) == (2.0, 2.0, 2.0)


def test_a_repeat_in_which_one_failed_makes_no_pair() -> None:
    samples = runs(a=[2, 4, 6], b=[1, 1, 1])
    samples[4] = Sample("b", 1, 0, error="no memory")
    assert ratios(samples, "a", "b").pairs == (2.0, 6.0)


def test_any_figure_of_a_run_can_be_compared() -> None:
    samples = [Sample("a", 0, 0, peak_bytes=300), Sample("b", 0, 1, peak_bytes=100)]
    assert ratios(samples, "a", "b", lambda each: each.peak_bytes).median == 3.0


def test_without_pairs_there_is_no_ratio() -> None:
    found = ratios(runs(a=[1.0]), "a", "b")
    assert math.isnan(found.median)
    assert found.confidence == 0


@pytest.mark.parametrize(
    ("n", "low", "high", "confidence"),
    [
        # From the table of Conover's order statistics: 1 - 2 * sum of C(n, i) / 2^n.
        (3, 1, 3, 0.75),
        (5, 1, 5, 0.9375),
        (6, 1, 6, 0.96875),
        (8, 1, 8, 0.9921875),
        (9, 2, 8, 0.9609375),
        (10, 2, 9, 0.978515625),
        (20, 6, 15, 0.9586),
    ],
)
def test_the_interval_of_a_median_is_that_of_order_statistics(
    n: int, low: float, high: float, confidence: float
) -> None:
    found = median_interval([float(value) for value in range(n, 0, -1)])
    assert found == (low, high, pytest.approx(confidence, abs=1e-4))


def test_two_values_have_no_interval() -> None:
    low, high, confidence = median_interval([1.0, 2.0])
    assert math.isnan(low)
    assert math.isnan(high)
    assert confidence == 0
