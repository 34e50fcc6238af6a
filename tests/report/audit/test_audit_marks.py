from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from gpucv.catalog import load_catalog
from gpucv.report.audit_marks import checks_table, key_figures, share_text
from gpucv.traces import read_steps
from gpucv.traces.audit import Audit, AuditScope, audit_table

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gpucv.traces.audit import TargetAudit


def cells(audit: Audit) -> dict[str, dict[str, str]]:
    """The table as target -> column -> cell."""
    content = checks_table(audit)
    assert content is not None
    titles = [column.title for column in content.table.columns]
    return {row[0]: dict(zip(titles, row, strict=True)) for row in content.table.rows}


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.0, "0.0"),
        (0.0004, "<0.1"),
        (0.0015, "0.1"),
        (0.975, "97.5"),
        (math.nan, "-"),
        (None, "-"),
    ],
)
def test_a_trace_of_something_is_not_written_as_nothing(share: object, text: str) -> None:
    assert share_text(share) == text


def test_every_target_stands_beside_every_check_that_measured_one(steps: Audit) -> None:
    table = cells(steps)
    assert table["step.duration_us"] == {
        "target": "step.duration_us",
        "verdict": "✗ fail",
        "below floor %": "✗ 97.5",
        "explains %": "✗ 13.8",
        "r depth": "! 0.79",
        "r tokens": "0.62",
        "drift %": "-",
        "noise floor %": "33.8",
        "has it %": "-",
    }
    assert table["step.cycle_us"]["below floor %"] == "✓ 0.1"
    assert table["step.cycle_us"]["r depth"] == "0.63"
    assert table["step.cycle_us"]["drift %"] == "-4.0"
    assert table["step.cycle_us"]["has it %"] == "9.7"


def test_a_check_that_measured_nothing_has_no_column(measured: Audit) -> None:
    assert list(cells(measured)["latency_us"]) == ["target", "verdict", "faster than light %"]


def test_the_table_needs_a_figure(target_of: Callable[..., TargetAudit]) -> None:
    assert checks_table(Audit(1, (), ())) is None
    assert checks_table(Audit(1, (target_of("x_us", "unknown", {"r": {}}),), ())) is None


@pytest.mark.parametrize(
    ("level", "cell"),
    [("fail", "✗ 2.0"), ("warn", "! 2.0"), ("pass", "✓ 2.0"), ("info", "2.0"), ("odd", "2.0")],
)
def test_a_number_has_the_mark_of_what_its_check_said_whatever_it_is(
    level: str, cell: str, target_of: Callable[..., TargetAudit]
) -> None:
    judged = target_of("x_us", "warn", {"share_below_floor": 0.02}, floor=level)
    assert cells(Audit(1, (judged,), ()))["x_us"] == {
        "target": "x_us",
        "verdict": "! warn",
        "below floor %": cell,
    }


def test_a_strong_drift_and_overload_are_marked(target_of: Callable[..., TargetAudit]) -> None:
    figures = {"drift": {"a": 0.02, "b": -0.25}, "overloaded_recordings": 3}
    judged = target_of("x_us", "warn", figures, drift="warn", overload="warn")
    row = cells(Audit(1, (judged,), ()))["x_us"]
    assert row["drift %"] == "! -25.0"
    assert row["overloaded"] == "! 3"


def test_the_figures_that_decide_are_those_of_the_worst_level(steps: Audit) -> None:
    said = [key_figures(target) for target in steps.targets]
    assert said == [
        "97.5% of rows below the roofline floor, 13.8% of the wall time explained",
        "97.5% of rows below the roofline floor, 13.8% of the wall time explained",
        "0.1% of rows below the roofline floor",
    ]


@pytest.mark.shared_data
def test_marks_and_verdicts_of_real_steps_agree(shared_data: Path) -> None:
    catalog = load_catalog()
    folder = str(shared_data / "vllm-steps")
    read = read_steps([folder], base=shared_data, catalog=catalog, required=[])
    audit = audit_table(read.frame, catalog, AuditScope(default_gpu="h100"))
    table = cells(audit)
    # Published: 98 % below the floor and 13.5 and 14.2 % of the wall time; of the cycle 0.2 %.
    assert table["step.duration_us"]["below floor %"] == "✗ 97.5"
    assert table["step.duration_us"]["explains %"] == "✗ 13.8"
    assert table["step.cycle_us"]["below floor %"] == "✓ 0.2"
    for target in audit.targets:
        judged = {cell[0] for cell in table[target.target].values() if cell[0] in "✗!✓"}
        assert min(judged, key="✗!✓".index) == table[target.target]["verdict"][0]
