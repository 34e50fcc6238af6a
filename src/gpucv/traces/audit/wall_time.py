"""How much of the wall time the target explains.

The share is the sum of the target over the sum of ``step.cycle_us``, over rows that have
both. A predictor of a target that is a small part of the wall time can be right on every
row and still say nothing about latency or throughput.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gpucv.schema import CYCLE_US
from gpucv.traces.audit.result import Judgement

if TYPE_CHECKING:
    from gpucv.traces.audit.result import Verdict
    from gpucv.traces.audit.subject import Subject

__all__ = ["explained", "level_of"]

FAILS_BELOW = 0.25
"""Share of wall time below which a target is another quantity."""
WARNS_BELOW = 0.60
"""Share below which the rest has to be modelled too."""
WARNS_ABOVE = 1.05
"""Share above which the target is longer than the step: a wrong unit, or overlapping steps."""


def explained(subject: Subject, target: str) -> Judgement | None:
    """Judge a target of a step table by its share of the wall time.

    The cycle is the wall time by definition; of it, the share of steps that have one is
    told.
    """
    if CYCLE_US not in subject or not target.endswith("_us"):
        return None
    cycle = subject.times(CYCLE_US)
    if target == CYCLE_US:
        known = int(np.isfinite(cycle).sum())
        figures: dict[str, Any] = {"coverage": known / subject.rows, "rows_with_cycle": known}
        if not known:
            return Judgement("unknown", "no step has a successor on record", figures)
        reason = (
            f"it is the wall time of a step; {known:,} of {subject.rows:,} rows "
            f"({known / subject.rows:.1%}) have it"
        )
        return Judgement("pass", reason, figures, decides=True)
    times = subject.numbers(target)
    both = np.isfinite(cycle) & np.isfinite(times) & (times >= 0)
    if not both.any():
        return Judgement("unknown", f"no row has both {target} and {CYCLE_US}")
    share = float(times[both].sum() / cycle[both].sum())
    figures = {
        "explained_share": share,
        "explained_share_by_experiment": _by_experiment(subject, times, cycle),
        "explained_rows": int(both.sum()),
    }
    return _judge(share, figures)


def level_of(share: float) -> Verdict:
    """Return the level of the share of wall time that a target explains."""
    if share < FAILS_BELOW:
        return "fail"
    return "pass" if WARNS_BELOW <= share <= WARNS_ABOVE else "warn"


def _judge(share: float, figures: dict[str, Any]) -> Judgement:
    level = level_of(share)
    reason = (
        f"it explains {share:.1%} of the wall time ({CYCLE_US}, {figures['explained_rows']:,} rows)"
    )
    if level == "fail":
        reason += f": learn {CYCLE_US}"
    elif level == "warn" and share < 1:
        reason += f": the rest has to be modelled too, or learn {CYCLE_US}"
    elif level == "warn":
        reason += ": more than there is; check its unit, or whether steps overlap"
    return Judgement(level, reason, figures, decides=True)


def _by_experiment(subject: Subject, times: Any, cycle: Any) -> dict[str, float]:
    if subject.scope.experiment not in subject:
        return {}
    codes, names = subject.codes(subject.scope.experiment)
    both = np.isfinite(cycle) & np.isfinite(times) & (times >= 0) & (codes >= 0)
    target = np.bincount(codes[both], times[both], len(names))
    wall = np.bincount(codes[both], cycle[both], len(names))
    return {
        subject.shown(name): float(target[at] / wall[at])
        for at, name in enumerate(names)
        if wall[at] > 0
    }
