from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from gpucv import machine
from gpucv.errors import DeviceUnavailableError, EnvironmentFaultError, StudyError
from gpucv.machine import (
    count_gpus,
    cpu_count,
    describe_machine,
    package_versions,
    require_xgboost,
    resolve_device,
    xgboost_distributions,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """Let the packages installed be these and no others."""

    def install(**versions: str) -> None:
        for name, version in versions.items():
            distribution = name.replace("_", "-")
            folder = tmp_path / f"{name}-{version}.dist-info"
            folder.mkdir()
            text = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n"
            (folder / "METADATA").write_text(text)
        monkeypatch.setattr(sys, "path", [str(tmp_path)])

    return install


class FakeNvml:
    """What of NVML is asked: how many GPUs there are."""

    def __init__(self, gpus: int, *, broken: bool = False) -> None:
        self.gpus, self.broken, self.open = gpus, broken, False

    def __call__(self, name: str) -> FakeNvml:
        assert name == "libnvidia-ml.so.1"
        return self

    def nvmlInit_v2(self) -> int:  # noqa: N802 - NVML's own name
        self.open = not self.broken
        return 9 if self.broken else 0

    def nvmlDeviceGetCount_v2(self, number: Any) -> int:  # noqa: N802
        number._obj.value = self.gpus
        return 0

    def nvmlShutdown(self) -> int:  # noqa: N802
        self.open = False
        return 0


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> FakeNvml:
    """A machine of four GPUs, all of them shown."""
    library = FakeNvml(4)
    monkeypatch.setattr(machine.ctypes, "CDLL", library)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return library


@pytest.mark.parametrize(
    ("requested", "gpus", "wheel", "device"),
    [
        ("cpu", 0, "xgboost_cpu", "cpu"),
        ("cpu", 2, "xgboost", "cpu"),
        ("auto", 0, "xgboost_cpu", "cpu"),
        ("auto", 0, "xgboost", "cpu"),
        ("auto", 2, "xgboost_cpu", "cpu"),
        ("auto", 2, "xgboost", "cuda"),
        ("auto", 1, "xgboost_cu12", "cuda"),
        ("cuda", 1, "xgboost_cu13", "cuda"),
        ("cuda", 8, "xgboost", "cuda"),
    ],
)
def test_the_device_follows_from_what_is_asked_and_what_is_here(
    requested: str, gpus: int, wheel: str, device: str, nvml: FakeNvml, install: Any
) -> None:
    nvml.gpus = gpus
    install(**{wheel: "3.2.0"})
    assert resolve_device(requested).device == device


@pytest.mark.parametrize(
    ("gpus", "wheel", "reason"),
    [
        (0, "xgboost", "no NVIDIA GPU found"),
        (2, "xgboost_cpu", r"xgboost-cpu is built without CUDA; install gpucv\[cuda12\]"),
    ],
)
def test_cuda_is_never_quietly_replaced_by_the_cpu(
    gpus: int, wheel: str, reason: str, nvml: FakeNvml, install: Any
) -> None:
    nvml.gpus = gpus
    install(**{wheel: "3.2.0"})
    with pytest.raises(DeviceUnavailableError, match=f"'cuda' was asked for, but {reason}"):
        resolve_device("cuda")


def test_a_device_comes_with_its_reason(nvml: FakeNvml, install: Any) -> None:
    install(xgboost="3.2.0")
    assert resolve_device("cpu").reason == "asked for"
    assert resolve_device("auto").reason == "4 GPUs found"
    nvml.gpus = 0
    assert "no NVIDIA GPU" in resolve_device("auto").reason


def test_a_device_of_another_name_is_refused(nvml: FakeNvml) -> None:
    with pytest.raises(StudyError, match="unknown device 'cud'; did you mean 'cuda'"):
        resolve_device("cud")


@pytest.mark.parametrize(
    ("shown", "count"),
    [
        (None, 4),
        ("0", 1),
        ("0,1,2", 3),
        (" 2 , 3 ", 2),
        ("", 0),
        ("-1", 0),
        ("NoDevFiles", 0),
        ("0,-1,1", 1),  # the list ends at the first entry that names no device
        ("0,9,1", 1),
        ("1,1", 1),
        ("GPU-8932f937-d72c-4106-c12f-20bd9faed9f6", 1),
        ("MIG-GPU-8932f937/1/0,MIG-GPU-8932f937/2/0", 2),
        (",0", 0),
    ],
)
def test_only_gpus_that_cuda_would_show_are_counted(
    shown: str | None, count: int, nvml: FakeNvml, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shown is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", shown)
    assert count_gpus() == count
    assert not nvml.open


def test_a_name_in_the_environment_makes_no_gpu(
    nvml: FakeNvml, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvml.gpus = 0
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6")
    assert count_gpus() == 0


def test_without_a_driver_there_is_no_gpu(nvml: FakeNvml, monkeypatch: pytest.MonkeyPatch) -> None:
    nvml.broken = True
    assert count_gpus() == 0

    def absent(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(machine.ctypes, "CDLL", absent)
    assert count_gpus() == 0


@pytest.mark.parametrize("name", ["xgboost_cpu", "xgboost", "xgboost_cu12", "xgboost_cu13"])
def test_the_one_xgboost_installed_is_found_under_any_of_its_names(name: str, install: Any) -> None:
    install(**{name: "3.2.0"})
    assert require_xgboost() == name.replace("_", "-")
    assert xgboost_distributions() == {name.replace("_", "-"): "3.2.0"}


def test_two_xgboost_wheels_are_refused_with_the_way_out(install: Any) -> None:
    install(xgboost_cpu="3.2.0", xgboost="3.1.1")
    with pytest.raises(
        EnvironmentFaultError,
        match=r"xgboost-cpu 3.2.0 and xgboost 3.1.1 are both installed.*"
        r"pip uninstall -y xgboost-cpu xgboost, then pip install",
    ):
        resolve_device("cpu")


def test_a_missing_xgboost_is_said_with_what_to_install(install: Any) -> None:
    install(numpy="2.0.0")
    with pytest.raises(EnvironmentFaultError, match=r"XGBoost is missing: pip install.*gpucv\[cpu"):
        resolve_device("auto")


def test_versions_name_what_numbers_depend_on(install: Any) -> None:
    install(xgboost_cu12="3.3.0", numpy="2.1.0", pandas="2.2.3")
    found = package_versions()
    assert list(found) == ["python", "gpucv", "numpy", "pandas", "xgboost-cu12"]
    assert (found["numpy"], found["xgboost-cu12"]) == ("2.1.0", "3.3.0")


@pytest.fixture
def cgroup(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A control-group folder of one's own, on a machine of eight cores."""
    monkeypatch.setattr(machine, "_CGROUP", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    return tmp_path


@pytest.mark.parametrize(
    ("limit", "cores"),
    [
        ("max 100000", 8),
        ("200000 100000", 2),
        ("250000 100000", 2),
        ("50000 100000", 1),
        ("9900000 100000", 8),
        ("damaged", 8),
        ("100000 0", 8),
    ],
)
def test_a_containers_limit_is_kept(limit: str, cores: int, cgroup: Path) -> None:
    (cgroup / "cpu.max").write_text(limit)
    assert cpu_count() == cores


@pytest.mark.parametrize(("quota", "cores"), [("-1", 8), ("300000", 3), ("1000", 1)])
def test_an_old_containers_limit_is_kept_too(quota: str, cores: int, cgroup: Path) -> None:
    (cgroup / "cpu").mkdir()
    (cgroup / "cpu/cpu.cfs_quota_us").write_text(f"{quota}\n")
    (cgroup / "cpu/cpu.cfs_period_us").write_text("100000\n")
    assert cpu_count() == cores


def test_outside_a_container_the_cores_are_those_this_process_may_use(
    cgroup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cpu_count() == 8
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cpu_count() == 1


def test_a_machine_is_described_with_all_that_a_number_needs_beside_it() -> None:
    found = describe_machine()
    assert set(found) == {"host", "system", "cpu", "cores", "memory_bytes", "gpus", "versions"}
    assert found["cores"] == cpu_count()
    assert found["memory_bytes"] > 1e8
    assert found["cpu"]
    assert len(found["gpus"]) <= count_gpus() or os.environ.get("CUDA_VISIBLE_DEVICES")


@pytest.fixture
def nvidia_smi(nvml: FakeNvml, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A program of that name, the only one there is."""
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'NVIDIA H100, 81559 MiB, 550.54'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    return program


def test_gpus_are_described_by_name_memory_and_driver(nvidia_smi: Path) -> None:
    assert describe_machine()["gpus"] == ["NVIDIA H100, 81559 MiB, 550.54"]


def test_a_driver_that_fails_leaves_the_gpus_undescribed(nvidia_smi: Path) -> None:
    nvidia_smi.write_text("#!/bin/sh\nexit 9\n")
    assert describe_machine()["gpus"] == []
    nvidia_smi.write_text("not a program")
    assert describe_machine()["gpus"] == []
    nvidia_smi.unlink()
    assert describe_machine()["gpus"] == []


def test_looking_at_the_machine_loads_no_gpu_library_and_makes_no_context() -> None:
    program = (
        "import sys\n"
        "from gpucv.machine import describe_machine, resolve_device\n"
        "resolve_device('auto'), describe_machine()\n"
        "heavy = {'xgboost', 'cudf', 'cupy', 'numba', 'dask', 'numpy', 'pandas'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
        "print('libcuda.so' in open('/proc/self/maps').read())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split("\n")[:2] == ["[]", "False"]
