"""Fold results on disk: published whole, read back only if untouched."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
from typing import TYPE_CHECKING, Any

from gpucv.errors import EnvironmentFaultError, RunError, RunLockedError
from gpucv.runs.layout import RunLayout, atomic_folder, read_json, sha256_of, to_json
from gpucv.runs.records import FoldArrays, FoldRecord
from gpucv.schema import PHASES, RUN_SCHEMA

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    import pyarrow as pa

__all__ = ["FoldStore", "run_lock"]

_RESULT, _PREDICTIONS, _MODEL, _DONE = "result.json", "predictions.parquet", "model.ubj", "DONE"


class FoldStore:
    """The ``folds/`` of one run folder.

    Safe to use from many threads and processes at once: each fold has a folder of
    its own, made by one rename.
    """

    def __init__(self, root: Path) -> None:
        self._layout = RunLayout(root)

    def publish(self, record: FoldRecord, arrays: FoldArrays | None) -> FoldRecord:
        """Write a fold's record, predictions and model; they appear together or not at all.

        Returns
        -------
        FoldRecord
            What is on disk now. Where the fold is published already, that one stays: a
            worker thought lost may have been faster.
        """
        with atomic_folder(self._layout.fold(record.fold_id)) as folder:
            (folder / _RESULT).write_text(to_json(record.to_json_object()), encoding="utf-8")
            if arrays is not None:
                _write_predictions(folder / _PREDICTIONS, arrays)
                if arrays.model is not None:
                    (folder / _MODEL).write_bytes(arrays.model)
            hashes = {file.name: sha256_of(file) for file in sorted(folder.iterdir())}
            done = {"schema": RUN_SCHEMA, "key": record.key, "sha256": hashes}
            (folder / _DONE).write_text(to_json(done), encoding="utf-8")
        self._unmark(record.fold_id)
        return self.read(record.fold_id, record.key) or record

    def adopt(self, fold_id: int, key: str, fill: Callable[[Path], None]) -> FoldRecord:
        """Take in a fold published elsewhere; `fill` puts its files into the folder it is given.

        Raises
        ------
        EnvironmentFaultError
            If they are not what was published there.
        """
        with atomic_folder(self._layout.fold(fold_id)) as folder:
            fill(folder)
            record = _read_trusted(folder, key)
            if record is None:
                msg = f"the files of fold {fold_id} were damaged on their way; resume the run"
                raise EnvironmentFaultError(msg)
        self._unmark(fold_id)
        return self.read(fold_id, key) or record

    def begin(self, fold_id: int) -> int:
        """Note that a fold is begun; return how often it was since it was last published.

        A mark of each time lies beside its folder until then, so a process that is killed
        leaves it to the next one. Only whoever holds the run's lock may call this.

        Raises
        ------
        EnvironmentFaultError
            If the file system refuses.
        """
        times = self.begun(fold_id) + 1
        mark = self._layout.folds / f".{fold_id:04d}.{times}.begun"
        try:
            mark.parent.mkdir(parents=True, exist_ok=True)
            mark.touch()
        except OSError as error:
            msg = f"cannot write {mark}: {error.strerror or error}"
            raise EnvironmentFaultError(msg) from error
        return times

    def begun(self, fold_id: int) -> int:
        """Return how often a fold was begun since it was last published."""
        return len(self._marks(fold_id))

    def _marks(self, fold_id: int) -> list[Path]:
        return list(self._layout.folds.glob(f".{fold_id:04d}.*.begun"))

    def _unmark(self, fold_id: int) -> None:
        for mark in self._marks(fold_id):
            with contextlib.suppress(OSError):
                mark.unlink()

    def read(self, fold_id: int, key: str) -> FoldRecord | None:
        """Return the record of a finished fold, or None where there is none to trust.

        A fold without its DONE file, with a file changed since, or made from another
        plan (`key`) is as good as not run.
        """
        return _read_trusted(self._layout.fold(fold_id), key)

    def forget(self, fold_id: int) -> None:
        """Remove a fold's files, so that it runs again; how often it was begun is kept."""
        shutil.rmtree(self._layout.fold(fold_id), ignore_errors=True)

    def sweep(self) -> None:
        """Remove what writers killed half-way left beside what is finished."""
        with contextlib.suppress(OSError):
            for leftover in self._layout.folds.glob(".*.tmp"):
                shutil.rmtree(leftover, ignore_errors=True)
            for mark in self._layout.folds.glob(".*.begun"):
                if self._layout.fold(int(mark.name.split(".")[1])).exists():
                    mark.unlink(missing_ok=True)
        for leftover in (self._layout.table, *self._layout.root.glob(".*.tmp")):
            with contextlib.suppress(OSError):
                leftover.unlink()

    def gather_predictions(self, records: Iterable[FoldRecord], out: Path) -> None:
        """Write the predictions of all finished `records` into one parquet file, fold by fold.

        Raises
        ------
        RunError
            If a finished fold's predictions are not here or damaged.
        """
        import pyarrow.parquet as pq

        writer: pq.ParquetWriter | None = None
        try:
            for record in records:
                if record.status != "ok":
                    continue
                if self.read(record.fold_id, record.key) is None:
                    folder = self._layout.fold(record.fold_id)
                    msg = (
                        f"{folder} is no longer what this run put there; workers and this process "
                        f"must share the run folder; run: gpucv resume {self._layout.root}"
                    )
                    raise RunError(msg)
                table = _with_fold(_read_predictions(self._layout.fold(record.fold_id)), record)
                writer = writer or pq.ParquetWriter(
                    out, table.schema, compression="zstd", write_page_checksum=True
                )
                writer.write_table(table)
        finally:
            if writer is not None:
                writer.close()


def _read_trusted(folder: Path, key: str) -> FoldRecord | None:
    try:
        done = read_json(folder / _DONE)
        hashes = done["sha256"]
        if done.get("key") != key or _RESULT not in hashes:
            return None
        if any(sha256_of(folder / name) != digest for name, digest in hashes.items()):
            return None
        return FoldRecord.from_json_object(read_json(folder / _RESULT))
    except (RunError, OSError, ValueError, KeyError, AttributeError):
        return None


@contextlib.contextmanager
def run_lock(root: Path) -> Iterator[None]:
    """Hold the one right to write a run folder; the system frees it when the process ends.

    Raises
    ------
    RunLockedError
        At once, if another process holds it.
    """
    from filelock import FileLock, Timeout

    layout = RunLayout(root)
    holder = layout.lock_holder
    lock = FileLock(layout.lock)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        msg = f"{root} is being written by {_read_holder(holder)}; wait for it or stop it first"
        raise RunLockedError(msg) from error
    except OSError as error:
        msg = f"cannot lock {root}: {error.strerror or error}"
        raise EnvironmentFaultError(msg) from error
    try:
        with contextlib.suppress(OSError):  # a full disk says so where it matters
            holder.write_text(json.dumps({"pid": os.getpid(), "host": platform.node()}))
        yield
    finally:
        with contextlib.suppress(OSError):
            holder.unlink(missing_ok=True)
        lock.release()


def _read_holder(path: Path) -> str:
    try:
        found: dict[str, Any] = json.loads(path.read_text())
        return f"process {found['pid']} on {found['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"


def _write_predictions(path: Path, arrays: FoldArrays) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    codes, names = arrays.experiment
    columns = {
        "experiment_id": pa.DictionaryArray.from_arrays(
            pa.array(codes), pa.array(names, pa.string())
        ),
        "step_id": arrays.step_id,
        "actual": arrays.actual,
        "predicted": arrays.predicted,
    }
    if arrays.phase is not None:
        known = pa.array(arrays.phase, mask=arrays.phase < 0)
        columns["phase"] = pa.DictionaryArray.from_arrays(known, pa.array(PHASES, pa.string()))
    if arrays.outside is not None:
        columns["outside"] = arrays.outside
    pq.write_table(pa.table(columns), path, compression="zstd", write_page_checksum=True)


def _read_predictions(folder: Path) -> pa.Table:
    import pyarrow.parquet as pq

    path = folder / _PREDICTIONS
    try:
        return pq.read_table(path)
    except (OSError, ValueError) as error:
        msg = f"cannot read {path}: {error}; workers and this process must share the run folder"
        raise RunError(msg) from error


def _with_fold(table: pa.Table, record: FoldRecord) -> pa.Table:
    """Put the columns that name the fold before its predictions."""
    import pyarrow as pa

    columns = {
        name: pa.repeat(pa.scalar(value), table.num_rows).dictionary_encode()
        for name, value in (
            ("scheme", record.scheme),
            ("holdout", record.holdout),
            ("predictor", record.predictor),
            ("transform", record.transform),
            ("target", record.target),
        )
    }
    columns["experiment_id"] = table["experiment_id"].cast(pa.string()).dictionary_encode()
    for name in ("step_id", "actual", "predicted"):
        columns[name] = table[name]
    # All folds of a file have the same columns: empty where a fold, or an earlier version that
    # made it, does not know.
    known = set(table.column_names)
    n = table.num_rows
    phase = table["phase"].cast(pa.string()) if "phase" in known else pa.nulls(n, pa.string())
    columns["phase"] = phase.dictionary_encode()
    columns["outside"] = table["outside"] if "outside" in known else pa.nulls(n, pa.float32())
    return pa.table(columns)
