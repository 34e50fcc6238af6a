"""Results by way of a folder or an object store, where workers do not share the run folder.

A worker uploads a fold's files under a name no other upload has, ``DONE`` last; it tells
this process the name through the scheduler, and this process fetches the files into the run
folder, checks their hashes and removes the upload. So nothing big passes the scheduler, and
nothing half-written is ever read.
"""

from __future__ import annotations

import hashlib
import os
import platform
import secrets
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self

from gpucv.errors import EnvironmentFaultError, GpucvError
from gpucv.folds.storage import attempt, discard, download, open_place
from gpucv.machine import expanded
from gpucv.runs import FoldStore, RunLayout, warn_if_others_can_change

if TYPE_CHECKING:
    from gpucv.runs import FoldArrays, FoldRecord

__all__ = ["Deposit", "Exchange", "can_read", "must_be_writable"]


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

        def fill(folder: Path) -> None:
            for name in self.names:
                download(f"{self.place}/{name}", folder / name)

        record = store.adopt(self.fold_id, self.key, fill)
        discard(self.place)  # the run's end clears the exchange once more
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
        where = _absolute(where)
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
        files, place = open_place(self.place)
        attempt("write to", self.place, lambda: files.makedirs(place, exist_ok=True))
        if "://" not in self.place:
            warn_if_others_can_change(Path(self.place))

    def clear(self) -> None:
        """Remove all there is of this run."""
        discard(self.place)  # nothing there; or worse, and writing tells

    def deposit(self, record: FoldRecord, arrays: FoldArrays | None) -> Deposit:
        """Upload a fold's files.

        Raises
        ------
        EnvironmentFaultError
            If the place refuses, is gone since the run is over, or the disk here is full.
        """
        files, root = open_place(self.place)
        if not attempt("read", self.place, lambda: files.isdir(root)):
            msg = f"{self.place} is gone: the run that fold {record.fold_id} is of is over"
            raise EnvironmentFaultError(msg)
        name = f"{record.fold_id:04d}.{secrets.token_hex(8)}"
        place = f"{root}/{name}"
        with tempfile.TemporaryDirectory(prefix="gpucv-") as folder:
            FoldStore(Path(folder)).publish(record, arrays)
            published = RunLayout(Path(folder)).fold(record.fold_id)
            names = sorted((path.name for path in published.iterdir()), key=lambda n: n == "DONE")
            attempt("write to", self.place, lambda: files.makedirs(place, exist_ok=True))
            for each in names:
                file = published / each
                put = partial(files.put_file, str(file), f"{place}/{each}")
                attempt("write to", self.place, put, file.stat().st_size)
        return Deposit(record.fold_id, record.key, f"{self.place}/{name}", tuple(names))


def must_be_writable(where: str) -> None:
    """Refuse an exchange that cannot be opened, or written to, from here.

    Raises
    ------
    StudyError
        If fsspec knows no such URLs.
    EnvironmentFaultError
        If the package that does is missing, or the place refuses.
    """
    files, place = open_place(_absolute(where))
    probe = f"{place.rstrip('/')}/.gpucv-{secrets.token_hex(8)}"

    def write_and_remove() -> None:
        files.makedirs(place, exist_ok=True)
        files.pipe_file(probe, b"gpucv")
        files.rm_file(probe)

    attempt("write to", where, write_and_remove)


def can_read(path: str) -> bool:
    """Say whether this process finds a file at a path or URL."""
    try:
        files, place = open_place(path)
        return attempt("read", path, lambda: bool(files.isfile(place)))
    except GpucvError:
        return False


def _absolute(where: str) -> str:
    return where if "://" in where else str(expanded(where).absolute())
