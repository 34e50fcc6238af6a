"""Is a measured time what its name says? First look: against the roofline."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from gpucv.schema import GPU, MODEL, SCHEDULED_TOKENS, TP
from gpucv.traces.provenance import Note

if TYPE_CHECKING:
    import pandas as pd

    from gpucv.catalog import Catalog, GpuSpec, ModelSpec

__all__ = ["roofline_floor_note", "weight_read_us"]

_TOLERATED = 0.05
"""Share of rows below the floor that stray measurements may explain."""


def weight_read_us(model: ModelSpec, gpu: GpuSpec, tp: int) -> float:
    """Return the least time of a step, in us: reading every BF16 weight of a GPU once.

    At the data sheet's full bandwidth; of a mixture of experts one expert is counted, so
    this is a floor for any routing.
    """
    return model.weight_bytes / tp / gpu.memory_bandwidth * 1e6


def roofline_floor_note(
    frame: pd.DataFrame, target: str, catalog: Catalog, *, default_gpu: str | None = None
) -> Note | None:
    """Return a warning if many targets are shorter than reading the weights takes.

    Parameters
    ----------
    frame : pandas.DataFrame
        A step table; rows that schedule no token are left out, the model does not run.
    target : str
        A column of times in us (its name ends in ``_us``); for any other, None.
    default_gpu : str, optional
        GPU of rows that name none.

    Returns
    -------
    Note or None
        None where at most 5 % of the rows are below the floor, or no row has a known
        model, GPU and tensor-parallel degree.
    """
    if not target.endswith("_us") or MODEL not in frame.columns or TP not in frame.columns:
        return None
    judged = frame
    if SCHEDULED_TOKENS in frame.columns:
        judged = frame[frame[SCHEDULED_TOKENS] > 0]
    gpu = judged[GPU] if GPU in judged.columns else default_gpu
    if not isinstance(gpu, str | None):
        gpu = gpu.where(gpu.notna() & (gpu != ""), default_gpu)
    known = below = 0
    floors: dict[str, float] = {}
    labelled = judged[[MODEL, TP, target]].assign(**{GPU: gpu})
    for key, times in labelled.groupby([MODEL, TP, GPU])[target]:
        model, tp, gpu_name = cast("tuple[str, int, str]", key)
        spec, sheet = catalog.models.find(str(model)), catalog.gpus.find(str(gpu_name))
        if spec is None or sheet is None or tp < 1:
            continue
        floor = weight_read_us(spec, sheet, int(tp))
        floors[f"{spec.name} tp{int(tp)} on {sheet.name}"] = floor
        known += len(times)
        below += int((times < floor).sum())
    if not known or below / known <= _TOLERATED:
        return None
    return _note(target, below, known, floors)


def _note(target: str, below: int, known: int, floors: dict[str, float]) -> Note:
    shown = ", ".join(f"{name} {floor:,.0f} us" for name, floor in list(floors.items())[:6])
    more = f" and {len(floors) - 6} more" if len(floors) > 6 else ""
    message = (
        f"{below / known:.1%} of {known:,} rows have a {target} shorter than a GPU needs to read "
        f"the model's weights once ({shown}{more}); it is likely the scheduler's CPU time, not "
        "a GPU step"
    )
    return Note("below_roofline", message, below, "warning")
