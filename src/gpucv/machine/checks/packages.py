"""Checks of what is installed: one XGBoost, one RAPIDS release, and versions that fit."""

from __future__ import annotations

from importlib import metadata
from typing import TYPE_CHECKING

from gpucv.errors import EnvironmentFaultError
from gpucv.machine.checks.check import fault, ok, warn
from gpucv.machine.packages import (
    CUDF,
    CUPY,
    RAPIDS,
    cuda_majors,
    installed,
    require_xgboost,
    xgboost_distributions,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gpucv.machine.checks.check import Check

__all__ = ["cuda_extra", "package_checks", "unmet"]

_SAME_RELEASE = (*RAPIDS, "pylibcudf-cu12", "pylibcudf-cu13", "libcudf-cu12", "libcudf-cu13")
_PARTS = {"cuDF": CUDF, "CuPy": CUPY, "RMM": ("rmm-cu12", "rmm-cu13", "rmm")}
_AGAIN = "install into a fresh environment: make setup EXTRA=cuda12 (or cuda13)"
_FIRST_DATED = 24  # RAPIDS 24.02; anything older predates the Python versions gpucv runs on


def package_checks() -> Iterator[Check]:
    """Look at the packages installed."""
    yield _xgboost()
    if cuda_extra():
        yield _parts()
        yield from _old_dask_cuda()
        yield _one_release()
    faults = sorted(set(unmet(("gpucv", *RAPIDS, *CUPY, *xgboost_distributions()))))
    if faults:
        yield fault("versions", "; ".join(faults), _AGAIN)
    else:
        yield ok("versions", "all within what gpucv and its libraries ask for")


def cuda_extra() -> bool:
    """Return whether this is an installation meant for GPUs: gpucv[cuda12] or gpucv[cuda13]."""
    return bool(installed((*CUDF, *CUPY, "dask-cuda", "xgboost-cu12", "xgboost-cu13")))


def _xgboost() -> Check:
    try:
        name = require_xgboost()
    except EnvironmentFaultError as error:
        told, _, mend = str(error).partition(": " if "missing" in str(error) else "; ")
        return fault("xgboost", told, mend)
    return ok("xgboost", f"{name} {xgboost_distributions()[name]}, and no other")


def _parts() -> Check:
    """Say which of the libraries for GPUs are here; only dask-cuda cannot be done without."""
    wanted = {**_PARTS, "dask-cuda": ("dask-cuda",)}
    found = {part: installed(names) for part, names in wanted.items()}
    missing = [part for part, versions in found.items() if not versions]
    told = ", ".join(
        f"{name} {version}" for versions in found.values() for name, version in versions.items()
    )
    if not missing:
        return ok("rapids", told)
    absent = f"{' and '.join(missing)} missing"
    told = f"{absent}; here: {told or 'none of RAPIDS'}"
    return warn("rapids", told, "for tables and several workers on GPUs: " + _AGAIN)


def _old_dask_cuda() -> Iterator[Check]:
    version = installed(["dask-cuda"]).get("dask-cuda", "")
    if version and int(version.partition(".")[0]) < _FIRST_DATED:
        told = (
            f"dask-cuda {version} is years old: pip takes it, without a word, where no newer one "
            "goes with the Dask asked for"
        )
        yield fault("dask-cuda", told, "ask for no Dask version yourself, and " + _AGAIN)


def _one_release() -> Check:
    """RAPIDS libraries are built against each other, and work only within one release."""
    versions = installed(_SAME_RELEASE)
    releases = {name: ".".join(version.split(".")[:2]) for name, version in versions.items()}
    if len(set(releases.values())) > 1:
        told = ", ".join(f"{name} {release}" for name, release in releases.items())
        return fault("release", f"RAPIDS libraries of several releases: {told}", _AGAIN)
    majors = cuda_majors((*versions, *installed(CUPY)))
    if len(set(majors.values())) > 1:
        told = f"built for several CUDA versions: {', '.join(sorted(majors))}"
        return fault("release", told, _AGAIN)
    told = f"one RAPIDS release: {next(iter(releases.values()))}" if releases else "no RAPIDS"
    return ok("release", f"{told}, for CUDA {next(iter(majors.values()))}" if majors else told)


def unmet(distributions: Iterable[str]) -> Iterator[str]:
    """Say which requirements of these distributions the installed versions do not meet.

    What a library asks for stands in its own metadata: Dask's version in
    ``rapids-dask-dependency``, the range of pandas in cuDF.
    """
    from packaging.requirements import InvalidRequirement, Requirement

    for name in installed(distributions):
        for line in metadata.requires(name) or []:
            try:
                wanted = Requirement(line)
            except InvalidRequirement:
                continue
            if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
                continue
            found = installed([wanted.name]).get(wanted.name)
            asks = f"{name} asks for {wanted.name}{wanted.specifier and f' {wanted.specifier}'}"
            if found is None:
                yield f"{asks}, which is missing"
            elif not wanted.specifier.contains(found, prereleases=True):
                yield f"{asks}, found {found}"
