from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import pytest

from gpucv.machine import Gpu, count_gpus, read_driver, visible_gpus

if TYPE_CHECKING:
    FakeNvml = Any

GIB = 2**30
INSTANCES = [("MIG-aaaa", 10 * GIB), ("MIG-bbbb", 20 * GIB)]


def shown(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    if value is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)


@pytest.mark.parametrize(
    ("value", "numbers"),
    [
        (None, [0, 1, 2, 3]),
        ("0", [0]),
        ("2,0,1", [2, 0, 1]),
        (" 2 , 3 ", [2, 3]),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("0,-1,1", [0]),  # the list ends at the first entry that names no device
        ("0,9,1", [0]),
        ("1,1", []),  # a device named twice hides all
        ("GPU-2000-aaaa,GPU-0", [2, 0]),
        ("GPU-,GPU-1", []),  # a beginning that four boards have
        ("GPU-9", []),
        ("GPU-3,1", [3]),  # the first entry says what all are
        ("1,GPU-3", [1]),
        (",0", []),
        ("MIG-aaaa", []),
    ],
)
def test_the_gpus_seen_are_those_cuda_would_show_in_its_order(
    value: str | None, numbers: list[int], nvml: FakeNvml, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown(monkeypatch, value)
    found = visible_gpus()
    assert [gpu.uuid for gpu in found] == [nvml.boards[number].uuid for number in numbers]
    assert [gpu.index for gpu in found] == list(range(len(numbers)))
    assert count_gpus() == len(numbers)


def test_a_gpu_is_told_with_its_name_and_memory(nvml: FakeNvml) -> None:
    nvml.boards[1].name, nvml.boards[1].memory = "NVIDIA L4", (24 * GIB, 5 * GIB)
    gpu = visible_gpus()[1]
    assert gpu == Gpu(1, "GPU-1000-aaaa", "NVIDIA L4", 24 * GIB, 5 * GIB, mig=False)
    assert Gpu(**asdict(gpu)) == gpu  # how it travels from a worker


def test_memory_the_driver_does_not_tell_is_0(nvml: FakeNvml) -> None:
    nvml.boards[0].memory = (0, 0)
    assert visible_gpus()[0].memory_bytes == visible_gpus()[0].free_bytes == 0


@pytest.mark.parametrize(
    ("value", "uuids"),
    [
        ("MIG-bbbb,MIG-aaaa", ["MIG-bbbb", "MIG-aaaa"]),
        ("MIG-aaaa,MIG-cccc,MIG-bbbb", ["MIG-aaaa"]),
        ("MIG-aaaa,0", ["MIG-aaaa"]),
        ("MIG-aaaa,MIG-aaaa", []),
        ("0,1", ["MIG-aaaa", "GPU-1000-aaaa"]),  # a board in MIG mode is its first instance
    ],
)
def test_instances_of_a_board_count_as_gpus_with_their_share_of_memory(
    value: str, uuids: list[str], nvml: FakeNvml, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvml.boards[0].instances = INSTANCES
    shown(monkeypatch, value)
    found = visible_gpus()
    assert [gpu.uuid for gpu in found] == uuids
    sizes = dict(INSTANCES)
    for gpu in found:
        assert gpu.memory_bytes == sizes.get(gpu.uuid, 80 * GIB)
        assert gpu.mig == (gpu.uuid in sizes)


def test_another_environment_may_be_asked_about(nvml: FakeNvml) -> None:
    assert [gpu.uuid for gpu in visible_gpus({"CUDA_VISIBLE_DEVICES": "3"})] == ["GPU-3000-aaaa"]
    assert len(visible_gpus({})) == 4


def test_a_name_in_the_environment_makes_no_gpu(
    nvml: FakeNvml, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvml.boards.clear()
    shown(monkeypatch, "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6")
    assert count_gpus() == 0


def test_the_driver_is_told_with_the_cuda_it_takes(nvml: FakeNvml) -> None:
    found = read_driver()
    assert (found.version, found.cuda, found.boards) == ("580.65.06", (13, 0), 4)
    assert (found.fault, found.mend, found.absent) == ("", "", False)


@pytest.mark.parametrize(
    ("code", "told", "mend"),
    [
        (9, "the NVIDIA driver is not loaded", "modprobe"),
        (18, "was updated while its old module runs", "restart"),
        (999, "answers nvmlInit_v2 with error 999", "nvidia-smi"),
    ],
)
def test_a_driver_that_does_not_answer_is_no_gpu_and_says_why(
    code: int, told: str, mend: str, nvml: FakeNvml
) -> None:
    nvml.refuses = code
    assert visible_gpus() == ()
    found = read_driver()
    assert told in found.fault
    assert mend in found.mend
    assert not found.absent


def test_without_a_driver_there_is_no_gpu(nvml: FakeNvml) -> None:
    nvml.missing = True
    assert visible_gpus() == ()
    assert read_driver().absent


def test_an_old_driver_that_lacks_a_question_is_no_crash(
    nvml: FakeNvml, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = visible_gpus()
    monkeypatch.delattr(type(nvml), "nvmlDeviceGetMigMode")
    assert visible_gpus() == found
    monkeypatch.delattr(type(nvml), "nvmlSystemGetCudaDriverVersion_v2")
    assert "error 13" in read_driver().fault
    assert replace(found[0], index=0) in visible_gpus()
