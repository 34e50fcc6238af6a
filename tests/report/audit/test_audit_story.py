from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gpucv.report.audit_story import audit_story
from gpucv.traces import Note, SourceFile
from gpucv.traces.audit import Audit, Finding

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpucv.traces.audit import TargetAudit


@pytest.mark.parametrize(
    ("verdicts", "answer", "tone"),
    [
        ((), "Cannot tell", "open"),
        (("unknown",), "Cannot tell", "open"),
        (("pass",), "Fit to learn from", "good"),
        (("pass", "pass"), "Fit to learn from", "good"),
        (("fail", "pass", "warn"), "Fit, with t1 as the target", "good"),
        (("pass", "fail", "pass"), "Fit, with t0 or t2 as the target", "good"),
        (("warn",), "Fit with care", "partly"),
        (("fail", "warn", "unknown"), "Fit with care, with t1 as the target", "partly"),
        (("fail", "unknown"), "Not fit to learn from", "bad"),
        (("fail",), "Not fit to learn from", "bad"),
    ],
)
def test_the_answer_names_the_best_targets(
    target_of: Callable[..., TargetAudit], verdicts: tuple[str, ...], answer: str, tone: str
) -> None:
    targets = tuple(target_of(f"t{at}", verdict, {}) for at, verdict in enumerate(verdicts))
    story = audit_story(Audit(9, targets, ()), "t")
    assert (story.answer, story.tone) == (answer, tone)


def test_the_reason_counts_targets_and_warnings(steps: Audit) -> None:
    notes = (Note("no_work", "9 rows have no tokens", 9, "warning"),)
    assert audit_story(steps, "t").reason == (
        "Of 3 targets 2 fail, 1 passes; 1 warning about the table below."
    )
    assert "2 warnings about the table" in audit_story(steps, "t", notes=notes).reason


def test_equal_reasons_are_told_once(steps: Audit) -> None:
    duration, schedule, cycle = audit_story(steps, "t").targets
    assert duration.reasons == ("97.5% of 400 rows are too short", "r .79")
    assert schedule.reasons == ("as step.duration_us, for the same reasons",)
    assert cycle.reasons == ("it is the wall time of a step",)


def test_a_target_that_nothing_could_judge_has_no_figures(
    target_of: Callable[..., TargetAudit],
) -> None:
    unknown = target_of("x_us", "unknown", {"share_below_floor": 0.0}, "no roofline floor")
    (told,) = audit_story(Audit(1, (unknown,), ()), "t").targets
    assert (told.mark, told.figures, told.reasons) == ("?", "", ("no roofline floor",))


def follows(audit: Audit) -> str:
    return "\n".join(audit_story(audit, "t").follows)


def test_what_follows_starts_with_the_target_to_learn_from(steps: Audit) -> None:
    assert audit_story(steps, "t").follows == (
        'Learn from step.cycle_us: set target = "step.cycle_us" under [data] of the study.',
        "Record consecutive steps next time: 9.7% of the rows have step.cycle_us, since most kept "
        "steps have no successor on record.",
        "Stop tuning near a MAPE of 2.0% on step.cycle_us: repeats of one shape lie that far apart "
        "(30 rows).",
        "Leave overloaded recordings out, or hold them out and read their error apart.",
        "Name the GPU if it was not h100: the floors depend on it.",
    )


def test_what_follows_keeps_clones_together(measured: Audit) -> None:
    assert "Never hold out h100-80gb-pcap on its own, its times follow from h100's: " in follows(
        measured
    )


def test_a_clone_in_part_says_in_which_part() -> None:
    figures = {"groups": ["b300", "gb300"], "points": 1305, "points_of_the_smaller": 9095}
    audit = Audit(9, (), (Finding("clone", "warning", "m", figures),))
    assert "gb300 on its own, its times follow from b300's in 1,305 of 9,095 points" in follows(
        audit
    )


@pytest.mark.parametrize(
    ("code", "level", "figures", "step"),
    [
        ("leakage", "warning", {"column": "wall_us"}, "Take wall_us out of the features"),
        ("copied_file", "warning", {"files": ["a", "b"]}, "Drop one of a and b"),
        ("duplicate_rows", "warning", {"extra": 1240}, "Drop the 1,240 rows that repeat another"),
        ("duplicate_keys", "warning", {}, "a file that was read twice"),
        (
            "same_shapes",
            "info",
            {"groups": [{"models": ["x", "y"], "what": "attention"}, {"models": ["p", "q"]}]},
            "hold out together: x, y; p, q.",
        ),
    ],
)
def test_findings_end_in_a_step(code: str, level: Any, figures: dict[str, Any], step: str) -> None:
    assert step in follows(Audit(9, (), (Finding(code, level, "m", figures),)))


@pytest.mark.parametrize("code", ["clone", "copied_file", "leakage", "same_shapes", "gpu_assumed"])
def test_findings_without_figures_end_in_none(code: str) -> None:
    without = audit_story(Audit(9, (), ()), "t").follows
    assert audit_story(Audit(9, (), (Finding(code, "info", "m"),)), "t").follows == without


def test_many_steps_of_a_kind_are_counted() -> None:
    findings = tuple(
        Finding("clone", "warning", f"m{at}", {"groups": ["a", f"b{at}"]}) for at in range(40)
    )
    steps = audit_story(Audit(9, (), findings), "t").follows
    assert sum("Never hold out" in step for step in steps) == 5
    assert "35 more of that kind stand below." in steps


@pytest.mark.parametrize(
    ("names", "verdict", "step"),
    [
        ((), "fail", "Name the column that holds the measured time"),
        (("latency_us",), "unknown", "Give the rows the model, gpu and tp"),
        (("step.duration_us",), "fail", "derived from step.ts_start_ns of consecutive steps"),
        (("step.cycle_us",), "fail", "before what fails is explained"),
    ],
)
def test_without_a_target_to_learn_from_it_says_what_is_missing(
    target_of: Callable[..., TargetAudit], names: tuple[str, ...], verdict: str, step: str
) -> None:
    targets = tuple(target_of(name, verdict, {}) for name in names)
    assert step in follows(Audit(9, targets, ()))


@pytest.mark.parametrize(
    ("compute", "memory", "step"),
    [
        (1, 5, "Leave out the 1 row faster than the peak FLOP rate"),
        (1071, 0, "Leave out the 1,071 rows faster than the peak FLOP rate"),
        (0, 5, "Keep the rows that are only faster than memory"),
        (0, 0, "Nothing has to be done first"),
    ],
)
def test_rows_faster_than_light_are_left_out_or_kept(
    target_of: Callable[..., TargetAudit], compute: int, memory: int, step: str
) -> None:
    figures = {"rows_faster_than_compute": compute, "rows_faster_than_memory_only": memory}
    assert step in follows(Audit(9, (target_of("latency_us", "warn", figures),), ()))


def test_warnings_come_first_and_kinds_are_gathered() -> None:
    findings = [Finding("same_shapes", "info", "i", {})]
    findings += [Finding("clone", "warning", f"w{at}", {}) for at in range(7)]
    first, second = audit_story(Audit(9, (), tuple(findings)), "t").findings
    assert (first.level, first.title, first.messages) == (
        "warning",
        "Clones",
        ("w0", "w1", "w2", "w3", "w4"),
    )
    assert first.n_more == 2
    assert (second.level, second.title, second.n_more) == ("info", "Models of the same shapes", 0)


def test_a_note_that_is_a_finding_is_told_once(steps: Audit) -> None:
    notes = [
        Note("overload", "run-7b: 85 % of requests failed", 850, "warning"),
        Note("skipped_files", "skipped 2 other files", 2, "info"),
    ]
    (told,) = audit_story(steps, "t", notes=notes).notes
    assert (told.title, told.messages) == ("Skipped files", ("skipped 2 other files",))


def test_recordings_are_shown_the_worst_first_and_the_rest_counted(
    target_of: Callable[..., TargetAudit],
) -> None:
    shares = {f"run-{at:02}": at / 100 for at in range(40)}
    figures = {"share_below_floor": 0.2, "share_below_floor_by_experiment": shares}
    (told,) = audit_story(Audit(9, (target_of("x_us", "fail", figures),), ()), "t").shares
    assert [row[0] for row in told.table.rows] == [f"run-{at}" for at in range(39, 27, -1)]
    assert told.table.rows[0] == ("run-39", "✗ 39.0")
    assert "28 more recordings are not worse" in told.table.note


def test_recordings_stand_beside_each_other_and_the_floors_below(steps: Audit) -> None:
    below, explained = audit_story(steps, "t").shares
    assert [column.title for column in below.table.columns] == [
        *("recording", "step.duration_us", "step.schedule_us", "step.cycle_us")
    ]
    assert below.table.rows[0] == ("run-70b", "✗ 98.6", "✗ 98.6", "✓ 0.2")
    assert "llama-2-70b tp4 on h100 10,256 us" in below.table.note
    assert below.limit == 0.05
    # The recording that a target explains best comes first where all fail.
    assert explained.table.rows == (
        *(("run-34b", "✗ 14.2", "✗ 14.2"), ("run-70b", "✗ 13.5", "✗ 13.5")),
    )
    assert explained.limit == 0.25


def test_files_faster_than_light_are_listed_with_their_counts(measured: Audit) -> None:
    (told,) = audit_story(measured, "t").shares
    assert [column.title for column in told.table.columns][:2] == [
        *("source file", "faster than light %")
    ]
    assert told.table.rows == (
        ("h100/mlp.csv", "! 6.0", "30", "0", "500", "1.32"),
        ("h100/attention.csv", "! 1.2", "6", "0", "500", "4,030"),
    )
    assert told.axis == 0.06


def test_the_rows_behind_a_finding_are_a_table(measured: Audit) -> None:
    (clones,) = audit_story(measured, "t").findings
    assert clones.table is not None
    titles = [column.title for column in clones.table.columns]
    first = dict(zip(titles, clones.table.rows[0], strict=True))
    assert first["groups"] == "h100, h100-80gb-pcap"
    assert (first["op"], first["factor"], first["points"]) == ("prompt", "1.3", "76")
    assert first["points in all"] == "152"


def test_a_finding_of_one_row_needs_no_table(steps: Audit) -> None:
    assert [topic.table for topic in audit_story(steps, "t").findings] == [None, None]


def test_files_read_are_told_with_rows_and_digest(steps: Audit) -> None:
    sources = [SourceFile(f"{at}.parquet", 2048, "ab" * 32, 1500, "parquet") for at in range(79)]
    story = audit_story(steps, "t", sources)
    assert story.sources is not None
    assert story.sources.title == "Files read: 79 files, 118,500 rows"
    assert story.sources.rows[78] == ("78.parquet", "parquet", "1,500", "2,048", "ab" * 32)
    assert audit_story(steps, "t").sources is None
