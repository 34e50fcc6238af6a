"""The run folder: layout, fold results, manifest, lock."""

from gpucv.runs.checking import find_damage
from gpucv.runs.disk import atomic_write, atomic_write_with, make_folder
from gpucv.runs.founding import must_be_text, new_run_folder
from gpucv.runs.guards import warn_if_others_can_change
from gpucv.runs.layout import RunLayout, read_json, to_json
from gpucv.runs.lock import lock_holder, run_lock
from gpucv.runs.manifest import (
    new_manifest,
    now,
    read_manifest,
    replace_outputs,
    write_manifest,
)
from gpucv.runs.records import FoldArrays, FoldRecord, FoldStatus
from gpucv.runs.store import FoldStore

__all__ = [
    "FoldArrays",
    "FoldRecord",
    "FoldStatus",
    "FoldStore",
    "RunLayout",
    "atomic_write",
    "atomic_write_with",
    "find_damage",
    "lock_holder",
    "make_folder",
    "must_be_text",
    "new_manifest",
    "new_run_folder",
    "now",
    "read_json",
    "read_manifest",
    "replace_outputs",
    "run_lock",
    "to_json",
    "warn_if_others_can_change",
    "write_manifest",
]
