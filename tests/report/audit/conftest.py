from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gpucv.report.audit_story import AuditStory, audit_story
from gpucv.traces import Note, SourceFile
from gpucv.traces.audit import Audit, Finding, TargetAudit

if TYPE_CHECKING:
    from collections.abc import Callable

DURATION: dict[str, Any] = {
    "rows_with_floor": 400,
    "rows_below_floor": 390,
    "share_below_floor": 0.975,
    "share_below_floor_by_experiment": {"run-70b": 0.986, "run-34b": 0.966},
    "floor_us": {"llama-2-70b tp4 on h100": 10255.7, "codellama-34b tp2 on h100": 9994.3},
    "explained_share": 0.138,
    "explained_share_by_experiment": {"run-70b": 0.135, "run-34b": 0.142},
    "explained_rows": 39,
    "r": {
        "queue.running_depth": 0.79,
        "queue.waiting_depth": 0.14,
        "batch.scheduled_tokens": 0.62,
    },
    "noise_floor": {"mape": 33.8, "rows": 380},
}
CYCLE: dict[str, Any] = {
    "rows_with_floor": 39,
    "rows_below_floor": 0,
    "share_below_floor": 0.0015,
    "share_below_floor_by_experiment": {"run-70b": 0.0017, "run-34b": 0.0014},
    "coverage": 0.097,
    "r": {"queue.running_depth": 0.63, "batch.scheduled_tokens": 0.65},
    "noise_floor": {"mape": 2.03, "rows": 30},
    "drift": {"run-70b": 0.03, "run-34b": -0.04},
}
LATENCY: dict[str, Any] = {
    "rows_with_speed_of_light": 1000,
    "rows_faster_than_light": 36,
    "share_faster_than_light": 0.036,
    "rows_faster_than_compute": 0,
    "share_faster_than_compute": 0.0,
    "rows_faster_than_memory_only": 36,
    "max_utilisation": 1.32,
    "faster_than_light_by_file": [
        {
            "source_file": f"h100/{name}.csv",
            "rows": 500,
            "faster_than_light": hits,
            "faster_than_compute": 0,
            "max_utilisation": most,
        }
        for name, hits, most in (("mlp", 30, 1.32), ("attention", 6, 4030.14))
    ],
}


LEVELS: dict[str, dict[str, str]] = {
    "step.duration_us": {"floor": "fail", "wall_time": "fail", "queue": "warn", "noise": "info"},
    "step.schedule_us": {"floor": "fail", "wall_time": "fail", "queue": "warn", "noise": "info"},
    "step.cycle_us": {"floor": "pass", "wall_time": "pass", "queue": "info", "drift": "info"},
    "latency_us": {"light": "warn"},
}
"""What the checks say of the targets above."""


def target(
    name: str, verdict: str, figures: dict[str, Any], *reasons: str, **levels: str
) -> TargetAudit:
    levels = levels or LEVELS.get(name, {})
    return TargetAudit(name, verdict, reasons, figures, 0, levels)  # type: ignore[arg-type]


def steps_audit() -> Audit:
    """Steps of two recordings: the scheduler's time fails, the cycle passes."""
    return Audit(
        rows=400,
        targets=(
            target(
                "step.duration_us", "fail", DURATION, "97.5% of 400 rows are too short", "r .79"
            ),
            target(
                "step.schedule_us", "fail", DURATION, "97.5% of 400 rows are too short", "r .79"
            ),
            target("step.cycle_us", "pass", CYCLE, "it is the wall time of a step"),
        ),
        findings=(
            Finding("gpu_assumed", "info", "h100 is assumed", {"gpu": "h100", "rows": 400}),
            Finding("overload", "warning", "run-7b: 85 % of requests failed", {"failed": 850}),
        ),
    )


@pytest.fixture
def target_of() -> Callable[..., TargetAudit]:
    """Builds a target from its name, verdict, figures, reasons and levels by check."""
    return target


@pytest.fixture
def steps() -> Audit:
    return steps_audit()


@pytest.fixture
def measured() -> Audit:
    """Operators of two files, some faster than memory; one GPU is a clone of another."""
    blocks = [{"op": "prompt", "factor": 1.3, "points": 76, "matched_points": 76}]
    blocks += [{"op": "token", "factor": 1.0, "points": 76, "matched_points": 76}]
    clone = {"target": "latency_us", "column": "gpu", "groups": ["h100", "h100-80gb-pcap"]}
    clone |= {"blocks": blocks, "points": 152, "points_of_the_smaller": 152}
    return Audit(
        rows=1000,
        targets=(target("latency_us", "warn", LATENCY, "36 of 1,000 rows are faster than light"),),
        findings=(Finding("clone", "warning", "gpu h100-80gb-pcap is h100 times 1.3", clone),),
    )


@pytest.fixture
def hostile_story(hostile_names: tuple[str, ...]) -> AuditStory:
    """A story in which every name from the data is hostile."""
    shares = dict.fromkeys(hostile_names, 0.5)
    figures = {
        "share_below_floor": 0.5,
        "share_below_floor_by_experiment": shares,
        "floor_us": shares,
        "r": {"queue.running_depth": float("nan"), "batch.scheduled_tokens": float("inf")},
        "faster_than_light_by_file": [
            {"source_file": name, name: name, "rows": 9, "faster_than_light": 3}
            | {"faster_than_compute": 1, "max_utilisation": float("nan")}
            for name in hostile_names[:1] * 2
        ],
    }
    codes = ("clone", "copied_file", "leakage", "same_shapes", "gpu_assumed", *hostile_names)
    findings = tuple(
        Finding(
            code,
            "warning",
            f"{name}: {hostile_names[0]}",
            {
                "groups": [name, name] if code == "clone" else [{"models": [name, name]}],
                "files": [name, name],
                "column": name,
                "gpu": name,
                name: [{name: name, "n": float("nan")}],
            },
        )
        for code in codes
        for name in hostile_names
    )
    audit = Audit(3, tuple(target(n, "fail", figures, n) for n in hostile_names), findings)
    sources = [SourceFile(name, 1, name, 1, name) for name in hostile_names]
    notes = [Note(name, name, 1, "warning") for name in hostile_names]
    return audit_story(audit, hostile_names[0], sources, notes)
