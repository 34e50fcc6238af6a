"""Coefficients of BLIS, the inference simulator, from its ``defaults.yaml``.

Up to v0.7.10 the file lists blackbox coefficients for every LLM, GPU, tensor-parallel
degree and engine image; later it has one set of trained-physics coefficients for all.
Both may stand in one file, beside other sets that old versions had for all LLMs. Every
set is one row.

A blackbox step takes ``beta_0 + beta_1 * prefill tokens + beta_2 * decode tokens`` us;
``alpha_0 + alpha_1 * input tokens`` us is the time before it, ``alpha_2`` us the time
for each output token. BLIS takes the first entry of a key, so later ones are marked.

Source: inference-sim, ``defaults.yaml`` of v0.3.0 to v0.7.15.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from gpucv.errors import TraceError, nearest
from gpucv.runs.layout import sha256_of
from gpucv.schema import SOURCE_FILE
from gpucv.traces.formats.base import Format, OneTable, Reading, table_of
from gpucv.traces.formats.blis.coefficients import COLUMNS, FOR_ALL, Sets
from gpucv.traces.formats.blis.document import LARGEST_FILE, load_document
from gpucv.traces.piece import one_line
from gpucv.traces.provenance import SourceFile

if TYPE_CHECKING:
    from pathlib import Path

    from gpucv.traces.sources import Source

__all__ = ["BLIS"]

_ENTRIES = "models"
_KEYS = re.compile(rb"^(?:models|trained_physics_coefficients)\s*:", re.MULTILINE)


def _recognises(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return _KEYS.search(file.read(LARGEST_FILE)) is not None
    except OSError:
        return False


def _open(source: Source, reading: Reading) -> OneTable:
    document = load_document(source)
    sets = Sets(source.name, reading.catalog, _repositories(document))
    entries = document.get(_ENTRIES)
    if entries is not None and not isinstance(entries, list):
        msg = f"{source.name}: models is {one_line(repr(entries), 60)}, not a list of entries"
        raise TraceError(msg)
    for number, entry in enumerate(entries or []):
        sets.add_entry(f"models[{number}]", entry)
    for key in FOR_ALL:
        if document.get(key) is not None:
            sets.add_set(key, document[key])
    if not sets.rows:
        keys = [str(key) for key in document]
        hint = nearest(_ENTRIES, keys) or f"; it has {one_line(', '.join(keys), 200)}"
        msg = f"{source.name}: no coefficients: neither models nor {next(iter(FOR_ALL))}{hint}"
        raise TraceError(msg)
    size = source.path.stat().st_size
    reading.on_bytes(size)
    rows = len(sets.rows)
    read = SourceFile(source.name, size, sha256_of(source.path), rows, source.kind)
    return OneTable(_table(sets.rows, source.label), read, sets.notes())


def _repositories(document: dict[Any, Any]) -> dict[str, str]:
    """Return the repository of each LLM that has one, by its name in lower case."""
    defaults = document.get("defaults")
    if not isinstance(defaults, dict):
        return {}
    named = {str(model).lower(): entry for model, entry in defaults.items()}
    return {
        model: str(entry["hf_repo"])
        for model, entry in named.items()
        if isinstance(entry, dict) and entry.get("hf_repo") is not None
    }


def _table(rows: list[dict[str, Any]], label: str) -> Any:
    import pyarrow as pa

    kinds = {"string": pa.string(), "int64": pa.int64(), "float64": pa.float64()}
    values: dict[str, Any] = {
        column.name: pa.array([row.get(column.name) for row in rows], kinds[column.dtype])
        for column in COLUMNS
    }
    return table_of(COLUMNS, values | {SOURCE_FILE: label}, len(rows))


BLIS = Format(
    name="blis",
    told="coefficients of the BLIS simulator (defaults.yaml)",
    files=("*defaults*.yaml", "*defaults*.yml"),
    columns=COLUMNS,
    kind="measurements",
    recognises=_recognises,
    open=_open,
)
