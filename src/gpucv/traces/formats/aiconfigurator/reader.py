"""Read one aiconfigurator table, row group by row group."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gpucv.errors import TraceError
from gpucv.runs.layout import sha256_of
from gpucv.schema import (
    BYTES,
    ENGINE,
    ENGINE_VERSION,
    FLOPS,
    GPU,
    LATENCY_US,
    MEMORY_BANDWIDTH,
    OP,
    PEAK_FLOPS,
    SOL_US,
    SOURCE_FILE,
)
from gpucv.traces.formats.aiconfigurator.families import (
    COLUMNS,
    FAMILIES,
    LATENCY_MS,
    Family,
    family_of,
)
from gpucv.traces.formats.aiconfigurator.origin import ORIGIN_COLUMNS, Origin, origin_of
from gpucv.traces.formats.aiconfigurator.units import JUDGED_FROM_US, refuse_other_units
from gpucv.traces.formats.aiconfigurator.work import Rows
from gpucv.traces.formats.base import table_of
from gpucv.traces.formats.parquet_columns import ParquetColumns, codes_of, nulls_for_nan
from gpucv.traces.formats.roofline import physics
from gpucv.traces.memory import MemoryBudget
from gpucv.traces.parquet import open_parquet, refusing_damage
from gpucv.traces.piece import Selection, one_line
from gpucv.traces.provenance import Note, SourceFile

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from gpucv.traces.formats.base import Reading
    from gpucv.traces.sources import Source

__all__ = ["PerfTable", "held_by"]

_MS_TO_US = 1000.0
_ROW_BYTES = 600
"""Upper estimate of the memory one row takes while it is read and converted."""
_POWER = {"power": "power_w", "power_limit": "power_limit_w"}


class PerfTable:
    """One table being read: a table of rows per row group, then what was read.

    Parameters
    ----------
    source : Source
    reading : Reading
    """

    def __init__(self, source: Source, reading: Reading) -> None:
        self._source = source
        self._reading = reading
        self._rows = 0
        self._workless = 0
        self._unknown: set[str] = set()
        self._utilisation: list[NDArray[np.float64]] = []
        self._notes: tuple[Note, ...] = ()

    def batches(self) -> Iterator[Any]:
        """Yield one ``pyarrow.Table`` of `COLUMNS` per row group.

        Raises
        ------
        TraceError
            If the file is damaged, empty, of no supported family, lacks a column, mixes
            systems or versions, or holds a value that cannot be; naming file and column.
        """
        name = self._source.name
        with open_parquet(self._source.path, name) as file:
            columns = file.schema_arrow.names
            rows, groups = file.metadata.num_rows, file.metadata.num_row_groups
            family = self._family(file)
            Selection(family.required, None).pick(columns, name)
            if not rows:
                msg = f"{name} has columns and no rows; collect or fetch it again"
                raise TraceError(msg)
            origin = self._origin(file)
            self._notes = origin.notes
            wanted = _wanted(family, columns)
            size = self._source.path.stat().st_size
            for group in range(groups):
                table = _row_group(file, group, wanted, name, self._reading.budget)
                held = ParquetColumns(table, name, self._rows)
                yield self._converted(held, family, origin)
                self._reading.on_bytes(size * (group + 1) // groups - size * group // groups)
        if self._rows != rows:
            msg = f"{name} is damaged: {rows:,} rows announced, {self._rows:,} found"
            raise TraceError(msg)
        refuse_other_units(name, LATENCY_MS, np.concatenate(self._utilisation))

    def source_file(self) -> SourceFile:
        """Return size, digest and rows; to be asked after the last batch."""
        path = self._source.path
        digest = sha256_of(path)
        kind = self._source.kind
        return SourceFile(self._source.name, path.stat().st_size, digest, self._rows, kind)

    def notes(self) -> tuple[Note, ...]:
        """Return what was noticed; to be asked after the last batch."""
        notes = [*self._notes]
        name = self._source.name
        if self._workless:
            message = (
                f"{name}: {self._workless:,} rows have no tokens: their time is that of a launch, "
                "far below the speed of light of the weights they do not read; leave them out"
            )
            notes.append(Note("no_work", message, self._workless, "warning"))
        if self._unknown:
            shown = one_line(", ".join(sorted(self._unknown)))
            message = f"{name}: no speed of light where the catalog lacks {shown}"
            notes.append(Note("no_speed_of_light", message, len(self._unknown), "info"))
        return tuple(notes)

    def _family(self, file: Any) -> Family:
        family = _family_of(file, self._source.path, self._reading.budget)
        if family is None:
            known = ", ".join(each.op for each in FAMILIES)
            msg = f"{self._source.name}: no table of a supported operator; supported are {known}"
            raise TraceError(msg)
        return family

    def _origin(self, file: Any) -> Origin:
        held = _distinct(file, ORIGIN_COLUMNS, self._source.name, self._reading.budget)
        return origin_of(self._source, held, self._reading.catalog)

    def _converted(self, group: ParquetColumns, family: Family, origin: Origin) -> Any:
        sizes = {
            each.name: group.counts(each.source, each.least)
            for each in family.sizes
            if each.source in group
        }
        labels = {
            ours: group.texts(theirs, may_be_empty=ours == "kernel")
            for theirs, ours in family.labels.items()
        }
        latency_us = group.times(LATENCY_MS) * _MS_TO_US
        rows = Rows(
            {column: values.astype(np.float64) for column, values in sizes.items()},
            {column: codes_of(array) for column, array in labels.items()},
        )
        known = self._physics(rows, family, origin, len(group))
        self._judge(known, latency_us)
        self._rows += len(group)
        values = {
            SOURCE_FILE: self._source.label,
            GPU: origin.gpu,
            ENGINE: origin.engine,
            ENGINE_VERSION: origin.engine_version,
            "engine_build": group.texts("version"),
            "device": group.texts("device"),
            OP: family.op,
            LATENCY_US: latency_us,
            **labels,
            **sizes,
            **{ours: group.watts(theirs) for theirs, ours in _POWER.items() if theirs in group},
            **{column: nulls_for_nan(array) for column, array in known.items()},
        }
        return table_of(COLUMNS, values, len(group))

    def _physics(
        self, rows: Rows, family: Family, origin: Origin, count: int
    ) -> dict[str, NDArray[np.float64]]:
        """Return the physics columns; NaN where the catalog lacks the GPU or a format."""
        known = {
            column: np.full(count, np.nan)
            for column in (FLOPS, BYTES, PEAK_FLOPS, MEMORY_BANDWIDTH, SOL_US)
        }
        catalog, gpu = self._reading.catalog, origin.spec
        if gpu is None:
            self._unknown.add(f"GPU {origin.gpu}")
        for formats, mask in _by_formats(rows, family.formats):
            specs = [catalog.dtypes.find(label) for label in formats]
            found = [spec for spec in specs if spec is not None]
            if len(found) < len(specs):
                self._unknown |= {
                    f"format {label}"
                    for label, spec in zip(formats, specs, strict=True)
                    if spec is None
                }
                continue
            flops, moved = family.work(rows.at(mask), tuple(found))
            # Attention over an FP8 cache may be computed in FP8 whatever the queries are.
            fastest = max(found, key=lambda spec: gpu.peak_flops(spec.compute) or 0 if gpu else 0)
            for column, values in physics(flops, moved, gpu, fastest).items():
                known[column][mask] = values
        return known

    def _judge(self, known: dict[str, NDArray[np.float64]], latency_us: NDArray[Any]) -> None:
        """Count rows without work, and keep the utilisation of those worth a verdict."""
        workless = known[FLOPS] == 0
        self._workless += int(workless.sum())
        judged = (known[SOL_US] >= JUDGED_FROM_US) & ~workless & (latency_us > 0)
        self._utilisation.append(known[SOL_US][judged] / latency_us[judged])


def held_by(path: Path) -> Family | None:
    """Return the family of a file by its columns; None for any other or damaged file."""
    try:
        with open_parquet(path, path.name) as file:
            return _family_of(file, path, MemoryBudget())
    except TraceError:
        return None


def _family_of(file: Any, path: Path, budget: MemoryBudget) -> Family | None:
    columns = file.schema_arrow.names
    named = "op_name" in columns
    ops = _distinct(file, ["op_name"], path.name, budget)["op_name"] if named else []
    return family_of(path.name, columns, ops)


def _row_group(
    file: Any, group: int, columns: Sequence[str], name: str, budget: MemoryBudget
) -> Any:
    """Return columns of a row group, unless it would not fit in memory."""
    with refusing_damage(name):
        rows = file.metadata.row_group(group).num_rows
        budget.require(rows * _ROW_BYTES, name)
        table = file.read_row_group(group, columns=list(columns))
        table.validate(full=True)
    return table


def _wanted(family: Family, columns: Sequence[str]) -> list[str]:
    known = {*family.required, *_POWER, *(size.source for size in family.sizes)}
    return [column for column in columns if column in known]


def _distinct(
    file: Any, columns: Sequence[str], name: str, budget: MemoryBudget
) -> dict[str, list[str]]:
    """Return the distinct values of text columns, without holding more than a row group."""
    found: dict[str, dict[str, None]] = {column: {} for column in columns}
    for group in range(file.metadata.num_row_groups):
        table = _row_group(file, group, columns, name, budget)
        for column in columns:
            codes, labels = codes_of(ParquetColumns(table, name).texts(column))
            found[column].update(dict.fromkeys(str(labels[code]) for code in np.unique(codes)))
    return {column: [*values] for column, values in found.items()}


def _by_formats(
    rows: Rows, columns: Sequence[str]
) -> Iterator[tuple[tuple[str, ...], NDArray[np.bool_]]]:
    """Yield each combination of number formats, and which rows have it."""
    (first, texts), *others = (rows.labels[column] for column in columns)
    for code in np.unique(first):
        mask, names = first == code, (str(texts[code]),)
        if not others:
            yield names, mask
        for second, second_texts in others:
            for other in np.unique(second[mask]):
                yield (*names, str(second_texts[other])), mask & (second == other)
