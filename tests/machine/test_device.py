from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from gpucv.errors import DeviceUnavailableError, EnvironmentFaultError, StudyError
from gpucv.machine import Gpu, resolve_device
from gpucv.machine.pinning import unpin_gpu

if TYPE_CHECKING:
    from collections.abc import Iterator

    FakeNvml = Any
    StubProbe = Any

SHOWN = "CUDA_VISIBLE_DEVICES"
REMOTE = (Gpu(0, "GPU-x", "NVIDIA L4", 24, 20), Gpu(0, "GPU-y", "NVIDIA L4", 24, 20))


@pytest.fixture(autouse=True)
def one_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every test is a process that has pinned nothing."""
    monkeypatch.setenv(SHOWN, "")
    monkeypatch.delenv(SHOWN)
    yield
    unpin_gpu()


@pytest.mark.parametrize(
    ("requested", "here", "device"),
    [
        ("cpu", (0, "xgboost_cpu"), "cpu"),
        ("cpu", (4, "xgboost"), "cpu"),
        ("auto", (0, "xgboost_cpu"), "cpu"),
        ("auto", (0, "xgboost"), "cpu"),
        ("auto", (4, "xgboost_cpu"), "cpu"),
        ("auto", (4, "xgboost"), "cuda"),
        ("auto", (4, "xgboost_cu12"), "cuda"),
        ("cuda", (4, "xgboost_cu13"), "cuda"),
        ("cuda:3", (4, "xgboost"), "cuda"),
    ],
)
def test_the_device_follows_from_what_is_asked_and_what_is_here(
    requested: str,
    here: tuple[int, str],
    device: str,
    nvml: FakeNvml,
    stub_probe: StubProbe,
    install: Any,
) -> None:
    gpus, wheel = here
    del nvml.boards[gpus:]
    install(**{wheel: "3.2.0"})
    found = resolve_device(requested)
    assert found.device == device
    assert bool(found.gpus) == (device == "cuda")
    assert stub_probe.runs == (device == "cuda")  # nothing is tried that need not be


def test_a_gpu_counts_once_it_was_tried_and_is_tried_once_a_process(
    nvml: FakeNvml, stub_probe: StubProbe, install: Any
) -> None:
    install(xgboost="3.2.0")
    first, second = resolve_device("auto"), resolve_device("cuda")
    assert first == second
    assert stub_probe.runs == 1
    assert first.reason == "4 GPUs found, and XGBoost trains there"
    assert [gpu.uuid for gpu in first.gpus] == [board.uuid for board in nvml.boards]


def test_the_order_of_gpus_is_that_of_cuda(
    nvml: FakeNvml, stub_probe: StubProbe, install: Any
) -> None:
    install(xgboost="3.2.0")
    devices = [
        {"name": "new", "uuid": "f000", "memory_bytes": 7},
        {"name": "NVIDIA H100", "uuid": "1000-aaaa", "memory_bytes": 80 * 2**30},
    ]
    stub_probe.says("driver", cuda=[13, 0], devices=devices)
    gpus = resolve_device("cuda").gpus
    assert gpus[0] == Gpu(0, "GPU-f000", "new", 7, 7)
    assert (gpus[1].uuid, gpus[1].index) == ("GPU-1000-aaaa", 1)
    assert gpus[1].free_bytes == 79 * 2**30


@pytest.mark.parametrize(
    ("gpus", "wheel", "reason"),
    [
        (0, "xgboost", "no NVIDIA GPU found on this machine; use device 'cpu'"),
        (2, "xgboost_cpu", r"xgboost-cpu is built without CUDA; install gpucv\[cuda12\]"),
    ],
)
@pytest.mark.fault(10)
def test_cuda_is_never_quietly_replaced_by_the_cpu(
    gpus: int, wheel: str, reason: str, nvml: FakeNvml, install: Any
) -> None:
    del nvml.boards[gpus:]
    install(**{wheel: "3.2.0"})
    with pytest.raises(DeviceUnavailableError, match=f"'cuda' was asked for, but {reason}"):
        resolve_device("cuda")


@pytest.mark.fault(10)
def test_an_xgboost_that_trains_on_the_cpu_is_refused_and_auto_says_why(
    nvml: FakeNvml, stub_probe: StubProbe, install: Any
) -> None:
    install(xgboost="3.2.0")
    stub_probe.says("train-cuda", device="cpu", warned=["No visible GPU is found"])
    told = "XGBoost asked for the GPU trained on the cpu: No visible GPU is found"
    with pytest.raises(DeviceUnavailableError, match=told):
        resolve_device("cuda")
    found = resolve_device("auto")
    assert found.device == "cpu"
    assert found.reason.startswith(told)


def test_a_driver_that_does_not_answer_is_told_with_its_mend(nvml: FakeNvml, install: Any) -> None:
    install(xgboost="3.2.0")
    nvml.refuses = 18
    with pytest.raises(DeviceUnavailableError, match=r"updated while.*restart the machine.*, or "):
        resolve_device("cuda")


def test_gpus_hidden_by_the_environment_are_told_apart_from_none(
    nvml: FakeNvml, install: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(xgboost="3.2.0")
    monkeypatch.setenv(SHOWN, "-1")
    assert "CUDA_VISIBLE_DEVICES hides the 4" in resolve_device("auto").reason


def test_a_numbered_gpu_is_the_only_one_the_process_keeps(
    nvml: FakeNvml, stub_probe: StubProbe, install: Any
) -> None:
    install(xgboost="3.2.0")
    device = {"name": "NVIDIA H100", "uuid": "2000-aaaa", "memory_bytes": 80 * 2**30}
    stub_probe.says("driver", cuda=[13, 0], devices=[device])
    found = resolve_device("cuda:2")
    assert os.environ[SHOWN] == "GPU-2000-aaaa"
    assert [(gpu.index, gpu.uuid) for gpu in found.gpus] == [(0, "GPU-2000-aaaa")]
    assert found.reason == "asked for: NVIDIA H100, GPU-2000-aaaa"


def test_a_numbered_gpu_that_does_not_work_leaves_the_environment_as_it_was(
    nvml: FakeNvml, stub_probe: StubProbe, install: Any
) -> None:
    install(xgboost="3.2.0")
    stub_probe.says("memory", error="cuMemAlloc says CUDA_ERROR_OUT_OF_MEMORY on GPU 0", code=2)
    with pytest.raises(DeviceUnavailableError, match=r"'cuda:1' .*OUT_OF_MEMORY.*end the programs"):
        resolve_device("cuda:1")
    assert SHOWN not in os.environ


def test_a_clusters_gpus_need_nothing_of_this_machine(
    nvml: FakeNvml, stub_probe: StubProbe, install: Any
) -> None:
    nvml.boards.clear()
    install(xgboost_cpu="3.2.0")
    for requested in ("auto", "cuda"):
        found = resolve_device(requested, REMOTE)
        assert (found.device, found.gpus) == ("cuda", REMOTE)
        assert found.reason == "2 GPUs on the cluster's workers"
    assert resolve_device("cpu", REMOTE).device == "cpu"
    assert stub_probe.runs == 0


def test_a_cluster_without_gpus_is_no_cuda_whatever_is_here(
    nvml: FakeNvml, stub_probe: StubProbe, install: Any
) -> None:
    install(xgboost="3.2.0")
    assert resolve_device("auto", ()).device == "cpu"
    with pytest.raises(DeviceUnavailableError, match="no worker of the cluster sees an NVIDIA GPU"):
        resolve_device("cuda", [])


def test_a_number_means_nothing_on_a_cluster(nvml: FakeNvml, install: Any) -> None:
    install(xgboost="3.2.0")
    with pytest.raises(StudyError, match="'cuda:1' names one GPU of this machine"):
        resolve_device("cuda:1", REMOTE)


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "cuda:-1", "cuda:1234", "CUDA:0"])
def test_a_device_of_another_name_is_refused(name: str) -> None:
    with pytest.raises(StudyError, match=f"unknown device '{name}'"):
        resolve_device(name)


def test_a_device_of_almost_a_name_is_guessed() -> None:
    with pytest.raises(StudyError, match="unknown device 'cud'; did you mean 'cuda'"):
        resolve_device("cud")


@pytest.mark.fault(12)
def test_two_xgboost_wheels_are_refused_whatever_the_device(install: Any) -> None:
    install(xgboost_cpu="3.2.0", xgboost="3.1.1")
    for requested in ("cpu", "auto", "cuda"):
        with pytest.raises(EnvironmentFaultError, match="are both installed"):
            resolve_device(requested)


def test_looking_at_the_machine_loads_no_gpu_library_and_makes_no_context() -> None:
    program = (
        "import sys\n"
        "from gpucv.machine import describe_machine, examine, process_facts, resolve_device\n"
        "resolve_device('auto'), describe_machine(), process_facts(), examine()\n"
        "heavy = {'xgboost', 'cudf', 'cupy', 'numba', 'dask', 'numpy', 'pandas'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
        "print('libcuda.so' in open('/proc/self/maps').read())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split("\n")[:2] == ["[]", "False"]
