from __future__ import annotations

import gzip
import hashlib
import json
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from gpucv.errors import StudyError, TraceError
from gpucv.schema import STEP_COLUMNS
from gpucv.traces import Importing, format_named, import_tables, read_steps
from gpucv.traces.formats import Reading
from gpucv.traces.sources import Source
from gpucv.traces.step_table import ReadOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from gpucv.catalog import Catalog
    from gpucv.traces import StepTable


def one_pass(at: int = 0, **changes: Any) -> dict[str, Any]:
    """One forward pass, different in every count from the next."""
    values: dict[str, Any] = {
        "version": 1,
        "worker_id": "4192",
        "dp_rank": at % 2,
        "counter_id": 40 + at,
        "wall_time": 0.025 + at / 3000,
        "scheduled_requests": {
            "num_prefill_requests": 2 + at % 3,
            "sum_prefill_tokens": 256 + at,
            "var_prefill_length": 100.5 + at,
            "sum_prefill_kv_tokens": 64 + at,
            "num_decode_requests": 3 + at % 5,
            "sum_decode_kv_tokens": 1024 + at,
            "var_decode_kv_tokens": 50.25 + at,
        },
        "queued_requests": {
            "num_prefill_requests": 1 + at % 2,
            "sum_prefill_tokens": 128 + at,
            "var_prefill_length": 0.5,
            "num_decode_requests": at % 4,
            "sum_decode_kv_tokens": 30 * (at % 4),
            "var_decode_kv_tokens": 0.0,
        },
    }
    return values | changes


def work(prefills: int, tokens: int, decodes: int) -> dict[str, Any]:
    """What was scheduled: prefill requests and their tokens, decode requests."""
    return {
        "num_prefill_requests": prefills,
        "sum_prefill_tokens": tokens,
        "sum_prefill_kv_tokens": 0,
        "num_decode_requests": decodes,
        "sum_decode_kv_tokens": 100 * decodes,
    }


def traced(metrics: dict[str, Any], mode: str = "full") -> dict[str, Any]:
    """A trace record in the envelope of Dynamo's writer."""
    record = {
        "schema": "dynamo.fpm.trace.v1",
        "source": {"namespace": "default", "component": "backend", "producer_id": "77"},
        "capture_mode": mode,
        "observed_at_unix_ms": 1_782_777_601_250 + metrics["counter_id"],
        "fpm": metrics,
    }
    return {"timestamp": 1250, "event": record}


@pytest.fixture
def read(tmp_path: Path, catalog: Catalog) -> Callable[..., StepTable]:
    """Write records, or bytes as they stand, to a file and read it."""

    def write_and_read(content: Any, name: str = "fpm.jsonl") -> StepTable:
        text = b""
        if not isinstance(content, bytes):
            text = "".join(json.dumps(record) + "\n" for record in content).encode()
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else text)
        options = ReadOptions(format="fpm")
        return read_steps([name], base=tmp_path, catalog=catalog, required=[], options=options)

    return write_and_read


def codes(table: StepTable) -> dict[str, int]:
    return {note.code: note.count for note in table.notes}


def test_every_pass_is_a_row_with_the_numbers_of_its_line(read: Callable[..., StepTable]) -> None:
    passes = [one_pass(at) for at in range(30)]
    frame = read(passes).frame
    raw = pd.json_normalize(passes)
    for name, original in {
        "step.id": "counter_id",
        "dp_rank": "dp_rank",
        "batch.num_prefill_reqs": "scheduled_requests.num_prefill_requests",
        "batch.prefill_tokens": "scheduled_requests.sum_prefill_tokens",
        "prefill_kv_tokens": "scheduled_requests.sum_prefill_kv_tokens",
        "var_prefill_length": "scheduled_requests.var_prefill_length",
        "batch.num_decode_reqs": "scheduled_requests.num_decode_requests",
        "batch.decode_tokens": "scheduled_requests.num_decode_requests",
        "decode_kv_tokens": "scheduled_requests.sum_decode_kv_tokens",
        "var_decode_kv_tokens": "scheduled_requests.var_decode_kv_tokens",
        "queued_prefill_reqs": "queued_requests.num_prefill_requests",
        "queued_prefill_tokens": "queued_requests.sum_prefill_tokens",
        "queued_var_prefill_length": "queued_requests.var_prefill_length",
        "queued_decode_reqs": "queued_requests.num_decode_requests",
        "queued_decode_kv_tokens": "queued_requests.sum_decode_kv_tokens",
        "queued_var_decode_kv_tokens": "queued_requests.var_decode_kv_tokens",
    }.items():
        assert frame[name].tolist() == raw[original].tolist(), name
    assert (frame["latency_us"] == raw["wall_time"] * 1e6).all()
    scheduled = raw["scheduled_requests.sum_prefill_tokens"]
    scheduled = scheduled + raw["scheduled_requests.num_decode_requests"]
    assert frame["batch.scheduled_tokens"].tolist() == scheduled.tolist()
    queued = raw["queued_requests.num_prefill_requests"]
    queued = queued + raw["queued_requests.num_decode_requests"]
    assert frame["queue.waiting_depth"].tolist() == queued.tolist()
    assert set(frame["experiment_id"]) == {"4192/dp0", "4192/dp1"}
    assert set(frame["phase"]) == {"mixed"}
    assert not {"model", "gpu", "tp"} & set(frame.columns)


def test_bare_records_and_both_wrappings_read_alike(read: Callable[..., StepTable]) -> None:
    passes = [one_pass(at) for at in range(4)]
    bare = read(passes).frame
    enveloped = read([traced(each) for each in passes]).frame
    unpacked = read([traced(each)["event"] for each in passes]).frame
    pd.testing.assert_frame_equal(enveloped, unpacked)
    told_more = ["capture_mode", "observed_at_unix_ms"]
    pd.testing.assert_frame_equal(enveloped.drop(columns=told_more), bare.drop(columns=told_more))
    assert enveloped["observed_at_unix_ms"].iloc[1] == 1_782_777_601_291
    assert set(enveloped["capture_mode"]) == {"full"}


def test_columns_named_as_in_the_step_table_hold_its_kinds() -> None:
    steps = {column.name: column for column in STEP_COLUMNS}
    shared = [column for column in format_named("fpm").columns if column.name in steps]
    assert len(shared) == 11
    assert all(column.dtype == steps[column.name].dtype for column in shared)
    assert all(column.unit == steps[column.name].unit for column in shared)


def test_the_phase_says_what_was_scheduled(read: Callable[..., StepTable]) -> None:
    scheduled = [work(2, 300, 0), work(0, 0, 5), work(1, 10, 5), work(0, 0, 0)]
    table = read([one_pass(at, scheduled_requests=each) for at, each in enumerate(scheduled)])
    assert list(table.frame["phase"]) == ["prefill", "decode", "mixed", "idle"]
    assert codes(table)["workless_passes"] == 1
    assert table.frame["var_decode_kv_tokens"].isna().all()


def test_passes_without_time_are_left_out_and_told(read: Callable[..., StepTable]) -> None:
    idle = work(0, 0, 0)
    passes = [
        one_pass(0),
        one_pass(1, wall_time=0.0, scheduled_requests=idle),
        one_pass(2, wall_time=0, scheduled_requests=idle),
        one_pass(3, wall_time=0.0),
    ]
    table = read(passes)
    assert table.frame["step.id"].tolist() == [40]
    assert (codes(table)["idle_passes"], codes(table)["untimed_passes"]) == (2, 1)
    levels = {note.code: note.level for note in table.notes}
    assert (levels["idle_passes"], levels["untimed_passes"]) == ("info", "warning")
    assert table.sources[0].rows == 1


def test_a_file_of_idle_reports_is_empty_beside_others(
    read: Callable[..., StepTable], tmp_path: Path, catalog: Catalog
) -> None:
    idle = one_pass(1, wall_time=0.0, scheduled_requests=work(0, 0, 0))
    with pytest.raises(TraceError, match=r"no rows in idle\.jsonl"):
        read([idle], "idle.jsonl")
    read([one_pass()], "busy.jsonl")
    table = read_steps(["."], base=tmp_path, catalog=catalog, required=["latency_us"])
    assert [source.rows for source in table.sources] == [1, 0]
    assert "empty_file" in codes(table)


def test_older_records_have_neither_version_nor_counter(read: Callable[..., StepTable]) -> None:
    record = {
        name: value
        for name, value in one_pass().items()
        if name in {"wall_time", "scheduled_requests"}
    }
    frame = read([record]).frame
    assert frame["experiment_id"].tolist() == ["fpm.jsonl/dp0"]
    assert frame["latency_us"].tolist() == [25_000.0]
    assert "step.id" not in frame
    assert frame["queued_prefill_reqs"].isna().all()


def test_the_producer_stands_for_a_worker_without_a_name(read: Callable[..., StepTable]) -> None:
    frame = read([traced(one_pass(0, worker_id=""))]).frame
    assert frame["experiment_id"].tolist() == ["77/dp0"]


def test_labels_a_record_has_are_named_by_the_catalog(read: Callable[..., StepTable]) -> None:
    labels = {"model": "meta-llama/Llama-2-70b-hf", "gpu": "H100", "tp": 4, "engine": "vllm"}
    frame = read([one_pass(0, **labels), one_pass(1)]).frame
    assert frame["model"].iloc[0] == "llama-2-70b"
    assert frame["gpu"].iloc[0] == "h100"
    assert frame["tp"].iloc[0] == 4
    assert frame["engine"].iloc[0] == "vllm"
    assert frame[["model", "gpu", "tp", "engine"]].iloc[1].isna().all()


def test_counters_that_do_not_rise_are_told_for_each_rank(read: Callable[..., StepTable]) -> None:
    passes = [one_pass(at) for at in range(6)]
    assert "repeated_counter" not in codes(read(passes))
    twice = read([*passes, *passes])
    assert codes(twice)["repeated_counter"] == 6
    assert len(twice.frame) == 12
    other = [each | {"worker_id": "9"} for each in passes]
    assert "repeated_counter" not in codes(read([*passes, *other]))


def test_sampled_traces_are_told(read: Callable[..., StepTable]) -> None:
    passes = [one_pass(at) for at in range(6)]
    assert codes(read([traced(each, "sampled") for each in passes]))["sampled"] == 6
    assert "sampled" not in codes(read([traced(each) for each in passes]))


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (one_pass(version=2), "version is 2; version 1 is the one that is read"),
        (
            traced(one_pass())["event"] | {"schema": "dynamo.fpm.trace.v2"},
            "schema is 'dynamo.fpm.trace.v2'; dynamo.fpm.trace.v1 is the one",
        ),
        ({"a": 1, "b": 2}, "no forward pass; it has a, b"),
        ({"event": {"schema": "dynamo.fpm.trace.v1"}}, "no forward pass; it has schema"),
        (
            {
                ("scheduled_request" if k == "scheduled_requests" else k): v
                for k, v in one_pass().items()
            },
            "no field 'scheduled_requests'; did you mean 'scheduled_request'",
        ),
        (one_pass(scheduled_requests=[1]), r"scheduled_requests is \[1\], not a map of counts"),
        (one_pass(queued_requests=None), "queued_requests is None, not a map"),
        (
            one_pass(scheduled_requests={"num_prefills": 1}),
            "no field 'num_prefill_requests'; did you mean 'num_prefills'",
        ),
        (one_pass(scheduled_requests=work(1, 2, 3) | {"sum_prefill_tokens": -4}), "is -4, below"),
        (one_pass(scheduled_requests=work(1, 2, 3) | {"num_decode_requests": 1.5}), "not a count"),
        (one_pass(wall_time=-0.1), "wall_time is -0.1, below zero"),
        (one_pass(wall_time="0.1"), "wall_time is '0.1', not a number"),
        (one_pass(wall_time=float("nan")), "wall_time is nan, no finite number"),
        (one_pass(wall_time=None), "wall_time is null"),
        (one_pass(counter_id="x"), "counter_id is 'x', not a number"),
        (one_pass(worker_id=3), "worker_id is 3, not text"),
    ],
)
def test_a_wrong_record_is_refused_by_line_and_field(
    read: Callable[..., StepTable], record: dict[str, Any], message: str
) -> None:
    with pytest.raises(TraceError, match="^fpm.jsonl, line 2: .*" + message):
        read([one_pass(0), record, one_pass(2)])


def test_another_unit_is_refused_whatever_was_scheduled(read: Callable[..., StepTable]) -> None:
    decodes = [one_pass(at, scheduled_requests=work(0, 0, 64)) for at in range(30)]

    def scaled(passes: Sequence[dict[str, Any]], factor: float) -> list[dict[str, Any]]:
        return [each | {"wall_time": each["wall_time"] * factor} for each in passes]

    for factor, unit in ((1e3, "milliseconds: divide it by 1000"), (1e6, "microseconds: divide")):
        with pytest.raises(TraceError, match=f"30 of 30 passes took over 2 s plus 5 ms.*{unit}"):
            read(scaled(decodes, factor))
        assert len(read(scaled(decodes[:19], factor)).frame) == 19
        assert len(read([*decodes, *scaled(decodes, factor)]).frame) == 60
    # Prompts of 100,000 tokens may take minutes.
    prompts = [one_pass(at, scheduled_requests=work(1, 100_000, 0)) for at in range(30)]
    assert len(read(scaled(prompts, 4000)).frame) == 30
    with pytest.raises(TraceError, match="looks like milliseconds"):
        read(scaled(prompts, 400_000))


def test_passes_too_short_for_a_gpu_are_told(read: Callable[..., StepTable]) -> None:
    passes = [one_pass(at, wall_time=2e-5) for at in range(30)]
    assert codes(read(passes))["short_passes"] == 30
    assert "short_passes" not in codes(read(passes[:5]))


def test_gzip_segments_are_found_and_keep_what_a_killed_writer_left(
    tmp_path: Path, catalog: Catalog
) -> None:
    lines = [json.dumps(traced(one_pass(at))) + "\n" for at in range(1000)]
    whole = gzip.compress("".join(lines[:500]).encode())
    cut = gzip.compress("".join(lines[500:]).encode())[:-200]
    (tmp_path / "dynamo-fpm.4192.000000.jsonl.gz").write_bytes(whole)
    (tmp_path / "dynamo-fpm.4192.000001.jsonl.gz").write_bytes(cut)
    table = read_steps(["."], base=tmp_path, catalog=catalog, required=["latency_us"])
    assert [source.kind for source in table.sources] == ["fpm", "fpm"]
    assert table.sources[0].sha256 == hashlib.sha256(whole).hexdigest()
    assert 800 < len(table.frame) < 1000
    assert table.frame["step.id"].tolist() == list(range(40, 40 + len(table.frame)))
    assert {"torn_last_line", "cut_gzip"} & set(codes(table))


def test_many_passes_come_in_batches(
    tmp_path: Path, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [json.dumps(one_pass(at)) for at in range(5000)]
    lines += [json.dumps(one_pass(5000 + at, wall_time=0)) for at in range(1500)]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    monkeypatch.setattr("gpucv.traces.formats.json_lines.BATCH_ROWS", 1000)
    opened = format_named("fpm").open(
        Source(tmp_path / "a.jsonl", "a.jsonl", "fpm"), Reading(catalog)
    )
    assert [batch.num_rows for batch in opened.batches()] == [1000] * 5 + [0] * 2
    assert opened.source_file().rows == 5000
    how = Importing(format_named("fpm"), catalog)
    imported = import_tables(["a.jsonl"], tmp_path / "out.parquet", base=tmp_path, how=how)
    direct = read_steps(["a.jsonl"], base=tmp_path, catalog=catalog, required=[])
    table = read_steps(["out.parquet"], base=tmp_path, catalog=catalog, required=[])
    pd.testing.assert_frame_equal(table.frame, direct.frame)
    assert imported.rows == 5000
    assert codes(table)["untimed_passes"] == 1500


def test_passes_and_requests_are_told_apart(tmp_path: Path, catalog: Catalog) -> None:
    request = {"kv_cache_percentage": 0.5, "actual_ttft_ms": 95.5, "actual_tpot_ms": 11.5}
    (tmp_path / "passes.jsonl").write_text(json.dumps(traced(one_pass())) + "\n")
    (tmp_path / "bare.jsonl").write_text(json.dumps(one_pass())[:-40])
    (tmp_path / "requests.jsonl").write_text(json.dumps(request) + "\n")
    (tmp_path / "neither.jsonl").write_text('{"wall_time": 3}\n')
    found = {
        path.name: [name for name in ("llm-d", "fpm") if format_named(name).recognises(path)]
        for path in tmp_path.iterdir()
    }
    assert found == {
        "passes.jsonl": ["fpm"],
        "bare.jsonl": ["fpm"],
        "requests.jsonl": ["llm-d"],
        "neither.jsonl": [],
    }
    with pytest.raises(StudyError, match=r"requests\.jsonl holds llm-d"):
        read_steps(["passes.jsonl", "requests.jsonl"], base=tmp_path, catalog=catalog, required=[])
