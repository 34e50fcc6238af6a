"""A result on disk: whole, complete, and read back as it was."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from gpucv.benchmark import (
    BenchmarkResult,
    Sample,
    machine_slug,
    new_result,
    read_result,
    write_result,
)
from gpucv.errors import EnvironmentFaultError, RunError

if TYPE_CHECKING:
    from pathlib import Path


def result() -> BenchmarkResult:
    samples = (Sample("a", 0, 0, 1.5, 2.0, 3.0, phases={"fit": 1.0}), Sample("b", 0, 1, error="x"))
    return new_result("folds", "cpu", {"rows": 10}, samples, warmups=(Sample("a", 0, 0),))


def test_a_result_is_read_back_as_it_was(tmp_path: Path) -> None:
    before = result()
    after = read_result(write_result(before, tmp_path))
    assert after.samples[0] == before.samples[0]
    assert math.isnan(after.samples[1].wall_s)
    assert after.samples[1].error == "x"
    assert len(after.warmups) == 1
    assert replace(after, samples=(), warmups=()) == replace(before, samples=(), warmups=())


def test_a_result_names_the_machine_the_versions_and_the_command(tmp_path: Path) -> None:
    held = json.loads(write_result(result(), tmp_path).read_text(encoding="utf-8"))
    assert {"cpu", "cores", "memory_bytes", "gpus", "versions"} <= held["machine"].keys()
    assert "numpy" in held["machine"]["versions"]
    assert {"date", "command", "revision", "schema", "settings"} <= held.keys()


def test_results_lie_in_a_folder_per_machine_named_by_suite_and_time(tmp_path: Path) -> None:
    found = replace(result(), date="2026-11-23T17:00:05+00:00")
    path = write_result(found, tmp_path)
    assert path.name == "folds-20261123T170005Z.json"
    assert path.parent.name == machine_slug(found.machine, "cpu")
    assert list(tmp_path.rglob("*.tmp")) == []


def test_a_result_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / machine_slug(result().machine, "cpu")).write_text("", encoding="utf-8")
    with pytest.raises(EnvironmentFaultError, match="cannot create"):
        write_result(result(), tmp_path)


@pytest.mark.parametrize(
    ("device", "slug"),
    [("cpu", "amd-epyc-tm-9r14-4-cores"), ("cuda", "nvidia-h100-80gb-hbm3")],
)
def test_a_machine_is_called_by_what_does_the_work(device: Any, slug: str) -> None:
    machine = {
        "cpu": "AMD EPYC(TM) 9R14",
        "cores": 4,
        "gpus": ["NVIDIA H100 80GB HBM3, 81559 MiB, 580.65"],
    }
    assert machine_slug(machine, device) == slug


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kind": "other"}, "is no result of a benchmark"),
        ({"schema": 99}, "is of schema 99"),
        ({"samples": [{"colour": 1}]}, "is damaged"),
    ],
)
def test_another_file_is_refused(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    path = write_result(result(), tmp_path)
    held = json.loads(path.read_text(encoding="utf-8")) | change
    path.write_text(json.dumps(held), encoding="utf-8")
    with pytest.raises(RunError, match=said):
        read_result(path)
