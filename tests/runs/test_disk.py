from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any

import pytest

from gpucv.errors import EnvironmentFaultError
from gpucv.runs import atomic_write, atomic_write_with
from gpucv.runs.disk import atomic_folder, remove_file, remove_folder

if TYPE_CHECKING:
    from pathlib import Path


def refuse(*_: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


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


def test_a_folder_is_removed_at_once_or_stays_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "0007"
    folder.mkdir()
    (folder / "DONE").touch()
    with monkeypatch.context() as patched:
        patched.setattr("pathlib.Path.rename", refuse)
        with pytest.raises(EnvironmentFaultError, match=r"cannot remove .*No space left"):
            remove_folder(folder)
    assert (folder / "DONE").exists()
    with monkeypatch.context() as patched:
        patched.setattr("shutil.rmtree", lambda *_, **__: None)  # killed in that moment
        remove_folder(folder)
    assert not folder.exists()
    assert [path.name.startswith(".0007.") for path in tmp_path.iterdir()] == [True]
    remove_folder(folder)  # what is not there is removed


def test_a_link_that_leads_nowhere_is_removed_like_a_file(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    remove_file(tmp_path / "link")
    remove_file(tmp_path / "link")
    assert not list(tmp_path.iterdir())
