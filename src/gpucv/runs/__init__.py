"""The run folder: layout, fold results, manifest, lock."""

from gpucv.runs.layout import (
    RunLayout,
    atomic_write,
    atomic_write_with,
    make_folder,
    new_run_folder,
    read_json,
    to_json,
)
from gpucv.runs.manifest import new_manifest, now, read_manifest, write_manifest
from gpucv.runs.records import FoldArrays, FoldRecord, FoldStatus
from gpucv.runs.store import FoldStore, run_lock

__all__ = [
    "FoldArrays",
    "FoldRecord",
    "FoldStatus",
    "FoldStore",
    "RunLayout",
    "atomic_write",
    "atomic_write_with",
    "make_folder",
    "new_manifest",
    "new_run_folder",
    "now",
    "read_json",
    "read_manifest",
    "run_lock",
    "to_json",
    "write_manifest",
]
