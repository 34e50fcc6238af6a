"""Calls to a place that workers and this process share, of which any may fail or stall.

A place is a folder, or a store behind a URL that fsspec knows. A call that fails for a reason
that may pass is tried again a few times, at growing distances, and none is waited for without
end: a store that does not answer ends a run, which can then be resumed, and does not hang it.
"""

from __future__ import annotations

import contextlib
import errno
import threading
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

from gpucv.errors import EnvironmentFaultError, StudyError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Answer = TypeVar("Answer")

__all__ = ["attempt", "discard", "download", "open_place"]

TRIES = 4
PAUSE_SECONDS = 1.0
"""Before the second try; twice as long before each that follows."""
STALL_SECONDS = 300.0
"""How long one call may take, beside a second for every MiB it moves."""

_LASTING = (
    *(FileNotFoundError, PermissionError, FileExistsError, IsADirectoryError, NotADirectoryError),
    *(ImportError, ValueError, TypeError, NotImplementedError),
)
"""What another try does not mend; the last is how fsspec says that a store lacks a call."""
_LASTING_NUMBERS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}


def open_place(where: str) -> tuple[Any, str]:
    """Return the file system of a path or URL, and the path in it.

    Raises
    ------
    StudyError
        If fsspec knows no such URLs.
    EnvironmentFaultError
        If the package that does is missing.
    """
    from fsspec.core import url_to_fs

    try:
        files, path = url_to_fs(where)
    except ImportError as error:
        msg = f"execution.exchange {where!r}: {error} (here and on every worker)"
        raise EnvironmentFaultError(msg) from error
    except ValueError as error:
        msg = f"execution.exchange {where!r}: {error}; name a folder, or a URL such as s3://"
        raise StudyError(msg) from error
    return files, path


def attempt(what: str, where: str, call: Callable[[], Answer], n_bytes: int = 0) -> Answer:
    """Return what a call to a place returns, after some tries if need be.

    Parameters
    ----------
    what, where : str
        What it does to which place, as a message says it.
    call : callable
        May be begun again after it has failed half-way, and while an earlier one still hangs.
    n_bytes : int
        How much it moves.

    Raises
    ------
    EnvironmentFaultError
        If it fails every time, or for a reason that will not pass.
    """
    pause = PAUSE_SECONDS
    for tried in range(1, TRIES + 1):
        try:
            return _in_time(call, STALL_SECONDS + n_bytes / 2**20)
        except Exception as error:  # object stores have errors of their own
            if tried < TRIES and not _will_last(error):
                time.sleep(pause)
                pause *= 2
                continue
            times = f", {tried} times" if tried > 1 else ""
            why = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
            msg = (
                f"cannot {what} {where}: {why}{times}; check execution.exchange, then resume the "
                "run if it has begun"
            )
            raise EnvironmentFaultError(msg) from error
    raise AssertionError


def download(where: str, file: Path) -> None:
    """Fetch a file from a place; it appears whole or not at all.

    Raises
    ------
    EnvironmentFaultError
        If it cannot be read.
    """
    files, path = open_place(where)
    size = attempt("read", where, lambda: files.size(path)) or 0
    parts = iter(range(TRIES))

    def fetch() -> None:
        # A try that hangs may write on when the next one has begun.
        part = file.with_name(f".{file.name}.{next(parts)}.part")
        try:
            files.get_file(path, str(part))
            part.replace(file)
        finally:
            part.unlink(missing_ok=True)

    attempt("read", where, fetch, size)
    for number in range(TRIES):  # of a try that hangs
        file.with_name(f".{file.name}.{number}.part").unlink(missing_ok=True)


def discard(where: str) -> None:
    """Remove a place and all in it, if it lets that be done in time; what stays harms nobody."""
    files, path = open_place(where)
    with contextlib.suppress(Exception):
        _in_time(lambda: files.rm(path, recursive=True), STALL_SECONDS)


def _in_time(call: Callable[[], Answer], seconds: float) -> Answer:
    """Run a call in a thread that is left behind if it takes too long."""
    done: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()

    def run() -> None:
        try:
            done.put((call(), None))
        except BaseException as error:
            done.put((None, error))

    threading.Thread(target=run, daemon=True, name="gpucv-storage").start()
    try:
        answer, error = done.get(timeout=seconds)
    except Empty:
        msg = f"no answer within {seconds:g} s"
        raise TimeoutError(msg) from None
    if error is not None:
        raise error
    found: Answer = answer
    return found


def _will_last(error: Exception) -> bool:
    return isinstance(error, _LASTING) or getattr(error, "errno", None) in _LASTING_NUMBERS
