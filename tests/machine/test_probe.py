"""The program itself: run here as it is, and with the CUDA driver played."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import gpucv.machine
from gpucv.machine import count_gpus, xgboost_distributions
from gpucv.machine import probe_program as probe

PROGRAM = Path(gpucv.machine.__file__).with_name("probe_program.py")
UUID = "8932f937-d72c-4106-c12f-20bd9faed9f6"


def run(*steps: str, cwd: Path | None = None) -> dict[str, dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-P", str(PROGRAM), *steps],
        capture_output=True,
        text=True,
        check=True,
        cwd=cwd,
    )
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [each["step"] for each in found] == list(steps)
    return {each["step"]: each for each in found}


def test_the_program_trains_here_and_reads_back_where(tmp_path: Path) -> None:
    (tmp_path / "xgboost.py").write_text("raise SystemExit('the current folder was searched')")
    found = run("xgboost", "train-cpu", cwd=tmp_path)
    assert found["train-cpu"]["device"] == "cpu"
    assert found["xgboost"]["version"] == next(iter(xgboost_distributions().values()))
    assert bool(found["xgboost"]["cuda"]) == ("xgboost-cpu" not in xgboost_distributions())


@pytest.mark.skipif(count_gpus() > 0, reason="this machine has an NVIDIA GPU")
def test_without_a_gpu_every_step_says_so_and_none_ends_the_program() -> None:
    found = run("driver", "memory", "train-cuda")
    assert "error" in found["driver"]
    assert "error" in found["memory"]
    # XGBoost does not fail: it warns and trains on the CPU, which is why it is read back.
    assert found["train-cuda"]["device"] == "cpu"
    assert "couldn't find any available GPU" in found["train-cuda"]["warned"][-1]
    assert not found["train-cuda"]["warned"][-1].startswith("[")


class FakeCuda:
    """The CUDA driver of a machine with GPUs: functions of ``cuda.h``, by the book."""

    def __init__(self, gpus: int) -> None:
        self.gpus, self.refuses, self.calls = gpus, {}, []

    def __call__(self, name: str) -> FakeCuda:
        assert name == "libcuda.so.1"
        return self

    def __getattr__(self, name: str) -> Any:
        def answer(*arguments: Any) -> int:
            self.calls.append(name)
            code: int = self.refuses.get((name, self.calls.count(name)), 0)
            if not code:
                getattr(type(self), f"on_{name}", lambda *_: None)(self, *arguments)
            return code

        if not name.startswith("cu"):
            raise AttributeError(name)
        return answer

    def on_cuDriverGetVersion(self, version: Any) -> None:  # noqa: N802 - CUDA's own names
        version._obj.value = 12090

    def on_cuDeviceGetCount(self, count: Any) -> None:  # noqa: N802
        count._obj.value = self.gpus

    def on_cuDeviceGet(self, device: Any, number: int) -> None:  # noqa: N802
        device._obj.value = number

    def on_cuDeviceGetName(self, name: Any, size: int, device: Any) -> None:  # noqa: N802
        name.value = f"NVIDIA L{device.value}".encode()

    def on_cuDeviceGetUuid_v2(self, identity: Any, device: Any) -> None:  # noqa: N802
        identity._obj[:] = bytes.fromhex(UUID.replace("-", ""))

    def on_cuDeviceTotalMem_v2(self, size: Any, device: Any) -> None:  # noqa: N802
        size._obj.value = 24 * 2**30

    def on_cuGetErrorName(self, code: int, name: Any) -> None:  # noqa: N802
        name._obj.value = b"CUDA_ERROR_OUT_OF_MEMORY" if code == 2 else None


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    driver = FakeCuda(2)
    monkeypatch.setattr(probe.ctypes, "CDLL", driver)
    return driver


def test_gpus_are_listed_as_the_driver_lists_them(cuda: FakeCuda) -> None:
    found = probe.list_devices()
    assert found["cuda"] == [12, 9]
    assert [each["name"] for each in found["devices"]] == ["NVIDIA L0", "NVIDIA L1"]
    assert found["devices"][0]["uuid"] == UUID
    assert found["devices"][0]["memory_bytes"] == 24 * 2**30


def test_a_driver_without_gpus_is_an_error_of_its_own(cuda: FakeCuda) -> None:
    cuda.gpus = 0
    with pytest.raises(Exception, match="cuDeviceGetCount") as caught:
        probe.list_devices()
    assert caught.value.code == 100  # type: ignore[attr-defined]


def test_memory_is_taken_of_every_gpu_and_given_back(cuda: FakeCuda) -> None:
    probe.take_memory()
    for name in ("cuMemAlloc_v2", "cuMemFree_v2", "cuDevicePrimaryCtxRelease_v2"):
        assert cuda.calls.count(name) == 2


def test_a_gpu_without_memory_is_told_by_its_number(cuda: FakeCuda) -> None:
    cuda.refuses["cuMemAlloc_v2", 2] = 2
    with pytest.raises(Exception, match="cuMemAlloc_v2 says CUDA_ERROR_OUT_OF_MEMORY on GPU 1"):
        probe.take_memory()
    cuda.refuses = {("cuInit", 2): 35}
    with pytest.raises(Exception, match="cuInit failed with error 35"):
        probe.take_memory()
