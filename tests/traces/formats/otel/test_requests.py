from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from gpucv.catalog import load_catalog
from gpucv.cli.main import main
from gpucv.errors import TraceError
from gpucv.traces import ReadOptions, read_steps

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gpucv.traces import StepTable

MS = 1_000_000


def read(base: Path) -> StepTable:
    return read_steps(
        ["*"],
        base=base,
        catalog=load_catalog(),
        required=["request_id"],
        options=ReadOptions(format="otel-requests"),
    )


def codes(table: StepTable) -> list[str]:
    return [each.code for each in table.notes]


def moments(request: Any) -> dict[str, int]:
    """First time of each kind of event, ns."""
    found: dict[str, int] = {}
    for name, values in request.events:
        found.setdefault(name.removeprefix("journey."), values["ts.monotonic_ns"])
    return found


@pytest.mark.parametrize("ahead", [False, True])
def test_every_request_has_the_times_and_tokens_it_had(
    simulate: Callable[..., Any], ahead: bool
) -> None:
    recorded = simulate(1, room=900, ahead=ahead)
    frame = read(recorded.folder).frame.set_index("request_id")
    assert len(frame) == len(recorded.requests) == 60
    assert frame["queued_ns"].is_monotonic_increasing
    for request in recorded.requests:
        at, row = moments(request), frame.loc[request.id]
        nowhere = dict.fromkeys(["SCHEDULED", "FIRST_TOKEN"], np.nan)
        ns = {**nowhere, **{kind: float(value) for kind, value in at.items()}}
        expected = {
            "queued_ns": at["QUEUED"],
            "scheduled_ns": ns["SCHEDULED"],
            "first_token_ns": ns["FIRST_TOKEN"],
            "finished_ns": at["FINISHED"],
            "queue_us": (ns["SCHEDULED"] - at["QUEUED"]) / 1000,
            "ttft_us": (ns["FIRST_TOKEN"] - at["QUEUED"]) / 1000,
            "e2e_us": (at["FINISHED"] - at["QUEUED"]) / 1000,
            "tpot_us": (at["FINISHED"] - ns["FIRST_TOKEN"]) / 1000 / (request.outputs - 1)
            if request.outputs > 1
            else np.nan,
            "prompt_tokens": request.prompt,
            "output_tokens": request.outputs,
            "num_preemptions": request.preemptions,
            "api_arrived_ns": at["QUEUED"] - 2 * MS,
            "api_departed_ns": at["FINISHED"] + 3 * MS,
        }
        np.testing.assert_array_equal([row[name] for name in expected], list(expected.values()))
        assert row["finish_status"] == request.events[-1][1]["finish.status"]
    assert frame["num_preemptions"].sum() > 0
    assert set(frame["finish_status"]) == {"length", "stopped", "aborted"}
    assert (frame["model"] == "llama-2-70b").all()
    assert (frame["workload"] == "general").all()


def test_a_request_by_hand(simulate: Callable[..., Any], ask: Any) -> None:
    recorded = simulate([ask("a", 0, 10, 6)])
    (row,) = read(recorded.folder).frame.to_dict("records")
    # Queued 18 ms into step 0, in step 1 (20 ms) scheduled after 3 ns more than 2 us, its
    # first token after 12 ms; then a token every 20 ms, the end told 500 ns after it.
    assert row["queue_us"] == 2000 + 2.001
    assert row["ttft_us"] == 14_000
    assert row["e2e_us"] == 14_000 + 5 * 20_000 + 0.5
    assert row["tpot_us"] == 20_000 + 0.1
    assert row["output_tokens"] == 6


def test_requests_that_had_not_ended_keep_gaps_and_are_counted(
    simulate: Callable[..., Any], edit: Callable[..., Any], write_lines: Callable[..., Path]
) -> None:
    recorded = simulate(0)

    def cut(name: str, values: dict[str, Any], span: Any) -> dict[str, Any] | None:
        return None if name == "journey.FINISHED" and values["scheduler.step"] > 60 else values

    table = read(write_lines(edit(recorded.lines, cut)))
    late = {each.id for each in recorded.requests if each.events[-1][1]["scheduler.step"] > 60}
    frame = table.frame.set_index("request_id")
    assert set(frame.index[frame["e2e_us"].isna()]) == late
    assert set(frame.index[frame["output_tokens"].isna()]) == late
    (found,) = [each for each in table.notes if each.code == "requests_unfinished"]
    assert found.count == len(late) > 0


def test_journeys_without_queued_have_no_waiting_time(
    simulate: Callable[..., Any], edit: Callable[..., Any], write_lines: Callable[..., Path]
) -> None:
    recorded = simulate(0)

    def cut(name: str, values: dict[str, Any], span: Any) -> dict[str, Any] | None:
        return None if name in {"journey.QUEUED", "api.ARRIVED", "api.DEPARTED"} else values

    table = read(write_lines(edit(recorded.lines, cut)))
    gone = ["queued_ns", "queue_us", "ttft_us", "e2e_us", "api_arrived_ns", "api_departed_ns"]
    assert table.frame[gone].isna().all(axis=None)
    assert table.frame["tpot_us"].notna().any()
    (found,) = [each for each in table.notes if each.code == "journeys_without_queued"]
    assert found.count == 60
    assert "no_server_spans" in codes(table)


def test_seconds_serve_where_nanoseconds_are_missing(
    simulate: Callable[..., Any], edit: Callable[..., Any], write_lines: Callable[..., Path]
) -> None:
    recorded = simulate(0)
    whole = read(recorded.folder).frame

    def seconds(name: str, values: dict[str, Any], span: Any) -> dict[str, Any]:
        values.pop("ts.monotonic_ns", None)
        return values

    pd.testing.assert_frame_equal(
        read(write_lines(edit(recorded.lines, seconds))).frame, whole, check_exact=True
    )


def test_a_server_span_is_found_by_parent_name_or_trace(
    simulate: Callable[..., Any], ask: Any, write_lines: Callable[..., Path]
) -> None:
    recorded = simulate([ask("a", 0, 10, 6)])
    whole = read(recorded.folder).frame
    assert whole["api_arrived_ns"].notna().all()
    lines = [each.replace('"parentSpanId": "sa"', '"x": 1') for each in recorded.lines]
    assert read(write_lines(lines)).frame["api_arrived_ns"].isna().all()
    same = [each.replace('"tsa"', '"t"').replace('"tca"', '"t"') for each in lines]
    pd.testing.assert_frame_equal(read(write_lines(same)).frame, whole)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], r"is empty \(0 bytes\); record it again"),
        (['{"resourceSpans": []}'], r"no journey.\* event; it holds no events; record with"),
        (["{", "{}"], "line 1: not JSON"),
        (["{}"], "line 1: JSON, but no OTLP trace export"),
        (
            ['{"resourceSpans":[{"scopeSpans":[{"spans":[{"events":[{"name":3}]}]}]}]}'],
            "line 1: JSON, but no OTLP trace export",
        ),
        (
            ['{"resourceSpans":[{"scopeSpans":[{"spans":[{"events":[{"name":"journey.X"}]}]}]}]}'],
            "line 1: a journey without request.id, spanId or traceId",
        ),
    ],
)
def test_damage_is_told_with_its_line(
    write_lines: Callable[..., Path], lines: list[str], message: str
) -> None:
    base = write_lines(lines)
    with pytest.raises(TraceError, match=message):
        read(base)


@pytest.mark.parametrize(
    ("name", "key", "rows"),
    [("otel-requests", b"gpucv.measurements", 60), ("otel-batches", b"gpucv.step_table", 170)],
)
def test_the_command_imports_them_by_name(
    simulate: Callable[..., Any], name: str, key: bytes, rows: int
) -> None:
    recorded = simulate(0)
    out = recorded.folder / "out.parquet"
    with pytest.raises(SystemExit) as ended:
        main(["import", name, str(recorded.folder), "-o", str(out), "--quiet"])
    assert ended.value.code == 0
    written = pq.read_metadata(out)
    assert written.num_rows == rows
    assert written.metadata[key] == b"1"


def test_the_formats_are_read_only_when_asked_for(simulate: Callable[..., Any]) -> None:
    recorded = simulate(0, sampled=10)
    table = read_steps(["*"], base=recorded.folder, catalog=load_catalog(), required=[])
    assert [each.kind for each in table.sources] == ["otel"]
    assert len(table.frame) == 17


def test_one_recording_twice_is_refused_in_every_format(simulate: Callable[..., Any]) -> None:
    recorded = simulate(0)
    (folder,) = recorded.folder.iterdir()
    again = recorded.folder / "again" / folder.name
    again.mkdir(parents=True)
    (again / "traces.json").write_bytes((folder / "traces.json").read_bytes())
    with pytest.raises(TraceError, match="is recorded twice"):
        read(recorded.folder)
