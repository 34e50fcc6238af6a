from __future__ import annotations

import json
import os
from typing import Any

import pytest

from gpucv.machine import Gpu, cpu_count, describe_machine, process_facts, visible_gpus


def test_a_machine_is_described_with_all_that_a_number_needs_beside_it() -> None:
    found = describe_machine()
    assert set(found) == {"host", "system", "cpu", "cores", "memory_bytes", "gpus", "versions"}
    assert found["cores"] == cpu_count()
    assert found["memory_bytes"] > 1e8
    assert found["cpu"]


def test_gpus_are_described_by_name_memory_and_driver(
    nvml: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,2")
    assert describe_machine()["gpus"] == ["NVIDIA H100, 81920 MiB, 580.65.06"] * 2
    nvml.missing = True
    assert describe_machine()["gpus"] == []


def test_a_worker_tells_what_it_has_in_json(nvml: Any, install: Any) -> None:
    install(xgboost="3.2.0", cudf_cu13="26.10.2")
    facts = process_facts()
    assert json.loads(json.dumps(facts)) == facts
    assert tuple(Gpu(**each) for each in facts["gpus"]) == visible_gpus()
    assert (facts["pid"], facts["cores"]) == (os.getpid(), cpu_count())
    assert (facts["xgboost_cuda"], facts["frames"]) == (True, "cudf")
    assert facts["versions"]["cudf-cu13"] == "26.10.2"


@pytest.mark.parametrize(
    ("wheels", "built"),
    [
        (("xgboost",), True),
        (("xgboost_cu13",), True),
        (("xgboost_cpu",), False),
        (("xgboost", "xgboost_cpu"), False),
        ((), False),
    ],
)
def test_a_worker_tells_whether_its_xgboost_is_one_for_cuda(
    wheels: tuple[str, ...], built: bool, install: Any
) -> None:
    install(numpy="2.0.0", **dict.fromkeys(wheels, "3.2.0"))
    assert process_facts()["xgboost_cuda"] is built
