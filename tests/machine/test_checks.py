from __future__ import annotations

import os
import resource
import shutil
import socket
import sys
import tempfile
from typing import TYPE_CHECKING, Any

import pytest

from gpucv.machine import Check, examine
from gpucv.machine.checks import host as host_checks_module
from gpucv.machine.checks.gpu import gpu_checks
from gpucv.machine.checks.host import host_checks
from gpucv.machine.checks.packages import package_checks, unmet

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    FakeNvml = Any
    StubProbe = Any

RAPIDS = {
    "xgboost": "3.2.0",
    "cudf_cu13": "26.10.2|pandas<3.1.0,>=3.0.0",
    "rmm_cu13": "26.10.0",
    "cupy_cuda13x": "14.2.0",
    "dask_cuda": "26.10.0|rapids-dask-dependency==26.10.*",
    "rapids_dask_dependency": "26.10.0|dask<2026.7.2,>=2026.7.1",
    "dask": "2026.7.1",
    "pandas": "3.0.6",
}


def named(checks: Iterable[Check]) -> dict[str, Check]:
    found = list(checks)
    names = [check.name for check in found]
    assert len(set(names)) == len(names)
    for check in found:
        assert bool(check.mend) == (check.level != "ok"), check  # what is wrong says what to do
        assert "\n" not in check.told + check.mend
    return {check.name: check for check in found}


def levels(checks: dict[str, Check]) -> dict[str, str]:
    return {name: check.level for name, check in checks.items() if check.level != "ok"}


def test_this_machine_has_no_fault() -> None:
    found = named(examine())
    assert "fault" not in levels(found).values(), found
    assert {"cpu", "memory", "xgboost", "versions", "driver", "build", "training"} <= set(found)


# Packages


def test_one_release_of_everything_is_ok(install: Any) -> None:
    install(**RAPIDS)
    found = named(package_checks())
    assert levels(found) == {}
    assert "cudf-cu13 26.10.2" in found["rapids"].told
    assert found["release"].told == "one RAPIDS release: 26.10, for CUDA 13"


def test_a_cpu_installation_is_asked_nothing_of_rapids(install: Any) -> None:
    install(xgboost_cpu="3.2.0")
    found = named(package_checks())
    assert levels(found) == {}
    assert "rapids" not in found


@pytest.mark.parametrize(
    ("changed", "check", "told"),
    [
        ({"xgboost": None}, "xgboost", "XGBoost is missing"),
        ({"xgboost_cpu": "3.2.0"}, "xgboost", "both installed and share one folder"),
        ({"rmm_cu13": "26.8.0"}, "release", "rmm-cu13 26.8"),
        ({"rmm_cu13": None, "rmm_cu12": "26.10.0"}, "release", "cudf-cu13, cupy-cuda13x, rmm-cu12"),
        ({"cupy_cuda13x": None, "cupy_cuda12x": "14.2.0"}, "release", "several CUDA versions"),
        ({"pandas": "3.1.1"}, "versions", "cudf-cu13 asks for pandas <3.1.0,>=3.0.0, found 3.1.1"),
        (
            {"dask": "2026.8.0"},
            "versions",
            "rapids-dask-dependency asks for dask <2026.7.2,>=2026.7.1, found 2026.8.0",
        ),
        ({"dask": None}, "versions", "dask <2026.7.2,>=2026.7.1, which is missing"),
        ({"dask_cuda": "0.18.0"}, "dask-cuda", "dask-cuda 0.18.0 is years old"),
    ],
)
def test_packages_that_do_not_fit_are_a_fault_with_the_versions(
    changed: dict[str, str | None], check: str, told: str, install: Any
) -> None:
    packages = {name: version for name, version in (RAPIDS | changed).items() if version}
    install(**packages)
    found = named(package_checks())
    assert found[check].level == "fault"
    assert told in found[check].told


def test_a_part_of_rapids_that_is_missing_is_worth_knowing(install: Any) -> None:
    install(xgboost="3.2.0", cupy_cuda13x="14.2.0")
    found = named(package_checks())
    assert levels(found) == {"rapids": "warn"}
    assert "cuDF and RMM and dask-cuda missing; here: cupy-cuda13x" in found["rapids"].told


def test_requirements_of_extras_and_other_systems_are_not_asked_for(install: Any) -> None:
    install(
        dask_cuda="26.10.0|absent; extra == 'docs'|absent; sys_platform == 'win32'|;;broken",
        numpy="2.0.0",
    )
    assert list(unmet(["dask-cuda", "not-installed"])) == []


# Driver and GPUs


def test_gpus_that_work_are_told_one_by_one(
    nvml: FakeNvml, stub_probe: StubProbe, install: Any
) -> None:
    install(**RAPIDS)
    found = named(gpu_checks())
    assert levels(found) == {}
    assert found["driver"].told == "580.65.06, takes CUDA up to 13.0"
    assert found["gpu 3"].told == "NVIDIA H100, 80.0 GiB, 79.0 GiB free (GPU-3000-aaaa)"
    assert found["build"].told == "XGBoost 3.2.0, built for CUDA 12.9"
    assert found["training"].told == "XGBoost trained two rows on cuda:0"


def test_a_machine_without_gpus_is_healthy(
    nvml: FakeNvml, stub_probe: StubProbe, install: Any
) -> None:
    nvml.missing = True
    install(xgboost_cpu="3.2.0")
    found = named(gpu_checks())
    assert levels(found) == {}
    assert found["training"].told == "XGBoost trained two rows on cpu"


def test_packages_for_gpus_without_a_driver_are_a_fault(
    nvml: FakeNvml, stub_probe: StubProbe, install: Any
) -> None:
    nvml.missing = True
    install(**RAPIDS)
    assert levels(named(gpu_checks())) == {"driver": "fault"}


@pytest.mark.parametrize(("packages", "level"), [(RAPIDS, "fault"), ({"xgboost": "3.2.0"}, "warn")])
def test_a_driver_that_does_not_answer_weighs_as_much_as_what_is_installed(
    packages: dict[str, str], level: str, nvml: FakeNvml, stub_probe: StubProbe, install: Any
) -> None:
    nvml.refuses = 18
    install(**packages)
    found = named(gpu_checks())
    assert levels(found) == {"driver": level}
    assert "restart" in found["driver"].mend


def test_a_gpu_xgboost_does_not_train_on_is_a_fault(
    nvml: FakeNvml, stub_probe: StubProbe, install: Any
) -> None:
    install(**RAPIDS)
    stub_probe.says("train-cuda", device="cpu", warned=["No visible GPU is found"])
    found = named(gpu_checks())
    assert levels(found) == {"training": "fault"}
    assert "trained on the cpu: No visible GPU" in found["training"].told


def test_an_xgboost_that_crashes_is_a_fault_of_one_line(
    nvml: FakeNvml, stub_probe: StubProbe, install: Any
) -> None:
    install(**RAPIDS)
    stub_probe.ends("os.kill(os.getpid(), signal.SIGILL)", "memory")
    found = named(gpu_checks())
    assert levels(found) == {"training": "fault"}
    assert "build" not in found


@pytest.mark.fault(11)
def test_an_older_driver_than_xgboost_and_rapids_want_is_a_fault_of_both(
    nvml: FakeNvml, stub_probe: StubProbe, install: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def older(self: Any, version: Any) -> int:
        version._obj.value = 12040
        return 0

    monkeypatch.setattr(type(nvml), "nvmlSystemGetCudaDriverVersion_v2", older)
    install(**RAPIDS)
    stub_probe.says("xgboost", version="3.4.1", cuda=[13, 0], nccl=True)
    found = named(gpu_checks())
    assert levels(found) == {"driver": "fault", "build": "fault"}
    assert "takes CUDA up to 12.4; RAPIDS here is for 13" in found["driver"].told
    assert "the driver takes up to 12.4" in found["build"].told
    assert "gpucv[cuda12]" in found["build"].mend


def test_a_gpu_beside_an_xgboost_for_cpus_is_worth_knowing(
    nvml: FakeNvml, stub_probe: StubProbe, install: Any
) -> None:
    install(xgboost_cpu="3.2.0")
    found = named(gpu_checks())
    assert levels(found) == {"training": "warn"}
    assert "runs take the CPU" in found["training"].told


def test_hidden_gpus_and_instances_are_worth_knowing(
    nvml: FakeNvml, stub_probe: StubProbe, install: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(**RAPIDS)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    hidden = named(gpu_checks())
    assert levels(hidden) == {"gpus": "warn"}
    assert "CUDA_VISIBLE_DEVICES='-1' hides all 4" in hidden["gpus"].told
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    nvml.boards[0].instances = [("MIG-a", 2**30)]
    assert levels(named(gpu_checks()))["mig"] == "warn"


def test_gpus_that_cuda_counts_otherwise_are_worth_knowing(
    nvml: FakeNvml, stub_probe: StubProbe, install: Any
) -> None:
    install(**RAPIDS)
    nvml.boards.reverse()
    found = named(gpu_checks())
    assert levels(found) == {"order": "warn"}
    assert "PCI_BUS_ID" in found["order"].mend


def test_nothing_is_tried_without_one_xgboost(
    nvml: FakeNvml, stub_probe: StubProbe, install: Any
) -> None:
    install(numpy="2.0.0")
    assert "training" not in named(gpu_checks())
    assert stub_probe.runs == 0


# Host


@pytest.fixture
def roomy(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A host with nothing to remark on."""
    monkeypatch.setattr(host_checks_module, "memory_bytes", lambda: 16 * 2**30)
    monkeypatch.setattr(host_checks_module, "free_memory_bytes", lambda: 8 * 2**30)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (4096, 4096))
    monkeypatch.setattr(host_checks_module, "_PORTS", {0: "any that is free"})
    usage = shutil.disk_usage(".")._replace(free=50 * 2**30)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    return monkeypatch


def test_a_roomy_host_has_nothing_to_remark_on(roomy: pytest.MonkeyPatch) -> None:
    found = named(host_checks())
    assert levels(found) == {}
    assert found["memory"].told == "16.0 GiB usable, 8.0 GiB free"
    assert set(found) == {"cpu", "memory", "folder", "temp", "files", "ports"}


def test_little_memory_is_worth_knowing(roomy: pytest.MonkeyPatch) -> None:
    roomy.setattr(host_checks_module, "free_memory_bytes", lambda: 2**28)
    assert levels(named(host_checks())) == {"memory": "warn"}
    roomy.setattr(host_checks_module, "free_memory_bytes", lambda: None)
    assert named(host_checks())["memory"].told == "unknown"


def test_a_full_disk_is_worth_knowing(roomy: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(".")._replace(free=2**20)
    roomy.setattr(shutil, "disk_usage", lambda _: usage)
    assert levels(named(host_checks())) == {"folder": "warn", "temp": "warn"}


def test_a_folder_that_cannot_be_written_is_worth_knowing(roomy: pytest.MonkeyPatch) -> None:
    roomy.setattr(os, "access", lambda *_: False)
    found = named(host_checks())
    assert levels(found) == {"folder": "warn", "temp": "warn"}
    assert "is not writable" in found["folder"].told


def test_no_folder_for_temporary_files_is_a_fault(roomy: pytest.MonkeyPatch) -> None:
    def none() -> str:
        raise FileNotFoundError

    roomy.setattr(tempfile, "gettempdir", none)
    assert levels(named(host_checks())) == {"temp": "fault"}


def test_few_open_files_are_worth_knowing(roomy: pytest.MonkeyPatch) -> None:
    roomy.setattr(resource, "getrlimit", lambda _: (256, 4096))
    found = named(host_checks())
    assert levels(found) == {"files": "warn"}
    assert "ulimit -n" in found["files"].mend
    roomy.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, 4096))
    assert named(host_checks())["files"].told == "no limit"


def test_a_port_somebody_listens_on_is_worth_knowing(roomy: pytest.MonkeyPatch) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        roomy.setattr(host_checks_module, "_PORTS", {port: "the Dask scheduler", 0: "another"})
        found = named(host_checks())
    assert levels(found) == {"ports": "warn"}
    assert found["ports"].told.startswith(f"{port} (the Dask scheduler) taken")


def test_file_names_that_are_not_utf8_are_worth_knowing(roomy: pytest.MonkeyPatch) -> None:
    roomy.setattr(sys, "getfilesystemencoding", lambda: "ascii")
    assert levels(named(host_checks())) == {"text": "warn"}


def test_a_home_cupy_cannot_write_to_is_worth_knowing(
    roomy: pytest.MonkeyPatch, install: Any, tmp_path: Path
) -> None:
    roomy.setenv("CUPY_CACHE_DIR", str(tmp_path / "absent"))
    assert levels(named(host_checks())) == {}  # of no concern without CuPy
    install(cupy_cuda13x="14.2.0")
    assert levels(named(host_checks())) == {"home": "warn"}
    roomy.setenv("CUPY_CACHE_DIR", str(tmp_path))
    assert levels(named(host_checks())) == {}
