from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow.parquet as pq
import pytest

from gpucv.cli.main import main
from gpucv.errors import EnvironmentFaultError, GpucvError, StudyError, TraceError
from gpucv.traces import Importing, format_named, import_tables, importing, read_steps

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gpucv.catalog import Catalog
    from gpucv.traces import ImportedTable

A, B = "1-llama-2-7b-tp1-general", "2-llama-2-70b-hf-tp4-codegen"


@pytest.fixture
def recordings(tmp_path: Path, write_recording: Callable[..., Path]) -> Path:
    """Two recordings in one folder; the second was overloaded."""
    write_recording(f"in/{A}", config={"model": "llama-2-7b", "tensor_parallelism": 1})
    write_recording(f"in/{B}", failures=(3, 1))
    return tmp_path


def convert(base: Path, catalog: Catalog, *patterns: str) -> ImportedTable:
    how = Importing(format_named("otel"), catalog)
    return import_tables(patterns or ["in"], base / "out.parquet", base=base, how=how)


def test_the_file_reads_like_the_recordings(recordings: Path, catalog: Catalog) -> None:
    imported = convert(recordings, catalog)
    options = {"base": recordings, "catalog": catalog, "required": ["step.id"]}
    direct = read_steps(["in"], **options)
    table = read_steps(["out.parquet"], **options)
    pd.testing.assert_frame_equal(table.frame, direct.frame)
    assert table.notes == direct.notes == imported.notes
    assert "overload" in [note.code for note in table.notes]
    assert imported.sources == direct.sources
    assert imported.rows == 12


def test_many_row_groups_hold_the_same_rows(
    recordings: Path, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    convert(recordings, catalog)
    whole = pq.read_table(recordings / "out.parquet")
    monkeypatch.setattr(importing, "_ROW_GROUP", 4)
    monkeypatch.setattr("gpucv.traces.formats.otel.reader._BATCH_ROWS", 1)
    convert(recordings, catalog)
    file = pq.ParquetFile(recordings / "out.parquet")
    assert file.num_row_groups == 3
    assert file.read().to_pylist() == whole.to_pylist()


def test_the_file_says_what_it_is_and_guards_its_pages(recordings: Path, catalog: Catalog) -> None:
    path = convert(recordings, catalog).path
    metadata = pq.read_metadata(path).metadata
    assert metadata[b"gpucv.step_table"] == b"1"
    assert metadata[b"gpucv.synthetic"] == b"false"
    column = pq.read_metadata(path).row_group(0).column(8)
    content = bytearray(path.read_bytes())
    start = column.dictionary_page_offset or column.data_page_offset
    content[start + column.total_compressed_size - 1] ^= 1
    path.write_bytes(content)
    with pytest.raises(TraceError, match=r"out.parquet is not a sound parquet file: .*CRC"):
        read_steps(["out.parquet"], base=recordings, catalog=catalog, required=[])


def test_a_damaged_recording_leaves_the_old_file_and_nothing_beside(
    recordings: Path, catalog: Catalog
) -> None:
    (recordings / "out.parquet").write_text("old")
    before = sorted(recordings.iterdir())
    with (recordings / "in" / B / "traces.json").open("a") as file:
        file.write("{\n")
    with pytest.raises(TraceError, match="line 4: not JSON"):
        convert(recordings, catalog)
    assert (recordings / "out.parquet").read_text() == "old"
    assert sorted(recordings.iterdir()) == before


def test_progress_ends_at_all_bytes(recordings: Path, catalog: Catalog) -> None:
    seen: list[importing.Progress] = []
    how = Importing(format_named("otel"), catalog, on_progress=seen.append)
    import_tables(["in"], recordings / "out.parquet", base=recordings, how=how)
    assert seen[-1].bytes == seen[-1].bytes_total
    assert [step.bytes for step in seen] == sorted(step.bytes for step in seen)
    assert seen[-1].files_total == 2


@pytest.mark.parametrize(
    ("pattern", "error", "message"),
    [
        ("nothing", StudyError, "no such file or folder: 'nothing'"),
        ("table.csv", StudyError, "table.csv is no file of format otel"),
    ],
)
def test_anything_but_recordings_is_refused(
    recordings: Path, catalog: Catalog, pattern: str, error: type[GpucvError], message: str
) -> None:
    (recordings / "table.csv").write_text("x\n1\n")
    with pytest.raises(error, match=message):
        convert(recordings, catalog, pattern)
    assert not (recordings / "out.parquet").exists()


def test_a_place_that_cannot_be_written_is_an_environment_fault(
    recordings: Path, catalog: Catalog
) -> None:
    how = Importing(format_named("otel"), catalog)
    with pytest.raises(EnvironmentFaultError, match="cannot write"):
        import_tables(["in"], recordings / "no/such/out.parquet", base=recordings, how=how)


def command(*words: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(["import", *words])
    return int(left.value.code or 0)


def test_the_command_prints_the_path_and_tells_the_rest_on_stderr(
    recordings: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(recordings)
    assert command("otel", "in", "-o", "out.parquet") == 0
    printed = capsys.readouterr()
    assert printed.out == "out.parquet\n"
    assert "6 rows in in/1-llama-2-7b-tp1-general/traces.json" in printed.err
    assert "warning: " in printed.err


def test_the_command_speaks_json(
    recordings: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(recordings)
    assert command("otel", f"in/{A}", f"in/{B}", "-o", "out.parquet", "--json", "-q") == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert (found["path"], found["rows"], len(found["sources"])) == ("out.parquet", 12, 2)
    assert printed.err == ""


def test_the_command_exits_with_the_code_of_its_fault(
    recordings: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(recordings)
    assert command("otel", "nothing", "-o", "out.parquet") == 2
    (recordings / "in" / A / "traces.json").write_text("{}\n")
    assert command("otel", "in", "-o", "out.parquet") == 3
    assert capsys.readouterr().err.count("\n") == 2
