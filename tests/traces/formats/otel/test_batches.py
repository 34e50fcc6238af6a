from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gpucv.catalog import load_catalog
from gpucv.errors import TraceError
from gpucv.traces import ReadOptions, read_steps

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pandas as pd

    from gpucv.traces import StepTable

COUNTS = [
    "queue.running_depth",
    "queue.waiting_depth",
    "batch.num_prefill_reqs",
    "batch.num_decode_reqs",
    "batch.scheduled_tokens",
    "batch.prefill_tokens",
    "batch.decode_tokens",
    "batch.num_finished",
    "batch.num_preempted",
]


def read(base: Path, *, required: list[str] | None = None) -> StepTable:
    return read_steps(
        ["*"],
        base=base,
        catalog=load_catalog(),
        required=required or ["step.id"],
        options=ReadOptions(format="otel-batches"),
    )


def note(table: StepTable, code: str) -> Any:
    (found,) = [each for each in table.notes if each.code == code]
    return found


def truth_of(recorded: Any, frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The simulated steps that the table should hold."""
    events = [event for request in recorded.requests for event in request.events]
    scheduled = [each["scheduler.step"] for name, each in events if name == "journey.SCHEDULED"]
    finished = [each["scheduler.step"] for name, each in events if name == "journey.FINISHED"]
    steps = range(min(scheduled), max(finished) + 1)
    assert frame["step.id"].tolist() == list(steps)
    return [each for each in recorded.engine.truth if each["step.id"] in steps]


def assert_exact(recorded: Any, frame: pd.DataFrame) -> None:
    truth = truth_of(recorded, frame)
    for name in COUNTS:
        assert frame[name].tolist() == [each[name] for each in truth], name
    contexts = [each["contexts"] for each in truth]
    for name, of in (("sum", sum), ("max", max), ("mean", np.mean)):
        expected = [of(each) if each else np.nan for each in contexts]
        np.testing.assert_array_equal(frame[f"kv.tokens_{name}"], expected)


@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize("room", [10**9, 900])
@pytest.mark.parametrize("seed", [0, 1])
def test_every_batch_is_rebuilt_as_it_was(
    simulate: Callable[..., Any], ahead: bool, room: int, seed: int
) -> None:
    recorded = simulate(seed, room=room, ahead=ahead, sampled=10)
    table = read(recorded.folder)
    assert_exact(recorded, table.frame)
    preempted = sum(each["batch.num_preempted"] for each in recorded.engine.truth)
    assert (preempted > 0) == (room < 10**9)
    assert max(len(each.events) for each in recorded.requests) > 3
    agreement = note(table, "rebuilt_batches")
    assert (agreement.level, agreement.count) == ("info", 0)
    assert "100.0% of the" in agreement.message
    assert "and 100.0% of" in agreement.message
    assert ("schedules ahead" in agreement.message) == ahead


@pytest.mark.parametrize("ahead", [False, True])
def test_batches_need_no_recorded_step(simulate: Callable[..., Any], ahead: bool) -> None:
    recorded = simulate(3, room=900, ahead=ahead, sampled=0)
    table = read(recorded.folder)
    assert_exact(recorded, table.frame)
    assert "step.ts_start_ns" not in table.frame
    assert "nothing checks them" in note(table, "rebuilt_batches").message


def test_a_long_prompt_is_computed_in_chunks_that_fill_the_budget(
    simulate: Callable[..., Any], ask: Any
) -> None:
    recorded = simulate([ask("a", 0, 10, 6), ask("b", 2, 150, 3)])
    frame = read(recorded.folder).frame.set_index("step.id")
    # a: prompt in step 1, then a token per step to step 6. b: 63 + 63 + 24 beside it.
    assert frame["batch.prefill_tokens"].tolist() == [10, 0, 63, 63, 24, 0, 0]
    assert frame["batch.decode_tokens"].tolist() == [0, 1, 1, 1, 1, 2, 1]
    assert frame["kv.tokens_sum"].tolist() == [0, 10, 11, 12 + 63, 13 + 126, 14 + 150, 151]
    assert frame["kv.tokens_max"].tolist() == [0, 10, 11, 63, 126, 150, 151]


def test_recorded_steps_keep_their_times_and_others_have_none(
    simulate: Callable[..., Any],
) -> None:
    recorded = simulate(0, sampled=10)
    frame = read(recorded.folder).frame.set_index("step.id")
    sampled = [each["step.id"] for each in recorded.engine.truth][::-10]
    known = frame["step.ts_start_ns"].dropna()
    assert sorted(known.index) == sorted(set(sampled) & set(frame.index))
    for truth in recorded.engine.truth:
        if truth["step.id"] in known.index:
            row = frame.loc[truth["step.id"]]
            for name in ("step.ts_start_ns", "step.ts_end_ns", "step.duration_us"):
                assert row[name] == truth[name]
    assert frame["model"].unique().tolist() == ["llama-2-70b"]
    assert frame["tp"].unique().tolist() == [4]


def test_a_prefix_found_in_the_cache_is_not_computed(
    simulate: Callable[..., Any], ask: Any
) -> None:
    requests = [ask(f"r{i}", i, 60, 8, cached=48 if i % 2 else 0) for i in range(8)]
    recorded = simulate(requests, budget=2048)
    table = read(recorded.folder)
    assert_exact(recorded, table.frame)
    assert "prefill_reconciled" not in [each.code for each in table.notes]


def test_what_is_computed_again_after_a_preemption_was_not_cached(
    simulate: Callable[..., Any], ask: Any
) -> None:
    requests = [ask(f"r{i}", i, 60, 30, cached=48) for i in range(6)]
    recorded = simulate(requests, budget=2048, room=400)
    assert any(each.preemptions for each in requests)
    assert_exact(recorded, read(recorded.folder).frame)


def test_a_recorded_step_alone_tells_that_the_engine_schedules_ahead(
    simulate: Callable[..., Any], ask: Any
) -> None:
    recorded = simulate([ask("a", 0, 10, 6)], ahead=True)
    assert_exact(recorded, read(recorded.folder).frame)


def test_without_snapshots_a_prompt_that_ends_too_soon_was_cached(
    simulate: Callable[..., Any], ask: Any
) -> None:
    recorded = simulate([ask("a", 0, 200, 4, cached=150)], sampled=0)
    table = read(recorded.folder)
    # 50 tokens were computed in one step. The budget of 64 only tells that 136 were not.
    assert table.frame["batch.prefill_tokens"].tolist() == [64, 0, 0, 0]
    assert table.frame["kv.tokens_sum"].tolist() == [136, 200, 201, 202]
    found = note(table, "prefill_reconciled")
    assert "ends 1 prompts later than recorded" in found.message
    assert found.count == 1


def test_a_prefill_held_back_is_followed_as_recorded(
    simulate: Callable[..., Any], ask: Any, write_lines: Callable[..., Path]
) -> None:
    recorded = simulate([ask("a", 0, 200, 4)], budget=50)
    base = write_lines(recorded.lines, budget=100)
    table = read(base)
    # 4 steps, as recorded; the rest of the prompt keeps a token for each of them.
    prefill = table.frame["batch.prefill_tokens"].tolist()
    assert prefill[:4] == [100, 98, 1, 1]
    assert sum(prefill) == 200
    assert "and 1 earlier" in note(table, "prefill_reconciled").message


def test_disagreement_with_recorded_steps_is_a_warning(
    simulate: Callable[..., Any], edit: Callable[..., Any], write_lines: Callable[..., Path]
) -> None:
    recorded = simulate(0)

    def one_more(name: str, values: dict[str, Any], span: Any) -> dict[str, Any]:
        if name == "step.BATCH_SUMMARY" and values["step.id"] % 10 == 0:
            values["batch.prefill_tokens"] += 1
        return values

    table = read(write_lines(edit(recorded.lines, one_more)))
    found = note(table, "rebuilt_batches")
    assert found.level == "warning"
    assert found.count == sum(step % 10 == 0 for step in table.frame["step.id"])
    assert f"{1 - found.count / len(table.frame):.1%} of the" in found.message


def test_a_budget_the_config_does_not_name_is_vllms(
    simulate: Callable[..., Any], ask: Any, write_lines: Callable[..., Path]
) -> None:
    recorded = simulate([ask("a", 0, 3000, 2)], budget=2048)
    table = read(write_lines(recorded.lines, budget=None))
    assert table.frame["batch.prefill_tokens"].tolist() == [2048, 952, 0]
    assert "2048 taken" in note(table, "budget_assumed").message


def test_tokens_of_speculative_decoding_are_told(
    simulate: Callable[..., Any], edit: Callable[..., Any], write_lines: Callable[..., Path]
) -> None:
    recorded = simulate(0)

    def twice(name: str, values: dict[str, Any], span: Any) -> dict[str, Any]:
        if name == "journey.FINISHED":
            values["decode.done_tokens"] *= 2
        return values

    table = read(write_lines(edit(recorded.lines, twice)))
    several = sum(each.outputs > 0 for each in recorded.requests)
    assert note(table, "off_pace").count == several


def test_a_request_without_end_runs_to_the_end(
    simulate: Callable[..., Any],
    ask: Any,
    edit: Callable[..., Any],
    write_lines: Callable[..., Path],
) -> None:
    recorded = simulate([ask("a", 0, 10, 30), ask("b", 0, 10, 10)])

    def cut(name: str, values: dict[str, Any], span: Any) -> dict[str, Any] | None:
        return None if name == "journey.FINISHED" and span["spanId"] == "ca" else values

    table = read(write_lines(edit(recorded.lines, cut)))
    assert table.frame["step.id"].tolist() == list(range(1, 11))
    assert table.frame["queue.running_depth"].tolist() == [2] * 10
    assert table.frame["batch.decode_tokens"].tolist() == [0] + [2] * 9
    assert note(table, "requests_unfinished").count == 1


@pytest.mark.parametrize("without", ["request id", "request id and span id"])
def test_journeys_are_known_by_their_spans_where_they_have_no_name(
    simulate: Callable[..., Any], write_lines: Callable[..., Path], without: str
) -> None:
    recorded = simulate(1)
    lines = []
    for each in recorded.lines:
        export = json.loads(each)
        for scope in export["resourceSpans"][0]["scopeSpans"]:
            for span in scope["spans"]:
                span.pop("attributes", None)
                if without.endswith("span id") and scope["scope"]["name"] == "vllm.scheduler":
                    del span["spanId"]
        lines.append(json.dumps(export))
    table = read(write_lines(lines))
    assert_exact(recorded, table.frame)
    way = "traceId" if without.endswith("span id") else "spanId"
    assert f"known by {way} (60)" in note(table, "request_identity").message


def test_events_of_a_journey_may_stand_on_several_lines_and_twice(
    simulate: Callable[..., Any], write_lines: Callable[..., Path]
) -> None:
    recorded = simulate(2, room=900)
    lines = []
    for each in recorded.lines:
        export = json.loads(each)
        for scope in export["resourceSpans"][0]["scopeSpans"]:
            (span,) = scope["spans"]
            if scope["scope"]["name"] == "vllm.scheduler":
                events = span["events"]
                for part in (events[2:], events[:2], events[1:2]):
                    lines.append(line_with(scope, {**span, "events": part}))
            else:
                lines.append(line_with(scope, span))
    assert_exact(recorded, read(write_lines(lines)).frame)


def line_with(scope: dict[str, Any], span: dict[str, Any]) -> str:
    return json.dumps({"resourceSpans": [{"scopeSpans": [{**scope, "spans": [span]}]}]})


def test_a_recording_without_journeys_says_what_it_holds(
    simulate: Callable[..., Any], edit: Callable[..., Any], write_lines: Callable[..., Path]
) -> None:
    recorded = simulate(0, sampled=10)
    steps_only = edit(
        recorded.lines, lambda name, values, span: values if name.startswith("step.") else None
    )
    write_lines(steps_only)
    message = r"no journey.\* event; it holds .*17 x step.BATCH_SUMMARY \(vllm.scheduler.step\)"
    with pytest.raises(TraceError, match=message + ".*record with journey tracing on"):
        read(recorded.folder)


def _set(kind: str, **values: Any) -> Callable[..., Any]:
    """Return a change of one attribute of every event of a kind; None removes it."""

    def change(name: str, found: dict[str, Any], span: Any) -> dict[str, Any]:
        if name == f"journey.{kind}":
            found |= {key.replace("__", "."): value for key, value in values.items()}
            return {key: value for key, value in found.items() if value is not None}
        return found

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_set("SCHEDULED", scheduler__step=None), "journey.SCHEDULED has no scheduler.step"),
        (_set("SCHEDULED", scheduler__step="one"), "journey.SCHEDULED: scheduler.step is .*one"),
        (_set("FINISHED", scheduler__step=-3), "scheduler.step is -3; it counts from 0"),
        (_set("QUEUED", ts__monotonic=None, ts__monotonic_ns=None), "has neither ts.monotonic_ns"),
        (_set("QUEUED", ts__monotonic=7e6), "ts.monotonic_ns is 7.* and ts.monotonic 7000000.0"),
        (_set("QUEUED", ts__monotonic=float("nan")), "ts.monotonic is nan; it should be seconds"),
        (_set("QUEUED", ts__monotonic=-1.0), "ts.monotonic is -1.0; it should be seconds"),
        (_set("SCHEDULED", prefill__total_tokens=None), "SCHEDULED without prefill.total_tokens"),
        (_set("SCHEDULED", prefill__total_tokens=2.5), "prefill.total_tokens is .*2.5"),
        (_set("FINISHED", scheduler__step=2**40), "runs from 1 to 1099511627776, more than"),
        (_set("FINISHED", scheduler__step=0), "cannot be so: an event after FINISHED in"),
        (_set("FIRST_TOKEN", scheduler__step=0), "FIRST_TOKEN before SCHEDULED in .*record it"),
        (_set("FIRST_TOKEN", ts__monotonic=1.0, ts__monotonic_ns=10**9), "run backwards in"),
    ],
)
def test_damaged_journeys_are_refused_with_what_is_wrong(
    simulate: Callable[..., Any],
    edit: Callable[..., Any],
    write_lines: Callable[..., Path],
    change: Callable[..., Any],
    message: str,
) -> None:
    recorded = simulate(0)
    write_lines(edit(recorded.lines, change))
    with pytest.raises(TraceError, match=message) as caught:
        read(recorded.folder)
    assert "\n" not in str(caught.value)


def test_a_few_broken_journeys_are_left_out_and_counted(
    simulate: Callable[..., Any], edit: Callable[..., Any], write_lines: Callable[..., Path]
) -> None:
    recorded = simulate(0)
    one = next(each for each in recorded.requests if each.outputs)

    def early(name: str, values: dict[str, Any], span: Any) -> dict[str, Any]:
        if name == "journey.FIRST_TOKEN" and span["spanId"] == f"c{one.id}":
            values["scheduler.step"] = 0
        return values

    table = read(write_lines(edit(recorded.lines, early)))
    found = note(table, "journeys_broken")
    assert (found.count, found.level) == (1, "warning")
    assert "1 of 60 journeys cannot be so: FIRST_TOKEN before SCHEDULED in 1" in found.message


def test_several_engines_in_one_recording_are_refused(
    simulate: Callable[..., Any], edit: Callable[..., Any], write_lines: Callable[..., Path]
) -> None:
    recorded = simulate(0)

    def later(name: str, values: dict[str, Any], span: Any) -> dict[str, Any]:
        for key in ("ts.monotonic_ns", "step.ts_start_ns", "step.ts_end_ns"):
            if key in values:
                values[key] += 10**12
        values.pop("ts.monotonic", None)
        values.pop("request.id", None)
        return values

    other = [each.replace("cmpl-", "other-") for each in edit(recorded.lines, later)]
    write_lines([*recorded.lines, *other])
    with pytest.raises(TraceError, match=r"steps and times disagree .*several engines, or one"):
        read(recorded.folder)
