from __future__ import annotations

import sys
from typing import Any

import pytest

from gpucv.machine import probing
from gpucv.machine.probing import probe

StubProbe = Any


def test_what_works_is_told_step_by_step(stub_probe: StubProbe) -> None:
    found = probe("cuda")
    assert (found.fault, found.mend) == ("", "")
    assert list(found.steps) == ["driver", "memory", "xgboost", "train-cuda"]
    assert found.steps["driver"]["cuda"] == [13, 0]
    assert list(probe("cpu").steps) == ["xgboost", "train-cpu"]


def test_a_device_is_tried_once_until_other_gpus_are_shown(
    stub_probe: StubProbe, monkeypatch: pytest.MonkeyPatch
) -> None:
    for shown in ("0", "0", "1", "0"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", shown)
        probe("cuda")
    assert stub_probe.runs == 2


@pytest.mark.parametrize(
    ("step", "told", "fault", "mend"),
    [
        (
            "driver",
            {"error": "libcuda.so.1: cannot open shared object file", "code": None},
            "the CUDA driver cannot be loaded: libcuda.so.1",
            "NVIDIA_DRIVER_CAPABILITIES=compute,utility",
        ),
        (
            "driver",
            {"error": "cuInit says CUDA_ERROR_SYSTEM_NOT_READY", "code": 802},
            "starting the CUDA driver failed: cuInit says CUDA_ERROR_SYSTEM_NOT_READY",
            "fabric manager",
        ),
        (
            "memory",
            {"error": "cuDevicePrimaryCtxRetain says X on GPU 1", "code": 46},
            "taking memory of a GPU failed: cuDevicePrimaryCtxRetain says X on GPU 1",
            "another process has the GPU to itself",
        ),
        (
            "memory",
            {"error": "cuMemAlloc_v2 failed with error 12345", "code": 12345},
            "failed with error 12345",
            "nvidia-smi",
        ),
        (
            "xgboost",
            {"error": "libgomp.so.1: cannot open shared object file", "code": None},
            "importing XGBoost failed: libgomp",
            "install XGBoost again",
        ),
        (
            "train-cuda",
            {"device": "cpu", "warned": []},
            "XGBoost asked for the GPU trained on the cpu",
            "nvidia-smi",
        ),
        (
            "train-cuda",
            {"error": "no kernel image is available", "code": None},
            "training on the GPU failed: no kernel image",
            "",
        ),
    ],
)
def test_every_step_that_fails_has_its_sentence_and_its_mend(
    step: str, told: dict[str, Any], fault: str, mend: str, stub_probe: StubProbe
) -> None:
    stub_probe.says(step, **told)
    found = probe("cuda")
    assert fault in found.fault
    assert mend in found.mend
    assert "\n" not in found.fault + found.mend


def test_the_first_cause_is_told_where_several_steps_fail(stub_probe: StubProbe) -> None:
    stub_probe.says("memory", error="later", code=2)
    stub_probe.says("driver", error="first", code=999)
    assert "first" in probe("cuda").fault


@pytest.mark.fault(11)
def test_an_xgboost_newer_than_the_driver_is_told_with_both_versions(
    stub_probe: StubProbe,
) -> None:
    stub_probe.says("driver", cuda=[12, 4], devices=[])
    stub_probe.says("xgboost", version="3.4.1", cuda=[13, 0], nccl=True)
    stub_probe.says("train-cuda", device="cpu", warned=["No visible GPU is found"])
    found = probe("cuda")
    assert "CUDA 13.0, the driver takes up to 12.4" in found.mend
    assert "gpucv[cuda12]" in found.mend


def test_an_xgboost_without_cuda_is_told(stub_probe: StubProbe) -> None:
    stub_probe.says("xgboost", version="3.2.0", cuda=[], nccl=False)
    stub_probe.says("train-cuda", device="cpu", warned=[])
    assert "built without CUDA" in probe("cuda").mend
    assert probe("cpu").fault == ""


@pytest.mark.parametrize(
    ("how", "after", "told"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", "xgboost", "ended by SIGSEGV while training on"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "", "ended by SIGSEGV while starting the CUDA"),
        ("sys.exit('it broke')", "driver", "ended with code 1: it broke while taking memory"),
        ("sys.stdout.write('{cut') and sys.exit(3)", "memory", "code 3 while importing XGBoost"),
    ],
)
def test_a_crash_is_told_with_the_step_it_came_in(
    how: str, after: str, told: str, stub_probe: StubProbe
) -> None:
    stub_probe.ends(how, after)
    assert told in probe("cuda").fault


def test_a_step_that_hangs_is_given_up(
    stub_probe: StubProbe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probing, "_SECONDS", 2)
    stub_probe.ends("time.sleep(600)", "memory")
    found = probe("cuda")
    assert found.fault == "a test process had not ended after 2 s while importing XGBoost"
    assert list(found.steps) == ["driver", "memory"]


def test_an_interpreter_that_cannot_be_started_is_told(
    stub_probe: StubProbe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "no-python-here")
    assert "no-python-here cannot be started" in probe("cuda").fault
