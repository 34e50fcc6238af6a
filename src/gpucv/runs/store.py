"""Fold results on disk: published whole, read back only if untouched."""

from __future__ import annotations

import contextlib
import csv
import logging
import shutil
from typing import TYPE_CHECKING

from gpucv.errors import EnvironmentFaultError, RunError, clipped, shown
from gpucv.injection import inject_write
from gpucv.runs.disk import atomic_folder, remove_file, remove_folder, write_file
from gpucv.runs.layout import RunLayout, read_json, sha256_of, to_json
from gpucv.runs.records import FoldArrays, FoldRecord
from gpucv.schema import PHASES, RUN_SCHEMA

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    import pyarrow as pa

__all__ = ["DONE", "FoldStore", "read_fold"]

_log = logging.getLogger("gpucv.runs")

_RESULT, _PREDICTIONS, _MODEL, DONE = "result.json", "predictions.parquet", "model.ubj", "DONE"


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
            write_file(folder / _RESULT, to_json(record.to_json_object()))
            if arrays is not None:
                _write_predictions(folder / _PREDICTIONS, arrays)
                if arrays.model is not None:
                    write_file(folder / _MODEL, arrays.model)
            hashes = {file.name: sha256_of(file) for file in sorted(folder.iterdir())}
            done = {"schema": RUN_SCHEMA, "key": record.key, "sha256": hashes}
            write_file(folder / DONE, to_json(done))
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
            inject_write()
            fill(folder)
            try:
                record = read_fold(folder, key)
            except RunError as error:
                msg = f"the files of fold {fold_id} were damaged on their way; resume the run"
                raise EnvironmentFaultError(msg) from error
        self._unmark(fold_id)
        return self.read(fold_id, key) or record

    def expects(self, fold_id: int, key: str) -> bool:
        """Return whether the run planned here has this fold.

        A worker that outlives its run may find another run's folder in the place of its own,
        or none. Where folds are run without a study, no plan says what belongs there.
        """
        try:
            with self._layout.plan.open(encoding="utf-8", newline="") as file:
                rows = csv.DictReader(file)
                return any(row["fold_id"] == str(fold_id) and row["key"] == key for row in rows)
        except FileNotFoundError:
            return self._layout.folds.is_dir()
        except (OSError, ValueError, KeyError, csv.Error):
            return False

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
            write_file(mark, "")
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
            with contextlib.suppress(OSError):  # the end of the run sweeps what stays
                remove_file(mark)

    def read(self, fold_id: int, key: str) -> FoldRecord | None:
        """Return the record of a finished fold, or None where there is none to trust.

        A fold without its DONE file, with a file changed since, or made from another
        plan (`key`) is as good as not run; a warning says which file is to blame.
        """
        folder = self._layout.fold(fold_id)
        if not folder.exists():
            return None
        try:
            return read_fold(folder, key)
        except RunError as error:
            _log.warning("%s; fold %d counts as not run", error, fold_id)
            return None

    def forget(self, fold_id: int) -> None:
        """Remove a fold's files, so that it runs again; how often it was begun is kept.

        Raises
        ------
        EnvironmentFaultError
            If the file system refuses: the fold could not be published again.
        """
        remove_folder(self._layout.fold(fold_id))

    def sweep(self) -> None:
        """Remove what writers left that were killed half-way, or that no longer means anything.

        Only whoever holds the run's lock may call this.
        """
        folds, root = self._layout.folds, self._layout.root
        for leftover in folds.glob(".*.tmp"):
            shutil.rmtree(leftover, ignore_errors=True)
        published = [
            mark
            for mark in folds.glob(".*.begun")
            if (number := mark.name.split(".")[1]).isdigit()
            and self._layout.fold(int(number)).exists()
        ]
        for leftover in (self._layout.table, *root.glob(".*.tmp"), *published):
            with contextlib.suppress(OSError):
                remove_file(leftover)

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
                inject_write()
                table = _with_fold(self._layout.fold(record.fold_id), record)
                writer = writer or pq.ParquetWriter(
                    out, table.schema, compression="zstd", write_page_checksum=True
                )
                writer.write_table(table)
        finally:
            if writer is not None:
                writer.close()


def read_fold(folder: Path, key: str) -> FoldRecord:
    """Return the record in a fold's folder, if every file there is the one that was written.

    Raises
    ------
    RunError
        If not; it names the first file that is to blame.
    """
    done = read_json(folder / DONE)
    hashes = done.get("sha256")
    if done.get("schema") != RUN_SCHEMA or not isinstance(hashes, dict) or _RESULT not in hashes:
        msg = f"{folder / DONE} is damaged: it does not list what the fold consists of"
        raise RunError(msg)
    if done.get("key") != key:
        msg = f"{folder} is of another plan (key {str(done.get('key'))[:16]!r}, not {key[:16]!r})"
        raise RunError(msg)
    for name, digest in hashes.items():
        file = folder / name
        if name not in (_RESULT, _PREDICTIONS, _MODEL):
            msg = f"{folder / DONE} is damaged: it lists {name[:60]!r}"
            raise RunError(msg)
        try:
            found = sha256_of(file)
        except OSError as error:
            msg = f"cannot read {file}: {error.strerror or error}"
            raise RunError(msg) from error
        if found != digest:
            msg = f"{file} is not what the run wrote (SHA-256 {found[:12]}, not {str(digest)[:12]})"
            raise RunError(msg)
    record = FoldRecord.from_json_object(read_json(folder / _RESULT))
    if record.key != key:
        msg = f"{folder / _RESULT} is of another fold (key {shown(record.key)}, not {key[:16]!r})"
        raise RunError(msg)
    return record


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
    inject_write()
    pq.write_table(pa.table(columns), path, compression="zstd", write_page_checksum=True)


def _read_predictions(folder: Path) -> pa.Table:
    import pyarrow.parquet as pq

    path = folder / _PREDICTIONS
    try:
        return pq.read_table(path, page_checksum_verification=True)
    except (OSError, ValueError) as error:
        reason = clipped(" ".join(str(error).split()))
        msg = f"cannot read {path}: {reason}; workers and this process must share the run folder"
        raise RunError(msg) from error


def _with_fold(folder: Path, record: FoldRecord) -> pa.Table:
    """Return a fold's predictions, the columns that name it before them."""
    table = _read_predictions(folder)
    try:
        return _named(table, record)
    except (KeyError, ValueError, NotImplementedError) as error:
        # The last is pyarrow's, of a column whose type cannot be cast to what it should be.
        what = clipped(" ".join(str(error).split()))
        msg = f"{folder / _PREDICTIONS} holds no predictions of this version ({what})"
        raise RunError(msg) from error


def _named(table: pa.Table, record: FoldRecord) -> pa.Table:
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
    for name, kind in (
        ("step_id", pa.int64()),
        ("actual", pa.float64()),
        ("predicted", pa.float64()),
    ):
        columns[name] = table[name].cast(kind)
    # All folds of a file have the same columns: empty where a fold, or an earlier version that
    # made it, does not know.
    known = set(table.column_names)
    n = table.num_rows
    phase = table["phase"].cast(pa.string()) if "phase" in known else pa.nulls(n, pa.string())
    columns["phase"] = phase.dictionary_encode()
    columns["outside"] = (
        table["outside"].cast(pa.float32()) if "outside" in known else pa.nulls(n, pa.float32())
    )
    return pa.table(columns)
