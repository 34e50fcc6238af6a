"""How a feature table reaches the folds: by reference, once per process and device.

Threads of one process share the table in memory. Worker processes read it from
the run folder's ``table.parquet``, or wherever the run put it, on first use and keep it. A
task carries only the table's fingerprint and place. On a GPU a process holds one copy of X
in device memory, read there straight from the file where cuDF is installed; X on the host is
then read only if some predictor asks for it.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gpucv.errors import EnvironmentFaultError
from gpucv.features import FeatureTable, device_library, move_arrays
from gpucv.folds.storage import attempt, download, open_place
from gpucv.frames import bit_sums
from gpucv.runs import atomic_write_with
from gpucv.splits import GroupLabels

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa
    from numpy.typing import NDArray

    from gpucv.frames import Array
    from gpucv.machine import Device

__all__ = ["TableRef", "open_table", "save_table", "shared_table"]

_shared: dict[str, tuple[FeatureTable, int]] = {}
"""Tables of runs under way in this process, with the number of such runs."""
_opened: dict[str, FeatureTable] = {}
"""The table this worker process read last."""
_access = threading.Lock()


@dataclass(frozen=True, slots=True)
class TableRef:
    """Which table a fold reads: its fingerprint, and its file where one was written.

    `path` is a path, or a URL that fsspec understands.
    """

    fingerprint: str
    path: str | None = None


@contextlib.contextmanager
def shared_table(table: FeatureTable) -> Iterator[TableRef]:
    """Let the threads of this process open `table` for as long as the context lasts."""
    name = table.fingerprint
    with _access:
        if name in _shared:
            held, users = _shared[name]
            # The run that brought it empties it when its folds have ended; this one goes on.
            _shared[name] = (replace(held), users + 1)
        else:
            _shared[name] = (table, 1)
    try:
        yield TableRef(name)
    finally:
        with _access:
            held, users = _shared.pop(name)
            if users > 1:
                _shared[name] = (held, users - 1)


def save_table(table: FeatureTable, place: Path | str) -> TableRef:
    """Write `table` where worker processes can read it.

    With page checksums, which readers on the host check, and the sums of X's bits, which
    readers on a GPU do: cuDF passes page checksums by.

    Parameters
    ----------
    table : FeatureTable
    place : path or URL
        A local file is written beside its place and renamed; a URL is written by fsspec.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: dict[str, pa.Array] = {
        name: pa.array(table.X[:, position])
        for position, name in enumerate(_names(table.X.shape[1]))
    }
    columns["y"] = pa.array(table.y)
    columns["step_id"] = pa.array(table.step_id)
    for position, labels in enumerate(table.keys.values()):
        columns[f"k{position}"] = pa.array(labels.codes)
    if table.sol_us is not None:
        columns["sol_us"] = pa.array(table.sol_us)
    head = {
        "fingerprint": table.fingerprint,
        "features": list(table.feature_names),
        "features_on": table.features_on,
        "bits": bit_sums(table.X),
        "views": table.views,
        "tokens": table.tokens,
        "labels": table.labels,
        "keys": {name: list(labels.names) for name, labels in table.keys.items()},
    }
    # None is nullable: a column that may be null is no plain array to cuDF.
    fields = [pa.field(name, column.type, nullable=False) for name, column in columns.items()]
    schema = pa.schema(fields, metadata={"gpucv.table": json.dumps(head)})
    arrow = pa.table(columns, schema=schema)

    def write(sink: Any) -> None:
        # Every cuDF decompresses Snappy; LZ4 only those of late.
        pq.write_table(arrow, sink, compression="snappy", write_page_checksum=True)

    if "://" not in str(place):
        path = Path(place)
        atomic_write_with(path, write)
        return TableRef(table.fingerprint, str(path.absolute()))
    files, name = open_place(str(place))

    def upload() -> None:
        with files.open(name, "wb") as sink:
            write(sink)

    attempt("write to", str(place), upload, arrow.nbytes)
    return TableRef(table.fingerprint, str(place))


def open_table(ref: TableRef, device: Device = "cpu") -> FeatureTable:
    """Return the table `ref` names, on "cuda" with its arrays in device memory.

    Each is read, and moved, at most once per process, however many folds ask at once; the
    others wait. Where neither cuDF nor CuPy is installed it stays on the host.

    Raises
    ------
    EnvironmentFaultError
        If this process neither shares the table nor can read its file.
    MemoryError
        If the GPU has no room for it.
    """
    with _access:
        if ref.fingerprint in _shared:
            table, users = _shared[ref.fingerprint]
            if device == "cuda":
                table = _on_device(table)
                _shared[ref.fingerprint] = table, users
            return table
        if ref.fingerprint not in _opened:
            _opened.clear()  # a worker serves one study at a time; a GPU may not hold two tables
            _opened[ref.fingerprint] = _read(ref, device)
        if device == "cuda":
            _opened[ref.fingerprint] = _on_device(_opened[ref.fingerprint])
        return _opened[ref.fingerprint]


def _on_device(table: FeatureTable) -> FeatureTable:
    if table.device is not None or not device_library():
        return table
    return replace(table, device=move_arrays(table.X, table.y))


def _read(ref: TableRef, device: Device = "cpu") -> FeatureTable:
    straight = device == "cuda" and device_library() == "cudf"
    with _reading(ref) as path:
        head, columns = _columns_of(path, ref, with_features=not straight)
        moved = _matrix_on_device(path, head, ref) if straight else None
    n_rows, width = len(columns["y"]), len(head["features"])
    X: Any = _HostRows(ref, (n_rows, width))
    if moved is None:
        X = _stacked(columns, n_rows, width)
    keys = {
        name: GroupLabels(columns[f"k{position}"].to_numpy(), tuple(names))
        for position, (name, names) in enumerate(head["keys"].items())
    }
    y = columns["y"].to_numpy()
    return FeatureTable(
        X=X,
        y=y,
        feature_names=tuple(head["features"]),
        keys=keys,
        step_id=columns["step_id"].to_numpy(),
        fingerprint=head["fingerprint"],
        views={name: tuple(columns) for name, columns in head["views"].items()},
        tokens=head["tokens"],
        labels=tuple(head["labels"]),
        sol_us=columns["sol_us"].to_numpy() if "sol_us" in columns else None,
        features_on=head["features_on"],
        device=move_arrays(moved, y) if moved is not None else None,
    )


def _names(width: int) -> list[str]:
    return [f"x{position}" for position in range(width)]


@contextlib.contextmanager
def _reading(ref: TableRef) -> Iterator[str]:
    """Yield a local path of the table's file, fetched first if it is elsewhere.

    Raises
    ------
    EnvironmentFaultError
        If it is not there, is no such file, or is damaged.
    """
    if ref.path is None:
        msg = f"feature table {ref.fingerprint[:12]} is not shared in this process"
        raise EnvironmentFaultError(msg)
    try:
        if "://" not in ref.path:
            yield ref.path
            return
        with tempfile.TemporaryDirectory(prefix="gpucv-") as folder:
            file = Path(folder) / "table.parquet"
            download(ref.path, file)
            yield str(file)
    except (OSError, ValueError, KeyError, TypeError, ImportError, RuntimeError) as error:
        msg = f"cannot read {ref.path}: {error}; workers need the run folder on a shared disk"
        raise EnvironmentFaultError(msg) from error


def _columns_of(
    path: str, ref: TableRef, *, with_features: bool
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what the file says of the table, and its columns."""
    import pyarrow.parquet as pq

    schema = pq.read_schema(path)
    head: dict[str, Any] = json.loads(schema.metadata[b"gpucv.table"])
    if head["fingerprint"] != ref.fingerprint:
        msg = f"{ref.path} holds another table than the plan's; remove it and resume the run"
        raise EnvironmentFaultError(msg)
    features = set(_names(len(head["features"])))
    wanted = [name for name in schema.names if with_features or name not in features]
    arrow = pq.read_table(path, columns=wanted, page_checksum_verification=True)
    return head, {name: arrow[name] for name in wanted}


def _stacked(columns: dict[str, Any], n_rows: int, width: int) -> NDArray[np.float32]:
    X = np.empty((n_rows, width), dtype=np.float32)
    for position, name in enumerate(_names(width)):
        X[:, position] = columns[name].to_numpy()
    return X


def _matrix_on_device(path: str, head: dict[str, Any], ref: TableRef) -> Array:
    """Read X into device memory, and see that no bit of it was lost."""
    from gpucv.frames import gpu

    X = gpu.read_matrix(path, _names(len(head["features"])))
    if bit_sums(X) != head["bits"]:
        msg = f"{ref.path} is damaged: the sums of its features are not those written"
        raise EnvironmentFaultError(msg)
    return X


class _HostRows:
    """X of a table that was read into device memory: read for the host when it is indexed."""

    dtype = np.dtype(np.float32)

    def __init__(self, ref: TableRef, shape: tuple[int, int]) -> None:
        self.shape = shape
        self._ref = ref
        self._lock = threading.Lock()
        self._whole: NDArray[np.float32] | None = None

    def __getitem__(self, which: Any) -> NDArray[np.float32]:
        with self._lock:
            whole = self._whole
            if whole is None:
                with _reading(self._ref) as path:
                    _, columns = _columns_of(path, self._ref, with_features=True)
                    whole = self._whole = _stacked(columns, *self.shape)
        rows: NDArray[np.float32] = whole[which]
        return rows
