"""Files of an artifact set: read only from inside it, and only if their hash is the manifest's."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from gpucv.errors import DataError, EnvironmentFaultError, shown
from gpucv.runs.disk import atomic_folder, sync

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gpucv.export.manifest import FileEntry, GoldenEntry

__all__ = [
    "MANIFEST",
    "must_be_free",
    "read_checked",
    "read_manifest_file",
    "sha256",
    "to_json",
    "write_set",
]

MANIFEST = "manifest.json"
_LARGEST = 1 << 30
"""Bytes of one file; a model of 10,000 deep trees has some 50 MB."""


def sha256(content: bytes) -> str:
    """Return the SHA-256 of some bytes as hex digits."""
    return hashlib.sha256(content).hexdigest()


def to_json(value: Any) -> bytes:
    """Return a value as JSON text; every number reads back as the same float64."""
    return (json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False) + "\n").encode()


def read_manifest_file(root: Path) -> bytes:
    """Return the bytes of a set's manifest.

    Raises
    ------
    DataError
        If there is none.
    """
    return _read(root, MANIFEST)


def read_checked(root: Path, entry: FileEntry | GoldenEntry) -> bytes:
    """Return the bytes of a file of the set, if they are those the manifest means.

    Raises
    ------
    DataError
        If its path leaves the set, it is no regular file, or it was changed.
    """
    content = _read(root, entry.path)
    size = getattr(entry, "bytes", len(content))
    if len(content) != size:
        msg = f"{root / entry.path} has {len(content):,} bytes, not {size:,}; get the set again"
        raise DataError(msg)
    if sha256(content) != entry.sha256:
        msg = f"{root / entry.path} is not the file its manifest means (SHA-256 differs)"
        raise DataError(f"{msg}; get the set again")
    return content


def _read(root: Path, path: str) -> bytes:
    parts = PurePosixPath(path).parts
    plain = "\\" not in path and "\0" not in path and not path.startswith("/")
    if not parts or not plain or ".." in parts or PurePosixPath(path).as_posix() != path:
        msg = f"{root / MANIFEST} names the file {shown(path)}, which is no path inside the set"
        raise DataError(msg)
    place = root.joinpath(*parts)
    try:
        for folder in list(place.parents)[: len(parts) - 1]:
            if folder.is_symlink():
                msg = f"{folder} is a link; the files of a set lie in it"
                raise DataError(msg)
        # Not followed and not waited for: a link, a pipe or a device is no file of a set.
        descriptor = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        msg = f"cannot read {place}: {reason}; is {root} an artifact set?"
        raise DataError(msg) from error
    try:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode) or about.st_size > _LARGEST:
            msg = f"{place} is no regular file of at most {_LARGEST:,} bytes"
            raise DataError(msg)
        with os.fdopen(os.dup(descriptor), "rb") as file:
            return file.read()
    except OSError as error:
        msg = f"cannot read {place}: {error.strerror}"
        raise DataError(msg) from error
    finally:
        os.close(descriptor)


def must_be_free(out: Path) -> None:
    """Refuse a folder that holds anything.

    Raises
    ------
    EnvironmentFaultError
    """
    try:
        taken = out.is_symlink() or (out.exists() and (not out.is_dir() or any(out.iterdir())))
    except OSError as error:
        msg = f"cannot write {out}: {error.strerror}; choose another --out"
        raise EnvironmentFaultError(msg) from error
    if taken:
        msg = f"{out} exists and is not an empty folder; choose another --out"
        raise EnvironmentFaultError(msg)


def write_set(out: Path, manifest: Any, files: Mapping[str, bytes]) -> None:
    """Write a set; it appears whole or not at all.

    Parameters
    ----------
    out : Path
        A folder that does not exist, or is empty.
    manifest : object
        As plain data.
    files : mapping of str to bytes
        By path inside the set.

    Raises
    ------
    EnvironmentFaultError
        If the file system refuses.
    """
    must_be_free(out)
    with contextlib.suppress(OSError):  # an empty folder makes way
        out.rmdir()
    with atomic_folder(out.absolute()) as folder:
        for path, content in files.items():
            place = folder / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
            sync(place)
        (folder / MANIFEST).write_bytes(to_json(manifest))
    if not (out / MANIFEST).exists():
        msg = f"cannot write {out}: something else appeared there; choose another --out"
        raise EnvironmentFaultError(msg)
