"""Splitwise's ``perf_model.csv``: whole passes of a model, times in ms.

Each row of the file becomes two: op ``prompt`` (``prompt_time``, the pass over all
prompts) and op ``token`` (``token_time``, the mean of the passes that each add one token
to every request). ``e2e_time`` is left out: it is a whole request, the prompt pass and
all token passes together, and no pass of its own.

Work on one of TP GPUs, with 16-bit weights; a batch of b requests, prompts of p tokens,
t tokens generated, L layers of width d, K and V of width w each:

========  ==========================================  =================================
op        FLOP                                        bytes
========  ==========================================  =================================
prompt    b p F + 4 L d b p(p+1)/2 + 2 V d b          weights + head + 4 L w b p
token     b (F + 4 L d c + 2 V d), c = p + t/2        weights + head + 4 L w b c
========  ==========================================  =================================

F is the model's FLOP per token without attention over the context, V its vocabulary, c
the mean context of the token passes. All are divided by TP, and all are floors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gpucv.errors import TraceError
from gpucv.runs.layout import sha256_of
from gpucv.schema import (
    BYTES,
    DTYPE,
    FLOPS,
    GPU,
    GROUP_COLUMNS,
    LATENCY_US,
    MODEL,
    OP,
    PHYSICS_COLUMNS,
    SOL_US,
    SOURCE_FILE,
    TP,
    Column,
)
from gpucv.traces.formats.base import Format, OneTable, Reading, table_of
from gpucv.traces.formats.csv_columns import CsvColumns, header_of
from gpucv.traces.formats.roofline import physics
from gpucv.traces.formats.time_unit import REFERENCE_BANDWIDTH, REFERENCE_FLOPS, refuse_other_unit
from gpucv.traces.names import named
from gpucv.traces.piece import one_line
from gpucv.traces.provenance import Note, SourceFile

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

    from gpucv.catalog import Catalog, ModelSpec
    from gpucv.traces.sources import Source

__all__ = ["SPLITWISE"]

_TIMES = {"prompt": "prompt_time", "token": "token_time"}
_COUNTS = ("prompt_size", "batch_size", "token_size")
_POWER = ("peak_power", "average_power")
_POINT = [MODEL, GPU, TP, *_COUNTS, OP]
_PRECISION = "float16"
"""What the passes were measured in."""
_START_US = 3000.0
"""Start of a pass of a whole model, some of it on the CPU."""
_QUICKEST_US, _SLOWEST_US = 200.0, 5e6
"""Bounds of a median token pass of any model, where the catalog does not know it."""

COLUMNS: tuple[Column, ...] = (
    *GROUP_COLUMNS,
    Column(OP, "string", "label", "prompt or token: the pass measured"),
    Column("prompt_size", "int64", "tokens", "tokens of each prompt"),
    Column("batch_size", "int64", "requests", "requests in the batch"),
    Column("token_size", "int64", "tokens", "tokens generated for each request"),
    Column("num_tokens", "int64", "tokens", "prompt_size x batch_size: what Splitwise fits on"),
    Column(LATENCY_US, "float64", "us", "time of the pass; of a token pass, the mean"),
    Column("latency_std_us", "float64", "us", "deviation of the repeats, where they are joined"),
    Column("repeats", "int64", "count", "rows of the file this one was made from"),
    Column("peak_power", "float64", "ratio", "highest power / thermal design power"),
    Column("average_power", "float64", "ratio", "mean power / thermal design power"),
    *PHYSICS_COLUMNS,
)
"""Columns of one row: one pass at one point."""


def open_perf_model(source: Source, reading: Reading) -> OneTable:
    """Return the rows of a ``perf_model.csv``.

    Raises
    ------
    TraceError
        If the file is damaged, lacks a column, or its times are not in ms.
    """
    file = CsvColumns(source, reading.budget)
    measured = _measured(file, reading.catalog)
    notes = _notes(file, measured, reading.catalog)
    frame = _with_work(measured, reading.catalog)
    for op, column in _TIMES.items():
        _check_unit(f"{file.name}, {column}", frame[frame[OP] == op])
    if reading.repeats == "median":
        frame = _collapse(frame)
    reading.on_bytes(source.path.stat().st_size)
    values = {name: _array(frame[name].to_numpy()) for name in frame.columns}
    table = table_of(COLUMNS, {**values, SOURCE_FILE: source.label, DTYPE: _PRECISION}, len(frame))
    size, digest = source.path.stat().st_size, sha256_of(source.path)
    return OneTable(table, SourceFile(source.name, size, digest, len(frame), "splitwise"), notes)


def _measured(file: CsvColumns, catalog: Catalog) -> pd.DataFrame:
    """Return the file's rows, prompt passes first, under the columns' names."""
    import pandas as pd

    file.require([MODEL, "hardware", *_COUNTS, *_TIMES.values(), "tensor_parallel"])
    rows: dict[str, Any] = {
        MODEL: named(file.labels(MODEL).tolist(), catalog.models),
        GPU: named(file.labels("hardware").tolist(), catalog.gpus),
        TP: file.numbers("tensor_parallel", least=1, whole=True),
        **{name: file.numbers(name, least=1, whole=True) for name in _COUNTS},
    }
    for name in _POWER:
        if name in file:
            power = file.numbers(name, gaps=True)
            rows[name] = np.where(power > 0, power, np.nan)  # 0 where it was not measured
    passes = [
        pd.DataFrame({**rows, OP: op, LATENCY_US: file.numbers(column) * 1000.0})
        for op, column in _TIMES.items()
    ]
    both = pd.concat(passes, ignore_index=True)
    num_tokens = both["prompt_size"] * both["batch_size"]
    return both.assign(num_tokens=num_tokens, repeats=1)


def _with_work(frame: pd.DataFrame, catalog: Catalog) -> pd.DataFrame:
    """Return the frame with `PHYSICS_COLUMNS`, NaN where the model or GPU is not known."""
    dtype = catalog.dtypes.get(_PRECISION)
    columns = {column.name: np.full(len(frame), np.nan) for column in PHYSICS_COLUMNS}
    groups: dict[Any, Any] = dict(frame.groupby([MODEL, GPU, OP], sort=False).indices)
    for (model, gpu, op), rows in groups.items():
        spec = catalog.models.find(model)
        if spec is None:
            continue
        flops, moved = _work(op, frame.iloc[rows], spec)
        for name, values in physics(flops, moved, catalog.gpus.find(gpu), dtype).items():
            columns[name][rows] = values
    return frame.assign(**columns)


def _work(
    op: str, rows: pd.DataFrame, spec: ModelSpec
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return FLOPs and least bytes of one GPU's part of a pass."""
    prompt, batch = rows["prompt_size"].to_numpy(), rows["batch_size"].to_numpy()
    layers, width = spec.num_hidden_layers, spec.hidden_size
    head_flops = 2.0 * spec.vocab_size * width
    if op == "prompt":
        new, context, pairs = prompt, prompt, prompt * (prompt + 1) / 2
    else:
        new = np.ones(len(rows))
        pairs = context = prompt + rows["token_size"].to_numpy() / 2
    flops = batch * (new * spec.flops_per_token + 4.0 * layers * width * pairs + head_flops)
    cached = 4.0 * layers * spec.kv_width * batch * context
    tp = rows[TP].to_numpy()
    return flops / tp, (spec.weight_bytes + spec.head_bytes + cached) / tp


def _check_unit(what: str, frame: pd.DataFrame) -> None:
    """Raise TraceError if the times are not ms: by physics, else by what a pass can take."""
    latency = frame[LATENCY_US].to_numpy()
    moved = frame[BYTES].to_numpy() / REFERENCE_BANDWIDTH
    reference = np.maximum(frame[FLOPS].to_numpy() / REFERENCE_FLOPS, moved) * 1e6
    sol = frame[SOL_US].to_numpy()
    least = np.where(np.isnan(sol), reference, sol)
    if np.isfinite(least).any():
        refuse_other_unit(latency, least, _START_US, what)
        return
    median = float(np.median(latency))
    if not _QUICKEST_US <= median <= _SLOWEST_US * (100 if what.endswith("prompt_time") else 1):
        unit = "seconds" if median < _QUICKEST_US else "microseconds"
        msg = (
            f"{what}: the median is {median / 1000:g}, which is no time in ms of a pass of an "
            f"LLM: it looks like {unit}; convert it to ms"
        )
        raise TraceError(msg)


def _collapse(frame: pd.DataFrame) -> pd.DataFrame:
    """Return one row per point: median, deviation and count of its repeats."""
    grouped = frame.groupby(_POINT, sort=False)
    others = [name for name in frame.columns if name not in {*_POINT, "repeats"}]
    joined = grouped[others].median()
    joined["latency_std_us"] = grouped[LATENCY_US].std()
    joined["repeats"] = grouped.size()
    return joined.reset_index()


def _notes(file: CsvColumns, frame: pd.DataFrame, catalog: Catalog) -> tuple[Note, ...]:
    notes = []
    if count := file.duplicates():
        message = f"{file.name}: {count:,} rows equal an earlier one in every column"
        notes.append(Note("duplicate_rows", message, count, "info"))
    unknown = [
        repr(label)
        for column, index in ((MODEL, catalog.models), (GPU, catalog.gpus))
        for label in frame[column].unique()
        if index.find(label) is None
    ]
    if unknown:
        message = (
            f"{file.name}: sol_us is empty where the catalog does not know the model or GPU: "
            f"{one_line(', '.join(unknown))}"
        )
        notes.append(Note("no_speed_of_light", message, len(unknown), "warning"))
    return tuple(notes)


def _array(values: NDArray[Any]) -> Any:
    import pyarrow as pa

    return pa.array(values, from_pandas=True)


def _is_perf_model(path: Path) -> bool:
    return any(name in _TIMES.values() for name in header_of(path))


SPLITWISE = Format(
    name="splitwise",
    told="passes of whole models: perf_model.csv (Splitwise)",
    files=("perf_model.csv",),
    columns=COLUMNS,
    kind="measurements",
    recognises=_is_perf_model,
    open=open_perf_model,
    joins_repeats=True,
)
