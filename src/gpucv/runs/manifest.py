"""What a number needs behind it: who made it, from what, on which machine."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpucv.errors import RunError
from gpucv.machine import ResolvedDevice, describe_machine
from gpucv.runs.disk import atomic_write
from gpucv.runs.guards import must_stay_inside
from gpucv.runs.layout import RunLayout, read_json, sha256_of, to_json
from gpucv.schema import RUN_SCHEMA

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import UnionType

__all__ = [
    "new_manifest",
    "now",
    "read_manifest",
    "replace_outputs",
    "source_revision",
    "write_manifest",
]

_REQUIRED: Mapping[str, type | UnionType] = {
    "name": str,
    "status": str,
    "study_fingerprint": str,
    "data_fingerprint": str,
    "limit": int | None,
    "synthetic": bool,
    "device": dict,
    "data": list,
    "notes": list,
    "machine": dict,
    "outputs": dict,
}
"""What resuming and reporting read again."""


def new_manifest(
    name: str, device: ResolvedDevice, what: Mapping[str, Any], notes: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the manifest of a run about to start.

    Parameters
    ----------
    name : str
        The study's name.
    device : ResolvedDevice
    what : mapping
        Fingerprints, seed, data sources: everything the result follows from; and the
        placement.
    notes : sequence of mapping
        What reading the data had to say.
    """
    return {
        "schema": RUN_SCHEMA,
        "name": name,
        "status": "running",
        "started": now(),
        "ended": None,
        "command": sys.argv,
        "process": {"pid": os.getpid(), "host": platform.node()},
        "revision": source_revision(),
        "device": {
            "used": device.device,
            "reason": device.reason,
            "gpus": [asdict(gpu) for gpu in device.gpus],
        },
        **what,
        "notes": list(notes),
        "machine": describe_machine(),
        "outputs": {},
    }


def write_manifest(layout: RunLayout, manifest: Mapping[str, Any]) -> None:
    """Write the manifest, with the SHA-256 of every output that exists."""
    outputs = {path.name: _vouched(path) for path in layout.outputs()}
    atomic_write(layout.manifest, to_json({**manifest, "outputs": outputs}))


def replace_outputs(layout: RunLayout, contents: Mapping[Path, str]) -> None:
    """Write some outputs of a finished run anew.

    Until all of them are there, its manifest vouches for none of them: so one that is killed
    meanwhile leaves whole files, old and new, and a sound run.
    """
    manifest = read_manifest(layout)
    names = {path.name for path in contents}
    others = {name: said for name, said in manifest["outputs"].items() if name not in names}
    atomic_write(layout.manifest, to_json({**manifest, "outputs": others}))
    for path, content in contents.items():
        atomic_write(path, content)
    outputs = others | {path.name: _vouched(path) for path in contents}
    atomic_write(layout.manifest, to_json({**manifest, "outputs": outputs}))


def read_manifest(layout: RunLayout) -> dict[str, Any]:
    """Read the manifest of a run folder.

    Raises
    ------
    RunError
        If there is none, it is damaged, another version of gpucv wrote it, or the folder leads
        out of itself.
    """
    manifest = read_json(layout.manifest)
    if manifest.get("schema") != RUN_SCHEMA:
        msg = (
            f"{layout.manifest} is of schema {manifest.get('schema')!r}; this version reads "
            f"{RUN_SCHEMA}; use the gpucv that wrote it"
        )
        raise RunError(msg)
    for key, kind in _REQUIRED.items():
        if not isinstance(manifest.get(key), kind):
            found = repr(manifest[key])[:60] if key in manifest else "nothing"
            msg = f"{layout.manifest} is damaged: {key!r} is {found}; start a new run"
            raise RunError(msg)
    must_stay_inside(layout, manifest)
    return manifest


def _vouched(path: Path) -> dict[str, Any]:
    return {"bytes": path.stat().st_size, "sha256": sha256_of(path)}


def now() -> str:
    """Return the time as a UTC label; durations never come from it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def source_revision() -> str | None:
    """Return gpucv's git commit (``-dirty`` if changed) where it runs from a checkout."""
    here = Path(__file__).resolve().parent
    if not any((parent / ".git").exists() for parent in here.parents):
        return None
    command = ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
