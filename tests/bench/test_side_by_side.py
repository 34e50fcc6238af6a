"""The one command, run as a user runs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gpucv.benchmark import read_result

PROGRAM = Path(__file__).resolve().parents[2] / "bench" / "side_by_side.py"


def side_by_side(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(PROGRAM), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_a_quick_look_prints_and_keeps_what_it_measured(tmp_path: Path) -> None:
    done = side_by_side("--quick", "--cores", "1", "--parts", "start-up", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob("*/side-by-side-1-cores-quick-*.json")
    result = read_result(path)
    assert {each.contender for each in result.samples} == {"gpucv -h", "import gpucv"}
    bars = {bar["name"]: bar for bar in result.summary["bars"]}
    assert bars["import gpucv, s"]["found"] > 0
    assert bars["xgb-loop-cuda / gpucv-cuda"]["found"] is None
    assert {bar["verdict"] for bar in bars.values()} == {"not judged"}
    assert "| import gpucv, s" in done.stdout


def test_more_cores_than_there_are_is_refused() -> None:
    done = side_by_side("--cores", "100000")
    assert done.returncode == 2
    assert "this process may use 1 to" in done.stderr
