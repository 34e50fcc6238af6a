"""Scale-free quantities of one operator: what its work is to the hardware it runs on.

A matrix product (m x k) @ (k x n) is cut into tiles of its output; every multiprocessor
computes one tile at a time, so tiles run in *waves* and the last wave may be nearly
empty. Operators without n and k (norms, activations) have no tiles: those features are
missing there, which trees understand.
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING

from gpucv import schema
from gpucv.features.contract import Feature
from gpucv.features.work import OperatorWork

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpucv.catalog import CatalogEntry
    from gpucv.frames import Array

__all__ = ["OPERATOR_FEATURES", "OperatorQuantities"]

_TILES = "NVIDIA, Matrix Multiplication Background User's Guide: tile and wave quantization"


class OperatorQuantities(OperatorWork):
    """`OperatorWork` with tiles and waves; every array NaN where its inputs are."""

    def fact(self, column: str, known: Callable[[str], CatalogEntry | None], field: str) -> Array:
        """Return a number the catalog knows of each row's GPU or number format, NaN if none."""
        nan = float("nan")
        if column not in self.columns:
            return self.xp.full(len(self.columns), nan)
        found = {}
        for name in self.columns.labels(column):
            value = getattr(known(name), field, None)
            found[name] = nan if value is None else float(value)
        return self.columns.lookup(column, found)

    def of_gpu(self, field: str) -> Array:
        """Return a fact about each row's GPU."""
        return self.fact(schema.GPU, self.catalog.gpus.find, field)

    def of_dtype(self, field: str) -> Array:
        """Return a fact about each row's number format."""
        return self.fact(schema.DTYPE, self.catalog.dtypes.find, field)

    @cached_property
    def multiprocessors(self) -> Array:
        """Multiprocessors of each row's GPU (NVIDIA's SMs, Intel's Xe cores)."""
        return self.of_gpu("multiprocessors")

    @cached_property
    def balance(self) -> Array:
        """FLOP per byte at which the row's GPU and number format turn compute-bound."""
        return self.number(schema.PEAK_FLOPS) / self.number(schema.MEMORY_BANDWIDTH)

    def release(self) -> Array:
        """Return the engine's version as a number that rises with releases, NaN if unknown.

        1.3.0 is 10300.5; candidates of a release lie below it, its post releases above. Made
        from the text alone.
        """
        if schema.ENGINE_VERSION not in self.columns:
            return self.xp.full(len(self.columns), float("nan"))
        return self.columns.reading(schema.ENGINE_VERSION, _release)

    def tiles(self, rows: int, columns: int) -> Array:
        """Return how many tiles of `rows` x `columns` cover the output."""
        m, n = self.number("m"), self.number("n")
        return self.xp.ceil(m / rows) * self.xp.ceil(n / columns)

    def waves(self, rows: int, columns: int) -> Array:
        """Return tiles / multiprocessors."""
        return self.tiles(rows, columns) / self.multiprocessors

    def tile_efficiency(self, rows: int, columns: int) -> Array:
        """Return the share of the multiplications that are of use, over all waves.

        Part of it is lost in tiles that reach beyond the output, part in the last wave.
        """
        waves, tiles = self.waves(rows, columns), self.tiles(rows, columns)
        useful = self.number("m") * self.number("n") / (tiles * rows * columns)
        return useful * waves / self.xp.ceil(waves)


_VERSION = re.compile(r"v?(\d+)(?:\.(\d+))?(?:\.(\d+))?(.*)")
_STAGE = re.compile(r"(dev|a|alpha|b|beta|c|rc|post)[._-]?(\d*)")
_STEPS = 128
"""Places between two patches: a power of two, so that float32 holds every one exactly."""
_STAGES = {"dev": (0, 8), "a": (8, 16), "b": (16, 24), "rc": (24, 64), "post": (65, 128)}
"""The places of each stage, first and past the last; the release itself stands at 64."""
_SPELLINGS = {"alpha": "a", "beta": "b", "c": "rc"}


def _release(version: str) -> float:
    """Return a version as a number; ``dev < a < b < rc < release < post``, as Python has it.

    What follows a "+" names a build, not a release. Of a stage's numbers those beyond its
    last place share it.
    """
    found = _VERSION.match(version.partition("+")[0].strip().lower())
    if found is None:
        return float("nan")
    major, minor, patch = (int(digits or 0) for digits in found.groups()[:3])
    place = 64
    stage = _STAGE.search(found[4])
    if stage is not None:
        first, past = _STAGES[_SPELLINGS.get(stage[1], stage[1])]
        place = min(first + int(stage[2] or 0), past - 1)
    return major * 1e4 + minor * 100 + patch + place / _STEPS


OPERATOR_FEATURES: tuple[Feature[OperatorQuantities], ...] = (
    Feature(
        "t_log_compute_per_memory",
        "log ratio",
        "sim-available",
        lambda q: q.xp.log(q.compute_us / q.memory_us),
        "rises",
        "arithmetic intensity / machine balance; Williams et al. 2009, Roofline",
    ),
    Feature("t_log_sol_us", "log us", "sim-available", lambda q: q.xp.log(q.sol_us), "rises"),
    Feature(
        "t_log_waves",
        "log waves",
        "sim-available",
        lambda q: q.xp.log(q.waves(128, 128)),
        "rises",
        _TILES,
    ),
    Feature(
        "t_tile_efficiency_128x128",
        "ratio",
        "sim-available",
        lambda q: q.tile_efficiency(128, 128),
        "mixed",
        _TILES,
    ),
    Feature(
        "t_tile_efficiency_64x64",
        "ratio",
        "sim-available",
        lambda q: q.tile_efficiency(64, 64),
        "mixed",
        _TILES,
    ),
    Feature(
        "t_tile_efficiency_128x256",
        "ratio",
        "sim-available",
        lambda q: q.tile_efficiency(128, 256),
        "mixed",
        _TILES,
    ),
    Feature("t_superchip", "0/1", "metadata", lambda q: q.of_gpu("superchip"), "fixed"),
    Feature("t_weight_bytes", "bytes", "metadata", lambda q: q.of_dtype("weight_bytes"), "fixed"),
    Feature(
        "t_activation_bytes",
        "bytes",
        "metadata",
        lambda q: q.of_dtype("activation_bytes"),
        "fixed",
    ),
    # What was run, as codes that say which rows are alike: kernels have a character.
    Feature(
        "t_engine",
        "label",
        "metadata",
        lambda q: q.columns.label_codes(schema.ENGINE),
        "fixed",
        label=True,
    ),
    Feature("t_release", "version", "metadata", lambda q: q.release(), "fixed"),
    Feature(
        "t_kernel",
        "label",
        "metadata",
        lambda q: q.columns.label_codes("kernel"),
        "fixed",
        label=True,
    ),
)
