"""What a table was measured on: GPU, engine and version, by its folders and its rows.

The folders are what aiconfigurator looks a table up by, and they are one system's name
for all engines; the rows say what the collector saw. They differ where a table was
copied from a sister system, or recorded with a development build.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gpucv.errors import TraceError
from gpucv.traces.piece import one_line
from gpucv.traces.provenance import Note

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gpucv.catalog import Catalog, GpuSpec
    from gpucv.traces.sources import Source

__all__ = ["ORIGIN_COLUMNS", "Origin", "origin_of"]

ORIGIN_COLUMNS = ("framework", "version", "device")
"""Columns with one value in a whole file; builds of one release may share a file."""

_ENGINES = ("sglang", "trtllm", "vllm")
_FAMILY_FOLDERS = ("attention", "gemm", "moe")
_RELEASE = re.compile(r"([0-9]+)\.([0-9]+)\.([0-9]+)")


@dataclass(frozen=True, slots=True)
class Origin:
    """Labels of every row of a file.

    Attributes
    ----------
    gpu, engine, engine_version : str
    spec : GpuSpec or None
        What the catalog knows of the GPU.
    notes : tuple of Note
    """

    gpu: str
    engine: str
    engine_version: str
    spec: GpuSpec | None
    notes: tuple[Note, ...]


@dataclass(frozen=True, slots=True)
class _Folders:
    """What the last folders say; None where they are not laid out as published."""

    system: str | None = None
    engine: str | None = None
    version: str | None = None


def origin_of(source: Source, held: Mapping[str, Sequence[str]], catalog: Catalog) -> Origin:
    """Return what the rows of a file were measured on.

    The folders' names are taken where the path ends like the published tree; a file that
    was moved elsewhere is told by its rows.

    Parameters
    ----------
    source : Source
    held : mapping of str to sequence of str
        The distinct values of each of `ORIGIN_COLUMNS`.
    catalog : Catalog

    Raises
    ------
    TraceError
        If the file mixes GPUs, engines or versions.
    """
    for column in ("framework", "device"):
        if len(held[column]) > 1:
            raise TraceError(_mixed(source, column, held[column]))
    framework, device = held["framework"][0], held["device"][0]
    folders = _folders(source.path)
    version = _release_of(held["version"], folders.version)
    if version is None:
        raise TraceError(_mixed(source, "version", held["version"]))
    recorded = catalog.gpus.find(device)
    # A folder that names no GPU is one of the user's own, unless the rows name none either.
    spec = (catalog.gpus.find(folders.system) if folders.system else None) or recorded
    gpu = spec.name if spec is not None else folders.system or device
    engine = folders.engine or framework.casefold()
    notes = []
    if recorded is not None and recorded.name != gpu:
        message = (
            f"{source.name}: the folder says {gpu}, the rows were recorded on {one_line(device)}; "
            "they may be a copy of its table; do not hold one out and train on the other"
        )
        notes.append(Note("device_differs", message, 1, "warning"))
    if framework.casefold() != engine:
        message = f"{source.name}: the folder says {engine}, the rows {one_line(framework)}"
        notes.append(Note("engine_differs", message, 1, "warning"))
    other = [build for build in held["version"] if build != version]
    if other:
        builds = one_line(", ".join(other))
        message = f"{source.name}: rows of version {version} were recorded with {builds}"
        plain = any(_RELEASE.fullmatch(build) for build in other)
        notes.append(Note("build_differs", message, len(other), "warning" if plain else "info"))
    return Origin(gpu, engine, version, spec, tuple(notes))


def _folders(path: Path) -> _Folders:
    """Read ``<system>/<family>/<engine>/<version>/``, also without the folder of the family."""
    # The path as it is spelled: a link's target may be called anything.
    folders = [*Path(os.path.abspath(path)).parts[1:-1]]  # noqa: PTH100
    if len(folders) < 2 or folders[-2].casefold() not in _ENGINES:
        return _Folders()
    version, engine = folders.pop(), folders.pop().casefold()
    if folders and folders[-1].casefold() in _FAMILY_FOLDERS:
        folders.pop()
    return _Folders(folders.pop() if folders else None, engine, version)


def _release_of(builds: Sequence[str], folder: str | None) -> str | None:
    """Return the version all builds may stand under; None where they are several."""
    if folder is None and len(builds) == 1:
        return builds[0]
    for release in [folder] if folder is not None else sorted(builds):
        if len(builds) == 1 or all(_may_share(build, release) for build in builds):
            return release
    return None


def _may_share(build: str, release: str) -> bool:
    """Whether a build may stand in a release's table: itself, a development build, its next patch.

    Some published tables are like that: vLLM 0.19.0 and 0.19.1, or 0.24.0 and the commit
    whose kernel was to be added.
    """
    if build == release or ".dev" in build:
        return True
    one, other = _RELEASE.fullmatch(build), _RELEASE.fullmatch(release)
    if one is None or other is None:
        return False
    return one.group(1, 2) == other.group(1, 2) and int(one[3]) == int(other[3]) + 1


def _mixed(source: Source, column: str, values: Sequence[str]) -> str:
    shown = one_line(", ".join(map(repr, sorted(values)[:4])))
    return (
        f"{source.name}, column {column!r}: mixed {column}s {shown}; a table is one GPU's, "
        "under one version of one engine; split it"
    )
