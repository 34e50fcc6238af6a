from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gpucv.catalog import load_catalog
from gpucv.errors import TraceError
from gpucv.traces import read_steps
from gpucv.traces.formats.otel import reader

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gpucv.traces import StepTable

CONTEXTS = ["kv.tokens_sum", "kv.tokens_max", "kv.tokens_mean"]


def read(base: Path, *required: str) -> StepTable:
    return read_steps(["*"], base=base, catalog=load_catalog(), required=required)


def assert_contexts(recorded: Any, table: StepTable) -> None:
    steps = {each["step.id"]: each["contexts"] for each in recorded.engine.truth}
    frame = table.frame.set_index("step.id")
    assert len(frame) == len(steps)
    for name, of in (("sum", sum), ("max", max), ("mean", np.mean)):
        expected = [of(steps[step]) if steps[step] else np.nan for step in frame.index]
        np.testing.assert_array_equal(frame[f"kv.tokens_{name}"], expected)


@pytest.fixture
def split(edit: Callable[..., Any]) -> Callable[..., list[str]]:
    """Put snapshots on lines of their own, all before or all after the step summaries."""

    def apply(lines: list[str], *, snapshots_first: bool) -> list[str]:
        def only(wanted: str) -> list[str]:
            return edit(
                lines, lambda name, values, span: values if name == f"step.{wanted}" else None
            )

        snapshots, summaries = only("REQUEST_SNAPSHOT"), only("BATCH_SUMMARY")
        return [*snapshots, *summaries] if snapshots_first else [*summaries, *snapshots]

    return apply


def test_contexts_are_those_before_the_step(simulate: Callable[..., Any]) -> None:
    recorded = simulate(0, room=900)
    table = read(recorded.folder)
    assert_contexts(recorded, table)
    assert not [each for each in table.notes if each.code.startswith("snapshots")]


@pytest.mark.parametrize("snapshots_first", [True, False])
def test_snapshots_may_stand_on_other_lines_than_their_step(
    simulate: Callable[..., Any],
    split: Callable[..., Any],
    write_lines: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    snapshots_first: bool,
) -> None:
    recorded = simulate(0)
    write_lines(split(recorded.lines, snapshots_first=snapshots_first))
    monkeypatch.setattr(reader, "_BATCH_ROWS", 40)  # several batches, all held back
    assert_contexts(recorded, read(recorded.folder))


def test_snapshots_that_come_too_late_are_counted_not_guessed(
    simulate: Callable[..., Any],
    split: Callable[..., Any],
    write_lines: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recorded = simulate(0)
    write_lines(split(recorded.lines, snapshots_first=False))
    monkeypatch.setattr(reader, "_BATCH_ROWS", 40)
    monkeypatch.setattr(reader, "_HELD_BATCHES", 1)
    table = read(recorded.folder)
    known = table.frame["kv.tokens_sum"].notna()
    (found,) = [each for each in table.notes if each.code == "snapshots_without_step"]
    running = table.frame["queue.running_depth"] > 0
    assert found.count == (running & ~known).sum() > 0
    assert known.sum() > 0
    assert not known.iloc[:40].any()


def test_steps_without_snapshots_have_no_contexts(
    simulate: Callable[..., Any], edit: Callable[..., Any], write_lines: Callable[..., Path]
) -> None:
    recorded = simulate(0)

    def every_third(name: str, values: dict[str, Any], span: Any) -> dict[str, Any] | None:
        kept = name != "step.REQUEST_SNAPSHOT" or values["step.id"] % 3 == 0
        return values if kept else None

    frame = read(write_lines(edit(recorded.lines, every_third))).frame
    expected = (frame["step.id"] % 3 == 0) & (frame["queue.running_depth"] > 0)
    for name in CONTEXTS:
        assert frame[name].notna().tolist() == expected.tolist()


def test_a_recording_without_snapshots_has_no_such_columns(
    simulate: Callable[..., Any], edit: Callable[..., Any], write_lines: Callable[..., Path]
) -> None:
    recorded = simulate(0)
    base = write_lines(
        edit(
            recorded.lines,
            lambda name, values, span: None if name == "step.REQUEST_SNAPSHOT" else values,
        )
    )
    assert not set(CONTEXTS) & set(read(base).frame.columns)
    with pytest.raises(TraceError, match=r"'kv.tokens_sum' is required, and empty in every row"):
        read(base, "kv.tokens_sum")


def test_a_sum_over_some_of_the_requests_is_not_given(
    simulate: Callable[..., Any], edit: Callable[..., Any], write_lines: Callable[..., Path]
) -> None:
    recorded = simulate(0)
    lost = recorded.requests[5].id

    def lose(name: str, values: dict[str, Any], span: Any) -> dict[str, Any] | None:
        return None if values.get("request.id") == lost else values

    table = read(write_lines(edit(recorded.lines, lose)))
    snapshots = recorded.engine.snapshots
    steps = {
        step for step, each in snapshots.items() if lost in [one["request.id"] for one in each]
    }
    # A step whose only snapshot was lost looks like one without any.
    alone = {step for step in steps if len(snapshots[step]) == 1}
    frame = table.frame.set_index("step.id")
    assert frame.loc[sorted(steps), "kv.tokens_sum"].isna().all()
    running = frame.index[frame["queue.running_depth"] > 0].difference(sorted(steps))
    assert frame.loc[running, "kv.tokens_sum"].notna().all()
    (found,) = [each for each in table.notes if each.code == "snapshots_incomplete"]
    assert (found.count, found.level) == (len(steps - alone), "warning")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (-1, "line .*: request.num_computed_tokens is -1; it counts from 0"),
        ("many", "line .*: request.num_computed_tokens is .*many.*, not a number of its kind"),
        (1.5, "line .*: request.num_computed_tokens is .*1.5"),
        (2**50, "request.num_computed_tokens is 1125899906842624; no context is that long"),
    ],
)
def test_a_context_that_is_no_count_is_refused(
    simulate: Callable[..., Any],
    edit: Callable[..., Any],
    write_lines: Callable[..., Path],
    value: Any,
    message: str,
) -> None:
    def spoil(name: str, values: dict[str, Any], span: Any) -> dict[str, Any]:
        if name == "step.REQUEST_SNAPSHOT":
            values["request.num_computed_tokens"] = value
        return values

    base = write_lines(edit(simulate(0).lines, spoil))
    with pytest.raises(TraceError, match=message):
        read(base)


def test_a_snapshot_that_says_nothing_is_counted(
    simulate: Callable[..., Any], edit: Callable[..., Any], write_lines: Callable[..., Path]
) -> None:
    recorded = simulate(0)

    def empty(name: str, values: dict[str, Any], span: Any) -> dict[str, Any]:
        return {"step.id": values["step.id"]} if name == "step.REQUEST_SNAPSHOT" else values

    table = read(write_lines(edit(recorded.lines, empty)))
    (found,) = [each for each in table.notes if each.code == "snapshots_unreadable"]
    assert found.count == sum(len(each) for each in recorded.engine.snapshots.values())
    assert "kv.tokens_sum" not in table.frame
