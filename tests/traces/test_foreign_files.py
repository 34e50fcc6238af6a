"""Faults that files from other hands brought to light, each with the file that showed it."""

from __future__ import annotations

import errno
import json
import os
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from gpucv.errors import EnvironmentFaultError, StudyError, TraceError
from gpucv.runs.disk import atomic_write, atomic_write_with
from gpucv.schema import CYCLE_US, STEP_ID, TS_START_NS
from gpucv.traces import Importing, Note, derive_targets, format_named, import_tables, read_steps
from gpucv.traces.formats.csv_columns import CsvColumns
from gpucv.traces.memory import MemoryBudget
from gpucv.traces.parquet import refusing_damage
from gpucv.traces.provenance import gathered
from gpucv.traces.sources import Source, find_sources
from gpucv.traces.step_table import ReadOptions
from gpucv.workflow.auditing import AuditRequest, audit_traces

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gpucv.catalog import Catalog

BYTE_NAME = os.fsdecode(b"perf_\xff.csv")


@pytest.fixture
def points(tmp_path: Path, shared_data: Path) -> Path:
    """Splitwise's measurements under another name than theirs."""
    path = tmp_path / "points.csv"
    shutil.copyfile(shared_data / "splitwise" / "perf_model.csv", path)
    return path


def columns_of(tmp_path: Path, content: bytes) -> CsvColumns:
    (tmp_path / "mlp.csv").write_bytes(content)
    return CsvColumns(Source(tmp_path / "mlp.csv", "mlp.csv", "vidur"), MemoryBudget())


def test_two_names_of_one_model_in_one_file_are_one_category(
    tmp_path: Path, catalog: Catalog
) -> None:
    names = ["llama-2-70b", "llama-2-70b-hf", "mine", None, "meta-llama/Llama-2-70b-hf"]
    pd.DataFrame({"model": names, "y": range(5)}).to_parquet(tmp_path / "t.parquet")
    options = ReadOptions(labels="category")
    read = read_steps(["t.parquet"], base=tmp_path, catalog=catalog, required=[], options=options)
    found = read.frame["model"]
    assert list(found.cat.categories) == ["llama-2-70b", "mine"]
    assert found.isna().tolist() == [False, False, False, True, False]
    assert found.dropna().tolist() == ["llama-2-70b", "llama-2-70b", "mine", "llama-2-70b"]


def test_a_step_without_a_time_stamp_is_no_clock_that_went_backwards() -> None:
    starts = [0.0, 20e3, np.nan, 60e3, 80e3]
    frame = pd.DataFrame({STEP_ID: range(5), TS_START_NS: starts})
    derived, (note,) = derive_targets(frame)
    np.testing.assert_array_equal(derived[CYCLE_US], [20, np.nan, np.nan, 20, np.nan])
    assert "backwards" not in note.message
    assert note.message.startswith(f"{CYCLE_US}: 2 of 5 steps have their successor recorded")
    assert note.level == "info"


@pytest.mark.parametrize(
    ("count", "end"), [(0, "3 more like it)"), (2, "3 more like it, 8 in all)")]
)
def test_notes_that_count_nothing_are_gathered_without_a_sum(count: int, end: str) -> None:
    (note,) = gathered(Note("rebuilt", f"file {at}", count, "info") for at in range(4))
    assert note.message.endswith(end)


def test_bytes_zero_in_a_csv_file_are_damage_and_no_end_of_a_number(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"mlp.csv, line 3: bytes 0 among the text"):
        columns_of(tmp_path, b"x,y\n1,2\n12\x00\x0034,5\n")


def test_a_value_too_large_to_be_measured_is_refused_before_it_overflows(tmp_path: Path) -> None:
    file = columns_of(tmp_path, b"x,y\n1,2\n1e308,5\n")
    with pytest.raises(TraceError, match=r"line 3: 'x' holds 1e\+308, too large to be measured"):
        file.numbers("x")


@pytest.mark.parametrize("mark", [";", "\t", "|"])
def test_fields_parted_by_other_marks_are_told(mark: str, tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"fields are parted by .*; save it with commas"):
        columns_of(tmp_path, mark.join("xyz").encode() + b"\n" + mark.join("123").encode())


def test_whole_numbers_are_shown_as_the_file_has_them(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="'x' holds 0, and cannot be below 1"):
        columns_of(tmp_path, b"x,y\n0,2\n").numbers("x", least=1)


def test_passes_without_a_median_are_counted(
    tmp_path: Path, shared_data: Path, catalog: Catalog
) -> None:
    folder = "a100/meta-llama/Llama-2-7b-hf"
    frame = pd.read_csv(shared_data / "vidur" / folder / "mlp.csv")
    frame.loc[[5, 9], "time_stats.mlp_up_proj.median"] = np.nan
    (tmp_path / folder).mkdir(parents=True)
    frame.to_csv(tmp_path / folder / "mlp.csv", index=False)
    options = ReadOptions(format="vidur")
    read = read_steps(["a100"], base=tmp_path, catalog=catalog, required=[], options=options)
    (note,) = [note for note in read.notes if note.code == "time_missing"]
    assert (note.count, note.level) == (2, "warning")
    assert "2 passes of mlp_up_proj have no median" in note.message
    assert (read.frame["op"] == "mlp_up_proj").sum() == len(frame) - 2


def test_a_file_name_that_is_no_text_is_spelt_out_in_the_rows(
    points: Path, tmp_path: Path, catalog: Catalog
) -> None:
    points.rename(tmp_path / BYTE_NAME)
    how = Importing(format_named("splitwise"), catalog)
    table = import_tables([BYTE_NAME], tmp_path / "out.parquet", base=tmp_path, how=how)
    assert table.sources[0].path == "perf_\\udcff.csv"
    written = pd.read_parquet(tmp_path / "out.parquet", columns=["source_file"])
    assert set(written["source_file"]) == {"perf_\\udcff.csv"}


def test_repeats_are_not_kept_in_silence_where_they_were_to_be_joined(
    points: Path, tmp_path: Path, catalog: Catalog
) -> None:
    refused = "vidur and splitwise have their repeats joined while they are read, {} keeps every"
    how = Importing(format_named("llm-d"), catalog, repeats="median")
    with pytest.raises(StudyError, match=refused.format("llm-d")):
        import_tables(["x.jsonl"], tmp_path / "out.parquet", base=tmp_path, how=how)
    kept = Importing(format_named("splitwise"), catalog)
    import_tables([points.name], tmp_path / "kept.parquet", base=tmp_path, how=kept)
    options = ReadOptions(repeats="median")
    with pytest.raises(StudyError, match=refused.format("parquet")):
        read_steps(["kept.parquet"], base=tmp_path, catalog=catalog, required=[], options=options)


def test_a_file_whose_every_row_was_left_out_says_why(tmp_path: Path, catalog: Catalog) -> None:
    idle = {"version": 1, "counter_id": 1, "wall_time": 0, "scheduled_requests": {}}
    counts = ("num_prefill_requests", "sum_prefill_tokens", "sum_prefill_kv_tokens")
    idle["scheduled_requests"] = dict.fromkeys(
        (*counts, "num_decode_requests", "sum_decode_kv_tokens"), 0
    )
    (tmp_path / "f.jsonl").write_text(json.dumps(idle) + "\n")
    why = r"no rows in f.jsonl; f.jsonl: 1 reports of an idle engine were left out"
    how = Importing(format_named("fpm"), catalog)
    with pytest.raises(TraceError, match=why):
        import_tables(["f.jsonl"], tmp_path / "out.parquet", base=tmp_path, how=how)
    options = ReadOptions(format="fpm")
    with pytest.raises(TraceError, match=why):
        read_steps(["f.jsonl"], base=tmp_path, catalog=catalog, required=[], options=options)


def test_a_plain_table_that_holds_what_a_format_does_is_pointed_out(points: Path) -> None:
    (source,), (note,) = find_sources([points.name], points.parent)
    assert (source.kind, note.code, note.level) == ("csv", "looks_like", "warning")
    assert "points.csv is read as a plain table; it looks like splitwise" in note.message
    assert find_sources([points.name], points.parent, "table")[1] == ()
    assert find_sources([points.name], points.parent, "splitwise")[0][0].kind == "splitwise"


def test_a_file_of_another_format_is_refused_with_that_format_s_name(points: Path) -> None:
    looks = r"points.csv is no file of format vidur \(.*\); it looks like splitwise"
    with pytest.raises(StudyError, match=looks):
        find_sources([points.name], points.parent, "vidur")
    settings = points.with_name("settings.yml")
    settings.write_text("models: []\n")
    with pytest.raises(StudyError, match=r"unknown suffix '.yml'; it looks like blis"):
        find_sources([settings.name], points.parent)


def test_a_folder_that_cannot_be_listed_is_not_passed_over(
    points: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = points.parent / "closed"
    closed.mkdir()
    listed = os.scandir

    def scandir(path: Any) -> Iterator[Any]:
        if os.fspath(path) == os.fspath(closed):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.fspath(path))
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(EnvironmentFaultError, match=r"cannot read folder .*closed: Permission"):
        find_sources(["."], points.parent)


def test_an_output_never_takes_the_place_of_a_pipe_a_device_or_a_folder(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(EnvironmentFaultError, match="pipe: it is no regular file; name a file"):
        atomic_write(tmp_path / "pipe", "text")
    assert (tmp_path / "pipe").is_fifo()
    with pytest.raises(EnvironmentFaultError, match="it is a folder; name a file"):
        atomic_write(tmp_path, "text")


def test_a_failed_write_names_the_file_asked_for_alone(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    def write(beside: Path) -> None:
        pq.write_table(pq.read_table(tmp_path / "one.parquet"), beside)

    pd.DataFrame({"x": [1]}).to_parquet(tmp_path / "one.parquet")
    with pytest.raises(EnvironmentFaultError) as refused:
        atomic_write_with(tmp_path / "no" / "x.parquet", write)
    assert str(refused.value) == f"cannot write {tmp_path}/no/x.parquet: No such file or directory"


def test_a_parquet_file_one_may_not_read_is_told_in_the_system_s_words() -> None:
    theirs = "Failed to open local file '/a/t.parquet'. Detail: [errno 13] Permission denied"
    with (
        pytest.raises(EnvironmentFaultError, match=r"^cannot read t.parquet: Permission denied$"),
        refusing_damage("t.parquet"),
    ):
        raise PermissionError(errno.EACCES, theirs)


def test_a_target_that_cannot_be_judged_does_not_save_those_that_fail(
    tmp_path: Path, catalog: Catalog
) -> None:
    steps = np.arange(0, 600, 2)  # no step's successor is recorded: no cycle to judge
    frame = pd.DataFrame({"model": "llama-2-70b", "tp": 4, "experiment_id": "a", STEP_ID: steps})
    frame[TS_START_NS] = steps * 20_000_000
    frame["step.duration_us"] = 300 + steps
    frame["batch.scheduled_tokens"] = 5 + steps % 7
    frame.to_parquet(tmp_path / "t.parquet")
    audited = audit_traces(AuditRequest(("t.parquet",), tmp_path), catalog)
    verdicts = {target.target: target.verdict for target in audited.audit.targets}
    assert verdicts == {"step.duration_us": "fail", CYCLE_US: "unknown"}
    assert audited.failed()


def test_equal_rows_are_equal_in_the_columns_read(tmp_path: Path, catalog: Catalog) -> None:
    pd.DataFrame({"x": [1, 1, 2], "latency_us": [5.0, 5, 6]}).to_csv(
        tmp_path / "t.csv", index=False
    )
    audited = audit_traces(AuditRequest(("t.csv",), tmp_path), catalog)
    (found,) = [each for each in audited.audit.findings if each.code == "duplicate_rows"]
    assert "2 rows equal another in every column read, 1 of them" in found.message
