from __future__ import annotations

import json
from typing import TYPE_CHECKING

from gpucv.cli.synth import synth

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_the_result_is_on_stdout_and_progress_on_stderr(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "study.parquet"
    assert synth(out=out, rows=2000) == 0
    printed = capsys.readouterr()
    assert "SYNTHETIC" in printed.out
    assert "2,000 from 16 recordings" in printed.out
    assert "2,000 of 2,000 rows" in printed.err
    assert out.is_file()


def test_json_is_one_object_with_everything(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "study.parquet"
    assert synth(out=out, rows=2000, seed=7, as_json=True) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["path"] == str(out)
    assert (result["rows"], result["seed"], result["synthetic"]) == (2000, 7, True)
    assert len(result["content_sha256"]) == 64
