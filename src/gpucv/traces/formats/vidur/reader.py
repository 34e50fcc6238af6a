"""Read one of Vidur's profiles: a row of the file becomes a row per operator.

A file is of one LLM, whose sizes stand in every row, and covers several degrees of
tensor parallelism, each measured on one GPU with the shapes of one shard.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gpucv.errors import TraceError, nearest
from gpucv.runs.layout import sha256_of
from gpucv.schema import DTYPE, GPU, LATENCY_US, MODEL, OP, SOL_US, SOURCE_FILE
from gpucv.traces.formats.base import OneTable, Reading, table_of
from gpucv.traces.formats.csv_columns import CsvColumns
from gpucv.traces.formats.roofline import physics
from gpucv.traces.formats.time_unit import REFERENCE_BANDWIDTH, REFERENCE_FLOPS, refuse_other_unit
from gpucv.traces.formats.vidur.columns import (
    ATTENTION_OPS,
    COLUMNS,
    MATRIX_OPS,
    MLP_OPS,
    STATISTICS,
    stat_column,
)
from gpucv.traces.formats.vidur.labels import profiled
from gpucv.traces.formats.vidur.passes import Profile, attention_profile, mlp_profile
from gpucv.traces.formats.vidur.repeats import collapse, repeated
from gpucv.traces.piece import one_line
from gpucv.traces.provenance import Note, SourceFile

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from gpucv.traces.formats.vidur.labels import Profiled
    from gpucv.traces.sources import Source

__all__ = ["open_profile"]

_PRECISION = "float16"
"""What Vidur profiles in."""
_LARGE = (*MATRIX_OPS, "attn_prefill", "attn_decode")
"""Operators whose work tells the unit of their times."""
_START_US = 10.0
"""Start of a kernel; it only steadies the check of the unit where the work is tiny."""


def open_profile(source: Source, reading: Reading) -> OneTable:
    """Return the rows of an ``mlp.csv`` or ``attention.csv``.

    Raises
    ------
    TraceError
        If the file is damaged, lacks a column, is of two LLMs, or its times are not in ms.
    """
    file = CsvColumns(source, reading.budget)
    attention = _is_attention(file)
    ops = _operators(file, ATTENTION_OPS if attention else MLP_OPS)
    dtype = reading.catalog.dtypes.get(_PRECISION)
    profile = attention_profile(file) if attention else mlp_profile(file, dtype)
    of = profiled(source, reading.catalog)
    parts = [_rows_of(op, file, profile) for op in ops]
    frame = _joined(parts, profile)
    expected = {op: int(np.broadcast_to(profile.runs(op), len(file)).sum()) for op in ops}
    notes = [
        *of.notes(file.name),
        *profile.notes,
        *_shape_notes(file.name, profile, of),
        *_zero_notes(file.name, frame),
        *_gap_notes(file.name, frame, expected),
    ]
    known = physics(frame["flops"].to_numpy(), frame["bytes"].to_numpy(), of.gpu_spec, dtype)
    _check_unit(file.name, frame, known)
    frame = frame.assign(**known)
    count = repeated(frame)
    if count and reading.repeats == "median":
        frame = collapse(frame)
    elif count:
        message = f"{file.name}: {count:,} rows measure a point once more"
        notes.append(Note("repeated_points", message, count, "info"))
    size = source.path.stat().st_size
    reading.on_bytes(size)
    labels = {SOURCE_FILE: source.label, MODEL: of.model, GPU: of.gpu, DTYPE: _PRECISION}
    table = table_of(COLUMNS, {**_arrays(frame), **labels}, len(frame))
    digest = sha256_of(source.path)
    return OneTable(table, SourceFile(source.name, size, digest, len(frame), "vidur"), tuple(notes))


def _is_attention(file: CsvColumns) -> bool:
    """Whether the columns are those of ``attention.csv``, whatever the file is called."""
    return any(
        stat_column(op, statistic) in file for op in ATTENTION_OPS for statistic in STATISTICS
    )


def _operators(file: CsvColumns, known: tuple[str, ...]) -> list[str]:
    """Return the operators the file has, in the profile's order.

    Raises
    ------
    TraceError
        If it has none, or one without its median.
    """
    found = [
        op for op in known if any(stat_column(op, statistic) in file for statistic in STATISTICS)
    ]
    if not found:
        first = stat_column(known[0], "median")
        hint = one_line(nearest(first, file.columns), 200)
        msg = f"{file.name}: no operator of Vidur among its columns, such as {first!r}{hint}"
        raise TraceError(msg)
    file.require([stat_column(op, "median") for op in found])
    return found


def _rows_of(op: str, file: CsvColumns, profile: Profile) -> dict[str, Any]:
    """Return the columns of one operator's rows, by name; sizes follow by row number."""
    times = {
        name: file.numbers(stat_column(op, statistic), gaps=True) * 1000.0
        for statistic, name in STATISTICS.items()
        if stat_column(op, statistic) in file
    }
    ran = ~np.isnan(times[LATENCY_US]) & profile.runs(op)
    rows = np.flatnonzero(ran)
    own = {name: values[rows] for name, values in profile.of(op).items()}
    return {
        "row": rows,
        OP: np.full(len(rows), op, dtype=object),
        **{name: values[rows] for name, values in times.items()},
        **own,
    }


def _joined(parts: list[dict[str, Any]], profile: Profile) -> pd.DataFrame:
    """Return all operators' rows as one frame, each with the sizes of its pass."""
    import pandas as pd

    names = dict.fromkeys(name for part in parts for name in part)
    columns = {
        name: np.concatenate([part.get(name, np.full(len(part["row"]), np.nan)) for part in parts])
        for name in names
    }
    rows = columns.pop("row")
    sizes = {name: values[rows] for name, values in profile.sizes.items()}
    return pd.DataFrame({**sizes, **columns, "repeats": np.ones(len(rows))})


def _check_unit(name: str, frame: pd.DataFrame, known: dict[str, Any]) -> None:
    """Raise TraceError if times are not ms; small operators take what starting them takes."""
    if SOL_US in known:
        least = np.asarray(known[SOL_US])
    else:
        flops, moved = frame["flops"].to_numpy(), frame["bytes"].to_numpy()
        least = np.maximum(flops / REFERENCE_FLOPS, moved / REFERENCE_BANDWIDTH) * 1e6
    latency = frame[LATENCY_US].to_numpy()
    # Zeros are noted, and say nothing about the unit.
    measured = np.where(latency > 0, latency, np.nan)
    ops = list(dict.fromkeys(frame[OP]))
    for op in [op for op in ops if op in _LARGE] or ops:
        rows = (frame[OP] == op).to_numpy(dtype=bool)
        what = f"{name}, {stat_column(op, 'median')}"
        refuse_other_unit(measured[rows], least[rows], _START_US, what)


def _shape_notes(name: str, profile: Profile, of: Profiled) -> list[Note]:
    """Warn where the sizes in the file are not those of the catalog's model."""
    if of.model_spec is None:
        return []
    differ = [
        f"{column} {profile.model[column]:g} (catalog {getattr(of.model_spec, field)})"
        for column, field in profile.fields.items()
        if profile.model[column] != getattr(of.model_spec, field)
    ]
    if not differ:
        return []
    message = f"{name}: its shapes are not those of {of.model}: {', '.join(differ)}"
    return [Note("shape_differs", message, len(differ), "warning")]


def _zero_notes(name: str, frame: pd.DataFrame) -> list[Note]:
    zero = frame[frame[LATENCY_US] == 0]
    if zero.empty:
        return []
    ops = ", ".join(dict.fromkeys(zero[OP]))
    message = f"{name}: {len(zero):,} times of {ops} are 0: below what the timer resolves"
    return [Note("zero_time", message, len(zero), "warning")]


def _gap_notes(name: str, frame: pd.DataFrame, expected: dict[str, int]) -> list[Note]:
    """Return a warning for passes of an operator without a median, which are left out."""
    gaps = {op: rows - int((frame[OP] == op).sum()) for op, rows in expected.items()}
    count = sum(gaps.values())
    if not count:
        return []
    ops = ", ".join(op for op, rows in gaps.items() if rows)
    message = f"{name}: {count:,} passes of {ops} have no median and were left out"
    return [Note("time_missing", message, count, "warning")]


def _arrays(frame: pd.DataFrame) -> dict[str, Any]:
    """Return the frame's columns as Arrow arrays, NaN as null."""
    import pyarrow as pa

    kinds = {column.name: column.dtype for column in COLUMNS}
    return {
        name: _array(frame[name].to_numpy(), pa.int64() if kinds[name] == "int64" else None)
        for name in frame.columns
    }


def _array(values: NDArray[Any], kind: Any) -> Any:
    import pyarrow as pa

    array = pa.array(values, from_pandas=True)
    return array if kind is None else array.cast(kind)
