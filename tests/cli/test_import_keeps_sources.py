"""``gpucv import`` never writes over what it reads."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.mark.parametrize("out", ["perf_model.csv", "./perf_model.csv", "link.csv"])
def test_the_table_is_never_written_over_its_source(
    out: str, gpucv: Callable[..., Any], shared_data: Path, tmp_path: Path
) -> None:
    source = tmp_path / "perf_model.csv"
    shutil.copyfile(shared_data / "splitwise" / "perf_model.csv", source)
    (tmp_path / "link.csv").symlink_to(source)
    before = source.read_bytes()
    ended = gpucv("import", "splitwise", "perf_model.csv", "-o", out)
    assert (ended.code, ended.out) == (2, "")
    assert "is one of the files to import; name another file to write" in ended.err
    assert source.read_bytes() == before
