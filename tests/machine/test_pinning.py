from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from gpucv.errors import DeviceUnavailableError, EnvironmentFaultError
from gpucv.machine import pinning, visible_gpus
from gpucv.machine.pinning import cuda_started, pin_gpu, unpin_gpu

if TYPE_CHECKING:
    from collections.abc import Iterator

    FakeNvml = Any

SHOWN = "CUDA_VISIBLE_DEVICES"


@pytest.fixture(autouse=True)
def one_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every test is a process that has pinned nothing."""
    monkeypatch.setenv(SHOWN, "")  # put back as it was when the test ends
    monkeypatch.delenv(SHOWN)
    yield
    unpin_gpu()


def started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pinning, "cuda_started", lambda: True)


def test_a_pinned_process_sees_that_gpu_alone_by_its_uuid(nvml: FakeNvml) -> None:
    gpu = pin_gpu(2)
    assert gpu.uuid == os.environ[SHOWN] == "GPU-2000-aaaa"
    assert [seen.uuid for seen in visible_gpus()] == [gpu.uuid]


def test_a_number_means_the_same_gpu_in_a_second_run(nvml: FakeNvml) -> None:
    assert pin_gpu(2) == pin_gpu(2)
    assert pin_gpu(3).uuid == "GPU-3000-aaaa"
    unpin_gpu()
    assert SHOWN not in os.environ
    assert len(visible_gpus()) == 4


def test_numbers_count_what_is_shown(nvml: FakeNvml, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SHOWN, "3,1")
    assert pin_gpu(1).uuid == "GPU-1000-aaaa"
    unpin_gpu()
    assert os.environ[SHOWN] == "3,1"


def test_what_the_user_sets_after_a_pin_counts(
    nvml: FakeNvml, monkeypatch: pytest.MonkeyPatch
) -> None:
    pin_gpu(2)
    monkeypatch.setenv(SHOWN, "0,1")
    assert pin_gpu(1).uuid == "GPU-1000-aaaa"
    unpin_gpu()
    assert os.environ[SHOWN] == "0,1"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, "only cuda:0 to cuda:3 are visible"),
        ("1", "only cuda:0 is visible"),
        ("", "no NVIDIA GPU is visible"),
    ],
)
def test_a_gpu_that_is_not_there_is_refused_with_those_that_are(
    value: str | None, told: str, nvml: FakeNvml, monkeypatch: pytest.MonkeyPatch
) -> None:
    if value is not None:
        monkeypatch.setenv(SHOWN, value)
    with pytest.raises(DeviceUnavailableError, match=f"'cuda:4' was asked for, but {told}.*doctor"):
        pin_gpu(4)
    assert os.environ.get(SHOWN) == value


def test_a_process_that_uses_cuda_already_cannot_change_gpu(
    nvml: FakeNvml, monkeypatch: pytest.MonkeyPatch
) -> None:
    started(monkeypatch)
    with pytest.raises(EnvironmentFaultError, match=r"already uses CUDA.*start a new process"):
        pin_gpu(1)
    assert SHOWN not in os.environ


def test_a_process_that_uses_that_gpu_alone_goes_on(
    nvml: FakeNvml, monkeypatch: pytest.MonkeyPatch
) -> None:
    pin_gpu(1)
    started(monkeypatch)
    assert pin_gpu(1).uuid == "GPU-1000-aaaa"
    with pytest.raises(EnvironmentFaultError, match="already uses CUDA"):
        pin_gpu(0)


@pytest.mark.parametrize(("code", "begun"), [(3, False), (0, True), (100, True)])
def test_cuda_has_begun_once_the_driver_answers_anything_but_not_initialised(
    code: int, begun: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Loaded:
        def cuDeviceGetCount(self, count: Any) -> int:  # noqa: N802 - CUDA's own name
            return code

    def look_up(name: str, mode: int) -> Loaded:
        assert (name, mode) == ("libcuda.so.1", os.RTLD_NOLOAD)
        return Loaded()

    monkeypatch.setattr(pinning.ctypes, "CDLL", look_up)
    assert cuda_started() is begun


def test_a_library_that_is_not_loaded_has_not_begun() -> None:
    assert not cuda_started()
