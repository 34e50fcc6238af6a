"""Files that are damaged, cut short or not what they seem: refused by name, or read rightly."""

from __future__ import annotations

import gzip
import io
import json
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import gpucv
from gpucv.catalog import load_catalog
from gpucv.cli.main import main
from gpucv.errors import DataError, GpucvError, TraceError
from gpucv.features import build_table
from gpucv.folds.sharing import save_table
from gpucv.study import study_from_dict
from gpucv.traces import Importing, format_named, import_csv, import_tables, read_steps
from gpucv.traces.memory import MemoryBudget
from gpucv.traces.parquet import read_parquet
from gpucv.traces.piece import Selection
from gpucv.traces.sources import Source
from gpucv.traces.step_table import ReadOptions
from gpucv.traces.synth import synthesize
from gpucv.workflow.feature_file import write_features
from gpucv.workflow.rows import read_rows

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gpucv.traces import StepTable

ROWS = 60


def table() -> pa.Table:
    draw = np.random.default_rng(3)
    return pa.table(
        {
            "experiment_id": [f"e{i // 10}" for i in range(ROWS)],
            "step.id": np.arange(ROWS),
            "step.duration_us": draw.integers(10, 30_000, ROWS),
            "kv.usage_gpu_ratio": draw.random(ROWS),
            "size": pa.array(np.arange(ROWS) - 30, pa.int8()),
            "count": pa.array(np.arange(ROWS) * 2**57, pa.uint64()),
        }
    )


def parquet_bytes(rows: pa.Table | None = None) -> bytes:
    sink = io.BytesIO()
    pq.write_table(rows or table(), sink, write_page_checksum=True, row_group_size=20)
    return sink.getvalue()


def footer_at(content: bytes) -> int:
    return len(content) - 8 - int.from_bytes(content[-8:-4], "little")


def read(folder: Path, name: str, content: bytes, **options: Any) -> StepTable:
    (folder / name).write_bytes(content)
    return read_steps(
        [name], base=folder, catalog=load_catalog(), required=[], options=ReadOptions(**options)
    )


def assert_refused_or_right(path: Path, content: bytes, expected: pa.Table) -> bool:
    """Return whether a damaged file is refused; where it is not, every value is right."""
    path.write_bytes(content)
    source = Source(path, path.name, "parquet")
    try:
        found = read_parquet(source, Selection((), None), MemoryBudget(None)).table
    except TraceError:
        return True
    assert found.cast(expected.schema).equals(expected)
    return False


def refusal(read: Callable[[], Any]) -> TraceError | None:
    """Return how a file is refused, if it is."""
    try:
        read()
    except TraceError as error:
        return error
    return None


def cuts(content: bytes) -> list[int]:
    """Twenty places to break a file off at, the ends among them."""
    return sorted({*np.linspace(0, len(content) - 1, 20, dtype=int).tolist()})


@pytest.mark.fault(23)
@pytest.mark.parametrize("name", ["t.parquet", "traces.parquet"])
def test_a_parquet_file_cut_anywhere_or_no_parquet_is_refused_by_name(
    tmp_path: Path, name: str
) -> None:
    whole = parquet_bytes()
    bad = [whole[:length] for length in cuts(whole)]
    for content in [*bad, b"", b"PAR1", b"not parquet at all", gzip.compress(whole)]:
        with pytest.raises(TraceError, match=rf"^{name} is not a sound parquet file") as refused:
            read(tmp_path, name, content)
        assert refused.value.exit_code == 3
        assert "\n" not in str(refused.value)


@pytest.mark.fault(23)
def test_the_command_names_the_file_in_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cut.parquet").write_bytes(parquet_bytes()[:700])
    with pytest.raises(SystemExit) as ended:
        main(["audit", str(tmp_path / "cut.parquet")])
    assert ended.value.code == 3
    error = capfd.readouterr().err
    assert error.startswith("gpucv: error: ")
    assert "cut.parquet is not a sound parquet file" in error
    assert error.count("\n") == 1


@pytest.mark.fault(23, 28)
def test_a_csv_file_cut_anywhere_is_refused_or_says_that_it_may_be_cut(tmp_path: Path) -> None:
    whole = table().to_pandas().to_csv(index=False).encode()
    expected = read(tmp_path, "t.csv", whole)
    assert expected.notes == ()
    for length in cuts(whole):
        if error := refusal(partial(read, tmp_path, "t.csv", whole[:length])):
            assert str(error).startswith(("t.csv", "no rows in t.csv"))
            assert error.exit_code == 3
            continue
        found = read(tmp_path, "t.csv", whole[:length])
        sound = found.frame if whole[length - 1 : length] == b"\n" else found.frame.iloc[:-1]
        pd.testing.assert_frame_equal(sound, expected.frame.iloc[: len(sound)])
        told = [note.code for note in found.notes if note.level == "warning"]
        assert told == (["no_last_line_end"] if len(sound) < len(found.frame) else [])


def samples(rows: int = 300) -> bytes:
    """JSON lines as llm-d's latency predictor keeps them."""
    record = {
        "kv_cache_percentage": 0.5,
        "input_token_length": 100,
        "num_request_waiting": 1,
        "num_request_running": 2,
        "prefix_cache_score": 0.25,
        "actual_ttft_ms": 80.0,
        "actual_tpot_ms": 12.0,
    }
    lines = (json.dumps({**record, "input_token_length": 100 + row}) + "\n" for row in range(rows))
    return "".join(lines).encode()


@pytest.mark.fault(23)
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_lines_of_json_cut_anywhere_keep_what_is_whole_and_say_so(
    tmp_path: Path, pack: Callable[[bytes], bytes]
) -> None:
    whole = pack(samples())
    expected = read(tmp_path, "s.jsonl", whole, format="llm-d").frame
    kept = 0
    for length in cuts(whole):
        if error := refusal(partial(read, tmp_path, "s.jsonl", whole[:length], format="llm-d")):
            assert str(error).startswith("s.jsonl")
            continue
        found = read(tmp_path, "s.jsonl", whole[:length], format="llm-d")
        kept += 1
        pd.testing.assert_frame_equal(found.frame, expected.iloc[: len(found.frame)])
        told = {note.code for note in found.notes}
        assert told & {"torn_last_line", "cut_gzip"} or len(found.frame) == whole.count(b"\n")
    assert kept > 2


@pytest.mark.fault(24)
def test_of_hundreds_of_flipped_bits_none_changes_a_value(tmp_path: Path) -> None:
    whole = parquet_bytes()
    path = tmp_path / "t.parquet"
    draw = np.random.default_rng(8)
    footer = footer_at(whole) * 8
    flips = [*draw.integers(0, footer, 200), *draw.integers(footer, len(whole) * 8, 300)]
    refused = 0
    for flip in flips:
        damaged = bytearray(whole)
        damaged[flip // 8] ^= 1 << int(flip % 8)
        refused += assert_refused_or_right(path, bytes(damaged), table())
    assert refused > 250


def varint(value: int) -> bytes:
    """A number as a footer has it: doubled, seven bits a byte."""
    doubled = value * 2
    return bytes([doubled & 127 | 128, doubled >> 7 & 127 | 128, doubled >> 14])


@pytest.mark.fault(24)
@pytest.mark.parametrize("wanted", [[], ["c"]], ids=["every column", "that column alone"])
def test_a_footer_that_sends_a_column_to_the_pages_of_another_is_refused(
    tmp_path: Path, wanted: list[str]
) -> None:
    """The pages' own checksums hold: only their place is wrong."""
    path = tmp_path / "t.parquet"
    numbers = pa.table({name: np.arange(2000) + first for first, name in enumerate("abc")})
    pq.write_table(
        numbers, path, write_page_checksum=True, use_dictionary=False, compression="none"
    )
    whole = path.read_bytes()
    with pq.ParquetFile(path) as file:
        group = file.metadata.row_group(0)
        places = [b"\x26" + varint(group.column(at).data_page_offset) for at in (1, 2)]
    assert whole.count(places[1]) == 1
    path.write_bytes(whole.replace(places[1], places[0]))
    believed = pq.read_table(path, page_checksum_verification=True)
    assert believed["c"].equals(numbers["b"])
    selection = Selection((), tuple(wanted) or None)
    with pytest.raises(TraceError, match="its footer sends two columns to the same bytes"):
        read_parquet(Source(path, path.name, "parquet"), selection, MemoryBudget(None))


@pytest.mark.fault(24)
@pytest.mark.parametrize("column", ["size", "count"])
def test_a_footer_that_reads_numbers_as_others_is_refused(tmp_path: Path, column: str) -> None:
    """A type is written in the schema's first copy as so many bits, signed or not."""
    one = table().select([column])
    whole = parquet_bytes(one)
    path = tmp_path / "t.parquet"
    other = 0
    start = footer_at(whole)
    for flip in range(start * 8, (start + 60) * 8):
        damaged = bytearray(whole)
        damaged[flip // 8] ^= 1 << (flip % 8)
        try:
            found = pq.read_table(io.BytesIO(damaged))
            kept = found.column_names == [column]
        except (OSError, ValueError, NotImplementedError, KeyError):
            continue
        if kept and found[column].to_pylist() != one[column].to_pylist():
            other += 1  # and pyarrow does not mind
            assert assert_refused_or_right(path, bytes(damaged), one)
    assert other > 0


@pytest.mark.fault(24)
def test_every_parquet_file_that_gpucv_writes_has_page_checksums(
    study: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "samples.jsonl").write_bytes(samples())
    how = Importing(format_named("llm-d"), load_catalog())
    import_tables(["samples.jsonl"], tmp_path / "imported.parquet", base=tmp_path, how=how)
    (tmp_path / "t.csv").write_text("x,y\n" + "1.5,2\n2.5,3\n" * 50)
    import_csv(["t.csv"], tmp_path / "csv.parquet", base=tmp_path)
    synthesize(tmp_path / "synth.parquet", rows=2000, seed=1)
    write_features(study_from_dict(study, base=tmp_path), tmp_path / "features.parquet")
    loaded = study_from_dict(study, base=tmp_path)
    frame = pd.read_parquet(tmp_path / "steps.parquet")
    save_table(build_table(frame, loaded.study, loaded.catalog), tmp_path / "table.parquet")
    gpucv.run(study, out=tmp_path / "run")
    (tmp_path / "steps.parquet").unlink()  # not gpucv's
    written = sorted(tmp_path.rglob("*.parquet"))
    assert len(written) == 5 + 4 + 1  # five here, one of each fold, one of them all
    for path in written:
        assert_checked(path)


def assert_checked(path: Path) -> None:
    """Damage one byte of the first column's pages: only a checksum notices all of these."""
    whole = path.read_bytes()
    with pq.ParquetFile(path) as file:
        chunk = file.metadata.row_group(0).column(0)
    last = (chunk.dictionary_page_offset or chunk.data_page_offset) + chunk.total_compressed_size
    damaged = bytearray(whole)
    damaged[last - 1] ^= 1
    with pytest.raises(OSError, match=r"CRC|checksum"):
        pq.read_table(io.BytesIO(damaged), page_checksum_verification=True)


@pytest.mark.fault(24)
def test_the_manifest_has_the_sum_of_a_file_without_page_checksums(
    study: dict[str, Any], tmp_path: Path
) -> None:
    result = gpucv.run(study, out=tmp_path / "run")
    (source,) = result.manifest["data"]
    path = tmp_path / "steps.parquet"
    frame = pd.read_parquet(path)
    frame.loc[3, "step.duration_us"] += 1
    frame.to_parquet(path)
    with pytest.raises(GpucvError, match="data") as refused:
        gpucv.resume(result.path)
    assert refused.value.exit_code in (2, 3)
    assert len(source["sha256"]) == 64


@pytest.mark.fault(25)
def test_two_files_that_disagree_on_a_column_name_it_and_both_types(tmp_path: Path) -> None:
    base = {"card": ["a", "b"] * 30, "t": np.arange(1.0, 61)}
    pd.DataFrame({**base, "size": range(60)}).to_parquet(tmp_path / "1.parquet")
    pd.DataFrame({**base, "size": ["small"] * 60}).to_parquet(tmp_path / "2.parquet")
    files = {"data": {"steps": ["1.parquet", "2.parquet"], "target": "t", "audit": "off"}}
    study = {
        **files,
        "features": {"columns": ["size"]},
        "schemes": [{"name": "cards", "hold_out": "card"}],
    }
    with pytest.raises(DataError) as refused:
        read_rows(study_from_dict(study, base=tmp_path))
    assert str(refused.value) == (
        "column 'size' differs between files: int64 in 1.parquet; string in 2.parquet; "
        "store it as one type"
    )
    assert refused.value.exit_code == 3


@pytest.mark.fault(25)
def test_an_import_of_csv_files_that_disagree_leaves_no_file(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_text("x,y\n1,2\n")
    (tmp_path / "2.csv").write_text("x,y\none,2\n")
    with pytest.raises(TraceError, match=r"column 'x' differs between files: int64 in 1.csv; str"):
        import_csv(["1.csv", "2.csv"], tmp_path / "out.parquet", base=tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"1.csv", "2.csv"}


DIALECTS = {
    "unix": b"size,t,card\n1,1.5,a\n2,2.5,b\n",
    "dos": b"size,t,card\r\n1,1.5,a\r\n2,2.5,b\r\n",
    "byte order mark": b"\xef\xbb\xbfsize,t,card\n1,1.5,a\n2,2.5,b\n",
    "quotes": b'"size","t","card"\n"1","1.5","a"\n\n2,2.5,"b"\n',
    "exponents": b"size,t,card\n1,15e-1,a\n2,.25e1,b\n",
}


@pytest.mark.fault(28)
@pytest.mark.parametrize("content", DIALECTS.values(), ids=DIALECTS)
def test_a_csv_file_of_another_dialect_is_read_rightly(tmp_path: Path, content: bytes) -> None:
    frame = read(tmp_path, "t.csv", content).frame
    expected = pd.DataFrame({"size": [1, 2], "t": [1.5, 2.5], "card": ["a", "b"]})
    pd.testing.assert_frame_equal(frame, expected, check_dtype=False)


@pytest.mark.fault(28)
@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"size,t,card\n1,1.5,a\n2,2.5\n", "t.csv, line 3: Expected 3 columns, got 2"),
        (b"size,t,card\n1,1.5,a,x\n", "t.csv, line 2: Expected 3 columns, got 4"),
        (b"size,t,card\n1,1,5,a\n", "t.csv, line 2: Expected 3 columns, got 4"),
        (b"size;t;card\n1;1,5;a\n", "t.csv: fields are parted by ';'; save it with commas"),
        (b"size,t,card\n1,1.5,caf\xe9\n", "t.csv, line 2: not UTF-8 text; convert it"),
        (b"size,t,card\n", "no rows in t.csv"),
        (b'size,t,card\n1,"1,5",a\n2,2.5,b\n', "target 't' holds '1,5' in row 1, which is no num"),
        (b'size,t,card\n1,1,a\n"2,5",2,b\n', "feature column 'size' holds '2,5' in row 2, which"),
    ],
    ids=["short", "long", "comma", "semicolons", "latin-1", "header", "target", "feature"],
)
def test_a_csv_file_that_cannot_be_read_says_where(
    tmp_path: Path, content: bytes, told: str
) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    study = {
        "data": {"steps": ["t.csv"], "target": "t", "audit": "off"},
        "features": {"columns": ["size"]},
        "schemes": [{"name": "cards", "hold_out": "card"}],
        "predictors": [{"name": "constant"}],
    }
    with pytest.raises(DataError) as refused:
        gpucv.run(study_of(study, tmp_path), out=tmp_path / "run")
    assert str(refused.value).replace(f"{tmp_path}/", "").startswith(told)
    assert refused.value.exit_code == 3
    assert not (tmp_path / "run").exists()


def study_of(study: dict[str, Any], folder: Path) -> dict[str, Any]:
    steps = [str(folder / name) for name in study["data"]["steps"]]
    return {**study, "data": {**study["data"], "steps": steps}}
