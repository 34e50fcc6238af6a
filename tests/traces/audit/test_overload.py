from __future__ import annotations

from typing import TYPE_CHECKING

from gpucv.traces import Note
from gpucv.traces.audit import AuditScope, audit_table

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from gpucv.catalog import Catalog

    Make = Callable[..., pd.DataFrame]

OVERLOAD = Note("overload", "run-1: 85.0% of requests failed (850 of 1,000)", 850, "warning")


def test_every_step_target_of_an_overloaded_recording_is_warned_of(
    steps: Make, catalog: Catalog
) -> None:
    table = steps(30, **{"step.cycle_us": 25_000.0})
    scope = AuditScope(("step.duration_us", "step.cycle_us"))
    calm = audit_table(table, catalog, scope, [Note("torn_last_line", "…", 1, "warning")])
    assert [each.verdict for each in calm.targets] == ["pass", "pass"]
    audit = audit_table(table, catalog, scope, [OVERLOAD, OVERLOAD])
    assert [each.verdict for each in audit.targets] == ["warn", "warn"]
    assert (
        audit.targets[0]
        .reasons[0]
        .startswith(
            "run-1: 85.0% of requests failed (850 of 1,000) (and 1 more recordings): leave it out"
        )
    )
    told = [each for each in audit.findings if each.code == "overload"]
    assert [each.figures["failed_requests"] for each in told] == [850, 850]


def test_operators_are_not_overloaded(gemms: Make, catalog: Catalog) -> None:
    assert audit_table(gemms(30), catalog, notes=[OVERLOAD]).targets[0].verdict == "pass"
