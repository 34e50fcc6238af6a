"""Results by way of a folder or an object store, where workers do not share the run folder.

A worker uploads a fold's files under a name no other upload has, ``DONE`` last; it tells
this process the name through the scheduler, and this process fetches the files into the run
folder, checks their hashes and removes the upload. So nothing big passes the scheduler, and
nothing half-written is ever read.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import secrets
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from gpucv.errors import EnvironmentFaultError, StudyError
from gpucv.runs import FoldStore, RunLayout

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpucv.runs import FoldArrays, FoldRecord

__all__ = ["Deposit", "Exchange", "can_read", "must_be_known"]


@dataclass(frozen=True, slots=True)
class Deposit:
    """One fold's files on their way: whose they are, where, and their names."""

    fold_id: int
    key: str
    place: str
    names: tuple[str, ...]

    def fetch(self, store: FoldStore) -> FoldRecord:
        """Take the files into the run folder, and remove the upload.

        Raises
        ------
        EnvironmentFaultError
            If they cannot be read, or are not what the worker wrote.
        """
        files, place = _open(self.place)

        def download(folder: Path) -> None:
            with _told("read", self.place):
                for name in self.names:
                    files.get_file(f"{place}/{name}", str(folder / name))

        record = store.adopt(self.fold_id, self.key, download)
        with contextlib.suppress(Exception):  # the run's end clears the exchange once more
            files.rm(place, recursive=True)
        return record


@dataclass(frozen=True, slots=True)
class Exchange:
    """A place this process and the workers reach; of one run.

    Attributes
    ----------
    place : str
        Absolute path or URL.
    """

    place: str

    @classmethod
    def of_run(cls, where: str, root: Path) -> Self:
        """Return the exchange of the run in `root`, the same one every time.

        Parameters
        ----------
        where : str
            A folder, or a URL that fsspec knows.
        root : Path
            The run folder.
        """
        if "://" not in where:
            where = str(Path(where).expanduser().absolute())
        run = hashlib.sha256(os.fsencode(f"{platform.node()}:{root.absolute()}")).hexdigest()
        return cls(f"{where.rstrip('/')}/gpucv-{run[:16]}")

    @property
    def table(self) -> str:
        """Where the feature table is put."""
        return f"{self.place}/table.parquet"

    def prepare(self) -> None:
        """Make the place, empty.

        Raises
        ------
        EnvironmentFaultError
            If it cannot be written to.
        """
        self.clear()
        files, place = _open(self.place)
        with _told("write to", self.place):
            files.makedirs(place, exist_ok=True)

    def clear(self) -> None:
        """Remove all there is of this run."""
        files, place = _open(self.place)
        with contextlib.suppress(Exception):  # nothing there; or worse, and writing tells
            files.rm(place, recursive=True)

    def deposit(self, record: FoldRecord, arrays: FoldArrays | None) -> Deposit:
        """Upload a fold's files.

        Raises
        ------
        EnvironmentFaultError
            If the place refuses, or the disk here is full.
        """
        name = f"{record.fold_id:04d}.{secrets.token_hex(8)}"
        files, place = _open(f"{self.place}/{name}")
        with tempfile.TemporaryDirectory(prefix="gpucv-") as folder:
            FoldStore(Path(folder)).publish(record, arrays)
            published = RunLayout(Path(folder)).fold(record.fold_id)
            names = sorted((path.name for path in published.iterdir()), key=lambda n: n == "DONE")
            with _told("write to", self.place):
                files.makedirs(place, exist_ok=True)
                for each in names:
                    files.put_file(str(published / each), f"{place}/{each}")
        return Deposit(record.fold_id, record.key, f"{self.place}/{name}", tuple(names))


def must_be_known(where: str) -> None:
    """Refuse a URL of a kind that cannot be opened here.

    Raises
    ------
    StudyError
        If fsspec knows no such URLs.
    EnvironmentFaultError
        If the package that does is missing.
    """
    _open(where)


def can_read(path: str) -> bool:
    """Say whether this process finds a file at a path or URL."""
    try:
        files, place = _open(path)
        return bool(files.isfile(place))
    except Exception:  # whatever it is, the file cannot be read from here
        return False


def _open(where: str) -> tuple[Any, str]:
    """Return the file system of a path or URL, and the path in it."""
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


@contextlib.contextmanager
def _told(what: str, place: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # object stores have errors of their own, credentials' for one
        why = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
        msg = f"cannot {what} {place}: {why}; check execution.exchange"
        raise EnvironmentFaultError(msg) from error
