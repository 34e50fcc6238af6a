from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from gpucv.errors import StudyError
from gpucv.traces.sources import find_sources

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")


def names(patterns: list[str], base: Path) -> list[str]:
    return [source.name for source in find_sources(patterns, base)[0]]


def test_files_folders_and_globs_mix_in_the_order_named(tmp_path: Path) -> None:
    touch(tmp_path, "z.csv", "b/2.parquet", "b/1.csv", "b/deep/3.parquet", "g/9.csv", "g/8.csv")
    found = names(["z.csv", "b", "g/*.csv"], tmp_path)
    assert found == ["z.csv", "b/1.csv", "b/2.parquet", "b/deep/3.parquet", "g/8.csv", "g/9.csv"]


def test_a_recording_is_one_source_whatever_else_its_folder_holds(
    tmp_path: Path, write_recording: Callable[..., Path]
) -> None:
    folder = write_recording("recordings/1-llama-2-7b-tp1-general")
    touch(folder, "results/per_request.csv", "kv.parquet")
    (source,), _ = find_sources(["recordings"], tmp_path)
    assert (source.kind, source.name) == (
        "otel",
        "recordings/1-llama-2-7b-tp1-general/traces.json",
    )
    assert names(["recordings/*"], tmp_path) == names(["recordings"], tmp_path)
    assert names([f"{source.name}"], tmp_path) == [source.name]


def test_a_name_that_exists_is_no_glob(tmp_path: Path) -> None:
    touch(tmp_path, "a[1].csv", "a1.csv", "*.csv")
    assert names(["a[1].csv"], tmp_path) == ["a[1].csv"]
    assert names(["*.csv"], tmp_path) == ["*.csv"]


def test_absolute_patterns_leave_the_base(tmp_path: Path) -> None:
    touch(tmp_path, "data/a.csv")
    assert names([f"{tmp_path}/data/*.csv"], tmp_path / "elsewhere") == [f"{tmp_path}/data/a.csv"]


def test_suffixes_are_known_in_any_case(tmp_path: Path) -> None:
    touch(tmp_path, "A.CSV", "B.Parquet")
    assert names(["."], tmp_path) == ["A.CSV", "B.Parquet"]


def test_other_files_of_a_folder_or_glob_are_skipped_and_counted(tmp_path: Path) -> None:
    touch(tmp_path, "d/a.csv", "d/LICENSE", "d/.hidden.csv", "d/_SUCCESS")
    for pattern in ("d", "d/*"):
        sources, (note,) = find_sources([pattern], tmp_path)
        assert len(sources) == 1
        assert note.code == "skipped_files"
        assert "LICENSE" in note.message


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        (["nothing.parquet"], "no such file or folder: 'nothing.parquet'"),
        (["stepz.csv"], "did you mean 'steps.csv'"),
        (["*.parquet"], r"'\*.parquet' matches nothing in"),
        (["notes.txt"], "notes.txt is no parquet file.*unknown suffix '.txt'"),
        (["*.txt"], r"'\*.txt' holds no .parquet or .csv file.*it holds notes.txt"),
        (["empty"], "'empty' holds no .parquet or .csv file and no recording"),
        (["steps.csv", "steps.csv"], "steps.csv is named twice"),
        (["steps.csv", "*.csv"], r"named twice, by 'steps.csv' and '\*.csv'"),
        (["steps.csv", "link.csv"], "link.csv is named twice"),
        (["dangling.csv"], "cannot read dangling.csv: No such file"),
        (["pipe.csv"], "pipe.csv is not a regular file"),
        (["steps.csv/inside.csv"], "no such file or folder"),
        (["bad\0name.csv"], "no such file or folder"),
        (["n" * 5000], "no such file or folder"),
        ([" "], "an empty name"),
        ([], "no step tables named"),
    ],
)
def test_a_pattern_that_names_nothing_readable_is_a_study_error(
    tmp_path: Path, patterns: list[str], message: str
) -> None:
    touch(tmp_path, "steps.csv", "notes.txt")
    (tmp_path / "empty").mkdir()
    (tmp_path / "elsewhere").mkdir()
    touch(tmp_path, "elsewhere/other.csv")
    (tmp_path / "dangling.csv").symlink_to(tmp_path / "gone.csv")
    if patterns[-1:] == ["link.csv"]:
        (tmp_path / "link.csv").symlink_to(tmp_path / "steps.csv")
    if patterns == ["pipe.csv"]:
        os.mkfifo(tmp_path / "pipe.csv")
    if patterns == ["steps.csv", "*.csv"]:
        (tmp_path / "dangling.csv").unlink()
    with pytest.raises(StudyError, match=message) as caught:
        find_sources(patterns, tmp_path)
    assert "\n" not in str(caught.value)
