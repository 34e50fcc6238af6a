"""Call every LLM and GPU by its catalog name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpucv.schema import GPU, MODEL
from gpucv.traces.piece import one_line
from gpucv.traces.provenance import Note

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpucv.catalog import Catalog, NameIndex

__all__ = ["catalog_name", "catalog_names", "named"]


def catalog_name(index: NameIndex[Any], label: str) -> str:
    """Return the catalog's name of a model or GPU, or the label where it knows none."""
    entry = index.find(label)
    return label if entry is None else str(entry.name)


def named(labels: Sequence[str | None], index: NameIndex[Any]) -> list[str | None]:
    """Return `catalog_name` of each label; None for one that is missing or empty."""
    names = {label: catalog_name(index, label) for label in set(labels) if label}
    return [names.get(label) if label else None for label in labels]


def catalog_names(columns: dict[str, Any], catalog: Catalog) -> tuple[Note, ...]:
    """Rename, in place, the labels of the `model` and `gpu` columns the catalog knows.

    So ``llama-2-70b-hf`` and ``llama-2-70b`` are one group. Names it does not know are
    kept as they are: a generic table may be about anything.
    """
    import pyarrow as pa
    import pyarrow.types as pt

    notes: list[Note] = []
    for column, index in ((MODEL, catalog.models), (GPU, catalog.gpus)):
        if column not in columns or not pt.is_dictionary(columns[column].type):
            continue
        found: dict[str, str | None] = {}
        chunks = []
        for chunk in columns[column].chunks:
            labels = chunk.dictionary.to_pylist()
            for label in labels:
                if label and label not in found:
                    entry = index.find(label)
                    found[label] = None if entry is None else entry.name
            names = [found.get(label) or label for label in labels]
            # Two names of one model become one label: pandas refuses a category that stands twice.
            codes = {name: code for code, name in enumerate(dict.fromkeys(names))}
            to_code = pa.array([codes[name] for name in names], pa.int32())
            chunks.append(
                pa.DictionaryArray.from_arrays(
                    to_code.take(chunk.indices), pa.array(list(codes), pa.string())
                )
            )
        columns[column] = pa.chunked_array(chunks, columns[column].type)
        notes += _notes(column, found)
    return tuple(notes)


def _notes(column: str, found: dict[str, str | None]) -> list[Note]:
    renamed = [f"{old} is {new}" for old, new in found.items() if new not in {None, old}]
    unknown = [label for label, name in found.items() if name is None]
    notes = []
    if renamed:
        message = f"{column} names by the catalog: {one_line(', '.join(renamed), 400)}"
        notes.append(Note(f"{column}_renamed", message, len(renamed), "info"))
    if unknown:
        shown = one_line(", ".join(map(repr, unknown[:5])))
        message = f"{column} names not in the catalog, kept as they are: {shown}"
        notes.append(Note(f"unknown_{column}", message, len(unknown), "info"))
    return notes
