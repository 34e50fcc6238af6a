"""How much memory folds take, from the shapes of their rows and trees.

XGBoost's share follows from its source, release 3.2.0, whose files are named below; what
that leaves open on a CPU was measured there (``bench/memory_estimate.py``). The figures for
a GPU are read from the source alone, and not yet measured on one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil, expm1, log2
from typing import TYPE_CHECKING, Any

import numpy as np

from gpucv.features import baseline_of, view_name
from gpucv.pipelines import block_rows
from gpucv.predictors import registration

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gpucv.features import FeatureTable
    from gpucv.folds.task import FoldTask
    from gpucv.study import PredictorSpec

__all__ = [
    "CUDA_CONTEXT",
    "PROCESS",
    "GpuNeed",
    "TableShape",
    "gpu_need",
    "host_need",
    "page_bytes",
    "paged_gpu_need",
    "paged_host_need",
    "spread_gpu_need",
    "table_bytes",
    "told",
]

PROCESS = 220 << 20
"""Of the host: a process with Python, NumPy, pandas and XGBoost loaded, before any row."""
CUDA_CONTEXT = 512 << 20
"""Of a GPU: one process's CUDA context, with the code of XGBoost's kernels; an estimate."""

_TREES = ("xgboost", "random-forest")
_BIN_SUM = 16
"""Bytes of one bin's sums of gradients, two of 8 (``tree/hist/hist_cache.h``,
``tree/gpu_hist/histogram.cuh``)."""
_NODES_CACHED = {"cpu": 1 << 16, "cuda": 1 << 12}
"""Nodes whose histograms are kept at most (``tree/hist/hist_param.h``)."""
_GPU_RESERVED = 8 << 22
"""Histogram memory taken at once (``tree/gpu_hist/histogram.cuh``, ``DftReserveSize``)."""
_TREE_NODE = 260
"""Bytes kept for each node split, its leaves and the written model included; measured."""
_BATCH = 256
"""Nodes one pass over the rows works on (``tree/driver.h``)."""
_GPU_ROW = 44
"""Bytes of a row while a GPU trains: gradients 8 and 16, row numbers 4 and 4, prediction,
leaf and label 4 each (``tree/updater_gpu_hist.cu``, ``tree/gpu_hist/row_partitioner.cuh``)."""
_BINNED_ROW, _CPU_ROW = 33, 60
"""Bytes of a row beside its values once a CPU has binned it, and while it trains: pointers,
row numbers, gradients, positions, the target and what it was made from; measured, the same
for 10, 30 and 60 features."""
_SKETCHED_VALUE = 20
"""Bytes of a GPU a value must find free to be sketched: 16, of which a sketch takes no more than
80 % of what is free; with less it works in pieces, and finds other bins
(``common/hist_util.cu``)."""
_SKETCH_ROOM = 1 << 30
"""The same of a whole block, with its rows, the sketches of those before it and its bins."""
_PAGES_ON_GPU = 1 << 30
"""Pages of external memory that lie on the GPU at one time, those fetched ahead included."""
_HOST_VALUE = 32
"""Bytes of a value read by predictors that are no trees: ridge takes 30, measured."""


@dataclass(frozen=True, slots=True)
class TableShape:
    """What of a table decides how much memory folds take.

    Attributes
    ----------
    rows, features : int
    missing : bool
        Whether some feature of some row is missing, which takes bins a wider code.
    read_by : mapping of str to int
        How many columns each view reads; empty where there is but the study's own.
    """

    rows: int
    features: int
    missing: bool = False
    read_by: Mapping[str, int] | None = None

    @classmethod
    def of(cls, table: FeatureTable) -> TableShape:
        """Return the shape of a table."""
        # The least of numbers among which one is missing is missing; nothing is copied.
        missing = bool(table.X.size) and bool(np.isnan(np.min(table.X)))
        views = {name: len(columns) for name, columns in table.views.items()}
        return cls(len(table), table.X.shape[1], missing, views)

    def width(self, spec: PredictorSpec) -> int:
        """Return how many columns a predictor reads."""
        if registration(spec.name).inputs == ():
            return 0
        return self.read_by[view_name(spec)] if self.read_by else self.features


@dataclass(frozen=True, slots=True)
class GpuNeed:
    """Memory one fold takes of a GPU, in bytes.

    Attributes
    ----------
    kept : int
        From when its rows are binned until it ends.
    building : int
        Beside that while they are binned, which one fold at a time does.
    """

    kept: int
    building: int

    @property
    def peak(self) -> int:
        """All of it."""
        return self.kept + self.building


@dataclass(frozen=True, slots=True)
class _Fit:
    """Rows and trees of the largest fit of one predictor in a fold."""

    fit: int
    watched: int
    tested: int
    features: int
    max_bin: int
    missing: bool
    nodes: int
    trees: int
    whole: int = 0  # rows of the table, where its cuts are taken over all of them

    @property
    def values(self) -> int:
        return self.fit * self.features

    @property
    def model(self) -> int:
        return self.trees * self.nodes * _TREE_NODE

    def histograms(self, device: str) -> int:
        cached = min(self.nodes, _NODES_CACHED[device])
        return self.features * self.max_bin * _BIN_SUM * cached

    def binned(self, rows: int) -> int:
        """Bytes of rows as a GPU has them (``data/ellpack_page.cu``)."""
        # Where some are missing, that takes a code of its own.
        return ceil(rows * self.features * ceil(log2(self.max_bin + self.missing)) / 8)


def table_bytes(shape: TableShape, device: str = "cpu") -> int:
    """Return the bytes of a table: its matrix, targets and light; on the host groups as well."""
    return shape.rows * (4 * shape.features + (16 if device == "cuda" else 40))


def host_need(task: FoldTask, shape: TableShape) -> int:
    """Return the peak bytes of one fold of trees on a CPU, its table and process left out.

    The greatest of four: while the gathered rows are sketched; once they are binned, and
    still there; while trees grow; while rows are predicted.
    """
    return max(_host_need(task, fit, spec.name) for spec, fit in _fits(task, shape))


def _host_need(task: FoldTask, fit: _Fit, name: str) -> int:
    rows = 8 * (task.n_train + task.n_test) + 16 * fit.watched
    predicting = (4 * fit.features + 24) * fit.tested + fit.model
    if name not in _TREES:
        return rows + max(_HOST_VALUE * fit.values + 40 * fit.fit, predicting)
    gathered = 4 * fit.features * (fit.fit + fit.watched)
    index = _cpu_index(fit, fit.values)
    watched = _cpu_index(fit, fit.features * fit.watched) + 12 * fit.watched
    begun = fit.values * _code_width(fit)  # of the index, while the heap still has the sketch
    sketching = gathered + _sketch_bytes(fit) + begun + 12 * fit.fit
    if fit.whole:  # gathered and binned once, beside the rows of the fold that asked first
        table = replace(fit, fit=fit.whole, watched=0, whole=0)
        sketching = (
            gathered
            + 4 * table.values
            + max(
                _sketch_bytes(table) + table.values * _code_width(table),
                _cpu_index(table, table.values),
            )
        )
    binning = gathered + index + watched + _BINNED_ROW * fit.fit
    apart = (task.threads - 1) * min(_BATCH, fit.nodes) // 2  # sums of each thread's own
    sums = fit.histograms("cpu") + apart * fit.features * fit.max_bin * _BIN_SUM
    training = index + watched + sums + _CPU_ROW * fit.fit + fit.model
    return rows + max(sketching, binning, training, predicting)


def _cpu_index(fit: _Fit, values: int) -> int:
    """Return the bytes of binned values in row order, in column order, and one bit each.

    One byte each, for more than 256 bins two; in row order 4 where some are missing, as
    these cannot be told from their place (``data/gradient_index.h``,
    ``common/column_matrix.h``). The bit says whether the value is there.
    """
    width = _code_width(fit)
    return values * ((4 if fit.missing else width) + width) + values // 8


def _code_width(fit: _Fit) -> int:
    return 1 if fit.max_bin <= 256 else 2


def _sketch_bytes(fit: _Fit) -> int:
    """Return the bytes of the quantile sketch of every feature (``common/quantile.h``).

    A summary of `limit` entries of 16 bytes for each level, a queue and a spare one. That
    they are grown step by step adds 15 %, measured.
    """
    accuracy, level = 8 * fit.max_bin, 1
    while True:
        limit = min(fit.fit, level * accuracy + 1)
        if (limit << level) >= fit.fit:
            break
        level += 1
    return int(1.15 * fit.features * limit * (16 * level + 48))


def gpu_need(task: FoldTask, shape: TableShape) -> GpuNeed:
    """Return the bytes one fold takes of a GPU; nothing where no predictor of it uses one."""
    fits = [fit for spec, fit in _fits(task, shape) if spec.name in _TREES]
    needs = [_gpu_need(fit) for fit in fits]
    return max(needs, key=lambda need: need.peak, default=GpuNeed(0, 0))


def _gpu_need(fit: _Fit) -> GpuNeed:
    most = block_rows(fit.features)
    # Rows of one block are gathered before it is their fold's turn to bin.
    gathered = 4 * fit.features * (min(fit.fit, most) + min(fit.watched, most))
    training = fit.binned(fit.fit + fit.watched) + 12 * fit.watched + _GPU_ROW * fit.fit
    training += _gpu_histograms(fit)
    predicting = (4 * fit.features + 16) * fit.tested
    if fit.whole:
        gathered += 4 * fit.features * min(fit.whole, most)
    block = min(fit.whole or fit.fit, most)
    sketch = fit.binned(fit.whole) + _SKETCHED_VALUE * fit.features * block + fit.binned(block)
    return GpuNeed(max(training, predicting, gathered), gathered + sketch)


def _gpu_histograms(fit: _Fit) -> int:
    """Return what histograms take: at first a reserve; then it doubles, the old beside it."""
    needed = fit.histograms("cuda")
    return _GPU_RESERVED if needed <= _GPU_RESERVED else 3 * needed


def spread_gpu_need(task: FoldTask, shape: TableShape, parts: int) -> int:
    """Return the bytes each of `parts` GPUs needs to train one fold together.

    Rows are binned block by block, so none lie there unbinned; 15 % for uneven parts and
    the buffers of NCCL.
    """
    need, fixed = gpu_need(task, shape), _gpu_histograms(_largest_fit(task, shape))
    return ceil(1.15 * max(0, need.kept - fixed) / parts) + fixed + _SKETCH_ROOM


def page_bytes(task: FoldTask, shape: TableShape, device: str) -> int:
    """Return the bytes of one fold's pages: of host memory for a GPU, of disk for a CPU.

    With 30 % for what XGBoost puts beside them.
    """
    fit = _largest_fit(task, shape)
    rows = fit.fit + fit.watched
    binned = fit.binned(rows) if device == "cuda" else _cpu_index(fit, rows * fit.features)
    return int(1.3 * binned)


def paged_gpu_need(task: FoldTask, shape: TableShape) -> int:
    """Return the bytes of a GPU that stay taken where X is paged in: all but X."""
    fit = _largest_fit(task, shape)
    return _GPU_ROW * fit.fit + _gpu_histograms(fit) + _PAGES_ON_GPU + _SKETCH_ROOM


def paged_host_need(task: FoldTask, shape: TableShape) -> int:
    """Return the bytes of the host a CPU fold takes where X is paged from disk: all but X.

    One block of rows is there at any time, gathered and binned. Measured over 3 million rows
    of 30 features and 1.5 million of 60: 3 % and 19 % more than they took.
    """
    fit = _largest_fit(task, shape)
    block = min(fit.fit, block_rows(fit.features)) * fit.features
    rows = 8 * (task.n_train + task.n_test) + 16 * fit.watched
    sketching = 24 * fit.fit + _sketch_bytes(fit)
    training = _CPU_ROW * fit.fit + fit.histograms("cpu") + fit.model
    return rows + 4 * block + _cpu_index(fit, block) + max(sketching, training)


def _largest_fit(task: FoldTask, shape: TableShape) -> _Fit:
    fits = [fit for spec, fit in _fits(task, shape) if spec.name in _TREES]
    return max(fits, key=lambda fit: fit.values)


def _fits(task: FoldTask, shape: TableShape) -> list[tuple[PredictorSpec, _Fit]]:
    """Return the predictors of a task, its baseline too, each with its largest fit."""
    spec = task.predictor
    specs = [spec, baseline_of(spec)] if spec.baseline else [spec]
    return [(each, _fit(task, each, shape)) for each in specs]


def _fit(task: FoldTask, spec: PredictorSpec, shape: TableShape) -> _Fit:
    watched = round(task.n_train * task.validation.fraction)
    params = _most(spec)
    max_bin = int(params.get("max_bin", 256))
    rows = task.n_train - watched
    stops_early = task.validation.early_stopping_rounds > 0 and spec.name == "xgboost"
    # These ask for predictions of the rows they learnt from.
    asks_itself = task.predictor.smearing or spec is not task.predictor
    return _Fit(
        fit=rows,
        watched=watched if stops_early else 0,
        tested=max(task.n_test, watched, rows if asks_itself else 0),
        features=shape.width(spec),
        max_bin=max_bin,
        missing=shape.missing,
        nodes=_nodes(params, rows) if spec.name in _TREES else 0,
        trees=int(params.get("n_estimators", 0)) if spec.name in _TREES else 0,
        whole=shape.rows if params.get("cuts") == "shared" else 0,
    )


def _most(spec: PredictorSpec) -> dict[str, Any]:
    """Return the parameters that take the most memory of those a fold may choose among."""
    params, rule = dict(spec.params), spec.choose
    offered: dict[str, Iterable[Any]] = {}
    if rule is not None:
        offered = {**rule.grid, **{name: bounds[:2] for name, bounds in rule.space.items()}}
    if "shared" in offered.get("cuts", ()):
        params["cuts"] = "shared"
    for name in ("max_depth", "max_bin", "n_estimators", "max_leaves"):
        if name in offered:
            # A depth or number of leaves of 0 has no bound.
            values = list(offered[name])
            unbounded = name in ("max_depth", "max_leaves") and 0 in values
            params[name] = 0 if unbounded else max(values)
    for name in ("min_child_weight", "min_samples_leaf"):
        if name in offered:
            params[name] = min(offered[name])
    return params


def _nodes(params: Mapping[str, Any], rows: int) -> int:
    """Estimate the nodes of one tree whose histograms are made: all but those at full depth.

    A level is full until its nodes run short of rows, which noise makes them do unevenly:
    ``b (1 - exp(-2^level / b))`` nodes with b = 15 % of the rows over the fewest of a leaf.
    On noise, with 36,000 to 450,000 such rows and depth 16, that is 5 % too few to 26 % too
    many.
    """
    least = float(params.get("min_child_weight", params.get("min_samples_leaf", 1)))
    usable = rows * float(params.get("subsample", 1.0)) / max(1.0, least)
    bound = max(1.0, 0.15 * usable)
    depth = min(int(params.get("max_depth", 6)) or 64, 64)
    found = sum(-bound * expm1(-(2.0**level) / bound) for level in range(depth))
    leaves = int(params.get("max_leaves", 0)) or usable
    return max(1, ceil(min(found, 2 * usable, 2 * leaves)))


def told(size: float) -> str:
    """Write bytes as people do: ``640 MiB``, ``7.5 GiB``."""
    if size < 1000 * 2**20:
        return f"{size / 2**20:,.0f} MiB"
    return f"{size / 2**30:,.1f} GiB"
