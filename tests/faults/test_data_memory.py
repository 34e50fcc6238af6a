"""Files far larger than the memory they may take: streamed, or refused before they are read."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gpucv.catalog import load_catalog
from gpucv.errors import StudyError, TraceError
from gpucv.traces import import_csv, memory, read_steps
from gpucv.traces.memory import MemoryBudget
from gpucv.traces.parquet import read_parquet
from gpucv.traces.piece import Selection
from gpucv.traces.sources import Source
from gpucv.traces.step_table import ReadOptions

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1 << 20
PEAK = """
import re, sys
from pathlib import Path
import pandas, pyarrow.compute, pyarrow.csv, pyarrow.parquet
from gpucv.catalog import load_catalog
from gpucv.errors import GpucvError
from gpucv.traces import Importing, format_named, import_csv, import_tables
def peak():  # of this program: getrusage would count that of the one it was started by
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024
file, kind = Path(sys.argv[1]), sys.argv[2]
out = file.with_suffix(".imported")
catalog, before = load_catalog(), peak()
try:
    if kind == "csv":
        rows = import_csv([file.name], out, base=file.parent).rows
    else:
        how = Importing(format_named(kind), catalog)
        rows = import_tables([file.name], out, base=file.parent, how=how).rows
except GpucvError as error:
    rows = error
print(peak() - before, rows)
"""


def imported(path: Path, kind: str) -> tuple[int, str]:
    """Import a file in a process of its own: the memory that took, bytes, and what came of it."""
    words = [sys.executable, "-c", PEAK, str(path), kind]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=300)
    taken, _, told = done.stdout.strip().partition(" ")
    return int(taken), told


@pytest.mark.fault(26)
def test_a_footer_that_claims_a_trillion_rows_is_refused_before_it_is_believed(
    tmp_path: Path,
) -> None:
    path = tmp_path / "bomb.parquet"
    pq.write_table(pa.table({"x": np.arange(60.0)}), path)
    whole = path.read_bytes()
    start = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    claimed, varint = 2 * 10**12, bytearray()  # numbers are stored doubled
    while claimed > 127:
        varint.append(claimed % 128 + 128)
        claimed //= 128
    varint.append(claimed)
    footer = whole[start:-8].replace(b"\x16\x78", b"\x16" + bytes(varint), 1)
    path.write_bytes(whole[:start] + footer + len(footer).to_bytes(4, "little") + b"PAR1")
    assert pq.read_metadata(path).num_rows == 10**12
    source = Source(path, path.name, "parquet")
    with pytest.raises(TraceError, match=r"^bomb.parquet: needs 7,450.58 GiB in memory") as told:
        read_parquet(source, Selection((), None), MemoryBudget())
    assert told.value.exit_code == 3
    with pytest.raises(TraceError, match="1000000000000 rows announced, 60 found"):
        read_parquet(source, Selection((), None), MemoryBudget(1 << 50))


@pytest.mark.fault(26)
def test_a_line_without_end_in_a_gzip_file_is_refused_in_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "bomb.jsonl"
    path.write_bytes(gzip.compress(b'{"a": "' + b"x" * (400 * MIB), 1))
    assert path.stat().st_size < 4 * MIB
    taken, told = imported(path, "llm-d")
    assert told == "bomb.jsonl, line 1: longer than 16 MiB; the format has one record on each line"
    assert taken < 100 * MIB


@pytest.mark.fault(26)
def test_many_lines_in_a_small_gzip_file_are_streamed_by_an_import_and_refused_by_a_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = {
        "kv_cache_percentage": 0.5,
        "input_token_length": 100,
        "num_request_waiting": 1,
        "num_request_running": 2,
        "prefix_cache_score": 0.25,
        "actual_ttft_ms": 80.0,
        "actual_tpot_ms": 12.0,
        "padding": "x" * 2000,
    }
    path = tmp_path / "bomb.jsonl"
    path.write_bytes(gzip.compress((json.dumps(record) + "\n").encode() * 100_000, 1))
    assert path.stat().st_size < 4 * MIB
    taken, told = imported(path, "llm-d")
    assert told == "100000"
    assert taken < 120 * MIB  # of 210 unpacked
    monkeypatch.setattr(memory, "available_bytes", lambda: 4 * MIB)
    options = ReadOptions(format="llm-d")
    with pytest.raises(TraceError, match=r"^bomb.jsonl: needs .* name fewer files or columns"):
        read_steps([path.name], base=tmp_path, catalog=load_catalog(), required=[], options=options)


@pytest.mark.fault(26)
def test_a_packed_csv_file_is_not_unpacked(tmp_path: Path) -> None:
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"x,y\n1,2\n"))
    with pytest.raises(StudyError, match=r"unknown suffix '.gz'"):
        read_steps(["t.csv.gz"], base=tmp_path, catalog=load_catalog(), required=[])
    (tmp_path / "t.csv").write_bytes(gzip.compress(b"x,y\n1,2\n"))
    with pytest.raises(TraceError, match=r"t.csv, line 1: not UTF-8 text"):
        read_steps(["t.csv"], base=tmp_path, catalog=load_catalog(), required=[])


def write_csv(path: Path, size: int) -> int:
    """Write a table of about `size` bytes; return its rows."""
    draw = np.random.default_rng(1)
    frame = pd.DataFrame(draw.random((20_000, 3)), columns=["a", "b", "c"])
    frame["model"] = np.tile(["llama-2-7b", "llama-2-70b"], 10_000)
    frame["step.id"] = np.arange(20_000)
    block = frame.to_csv(index=False, header=False).encode()
    with path.open("wb") as file:
        file.write(",".join(frame.columns).encode() + b"\n")
        for _ in range(size // len(block)):
            file.write(block)
    return size // len(block) * 20_000


@pytest.mark.fault(27)
def test_a_csv_file_five_times_as_large_is_imported_in_the_same_memory(tmp_path: Path) -> None:
    rows = write_csv(tmp_path / "small.csv", 40 * MIB)
    less, told = imported(tmp_path / "small.csv", "csv")
    assert int(told) == rows
    rows = write_csv(tmp_path / "large.csv", 200 * MIB)
    more, told = imported(tmp_path / "large.csv", "csv")
    assert int(told) == rows
    assert more - less < 80 * MIB  # of 160 more
    with pq.ParquetFile(tmp_path / "large.imported") as file:
        assert file.metadata.num_rows == rows
        assert file.metadata.row_group(0).num_rows < rows / 4


@pytest.mark.fault(27)
def test_a_csv_file_too_large_for_a_study_is_refused_while_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_csv(tmp_path / "large.csv", 100 * MIB)  # in memory, 0.04 GiB
    monkeypatch.setattr(memory, "available_bytes", lambda: 20 * MIB)
    with pytest.raises(TraceError, match=r"^large.csv: needs 0.01 GiB .* fewer files or columns"):
        read_steps(["large.csv"], base=tmp_path, catalog=load_catalog(), required=[])
    # The columns that are needed fit.
    found = read_steps(
        ["large.csv"], base=tmp_path, catalog=load_catalog(), required=["a"], columns=["a"]
    )
    assert len(found.frame) > 200_000


@pytest.mark.fault(27)
def test_an_imported_csv_table_reads_as_the_text_does(tmp_path: Path) -> None:
    rows = [
        "experiment_id,model,tp,x,fused,note",
        "001,llama-2-7b,2,1,True,",
        "002,llama-2-70b,4,2.5,False,",
    ]
    late = "003,llama-2-7b,4,7,True,a word"
    (tmp_path / "t.csv").write_text("\n".join([*rows, *rows[1:] * 30_000, late]) + "\n")
    table = import_csv(["t.csv"], tmp_path / "t.parquet", base=tmp_path)
    assert table.rows == 60_003
    text, imported_text = (
        read_steps([name], base=tmp_path, catalog=load_catalog(), required=[])
        for name in ("t.csv", "t.parquet")
    )
    pd.testing.assert_frame_equal(text.frame, imported_text.frame)
    assert text.notes == imported_text.notes == table.notes
