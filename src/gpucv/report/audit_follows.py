"""What follows from an audit: what to learn from, what to leave out, what to hold out together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpucv.report.cells import clean, count, percent
from gpucv.schema import CYCLE_US

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gpucv.traces.audit import Audit, Finding, TargetAudit

__all__ = ["best_targets", "next_steps"]

SEVERAL = 5
"""Steps of one kind that are written out; the others are counted."""
FEW_COVERED = 0.5
"""Share of rows with a cycle below which recording more of them comes first."""


def best_targets(audit: Audit) -> tuple[TargetAudit, ...]:
    """Return the targets to learn from: those that pass, else those with a warning."""
    for verdict in ("pass", "warn"):
        found = tuple(target for target in audit.targets if target.verdict == verdict)
        if found:
            return found
    return ()


def next_steps(audit: Audit) -> tuple[str, ...]:
    """Return concrete next steps, the choice of the target first.

    Parameters
    ----------
    audit : Audit

    Returns
    -------
    tuple of str
        Sentences, names in them cleaned; figures an audit does not have are passed over.
    """
    best = best_targets(audit)
    steps = _choice(audit, best)
    for target in best:
        steps += _of_target(target)
    for code, told in _OF_FINDINGS.items():
        found = [finding for finding in audit.findings if finding.code == code]
        sentences = list(dict.fromkeys(s for finding in found if (s := told(finding))))
        steps += sentences[:SEVERAL]
        if len(sentences) > SEVERAL:
            steps.append(f"{count(len(sentences) - SEVERAL)} more of that kind stand below.")
    return tuple(steps) or ("Nothing has to be done first.",)


def _choice(audit: Audit, best: Sequence[TargetAudit]) -> list[str]:
    if not audit.targets:
        return ['Name the column that holds the measured time: target = "..." under [data].']
    if not best:
        return _without_a_target(audit)
    if best[0].verdict == "pass" or len(best) < len(audit.targets):
        name = clean(best[0].target)
        return [f'Learn from {name}: set target = "{name}" under [data] of the study.']
    return []


def _without_a_target(audit: Audit) -> list[str]:
    names = {target.target for target in audit.targets}
    if all(target.verdict == "unknown" for target in audit.targets):
        return [
            "Give the rows the model, gpu and tp they were measured on, by names the catalog "
            "knows, or add yours under [catalog]: without them no floor can be computed."
        ]
    if CYCLE_US not in names and any(name.startswith("step.") for name in names):
        return [
            f'Train on none of these times: set target = "{CYCLE_US}" under [data], which is '
            "derived from step.ts_start_ns of consecutive steps; record those if there are none."
        ]
    return ["Train on none of these times before what fails is explained."]


def _of_target(target: TargetAudit) -> list[str]:
    name, figures, steps = clean(target.target), target.figures, []
    coverage = figures.get("coverage")
    if isinstance(coverage, float) and coverage < FEW_COVERED:
        steps.append(
            f"Record consecutive steps next time: {percent(100 * coverage)}% of the rows have "
            f"{name}, since most kept steps have no successor on record."
        )
    compute = figures.get("rows_faster_than_compute") or 0
    if compute:
        rows = "row" if compute == 1 else "rows"
        steps.append(
            f"Leave out the {count(compute)} {rows} faster than the peak FLOP rate: set "
            'below_floor = "drop" under [data], which drops every row faster than light.'
        )
    elif figures.get("rows_faster_than_memory_only"):
        steps.append(
            "Keep the rows that are only faster than memory for a model of kernels; for a model "
            'of whole layers set below_floor = "drop" under [data].'
        )
    noise = figures.get("noise_floor") or {}
    if isinstance(noise.get("mape"), float):
        rows = f" ({count(noise['rows'])} rows)" if "rows" in noise else ""
        steps.append(
            f"Stop tuning near a MAPE of {percent(noise['mape'])}% on {name}: repeats of one shape "
            f"lie that far apart{rows}."
        )
    return steps


def _overload(finding: Finding) -> str:
    del finding  # the recordings stand in its message
    return "Leave overloaded recordings out, or hold them out and read their error apart."


def _clone(finding: Finding) -> str:
    groups = finding.figures.get("groups") or ()
    if len(groups) != 2:
        return ""
    first, second = (clean(name) for name in groups)
    points, of = finding.figures.get("points"), finding.figures.get("points_of_the_smaller")
    why = ""
    if isinstance(points, int) and isinstance(of, int) and points < of:
        why = f" in {count(points)} of {count(of)} points"
    return (
        f"Never hold out {second} on its own, its times follow from {first}'s{why}: hold both out "
        "together, or drop one."
    )


def _copied_file(finding: Finding) -> str:
    files = finding.figures.get("files") or ()
    return f"Drop one of {_either(files)}: it holds the other's rows." if len(files) == 2 else ""


def _leakage(finding: Finding) -> str:
    column = finding.figures.get("column")
    if finding.level != "warning" or column is None:
        return ""
    return f"Take {clean(column)} out of the features: it gives the target away."


def _duplicate_rows(finding: Finding) -> str:
    extra = finding.figures.get("extra")
    rows = f"the {count(extra)} rows" if isinstance(extra, int) else "the rows"
    return f"Drop {rows} that repeat another, or keep repeats on one side of every split."


def _duplicate_keys(finding: Finding) -> str:
    del finding  # which keys stands in its message
    return "Look for a file that was read twice: steps of one number stand more than once."


def _same_shapes(finding: Finding) -> str:
    groups: Any = finding.figures.get("groups") or ()
    sets = [_together(each.get("models") or ()) for each in groups[:SEVERAL]]
    if not sets:
        return ""
    told = "; ".join(dict.fromkeys(sets))
    return f"To test shapes never seen, hold out together: {told}."


def _gpu_assumed(finding: Finding) -> str:
    gpu = finding.figures.get("gpu")
    return f"Name the GPU if it was not {clean(gpu)}: the floors depend on it." if gpu else ""


_OF_FINDINGS: dict[str, Callable[[Finding], str]] = {
    "overload": _overload,
    "leakage": _leakage,
    "clone": _clone,
    "copied_file": _copied_file,
    "duplicate_keys": _duplicate_keys,
    "duplicate_rows": _duplicate_rows,
    "same_shapes": _same_shapes,
    "gpu_assumed": _gpu_assumed,
}
"""Steps in the order they are told; codes not named here say in their message what to do."""


def _either(names: Sequence[object]) -> str:
    return " and ".join(clean(name) for name in names)


def _together(names: Sequence[object]) -> str:
    return ", ".join(clean(name) for name in names)
