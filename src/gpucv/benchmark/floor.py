"""The least time boosting can take on a device: bytes, launches, atomics, visits.

A round reads every binned value of every row about once for each level. What bounds that is
on a CPU the rate at which a core adds gradients into bins; on a GPU, for few rows, the kernel
launches of a tree, and for many the atomic additions in shared memory, long before the
memory's bandwidth. Each bound is worked out by itself; the floor is the greatest.

**The figures for GPUs are estimated from published runs and from source, and not yet run.**
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gpucv.machine import Device

__all__ = [
    "CPU_CORE",
    "H100",
    "H200",
    "CpuCore",
    "Floor",
    "Gpu",
    "Work",
    "floor_of",
    "floor_seconds",
]


@dataclass(frozen=True, slots=True)
class Work:
    """What is boosted.

    Attributes
    ----------
    rows, features, rounds : int
        Rows of one fit; features after any view.
    depth : int
    folds : int
        Fits like it, side by side.
    """

    rows: int
    features: int
    rounds: int
    depth: int = 6
    folds: int = 1

    @property
    def visits(self) -> float:
        """Additions of a value into a bin, over all rounds and folds.

        Of two siblings only the smaller is built, and the other is what its parent leaves
        (v3.2.0, ``src/tree/hist/histogram.h``), so a level below the root visits at most half
        of the rows: ``1 + (depth - 1) / 2`` visits a row and feature.
        """
        each = 1.0 + (self.depth - 1) / 2
        return float(self.rows) * self.features * self.rounds * self.folds * each

    @property
    def row_rounds(self) -> float:
        """Rows times rounds, over all folds."""
        return float(self.rows) * self.rounds * self.folds


@dataclass(frozen=True, slots=True)
class CpuCore:
    """One core of a CPU.

    Attributes
    ----------
    visits_per_s : float
        Whole rounds over visits, with all they do beside: splits, partition, sampling.
    bytes_per_s : float
        Of memory, its share of the socket's.
    source : str
    """

    visits_per_s: float
    bytes_per_s: float
    source: str


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU.

    Attributes
    ----------
    visits_per_s : float
        Additions into bins in shared memory.
    bytes_per_s : float
        Of its memory.
    launch_s, launches, wait_s, waits : float
        Of a kernel launch and of a wait of the host for the device, and how many of each a tree
        of depth 6 takes.
    source : str
    """

    visits_per_s: float
    bytes_per_s: float
    launch_s: float
    launches: float
    wait_s: float
    waits: float
    source: str


CPU_CORE = CpuCore(
    visits_per_s=1.56e9,
    bytes_per_s=10e9,
    source=(
        "the best of measured rounds of XGBoost 3.2 on a core of an AMD EPYC (Genoa): 1.3 to "
        "1.56 billion visits a second for 10,000 to 1,000,000 rows x 30"
    ),
)
"""A core of 2023. Older and slower ones take more than this floor says."""

H100 = Gpu(
    visits_per_s=120e9,
    bytes_per_s=3.35e12,
    launch_s=3e-6,
    launches=130,
    wait_s=12e-6,
    waits=15,
    source=(
        "estimated, not yet run: 33 ps a visit on an RTX A4000, fitted to six published runs of "
        "EvoTrees.jl's benchmarks, over 4 for the multiprocessors; launches counted in XGBoost "
        "3.2.0's source; bandwidth from the data sheet"
    ),
)
H200 = Gpu(
    visits_per_s=H100.visits_per_s,
    bytes_per_s=4.8e12,
    launch_s=H100.launch_s,
    launches=H100.launches,
    wait_s=H100.wait_s,
    waits=H100.waits,
    source=f"{H100.source}; the memory alone is faster than an H100's",
)

_ROW_BYTES = {"root": 36, "level": 86, "tree": 120}
"""Bytes of a row on a GPU beside its bins: read for the root's histogram; for each level below
it, with the partition that follows (gradients, row numbers and positions read, and some
written); once a tree for gradients, quantised gradients and predictions. Counted in the
source of v3.2.0: ``tree/updater_gpu_hist.cu``, ``tree/gpu_hist/row_partitioner.cuh``."""
_CPU_ROW_BYTES = 60
"""Bytes of a row on a CPU that a tree reads and writes beside its bins."""


@dataclass(frozen=True, slots=True)
class Floor:
    """The bounds of some work on a device, in seconds; the greatest of them holds.

    Attributes
    ----------
    visits_s : float
        Additions into bins: a CPU's arithmetic, a GPU's atomics.
    bytes_s : float
        Memory traffic.
    launches_s : float
        Kernel launches and waits of the host; 0 on a CPU.
    source : str
        Where the device's figures come from.
    """

    visits_s: float
    bytes_s: float
    launches_s: float
    source: str

    @property
    def seconds(self) -> float:
        """The greatest bound."""
        return max(self.visits_s, self.bytes_s, self.launches_s)

    @property
    def held_by(self) -> str:
        """What the greatest bound is of: "visits", "bytes" or "launches"."""
        bounds = {
            "visits": self.visits_s,
            "bytes": self.bytes_s,
            "launches": self.launches_s,
        }
        return max(bounds, key=lambda name: bounds[name])


def floor_of(work: Work, on: CpuCore | Gpu, units: int = 1) -> Floor:
    """Return the bounds of boosting on so many cores or GPUs, shared out perfectly.

    Parameters
    ----------
    work : Work
    on : CpuCore or Gpu
    units : int
        Cores or GPUs used; no more than folds times what one fold can share is assumed.

    Examples
    --------
    >>> floor = floor_of(Work(rows=92_000, features=30, rounds=300), H100)
    >>> floor.held_by
    'launches'
    """
    visits_s = work.visits / on.visits_per_s / units
    bins = work.visits  # one byte a bin, each visit reads one
    if isinstance(on, CpuCore):
        moved = bins + _CPU_ROW_BYTES * work.row_rounds
        return Floor(visits_s, moved / on.bytes_per_s / units, 0.0, on.source)
    levels = work.depth - 1
    row = _ROW_BYTES["root"] + _ROW_BYTES["level"] * levels + _ROW_BYTES["tree"]
    # A level below the root gathers the bins of half the rows, but in lines of whole rows.
    bins = work.row_rounds * work.features * (1 + levels)
    tree_s = on.launches * on.launch_s + on.waits * on.wait_s
    return Floor(
        visits_s,
        (bins + row * work.row_rounds) / on.bytes_per_s / units,
        tree_s * work.depth / 6 * work.rounds * work.folds / units,
        on.source,
    )


def floor_seconds(work: Work, device: Device, units: int = 1) -> float:
    """Return the least seconds boosting takes on `units` cores of a CPU, or H100 GPUs."""
    return floor_of(work, H100 if device == "cuda" else CPU_CORE, units).seconds
