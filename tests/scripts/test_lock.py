from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from collections.abc import Callable

PYTHONS = ["3.11", "3.12", "3.13"]
EXTRAS = ["cpu", "cuda12", "cuda13"]
GROUPS = ["test", "lint", "docs", "bench", "build"]
REPOSITORY = Path(__file__).resolve().parents[2]


def read(name: str) -> str:
    return (REPOSITORY / "requirements" / f"{name}.txt").read_text(encoding="utf-8")


def environment(python: str) -> dict[str, str]:
    here: dict[str, str] = {**default_environment()}  # type: ignore[dict-item]
    place = {"sys_platform": "linux", "platform_machine": "x86_64"}
    return {**here, **place, "python_version": python, "python_full_version": f"{python}.9"}


def locked(name: str, python: str) -> dict[str, str]:
    """Package -> version that a lock file installs under one Python on Linux."""
    found = {}
    for block in re.findall(r"^[A-Za-z0-9].*?(?=\s*\\$)", read(name), flags=re.MULTILINE):
        pin = Requirement(block)
        if pin.marker is None or pin.marker.evaluate(environment(python)):
            key = canonicalize_name(pin.name)
            assert key not in found, f"{name}.txt pins {key} twice for Python {python}"
            (found[key],) = [spec.version for spec in pin.specifier]
    return found


def direct(name: str) -> list[Requirement]:
    """What pyproject.toml asks for in an extra (with the base) or a group."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    if name in GROUPS:
        return [Requirement(text) for text in project["dependency-groups"][name]]
    base, extras = project["project"]["dependencies"], project["project"]["optional-dependencies"]
    return [Requirement(text) for text in [*base, *extras[name]]]


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("name", [*EXTRAS, *GROUPS])
def test_a_lock_holds_every_direct_dependency_within_its_bounds(name: str, python: str) -> None:
    pins = locked(name, python)
    wanted = [
        need
        for need in direct(name)
        if need.marker is None or need.marker.evaluate(environment(python))
    ]
    assert wanted
    assert [str(need) for need in wanted if canonicalize_name(need.name) not in pins] == []
    wrong = [n for n in wanted if not n.specifier.contains(pins[canonicalize_name(n.name)])]
    assert [str(need) for need in wrong] == []


def test_the_build_group_holds_what_the_build_system_asks_for() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    for need in map(Requirement, project["build-system"]["requires"]):
        assert need.specifier.contains(locked("build", "3.11")[canonicalize_name(need.name)])


@pytest.mark.parametrize("name", [*EXTRAS, *GROUPS])
def test_every_line_of_a_lock_is_pinned_and_hashed(name: str) -> None:
    packages = re.split(r"\n(?=[A-Za-z0-9])", re.sub(r"(?m)^ *#.*\n", "", read(name)))
    assert packages
    for package in packages:
        first, *hashes = package.strip().splitlines()
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[^\s*]+( ; .+)? \\", first), first
        assert hashes, first
        for line in hashes:
            assert re.fullmatch(r" +--hash=sha256:[0-9a-f]{64}( \\)?", line), line


@pytest.mark.parametrize("name", [*EXTRAS, *GROUPS])
def test_a_lock_names_no_place_to_fetch_from(name: str) -> None:
    text = read(name)
    for word in ("://", "--index", "--extra-index", "--find-links", " @ ", "-e "):
        assert word not in text, word


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("extra", EXTRAS)
def test_files_that_are_installed_together_agree(extra: str, python: str) -> None:
    pins = locked(extra, python)
    for group in GROUPS:
        on_top = locked(group, python)
        shared = pins.keys() & on_top.keys()
        assert {name: pins[name] for name in shared} == {name: on_top[name] for name in shared}
        pins |= on_top


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("extra", ["cuda12", "cuda13"])
def test_a_cpu_tests_what_a_gpu_node_runs(extra: str, python: str) -> None:
    on_cpu, on_gpu = locked("cpu", python), locked(extra, python)
    differing = {name for name in on_cpu if on_gpu.get(name) != on_cpu[name]}
    assert differing == {"xgboost-cpu"}
    assert {"pandas", "dask", "distributed", "numpy"} <= on_gpu.keys()


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("extra", EXTRAS)
def test_an_extra_installs_one_xgboost(extra: str, python: str) -> None:
    wheels = {"xgboost", "xgboost-cpu", "xgboost-cu12"} & locked(extra, python).keys()
    assert len(wheels) == 1


def test_two_locks_that_disagree_are_named(script: Callable[[str], Any], tmp_path: Path) -> None:
    for name, numpy in {"cpu": "2.4.6", "cuda12": "2.4.6", "lint": "2.5.0"}.items():
        (tmp_path / f"{name}.txt").write_text(f"numpy=={numpy} ; python_version > '3' \\\n")
    for name in ("test", "docs", "bench", "build"):
        (tmp_path / f"{name}.txt").write_text("")
    faults = script("lock").disagreements(tmp_path)
    assert len(faults) == 2
    assert faults[0].startswith("requirements/cpu.txt and lint.txt disagree on numpy")


def test_the_real_locks_do_not_disagree(script: Callable[[str], Any]) -> None:
    assert script("lock").disagreements(REPOSITORY / "requirements") == []


def test_locking_without_uv_says_so(
    script: Callable[[str], Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PATH", "")
    assert script("lock").main() == 4
    assert "needs uv" in capsys.readouterr().err
