from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from gpucv.machine import cpu_count, free_memory_bytes, host, memory_bytes
from gpucv.machine.host import cpu_name

if TYPE_CHECKING:
    from pathlib import Path

MIB = 2**20


@pytest.fixture
def cgroup(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A control-group folder of one's own, on a machine of eight cores."""
    own = tmp_path / "own"
    own.write_text("0::/job/step\n4:cpu,cpuacct:/slurm/job\n7:memory:/../elsewhere\n")
    monkeypatch.setattr(host, "_CGROUP", tmp_path)
    monkeypatch.setattr(host, "_OWN_GROUPS", own)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    for folder in ("job/step", "cpu/slurm/job", "memory"):
        (tmp_path / folder).mkdir(parents=True)
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
@pytest.mark.parametrize("group", ["", "job", "job/step"])
def test_the_limit_of_a_container_or_job_is_kept(
    group: str, limit: str, cores: int, cgroup: Path
) -> None:
    (cgroup / group / "cpu.max").write_text(limit)
    assert cpu_count() == cores


@pytest.mark.parametrize("group", ["cpu", "cpu/slurm/job"])
@pytest.mark.parametrize(("quota", "cores"), [("-1", 8), ("300000", 3), ("1000", 1)])
def test_the_limit_of_an_old_container_is_kept_too(
    group: str, quota: str, cores: int, cgroup: Path
) -> None:
    (cgroup / group / "cpu.cfs_quota_us").write_text(f"{quota}\n")
    (cgroup / group / "cpu.cfs_period_us").write_text("100000\n")
    assert cpu_count() == cores


def test_the_smallest_limit_on_the_way_up_counts(cgroup: Path) -> None:
    for group, limit in (("", "700000"), ("job", "300000"), ("job/step", "500000")):
        (cgroup / group / "cpu.max").write_text(f"{limit} 100000")
    assert cpu_count() == 3


def test_outside_a_container_the_cores_are_those_this_process_may_use(
    cgroup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cpu_count() == 8
    (cgroup / "own").unlink()
    assert cpu_count() == 8
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cpu_count() == 1


def test_memory_is_that_of_the_machine_or_the_limit(
    cgroup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    meminfo = cgroup / "meminfo"
    meminfo.write_text("MemTotal: 9000000 kB\nMemAvailable:  8000000 kB\n")
    monkeypatch.setattr(host, "_MEMINFO", meminfo)
    installed = memory_bytes()
    assert installed == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert free_memory_bytes() == 8_000_000 * 1024
    (cgroup / "job/memory.max").write_text(f"{100 * MIB}\n")
    (cgroup / "job/memory.current").write_text(f"{70 * MIB}\n")
    (cgroup / "job/memory.stat").write_text(f"anon 5\ninactive_file {20 * MIB}\n")
    assert memory_bytes() == 100 * MIB
    assert free_memory_bytes() == 50 * MIB  # cached files are given back when asked
    (cgroup / "job/memory.max").write_text("max\n")
    assert memory_bytes() == installed


def test_an_old_container_limits_memory_too(cgroup: Path) -> None:
    (cgroup / "memory/memory.limit_in_bytes").write_text(f"{64 * MIB}")
    (cgroup / "memory/memory.usage_in_bytes").write_text(f"{65 * MIB}")
    assert memory_bytes() == 64 * MIB
    assert free_memory_bytes() == 0


def test_memory_that_is_not_told_is_none(cgroup: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "_MEMINFO", cgroup / "none")
    assert free_memory_bytes() is None


def test_this_machine_has_a_processor_and_memory() -> None:
    assert cpu_name()
    free, usable = free_memory_bytes(), memory_bytes()
    assert free is not None
    assert usable is not None
    assert 1e7 < free <= usable
