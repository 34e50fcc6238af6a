from __future__ import annotations

import gc
import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gpucv.errors import TraceError
from gpucv.schema import STEP_COLUMNS
from gpucv.traces import read_steps
from gpucv.traces.formats.otel import reader as otel

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gpucv.catalog import Catalog
    from gpucv.traces import StepTable

NAME = "20260217-202857-llama-2-70b-tp4-general"


def read(base: Path, catalog: Catalog, *patterns: str) -> StepTable:
    return read_steps(patterns or ("*",), base=base, catalog=catalog, required=["step.duration_us"])


def one_step(**values: Any) -> str:
    """A line with one step whose attributes have the values given, as OTLP writes them."""
    attributes = [{"key": key.replace("__", "."), "value": value} for key, value in values.items()]
    event = {"name": "step.BATCH_SUMMARY", "attributes": attributes}
    span = {"spans": [{"events": [event]}]}
    return json.dumps({"resourceSpans": [{"scopeSpans": [span]}]})


def test_every_measurement_of_every_step_arrives_in_its_column(
    tmp_path: Path,
    write_recording: Callable[..., Path],
    step_values: Callable[[int], dict[str, float]],
    catalog: Catalog,
) -> None:
    folder = write_recording(steps=6)
    table = read(tmp_path, catalog)
    expected = [step_values(step) for step in range(6)]
    for column in STEP_COLUMNS[5:]:
        assert table.frame[column.name].dtype == column.dtype
        assert table.frame[column.name].tolist() == [step[column.name] for step in expected]
    assert table.frame["experiment_id"].unique().tolist() == [NAME]
    assert table.frame["model"].unique().tolist() == ["llama-2-70b"]
    assert table.frame["tp"].unique().tolist() == [4]
    assert "gpu" not in table.frame
    content = (folder / "traces.json").read_bytes()
    (source,) = table.sources
    assert (source.kind, source.rows, source.bytes) == ("otel", 6, len(content))
    assert source.sha256 == hashlib.sha256(content).hexdigest()
    assert not table.synthetic


def test_recordings_of_one_model_under_two_names_are_one_group(
    tmp_path: Path, write_recording: Callable[..., Path], catalog: Catalog
) -> None:
    write_recording("20260217-202857-llama-2-70b-tp4-general")
    write_recording("20260218-065057-llama-2-70b-hf-tp4-codegen")
    frame = read(tmp_path, catalog).frame
    assert frame["model"].unique().tolist() == ["llama-2-70b"]
    assert sorted(frame["workload"].unique()) == ["codegen", "general"]


def test_batches_of_any_size_join_to_the_same_table(
    tmp_path: Path,
    write_recording: Callable[..., Path],
    catalog: Catalog,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_recording(steps=30)
    whole = read(tmp_path, catalog).frame
    monkeypatch.setattr(otel, "_BATCH_ROWS", 3)
    assert read(tmp_path, catalog).frame.equals(whole)
    assert gc.isenabled()


def test_integers_arrive_exactly_as_text_or_number_and_gaps_as_nan(
    tmp_path: Path, write_recording: Callable[..., Path], catalog: Catalog
) -> None:
    big = 2**63 - 1
    lines = [
        one_step(
            step__id={"intValue": str(big)},
            step__duration_us={"intValue": 7},
            tp={"intValue": "99"},
            queue__running_depth={"doubleValue": 3.0},
            kv__usage_gpu_ratio={"intValue": "0"},
        ),
        "",
        one_step(
            step__id={"intValue": "-5"},
            step__duration_us={"intValue": "8"},
            unknown={"stringValue": "?"},
            kv__usage_gpu_ratio={"doubleValue": "NaN"},
        ),
    ]
    write_recording(lines=lines)
    frame = read(tmp_path, catalog).frame
    assert frame["step.id"].tolist() == [big, -5]
    assert frame["step.duration_us"].tolist() == [7, 8]
    assert frame["tp"].tolist() == [4, 4]
    np.testing.assert_array_equal(frame["queue.running_depth"], [3, np.nan])
    np.testing.assert_array_equal(frame["kv.usage_gpu_ratio"], [0, np.nan])
    assert "batch.decode_tokens" not in frame


@pytest.mark.parametrize("torn", ['{"resourceSpans": [{"scopeSp', "\0\0\0\0", "{"])
def test_a_last_line_that_breaks_off_is_left_out_and_noted(
    tmp_path: Path, write_recording: Callable[..., Path], catalog: Catalog, torn: str
) -> None:
    folder = write_recording()
    whole = read(tmp_path, catalog)
    with (folder / "traces.json").open("a") as file:
        file.write(torn)
    table = read(tmp_path, catalog)
    assert table.frame.equals(whole.frame)
    *_, note = table.notes
    assert (note.code, note.level) == ("torn_last_line", "warning")
    assert "line 4" in note.message
    content = (folder / "traces.json").read_bytes()
    assert table.sources[0].sha256 == hashlib.sha256(content).hexdigest()


def test_a_last_line_without_its_end_but_whole_counts(
    tmp_path: Path, write_recording: Callable[..., Path], catalog: Catalog
) -> None:
    folder = write_recording()
    content = (folder / "traces.json").read_bytes()
    (folder / "traces.json").write_bytes(content.rstrip(b"\n"))
    table = read(tmp_path, catalog)
    assert len(table.frame) == 6
    assert "torn_last_line" not in [note.code for note in table.notes]


STEP = one_step(step__duration_us={"intValue": "7"})


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([STEP, STEP[:50], STEP], "traces.json, line 2: not JSON"),
        ([STEP, STEP[:-9] + STEP], "traces.json, line 2: not JSON"),
        ([STEP, "", "\udcff"], "traces.json, line 3: not JSON"),
        (["[" * 100_000], "traces.json, line 1: not JSON"),
        (["[]"], "line 1: JSON, but no OTLP trace export"),
        (["3"], "line 1: JSON, but no OTLP trace export"),
        (['{"spans": []}'], r"line 1: JSON, but no OTLP trace export \(KeyError: 'resourceSpans'"),
        (['{"resourceSpans": [3]}'], "line 1: JSON, but no OTLP trace export"),
        (['{"resourceSpans": {"scopeSpans": 3}}'], "line 1: JSON, but no OTLP trace export"),
        ([STEP, one_step(step__id={"stringValue": "7"})], "line 2: step.id is .*stringValue"),
        ([one_step(step__id={"intValue": "seven"})], "line 1: step.id is .*seven"),
        ([one_step(step__id={"intValue": str(2**63)})], "line 1: step.id is .*not a number"),
        ([one_step(step__id={"doubleValue": 7.5})], "line 1: step.id is .*7.5"),
        ([one_step(step__id={"intValue": 7.5})], "line 1: step.id is .*7.5"),
        ([one_step(step__id={"doubleValue": "Infinity"})], "line 1: step.id is .*Infinity"),
        ([one_step(step__id=["7"])], r"line 1: step.id is \['7'\]"),
        ([one_step(kv__usage_gpu_ratio={"doubleValue": "much"})], "kv.usage_gpu_ratio is .*much"),
        ([], r"traces.json is empty \(0 bytes\)"),
        (['{"resourceSpans": []}'], "no step.BATCH_SUMMARY event; it holds no events"),
    ],
)
def test_damage_is_one_line_with_file_and_line(
    tmp_path: Path,
    write_recording: Callable[..., Path],
    catalog: Catalog,
    lines: list[str],
    message: str,
) -> None:
    folder = write_recording(lines=[])
    content = "".join(line + "\n" for line in lines)
    (folder / "traces.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(TraceError, match=message) as caught:
        read(tmp_path, catalog)
    assert "\n" not in str(caught.value)
    assert NAME in str(caught.value)


def test_a_trace_without_steps_says_what_it_holds_instead(
    tmp_path: Path,
    write_recording: Callable[..., Path],
    journey_line: str,
    catalog: Catalog,
) -> None:
    write_recording(lines=[journey_line, journey_line])
    with pytest.raises(TraceError, match=r"no step.BATCH_SUMMARY event") as caught:
        read(tmp_path, catalog)
    assert "2 x journey.QUEUED (vllm.scheduler)" in str(caught.value)
    assert "2 x api.ARRIVED (vllm.api)" in str(caught.value)


def test_a_line_longer_than_any_export_is_refused(
    tmp_path: Path,
    write_recording: Callable[..., Path],
    catalog: Catalog,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_recording()
    monkeypatch.setattr(otel, "LONGEST_LINE", 1 << 10)
    with pytest.raises(TraceError, match="line 1: longer than"):
        read(tmp_path, catalog)


def test_two_recordings_of_one_name_are_refused_before_either_is_read(
    tmp_path: Path, write_recording: Callable[..., Path], catalog: Catalog
) -> None:
    for place in ("monday", "tuesday"):
        write_recording(f"{place}/{NAME}", lines=["damaged"])
    with pytest.raises(TraceError, match=f"experiment '{NAME}' is recorded twice, in monday"):
        read(tmp_path, catalog, "monday", "tuesday")
