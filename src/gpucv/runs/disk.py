"""Every call that changes a run folder; files and folders that appear whole or not at all.

A file appears under its own name complete: it is written beside its place, flushed to the
disk, then renamed. A fold's files appear together, by the rename of their folder. All of it
goes through this module, so that a test can let any one call fail.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from typing import TYPE_CHECKING

from gpucv.errors import EnvironmentFaultError
from gpucv.injection import inject_write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = [
    "atomic_folder",
    "atomic_write",
    "atomic_write_with",
    "make_folder",
    "remove_file",
    "remove_folder",
    "sync",
    "write_file",
]


def make_folder(path: Path) -> None:
    """Make a folder, and those above it.

    Raises
    ------
    EnvironmentFaultError
        If the file system refuses.
    """
    try:
        inject_write()
        path.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        msg = f"cannot create {path}: {reason}; choose another --out"
        raise EnvironmentFaultError(msg) from error


def write_file(path: Path, content: str | bytes) -> None:
    """Write a file where nobody looks for it yet; what fails is the system's own error."""
    inject_write()
    path.write_bytes(_as_bytes(content))


def atomic_write(path: Path, content: str | bytes) -> None:
    """Write `content` to `path`, whole or not at all; raises as `atomic_write_with`."""
    data = _as_bytes(content)

    def write(beside: Path) -> None:
        beside.write_bytes(data)

    atomic_write_with(path, write)


def atomic_write_with(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a file beside `path`, then give it that name.

    Raises
    ------
    EnvironmentFaultError
        If the file system refuses (full, read-only), or something that is no file has
        that name; no partial file stays.
    """
    if path.exists() and not path.is_file():
        # A rename would put a file in the place of a device or a pipe.
        what = "a folder" if path.is_dir() else "no regular file"
        msg = f"cannot write {path}: it is {what}; name a file"
        raise EnvironmentFaultError(msg)
    beside = _beside(path)
    try:
        inject_write()
        write(beside)
        sync(beside)
        inject_write()
        beside.replace(path)
        sync(path.parent)
    except OSError as error:
        # The system's own words: pyarrow's name the file beside `path`, which is gone.
        reason = os.strerror(error.errno) if error.errno else error
        msg = f"cannot write {path}: {reason}"
        raise EnvironmentFaultError(msg) from error
    finally:
        with contextlib.suppress(OSError):
            remove_file(beside)


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside `path` that becomes `path` if all goes well.

    A `path` that appears meanwhile stays as it is: a twin of this work, on a worker
    thought lost, was faster.

    Raises
    ------
    EnvironmentFaultError
        If the file system refuses (full, read-only); no partial folder stays.
    """
    beside = _beside(path)
    try:
        inject_write()
        beside.mkdir(parents=True)
        yield beside
        for file in beside.iterdir():
            sync(file)
        sync(beside)
        try:
            inject_write()
            beside.rename(path)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        sync(path.parent)
    except OSError as error:
        msg = f"cannot write {path}: {error.strerror or error}"
        raise EnvironmentFaultError(msg) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def sync(path: Path) -> None:
    """Flush a file or folder to the disk."""
    inject_write()
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_file(path: Path) -> None:
    """Remove a file, if it is there."""
    if path.is_symlink() or path.exists():
        inject_write()
        path.unlink(missing_ok=True)


def remove_folder(path: Path) -> None:
    """Remove a folder and all in it, if it is there: at once, not file by file.

    Raises
    ------
    EnvironmentFaultError
        If the file system refuses; then all of it stays.
    """
    if not path.exists():
        return
    beside = _beside(path)
    try:
        inject_write()
        path.rename(beside)
    except OSError as error:
        msg = f"cannot remove {path}: {error.strerror or error}"
        raise EnvironmentFaultError(msg) from error
    shutil.rmtree(beside, ignore_errors=True)


def _as_bytes(content: str | bytes) -> bytes:
    # A path may hold bytes that are no text: they are written as JSON spells them.
    return content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content


def _beside(path: Path) -> Path:
    """Return a name beside `path` that no other writer has, and that a resumed run sweeps."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
