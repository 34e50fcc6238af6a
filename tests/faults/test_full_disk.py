"""A disk that is really full, or really read-only."""

from __future__ import annotations

import contextlib
import resource
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

import gpucv
from gpucv.errors import EnvironmentFaultError
from gpucv.runs import find_damage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Results = Callable[[Path], dict[str, bytes]]


@contextlib.contextmanager
def largest_file(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 128 KiB; only root can mount one."""
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this user cannot mount a small file system")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.fault(14)
@pytest.mark.parametrize("size", [500, 4_000, 20_000])
def test_a_file_that_may_not_grow_ends_the_run_and_it_resumes(
    size: int,
    study: dict[str, Any],
    tmp_path: Path,
    undisturbed: dict[str, bytes],
    results_of: Results,
) -> None:
    root = tmp_path / "run"
    with largest_file(size), pytest.raises(EnvironmentFaultError, match="File too large"):
        gpucv.run(study, out=root)
    assert not list(tmp_path.rglob("*.tmp"))
    assert not root.exists() or find_damage(root) == []
    if (root / "manifest.json").exists():
        gpucv.resume(root)
    else:
        gpucv.run(study, out=root)
    assert results_of(root) == undisturbed


@pytest.mark.fault(14)
def test_a_full_disk_ends_the_run_and_it_resumes_when_there_is_room(
    study: dict[str, Any],
    small_disk: Path,
    undisturbed: dict[str, bytes],
    results_of: Results,
) -> None:
    root = small_disk / "run"
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"\0" * 100_000)
    with pytest.raises(EnvironmentFaultError, match="No space left on device"):
        gpucv.run(study, out=root)
    assert not list(small_disk.rglob("*.tmp"))
    assert find_damage(root) == []
    ballast.unlink()
    subprocess.run(["mount", "-o", "remount,size=4m", str(small_disk)], check=True)
    gpucv.resume(root)
    assert results_of(root) == undisturbed


@pytest.mark.fault(16)
def test_a_read_only_disk_is_refused_before_anything_runs(
    study: dict[str, Any], small_disk: Path
) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(EnvironmentFaultError, match="is not a writable folder; choose") as caught:
        gpucv.run(study, out=small_disk / "run")
    assert caught.value.exit_code == 4
