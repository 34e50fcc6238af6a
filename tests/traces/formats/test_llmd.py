from __future__ import annotations

import gzip
import hashlib
import json
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from gpucv.errors import TraceError
from gpucv.traces import Importing, format_named, import_tables, read_steps
from gpucv.traces.formats import json_lines
from gpucv.traces.step_table import ReadOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from gpucv.catalog import Catalog
    from gpucv.traces import StepTable


def sample(at: int = 0, **changes: Any) -> dict[str, Any]:
    """One request, different in every field from the next."""
    values: dict[str, Any] = {
        "kv_cache_percentage": 0.25 + at % 100 / 1000,
        "input_token_length": 165 + at,
        "num_request_waiting": at % 5,
        "num_request_running": 12 + at % 7,
        "actual_ttft_ms": 95.3 + at / 7,
        "actual_tpot_ms": 11.1 + at / 900,
        "num_tokens_generated": at % 3,
        "prefix_cache_score": at % 4 / 4,
        "pod_type": ("", "prefill", "decode")[at % 3],
        "prefill_tokens_in_flight": 300 + at,
        "decode_tokens_in_flight": 900 + at,
        "encoder_matched_size": 0,
        "encoder_input_size": 0,
        "timestamp": f"2026-07-01T08:00:{at % 60:02d}.250001Z",
    }
    return values | changes


def without(key: str, at: int = 0) -> dict[str, Any]:
    return {name: value for name, value in sample(at).items() if name != key}


def text_of(records: Iterable[dict[str, Any]]) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


@pytest.fixture
def read(tmp_path: Path, catalog: Catalog) -> Callable[..., StepTable]:
    """Write records, or bytes as they stand, to a file and read it."""

    def write_and_read(content: Any, name: str = "sharegpt-h200.jsonl") -> StepTable:
        data = content if isinstance(content, bytes) else text_of(content).encode()
        (tmp_path / name).write_bytes(data)
        options = ReadOptions(format="llm-d")
        return read_steps([name], base=tmp_path, catalog=catalog, required=[], options=options)

    return write_and_read


def test_rows_are_what_pandas_reads_from_the_lines(
    read: Callable[..., StepTable], tmp_path: Path
) -> None:
    table = read([sample(at) for at in range(60)])
    raw = pd.read_json(tmp_path / "sharegpt-h200.jsonl", lines=True, convert_dates=False)
    frame = table.frame
    untouched = [name for name in frame.columns if name in raw.columns and name != "pod_type"]
    assert len(untouched) == 10
    pd.testing.assert_frame_equal(frame[untouched], raw[untouched], check_dtype=False)
    assert (frame["ttft_us"] == raw["actual_ttft_ms"] * 1000.0).all()
    assert (frame["tpot_us"] == raw["actual_tpot_ms"] * 1000.0).all()
    missed = (1 - raw["prefix_cache_score"]) * raw["input_token_length"]
    assert (frame["effective_input_tokens"] == missed).all()
    assert (frame["pod_type"] == raw["pod_type"].replace("", "monolithic")).all()
    moments = pd.to_datetime(raw["timestamp"]).astype("datetime64[ns, UTC]").astype("int64")
    assert (frame["timestamp_ns"] == moments).all()
    assert set(frame["source_file"]) == {"sharegpt-h200.jsonl"}
    assert "model" not in frame
    assert "gpu" not in frame


def test_the_digest_and_size_are_those_of_the_file(
    read: Callable[..., StepTable], tmp_path: Path
) -> None:
    content = gzip.compress(text_of(sample(at) for at in range(5)).encode())
    source = read(content, "trace.jsonl.gz").sources[0]
    assert (source.sha256, source.bytes) == (hashlib.sha256(content).hexdigest(), len(content))
    assert (source.rows, source.kind) == (5, "llm-d")


def test_a_time_of_zero_is_no_time(read: Callable[..., StepTable]) -> None:
    records = [
        sample(0, actual_tpot_ms=0),
        sample(1, actual_ttft_ms=0),
        sample(2, actual_tpot_ms=0.0),
    ]
    table = read(records)
    assert table.frame["tpot_us"].isna().tolist() == [True, False, True]
    assert table.frame["ttft_us"].isna().tolist() == [False, True, False]
    told = {
        note.message.split()[1]: note.count for note in table.notes if note.code == "unlabelled"
    }
    assert told == {"actual_ttft_ms": 1, "actual_tpot_ms": 2}


def test_what_older_records_lack_is_null(read: Callable[..., StepTable]) -> None:
    kept = (
        "kv_cache_percentage",
        "input_token_length",
        "num_request_waiting",
        "num_request_running",
        "actual_ttft_ms",
        "actual_tpot_ms",
        "prefix_cache_score",
    )
    row = read([{name: sample()[name] for name in kept}]).frame.iloc[0]
    for name in ("num_tokens_generated", "decode_tokens_in_flight", "pod_type", "timestamp_ns"):
        assert pd.isna(row[name])
    assert row["effective_input_tokens"] == 165


def test_labels_a_record_has_are_named_by_the_catalog(read: Callable[..., StepTable]) -> None:
    records = [
        sample(0, model="meta-llama/Llama-2-70b-hf", gpu="H100", tp=4),
        sample(1, model_name="Qwen/Qwen3-32B", gpu="H200", tp=1),
    ]
    frame = read(records).frame
    assert list(frame["model"]) == ["llama-2-70b", "Qwen/Qwen3-32B"]
    assert list(frame["gpu"]) == ["h100", "h200"]
    assert list(frame["tp"]) == [4, 1]


def test_other_fields_are_passed_over_and_told(read: Callable[..., StepTable]) -> None:
    table = read([sample(0, topology_distance="near"), sample(1, predicted_ttft_ms=90.0)])
    note = next(note for note in table.notes if note.code == "other_fields")
    assert "predicted_ttft_ms, topology_distance" in note.message
    assert "topology_distance" not in table.frame


@pytest.mark.parametrize(
    ("stamp", "nanoseconds"),
    [
        ("2026-07-01T10:00:00+02:00", 1_782_892_800_000_000_000),
        ("2026-07-01T08:00:00", 1_782_892_800_000_000_000),
        (1_782_892_800, 1_782_892_800_000_000_000),
        (1_782_892_800.5, 1_782_892_800_500_000_000),
        (None, None),
    ],
)
def test_time_stamps_are_read_in_utc(
    read: Callable[..., StepTable], stamp: Any, nanoseconds: int | None
) -> None:
    found = read([sample(timestamp=stamp)]).frame["timestamp_ns"].iloc[0]
    assert (None if pd.isna(found) else found) == nanoseconds


def test_many_lines_come_in_batches(
    tmp_path: Path, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.jsonl").write_text(text_of(sample(at) for at in range(50_000)))
    llmd = format_named("llm-d")
    monkeypatch.setattr("gpucv.traces.formats.json_lines.BATCH_ROWS", 20_000)
    how = Importing(llmd, catalog)
    imported = import_tables(["a.jsonl"], tmp_path / "out.parquet", base=tmp_path, how=how)
    direct = read_steps(["a.jsonl"], base=tmp_path, catalog=catalog, required=[])
    table = read_steps(["out.parquet"], base=tmp_path, catalog=catalog, required=[])
    pd.testing.assert_frame_equal(table.frame, direct.frame)
    assert imported.rows == 50_000
    assert table.frame["input_token_length"].tolist() == list(range(165, 50_165))


def test_no_batch_is_larger_than_it_may_be(
    tmp_path: Path, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gpucv.traces.formats import Reading
    from gpucv.traces.sources import Source

    (tmp_path / "a.jsonl").write_text(text_of(sample(at) for at in range(10)))
    monkeypatch.setattr("gpucv.traces.formats.json_lines.BATCH_ROWS", 4)
    read: list[int] = []
    source = Source(tmp_path / "a.jsonl", "a.jsonl", "llm-d")
    opened = format_named("llm-d").open(source, Reading(catalog, on_bytes=read.append))
    assert [batch.num_rows for batch in opened.batches()] == [4, 4, 2]
    assert sum(read) == source.path.stat().st_size


def test_long_lines_make_small_batches(tmp_path: Path, catalog: Catalog) -> None:
    from gpucv.traces.formats import Reading
    from gpucv.traces.sources import Source

    long = 6 << 20
    (tmp_path / "a.jsonl").write_text(text_of(sample(at, other="x" * long) for at in range(7)))
    source = Source(tmp_path / "a.jsonl", "a.jsonl", "llm-d")
    opened = format_named("llm-d").open(source, Reading(catalog))
    # The third line brings a batch above 16 MiB.
    assert [batch.num_rows for batch in opened.batches()] == [3, 3, 1]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"kv_cache_percentage": 85.0}, "kv_cache_percentage is 85.0; it is a share, from 0 to 1"),
        ({"prefix_cache_score": 1.5}, "prefix_cache_score is 1.5; it is a share"),
        ({"actual_ttft_ms": "95"}, "actual_ttft_ms is '95', not a number"),
        ({"actual_ttft_ms": None}, "actual_ttft_ms is null"),
        ({"actual_tpot_ms": -1.5}, "actual_tpot_ms is -1.5, below zero"),
        ({"actual_tpot_ms": float("nan")}, "actual_tpot_ms is nan, no finite number"),
        ({"actual_tpot_ms": float("inf")}, "actual_tpot_ms is inf, no finite number"),
        ({"actual_tpot_ms": 10**400}, "actual_tpot_ms is 1000.*, no finite number"),
        ({"actual_tpot_ms": True}, "actual_tpot_ms is True, not a number"),
        ({"input_token_length": 2.5}, "input_token_length is 2.5, not a count"),
        ({"num_tokens_generated": 2**60}, "num_tokens_generated is .*, not a count"),
        ({"pod_type": 3}, "pod_type is 3, not text"),
        ({"timestamp": "yesterday"}, "timestamp is 'yesterday', neither an ISO 8601 time"),
        ({"timestamp": [1]}, r"timestamp is \[1\], neither"),
    ],
)
def test_a_wrong_value_is_refused_by_line_and_field(
    read: Callable[..., StepTable], bad: dict[str, Any], message: str
) -> None:
    with pytest.raises(TraceError, match="^sharegpt-h200.jsonl, line 3: " + message):
        read([sample(0), sample(1), sample(2, **bad), sample(3)])


def test_whole_numbers_written_as_fractions_are_counts(read: Callable[..., StepTable]) -> None:
    frame = read([sample(0, input_token_length=165.0), sample(1)]).frame
    assert list(frame["input_token_length"]) == [165, 166]
    assert frame["input_token_length"].dtype == "int64"


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (without("num_request_waiting"), "line 1: no field 'num_request_waiting'; did you mean"),
        (
            without("actual_ttft_ms") | {"actual_ttft": 1},
            "line 1: no field 'actual_ttft_ms'; did you mean 'actual_ttft'",
        ),
        ({"entries": [sample()]}, "line 1: no field 'kv_cache_percentage'; it has entries"),
    ],
)
def test_a_missing_field_is_refused_with_the_nearest_name(
    read: Callable[..., StepTable], record: dict[str, Any], message: str
) -> None:
    with pytest.raises(TraceError, match=message):
        read([record])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"is empty \(0 bytes\)"),
        (b"\n\n  \n", "holds no whole line of JSON"),
        (b'{"kv_cache', "holds no whole line of JSON"),
        (b"{broken}\n", "line 1: not JSON .*; mend or remove that line"),
        (text_of([sample()]).encode() + b"{,}\n" + b"{}\n", "line 2: not JSON"),
        (json.dumps([sample()]).encode(), "line 1: a JSON array, .*one whole object on each line"),
        (json.dumps([sample()], indent=1).encode(), r"line 1: a JSON array, \[; the format"),
        (b"17\n", "line 1: a JSON value, 17; the format has one whole object"),
        (b'{"a": "\xff"}\n', "line 1: not JSON"),
        (b"[" * 100_000 + b"\n", "line 1: a JSON array"),
    ],
)
def test_a_damaged_file_is_refused(
    read: Callable[..., StepTable], content: bytes, message: str
) -> None:
    with pytest.raises(TraceError, match="^sharegpt-h200.jsonl.*" + message) as refusal:
        read(content)
    assert "\n" not in str(refusal.value)


def test_a_last_line_that_breaks_off_is_left_out_and_told(
    read: Callable[..., StepTable],
) -> None:
    table = read(text_of([sample(0), sample(1)]).encode()[:-30])
    assert len(table.frame) == 1
    note = next(note for note in table.notes if note.code == "torn_last_line")
    assert "line 2: the last line breaks off" in note.message
    whole = read(text_of([sample(0), sample(1)]).encode()[:-1])
    assert len(whole.frame) == 2
    assert "torn_last_line" not in [note.code for note in whole.notes]


def test_a_byte_order_mark_and_windows_line_ends_are_no_damage(
    read: Callable[..., StepTable],
) -> None:
    content = b"\xef\xbb\xbf" + text_of([sample(0), sample(1)]).replace("\n", "\r\n").encode()
    assert len(read(content).frame) == 2


def test_gzip_is_told_by_its_first_bytes_and_may_come_in_members(
    read: Callable[..., StepTable], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = text_of(sample(at) for at in range(400))
    half = lines.index("\n", len(lines) // 2) + 10  # within a line
    packed = gzip.compress(lines[:half].encode()) + gzip.compress(lines[half:].encode())
    plain = read(lines.encode()).frame
    monkeypatch.setattr(json_lines, "_READ", 37)
    monkeypatch.setattr(json_lines, "_UNPACKED", 1000)
    for content in (packed, packed + bytes(512)):
        table = read(content)  # under a name that ends in .jsonl
        pd.testing.assert_frame_equal(table.frame, plain)
        assert not {note.code for note in table.notes} & {"torn_last_line", "cut_gzip"}


def test_a_gzip_stream_that_breaks_off_keeps_its_whole_lines(
    read: Callable[..., StepTable],
) -> None:
    packed = gzip.compress(text_of(sample(at) for at in range(2000)).encode())
    table = read(packed[: len(packed) * 2 // 3], "a.jsonl.gz")
    assert 500 < len(table.frame) < 2000
    assert {note.code for note in table.notes} & {"torn_last_line", "cut_gzip"}
    ended = read(packed[:-8], "b.jsonl.gz")  # without its checksum
    assert len(ended.frame) == 2000
    assert "cut_gzip" in [note.code for note in ended.notes]


def test_damaged_gzip_is_refused(read: Callable[..., StepTable]) -> None:
    packed = bytearray(gzip.compress(text_of(sample(at) for at in range(100)).encode()))
    packed[-6] ^= 255
    with pytest.raises(TraceError, match=r"damaged gzip data after line [0-9]+ \(.*check"):
        read(bytes(packed), "a.jsonl.gz")


def test_a_line_longer_than_any_record_is_refused_unread(
    read: Callable[..., StepTable], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_lines, "LONGEST_LINE", 1 << 20)
    bomb = gzip.compress(text_of([sample()]).encode() + b" " * (1 << 25))
    with pytest.raises(TraceError, match="line 2: longer than 1 MiB"):
        read(bomb, "a.jsonl.gz")


@pytest.mark.parametrize(
    ("field", "factor", "message"),
    [
        ("actual_tpot_ms", 1e-3, "below 0.1 ms in 30 of 30 .*looks like seconds: multiply it"),
        ("actual_tpot_ms", 1e3, "above 5,000 ms in 30 of 30 .*looks like microseconds: divide"),
        ("actual_ttft_ms", 1e-3, "below 1 ms in 30 of 30 .*looks like seconds"),
        ("actual_ttft_ms", 1e4, "above 600,000 ms in 30 of 30 .*looks like microseconds"),
    ],
)
def test_another_unit_is_refused(
    read: Callable[..., StepTable], field: str, factor: float, message: str
) -> None:
    records = [sample(at) for at in range(30)]
    scaled = [record | {field: record[field] * factor} for record in records]
    with pytest.raises(TraceError, match=f"^sharegpt-h200.jsonl: {field} is {message}"):
        read(scaled)
    # Nineteen requests, or a busy server, are no evidence.
    assert len(read(scaled[:19]).frame) == 19
    assert len(read([*records, *scaled]).frame) == 60
    assert len(read([record | {field: record[field] * 20} for record in records]).frame) == 30


def test_files_are_recognised_by_their_first_line(tmp_path: Path, catalog: Catalog) -> None:
    (tmp_path / "other.jsonl").write_text('{"event": "started"}\n')
    (tmp_path / "chat.jsonl").write_text(text_of([without("actual_tpot_ms") | {"tpot": 1}]))
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(("\n" + text_of([sample()])).encode()))
    recognises = format_named("llm-d").recognises
    found = {path.name: recognises(path) for path in tmp_path.iterdir()}
    assert found == {"other.jsonl": False, "chat.jsonl": True, "a.jsonl.gz": True}
    (tmp_path / "chat.jsonl").unlink()
    table = read_steps(["."], base=tmp_path, catalog=catalog, required=["ttft_us"])
    assert [source.path for source in table.sources] == ["a.jsonl.gz"]
