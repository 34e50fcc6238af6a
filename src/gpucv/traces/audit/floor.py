"""Whether a step is at least as long as reading the model's weights once.

Every step that runs the model reads each weight of the GPU's shard from memory: floor =
(BF16 bytes of all layers, one expert of each + bytes of the output head) / tensor-parallel
degree / memory bandwidth. The bandwidth is the data sheet's, which no kernel reaches, and
one expert is the least a mixture can read, so a real step is never shorter. Where a column
names the number format, its bytes are taken for BF16's; a table of a quantised model
without that column is judged too strictly by up to the ratio of the bits, which is told by
the floors in the figures.

A mixture whose experts are split over other GPUs than the rest (a ``moe_tp`` that is not
the tensor-parallel degree) has no such floor. A step that comes with a speed of light of
its own, for what its batch computes and reads, has that for a floor where it is larger.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gpucv.schema import DTYPE, GPU, MODEL, SCHEDULED_TOKENS, SOL_US, TP
from gpucv.traces.audit.groupwise import shares
from gpucv.traces.audit.result import Finding, Judgement

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gpucv.catalog import GpuSpec, ModelSpec
    from gpucv.traces.audit.result import Verdict
    from gpucv.traces.audit.subject import Subject

__all__ = ["assumed_gpu", "floors_us", "level_of", "weight_floor", "weight_read_us"]

TOLERATED = 0.05
"""Share of rows below the floor that stray measurements may explain."""
BF16 = "bfloat16"
"""Number format of rows that name none."""
FEWEST_ROWS = 20
"""Rows of one experiment below which its share says little."""
MOE_TP = "moe_tp"
"""Column with the tensor-parallel degree of the experts."""


def weight_read_us(model: ModelSpec, gpu: GpuSpec, tp: int) -> float:
    """Return the least time of a step, in us: reading every BF16 weight of a GPU once.

    All layers and the output head, at the data sheet's full bandwidth; of a mixture of
    experts one expert is counted, so this is a floor for any routing.
    """
    return (model.weight_bytes + model.head_bytes) / tp / gpu.memory_bandwidth * 1e6


def weight_floor(subject: Subject, target: str) -> Judgement | None:
    """Judge a target of a step table by the share of rows below the floor.

    Rows that schedule no token are left out: the model does not run. ``fail`` where more
    than 5 % of the rows with a known floor are below it; ``warn`` where that holds for
    one experiment of at least 20 rows.
    """
    if not subject.is_steps or not target.endswith("_us"):
        return None
    lacking = [name for name in (MODEL, TP) if name not in subject]
    if lacking and SOL_US not in subject:
        return Judgement("unknown", f"no roofline floor: the table has no column {lacking[0]!r}")
    floor, by_configuration, unknown = floors_us(subject)
    times = subject.numbers(target)
    known = np.isfinite(floor) & np.isfinite(times) & (times >= 0)
    if not known.any():
        why = f": {'; '.join(unknown)}" if unknown else ""
        return Judgement("unknown", f"no roofline floor for any row{why}")
    below = known & (times < floor)
    per_experiment = _by_experiment(subject, below, known)
    share = float(below.sum() / known.sum())
    figures: dict[str, Any] = {
        "rows_with_floor": int(known.sum()),
        "rows_below_floor": int(below.sum()),
        "share_below_floor": share,
        "share_below_floor_by_experiment": per_experiment,
        "floor_us": by_configuration,
    }
    if SOL_US in subject:
        with_light = known & np.isfinite(subject.numbers(SOL_US))
        figures["rows_with_speed_of_light"] = int(with_light.sum())
    if unknown:
        figures["floor_unknown"] = unknown
    return _judge(share, per_experiment, figures)


def level_of(share: float) -> Verdict:
    """Return the level of a share of rows below the floor."""
    return "fail" if share > TOLERATED else "pass"


def _judge(share: float, per_experiment: dict[str, float], figures: dict[str, Any]) -> Judgement:
    least = []
    if figures["floor_us"]:
        least.append(f"to read the model's weights once ({_some(figures['floor_us'])})")
    if figures.get("rows_with_speed_of_light"):
        least.append(f"for the work of their batch ({SOL_US})")
    sentence = (
        f"{share:.1%} of {figures['rows_with_floor']:,} rows are shorter than a GPU needs "
        f"{' or '.join(least)}"
    )
    level = level_of(share)
    worst = max(per_experiment, key=lambda name: per_experiment[name], default=None)
    if level == "fail":
        sentence += "; it is likely the scheduler's CPU time, not a GPU step: learn another target"
    elif worst is not None and level_of(per_experiment[worst]) == "fail":
        level = "warn"
        sentence += f", but {per_experiment[worst]:.1%} in {worst}: leave that recording out"
    return Judgement(level, sentence, figures, decides=True)


def _some(floors: dict[str, float]) -> str:
    shown = ", ".join(f"{name} {floor:,.0f} us" for name, floor in list(floors.items())[:6])
    return shown + (f" and {len(floors) - 6} more" if len(floors) > 6 else "")


def floors_us(subject: Subject) -> tuple[NDArray[np.float64], dict[str, float], list[str]]:
    """Return each row's floor, the weights' floors by name, and what of these is not known.

    A row has none (NaN) where it is not known, or where it schedules no token.
    """
    columns = tuple(name for name in (MODEL, TP, GPU, DTYPE, MOE_TP) if name in subject)
    numbers, found = subject.combinations(columns)
    floors = np.full(len(found), np.nan)
    by_name: dict[str, float] = {}
    unknown: dict[str, None] = {}
    for at, labels in enumerate(found):
        of = dict(zip(columns, labels, strict=True))
        model, tp, gpu, label = (of.get(name) for name in (MODEL, TP, GPU, DTYPE))
        spec = subject.catalog.models.find(str(model)) if model else None
        sheet = subject.catalog.gpus.find(str(gpu or subject.scope.default_gpu or ""))
        dtype = subject.catalog.dtypes.find(str(label or BF16))
        if spec is None:
            unknown[f"model {subject.shown(model)} is not in the catalog"] = None
        elif sheet is None:
            unknown[f"GPU {subject.shown(gpu or subject.scope.default_gpu)} is not known"] = None
        elif not isinstance(tp, int | float | np.number) or not 1 <= tp < 2**31:
            unknown[f"tp {subject.shown(tp)} is no number of GPUs"] = None
        elif spec.is_moe and of.get(MOE_TP) not in (None, tp):
            split = f"{MOE_TP} {subject.shown(of[MOE_TP])}, tp {tp:g}"
            unknown[f"{spec.name} splits its experts otherwise than the rest ({split})"] = None
        elif dtype is None:
            unknown[f"number format {subject.shown(label)} is not in the catalog"] = None
        else:
            floors[at] = weight_read_us(spec, sheet, int(tp)) * dtype.weight_bytes / 2
            in_format = f" in {dtype.name}" if label else ""
            by_name[f"{spec.name} tp{int(tp)} on {sheet.name}{in_format}"] = float(floors[at])
    floor = floors[numbers]
    if SOL_US in subject:
        floor = np.fmax(floor, subject.numbers(SOL_US))  # the other where one is NaN
    if SCHEDULED_TOKENS in subject:
        floor[~(subject.numbers(SCHEDULED_TOKENS) > 0)] = np.nan
    return floor, by_name, list(unknown)[:10]


def _by_experiment(
    subject: Subject, below: NDArray[np.bool_], known: NDArray[np.bool_]
) -> dict[str, float]:
    """Return the share below the floor of each experiment with rows enough to say."""
    experiment = subject.scope.experiment
    if experiment not in subject:
        return {}
    codes, names = subject.codes(experiment)
    named = known & (codes >= 0)
    counted = shares(codes[named].astype(np.int64), below[named], len(names))
    return {
        subject.shown(names[at]): hits / rows
        for at, (hits, rows) in enumerate(counted)
        if rows >= FEWEST_ROWS
    }


def assumed_gpu(subject: Subject) -> list[Finding]:
    """Say so where rows that name no GPU are judged by the default one."""
    default = subject.scope.default_gpu
    if default is None or not subject.is_steps:
        return []
    rows = int((subject.codes(GPU)[0] < 0).sum()) if GPU in subject else subject.rows
    if not rows:
        return []
    message = (
        f"{rows:,} of {subject.rows:,} rows name no GPU: {default} is assumed for the roofline "
        "floor; give the table a gpu column if it was another"
    )
    return [Finding("gpu_assumed", "info", message, {"gpu": default, "rows": rows})]
