from __future__ import annotations

import errno
import json
import math
import os
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpucv.errors import EnvironmentFaultError, RunError
from gpucv.runs import atomic_write, atomic_write_with, new_run_folder, read_json, to_json
from gpucv.runs.layout import atomic_folder


def refuse(*_: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_run_folder_is_named_after_its_time_and_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first, second = new_run_folder("h3", None), new_run_folder("h3", None)
    assert re.fullmatch(r"runs/\d{8}T\d{6}Z-h3-[0-9a-f]{8}", str(first))
    assert first != second
    assert not first.exists()


@pytest.mark.parametrize("name", ["../../etc", "a/b", "\x1b]0;x\x07", "..", "\0", "é" * 400])
def test_no_study_name_leads_out_of_the_runs_folder(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = new_run_folder(name, None)
    assert folder.parent == Path("runs")
    assert re.fullmatch(r"[0-9A-Za-z-]{1,80}", folder.name)


def test_an_empty_folder_may_be_filled(tmp_path: Path) -> None:
    assert new_run_folder("h3", tmp_path) == tmp_path
    assert new_run_folder("h3", tmp_path / "a" / "b") == tmp_path / "a" / "b"


def test_a_folder_in_use_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(EnvironmentFaultError, match="not an empty folder") as caught:
        new_run_folder("h3", tmp_path)
    assert "resume" not in str(caught.value)


def test_an_unfinished_run_there_can_be_resumed(tmp_path: Path) -> None:
    folder = tmp_path / "my run"
    folder.mkdir()
    (folder / "manifest.json").touch()
    with pytest.raises(EnvironmentFaultError, match=re.escape(f"gpucv resume '{folder}'")):
        new_run_folder("h3", folder)


@pytest.mark.parametrize("place", ["file", "file/below", "x" * 300])
def test_a_place_that_cannot_hold_a_folder_is_refused(place: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EnvironmentFaultError, match="choose another --out"):
        new_run_folder("h3", tmp_path / place)


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    atomic_write(path, "before")
    atomic_write(path, "after é")
    assert path.read_text(encoding="utf-8") == "after é"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("call", ["os.open", "os.fsync", "pathlib.Path.replace"])
def test_a_refused_write_leaves_the_old_file_and_no_other(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.txt"
    atomic_write(path, "before")
    with monkeypatch.context() as patched:
        patched.setattr(call, refuse)
        with pytest.raises(EnvironmentFaultError, match=r"cannot write .*No space left"):
            atomic_write(path, "after")
    assert path.read_text(encoding="utf-8") == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupted_write_leaves_nothing(tmp_path: Path) -> None:
    def write(beside: Path) -> None:
        beside.write_text("half", encoding="utf-8")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        atomic_write_with(tmp_path / "a.txt", write)
    assert not list(tmp_path.iterdir())


def test_the_files_of_a_folder_appear_together(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "0007") as folder:
        (folder / "a").touch()
        assert not (tmp_path / "0007").exists()
        (folder / "b").touch()
    assert sorted(path.name for path in (tmp_path / "0007").iterdir()) == ["a", "b"]
    assert [path.name for path in tmp_path.iterdir()] == ["0007"]


@pytest.mark.parametrize("call", ["os.fsync", "pathlib.Path.rename"])
def test_a_folder_that_cannot_be_written_does_not_appear(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(call, refuse)
        with (
            pytest.raises(EnvironmentFaultError, match="cannot write"),
            atomic_folder(tmp_path / "0007") as folder,
        ):
            (folder / "a").touch()
    assert not list(tmp_path.iterdir())


def test_a_folder_already_there_stays(tmp_path: Path) -> None:
    for content in ("first", "second"):
        with atomic_folder(tmp_path / "0007") as folder:
            (folder / "a").write_text(content, encoding="utf-8")
    assert (tmp_path / "0007" / "a").read_text(encoding="utf-8") == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["0007"]


@given(st.dictionaries(st.text(), st.floats() | st.text() | st.integers() | st.none()))
def test_json_holds_what_was_written_and_null_for_what_json_lacks(value: dict[str, Any]) -> None:
    def no_constant(name: str) -> None:
        pytest.fail(f"{name} is not JSON")

    found = json.loads(to_json(value), parse_constant=no_constant)
    for key, item in value.items():
        odd = isinstance(item, float) and not math.isfinite(item)
        assert found[key] == (None if odd else item)


def test_a_path_that_is_no_text_survives_json(tmp_path: Path) -> None:
    atomic_write(tmp_path / "a.json", to_json({"path": os.fsdecode(b"caf\xe9")}))
    assert os.fsencode(read_json(tmp_path / "a.json")["path"]) == b"caf\xe9"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file or directory; is this a run folder"),
        (b"{", "is this a run folder"),
        (b"\xff\xfe", "is this a run folder"),
        (b"[1]", "holds a list, not an object"),
        (b"[" * 100_000, "is this a run folder"),
    ],
)
def test_what_is_no_json_object_is_refused(
    content: bytes | None, message: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(RunError, match=message):
        read_json(tmp_path / "a.json")
