"""How a feature table reaches the folds: by reference, once per process.

Threads of one process share the table in memory. Worker processes read it from
the run folder's ``table.parquet`` on first use and keep it. A task carries only
the table's fingerprint and place.
"""

from __future__ import annotations

import contextlib
import json
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gpucv.errors import EnvironmentFaultError
from gpucv.features import FeatureTable
from gpucv.runs import atomic_write_with
from gpucv.splits import GroupLabels

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pyarrow as pa

__all__ = ["TableRef", "open_table", "save_table", "shared_table"]

_shared: dict[str, tuple[FeatureTable, int]] = {}
"""Tables of runs under way in this process, with the number of such runs."""
_opened: dict[str, FeatureTable] = {}
"""The table this worker process read last."""
_access = threading.Lock()


@dataclass(frozen=True, slots=True)
class TableRef:
    """Which table a fold reads: its fingerprint, and its file where one was written."""

    fingerprint: str
    path: str | None = None


@contextlib.contextmanager
def shared_table(table: FeatureTable) -> Iterator[TableRef]:
    """Let the threads of this process open `table` for as long as the context lasts."""
    name = table.fingerprint
    with _access:
        held, users = _shared.get(name, (table, 0))
        _shared[name] = (held, users + 1)
    try:
        yield TableRef(name)
    finally:
        with _access:
            held, users = _shared.pop(name)
            if users > 1:
                _shared[name] = (held, users - 1)


def save_table(table: FeatureTable, path: Path) -> TableRef:
    """Write `table` where worker processes can read it (page checksums on)."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: dict[str, pa.Array] = {
        f"x{position}": pa.array(table.X[:, position]) for position in range(table.X.shape[1])
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
        "views": table.views,
        "tokens": table.tokens,
        "labels": table.labels,
        "keys": {name: list(labels.names) for name, labels in table.keys.items()},
    }
    arrow = pa.table(columns).replace_schema_metadata({"gpucv.table": json.dumps(head)})
    atomic_write_with(
        path,
        lambda beside: pq.write_table(arrow, beside, compression="lz4", write_page_checksum=True),
    )
    return TableRef(table.fingerprint, str(path.absolute()))


def open_table(ref: TableRef) -> FeatureTable:
    """Return the table `ref` names, reading its file at most once per process.

    Raises
    ------
    EnvironmentFaultError
        If this process neither shares the table nor can read its file.
    """
    with _access:
        if ref.fingerprint in _shared:
            return _shared[ref.fingerprint][0]
        if ref.fingerprint not in _opened:
            table = _read(ref)
            _opened.clear()  # a worker serves one study at a time
            _opened[ref.fingerprint] = table
        return _opened[ref.fingerprint]


def _read(ref: TableRef) -> FeatureTable:
    import pyarrow.parquet as pq

    if ref.path is None:
        msg = f"feature table {ref.fingerprint[:12]} is not shared in this process"
        raise EnvironmentFaultError(msg)
    try:
        arrow = pq.read_table(ref.path, page_checksum_verification=True)
        head = json.loads(arrow.schema.metadata[b"gpucv.table"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        msg = f"cannot read {ref.path}: {error}; workers need the run folder on a shared disk"
        raise EnvironmentFaultError(msg) from error
    if head["fingerprint"] != ref.fingerprint:
        msg = f"{ref.path} holds another table than the plan's; remove it and resume the run"
        raise EnvironmentFaultError(msg)
    X = np.empty((arrow.num_rows, len(head["features"])), dtype=np.float32)
    for position in range(X.shape[1]):
        X[:, position] = arrow[f"x{position}"].to_numpy()
    keys = {
        name: GroupLabels(arrow[f"k{position}"].to_numpy(), tuple(names))
        for position, (name, names) in enumerate(head["keys"].items())
    }
    return FeatureTable(
        X=X,
        y=arrow["y"].to_numpy(),
        feature_names=tuple(head["features"]),
        keys=keys,
        step_id=arrow["step_id"].to_numpy(),
        fingerprint=head["fingerprint"],
        views={name: tuple(columns) for name, columns in head["views"].items()},
        tokens=head["tokens"],
        labels=tuple(head["labels"]),
        sol_us=arrow["sol_us"].to_numpy() if "sol_us" in arrow.column_names else None,
    )
