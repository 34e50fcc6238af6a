"""``gpucv certificate``, and ``--tls`` that takes what it made."""

from __future__ import annotations

import json
import shlex
import stat
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from gpucv.cli.options import ExecutionOptions
from gpucv.study import load_study

if TYPE_CHECKING:
    from pathlib import Path


def test_it_writes_a_file_and_prints_what_to_start_with_it(gpucv: Any, tmp_path: Path) -> None:
    outcome = gpucv("certificate", "a folder/tls.pem", "--days", 2)
    assert outcome.code == 0
    pem = tmp_path / "a folder" / "tls.pem"
    assert stat.S_IMODE(pem.stat().st_mode) == 0o600
    head, scheduler, worker, run = outcome.out.splitlines()
    assert head.startswith("# good for 2 days")
    for line in (scheduler, worker):
        words = shlex.split(line)
        given = dict(pairwise(words))
        assert [given[f"--tls-{part}"] for part in ("ca-file", "cert", "key")] == [str(pem)] * 3
        assert given["--protocol"] == "tls"
        assert given["--dashboard-address"] == "127.0.0.1:0"
    assert shlex.split(run)[-2:] == ["--tls", str(pem)]
    assert "PRIVATE" not in outcome.out + outcome.err


def test_a_program_reads_what_it_wrote(gpucv: Any, tmp_path: Path) -> None:
    told = json.loads(gpucv("certificate", "tls.pem", "--json").out)
    assert told == {"file": str(tmp_path / "tls.pem"), "days": 30}


def test_a_file_that_is_there_is_kept(gpucv: Any, tmp_path: Path) -> None:
    (tmp_path / "tls.pem").write_text("ours")
    outcome = gpucv("certificate", "tls.pem")
    assert outcome.code == 4
    assert "tls.pem exists" in outcome.err
    assert gpucv("certificate", "new.pem", "--days", 0).code == 2


def test_one_flag_names_all_three_parts_whole(
    study: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    from pathlib import Path

    monkeypatch.chdir(tmp_path)
    options = ExecutionOptions(scheduler="tls://head:8786", tls=Path("it's mine.pem"))
    tls = load_study(study, options.overrides()).study.execution.tls
    assert {tls.ca, tls.cert, tls.key} == {str(tmp_path / "it's mine.pem")}
