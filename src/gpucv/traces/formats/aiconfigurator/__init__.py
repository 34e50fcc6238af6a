"""Latencies of operators from NVIDIA's aiconfigurator: GEMM, attention and MoE tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpucv.traces.formats.aiconfigurator.families import COLUMNS, FAMILIES
from gpucv.traces.formats.aiconfigurator.reader import PerfTable, held_by
from gpucv.traces.formats.base import Format, Reading

if TYPE_CHECKING:
    from pathlib import Path

    from gpucv.traces.sources import Source

__all__ = ["AICONFIGURATOR"]

_FILES = tuple(family.file for family in FAMILIES)


def _is_table(path: Path) -> bool:
    """Whether a file is one of the tables: by its name, else by its columns."""
    return path.name in _FILES or held_by(path) is not None


def _open(source: Source, reading: Reading) -> PerfTable:
    return PerfTable(source, reading)


AICONFIGURATOR = Format(
    name="aiconfigurator",
    told="operator latencies of aiconfigurator (<op>_perf.parquet: GEMM, attention, MoE)",
    files=_FILES,
    columns=COLUMNS,
    kind="measurements",
    recognises=_is_table,
    open=_open,
)
