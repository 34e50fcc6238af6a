from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

from gpucv import schema
from gpucv.catalog import load_catalog
from gpucv.errors import EnvironmentFaultError, StudyError
from gpucv.traces import read_steps
from gpucv.traces.synth import synthesize
from gpucv.traces.synth.content import ContentDigest
from gpucv.traces.synth.write import GENERATOR

if TYPE_CHECKING:
    from gpucv.traces.synth import SynthReport


def content_of(path: Path) -> str:
    table = pq.read_table(path)
    digest = ContentDigest(table.schema)
    digest.update(table)
    return digest.hexdigest()


@pytest.mark.slow
def test_seed_42_gives_the_committed_study(study_path: Path, tmp_path: Path) -> None:
    report = synthesize(tmp_path / "again.parquet")
    assert report.rows == 122_752
    assert report.content_sha256 == content_of(study_path)


def test_the_readme_names_the_checksum_and_the_generator(study_path: Path) -> None:
    readme = study_path.with_name("README.md").read_text(encoding="utf-8")
    assert "SYNTHETIC" in readme.splitlines()[0]
    assert f"`{content_of(study_path)}`" in readme
    assert re.search(rf"generator version {GENERATOR}\b", readme)


def test_the_same_seed_gives_the_same_bytes(small: SynthReport, tmp_path: Path) -> None:
    again = synthesize(tmp_path / "again.parquet", rows=2000)
    digests = [hashlib.sha256(r.path.read_bytes()).hexdigest() for r in (small, again)]
    assert digests[0] == digests[1]


def test_another_seed_gives_other_values(small: SynthReport, tmp_path: Path) -> None:
    other = synthesize(tmp_path / "other.parquet", rows=2000, seed=43)
    assert other.content_sha256 != small.content_sha256


def test_the_report_says_what_was_written(small: SynthReport) -> None:
    table = pq.read_table(small.path)
    assert small.rows == table.num_rows == 2000
    assert small.recordings == len(table.column(schema.EXPERIMENT).unique()) == 16
    assert small.bytes == small.path.stat().st_size
    assert small.content_sha256 == content_of(small.path)


def test_every_reader_is_told_that_the_rows_are_synthetic(small: SynthReport) -> None:
    metadata = pq.read_schema(small.path).metadata
    assert metadata[b"gpucv.step_table"] == str(schema.STEP_TABLE_SCHEMA).encode()
    assert metadata[b"gpucv.synthetic"] == b"true"
    assert metadata[b"gpucv.synthetic.seed"] == b"42"
    assert metadata[b"gpucv.synthetic.generator"] == GENERATOR.encode()
    steps = read_steps(
        [str(small.path)], base=small.path.parent, catalog=load_catalog(), required=[]
    )
    assert steps.synthetic
    assert len(steps.frame) == 2000


def test_a_flipped_bit_is_noticed(small: SynthReport, tmp_path: Path) -> None:
    data = bytearray(small.path.read_bytes())
    data[len(data) // 2] ^= 1
    damaged = tmp_path / "damaged.parquet"
    damaged.write_bytes(data)
    with pytest.raises(OSError, match=r"CRC|checksum"):
        pq.ParquetFile(damaged, page_checksum_verification=True).read()


def test_one_row_group_for_each_recording(small: SynthReport) -> None:
    assert pq.ParquetFile(small.path).num_row_groups == small.recordings


class StoppedError(Exception):
    pass


def test_an_interrupted_run_keeps_the_old_file_and_leaves_nothing(tmp_path: Path) -> None:
    out = tmp_path / "study.parquet"
    out.write_bytes(b"the old file")

    def stop(written: int, total: int) -> None:
        raise StoppedError

    with pytest.raises(StoppedError):
        synthesize(out, rows=2000, progress=stop)
    assert out.read_bytes() == b"the old file"
    assert list(tmp_path.iterdir()) == [out]


def test_progress_counts_up_to_all_rows(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    synthesize(tmp_path / "s.parquet", rows=2000, progress=lambda *counts: seen.append(counts))
    assert len(seen) == 16
    assert seen == sorted(seen)
    assert seen[-1] == (2000, 2000)


def test_folders_on_the_way_are_created(tmp_path: Path) -> None:
    assert synthesize(tmp_path / "a" / "b.parquet", rows=800).path.is_file()


def test_a_folder_is_no_place_to_write_to(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFaultError, match="it is a folder; name a parquet file"):
        synthesize(tmp_path, rows=2000)


def test_a_device_is_not_replaced_by_a_file() -> None:
    with pytest.raises(EnvironmentFaultError, match="not a regular file"):
        synthesize(Path("/dev/null"), rows=2000)
    assert Path("/dev/null").is_char_device()


def test_a_folder_that_cannot_be_created_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentFaultError, match=r"cannot create .*/file/below: Not a dir"):
        synthesize(tmp_path / "file" / "below" / "s.parquet", rows=2000)


def test_a_negative_seed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="seed is -1"):
        synthesize(tmp_path / "s.parquet", seed=-1)
