"""A run folder of every schema ever released, kept for ever: this version must read it.

``data/schema-N`` is what the first version with that schema wrote of a study of two folds; its
data is gone, so it can be read and reported, and not be resumed.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import gpucv
from gpucv.cli import report
from gpucv.errors import GpucvError, RunError
from gpucv.runs import RunLayout, find_damage, read_manifest
from gpucv.schema import RUN_SCHEMA
from gpucv.workflow.listing import list_runs

KEPT = Path(__file__).with_name("data")


@pytest.fixture(params=range(1, RUN_SCHEMA + 1))
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of the run folder of one schema."""
    return Path(shutil.copytree(KEPT / f"schema-{request.param}", tmp_path / "run"))


@pytest.mark.fault(20)
def test_a_run_of_every_schema_is_read_listed_and_reported(kept: Path) -> None:
    assert find_damage(kept) == []
    result = gpucv.Result.load(kept)
    assert result.folds["holdout"].tolist() == ["codellama-34b", "llama-2-7b"]
    assert result.folds["test_mape"].round(6).tolist() == [68.753304, 35.403482]
    assert len(result.predictions) == 80
    assert result.verdict.label
    (listed,) = list_runs(kept)
    assert (listed.status, listed.n_done, listed.fault) == ("finished", 2, "")
    report.write_report(report.load_report_input(kept), kept, None)
    assert "68.8" in (kept / "FINDINGS.md").read_text(encoding="utf-8")
    assert find_damage(kept) == []


@pytest.mark.fault(20)
def test_what_keeps_a_run_from_going_on_is_told_in_a_line_and_nothing_is_lost(kept: Path) -> None:
    before = {path: path.read_bytes() for path in kept.rglob("*") if path.is_file()}
    with pytest.raises(GpucvError, match=r"steps\.csv") as caught:  # its data is not here
        gpucv.resume(kept)
    assert "\n" not in str(caught.value)
    after = {path: path.read_bytes() for path in kept.rglob("*") if path.is_file()}
    assert {path: after[path] for path in before} == before


@pytest.mark.fault(20)
def test_a_later_schema_is_refused_by_every_command_that_reads_runs(kept: Path) -> None:
    manifest = json.loads((kept / "manifest.json").read_text(encoding="utf-8"))
    later = json.dumps(manifest | {"schema": RUN_SCHEMA + 1})
    (kept / "manifest.json").write_text(later, encoding="utf-8")
    told = rf"manifest\.json is of schema {RUN_SCHEMA + 1}; this version reads {RUN_SCHEMA}; use"
    for read in (gpucv.Result.load, gpucv.resume, report.load_report_input):
        with pytest.raises(RunError, match=told) as caught:
            read(kept)
        assert caught.value.exit_code == 3
    (listed,) = list_runs(kept)
    assert "use the gpucv that wrote it" in listed.fault
    (damage,) = find_damage(kept)
    assert "use the gpucv that wrote it" in damage


@pytest.mark.fault(20)
def test_a_manifest_cut_at_any_place_is_refused_in_a_line(kept: Path) -> None:
    layout = RunLayout(kept)
    content = layout.manifest.read_bytes()
    for length in range(0, len(content) - 3, len(content) // 40):
        layout.manifest.write_bytes(content[:length])
        with pytest.raises(RunError, match=r"cannot read .*manifest\.json: ") as caught:
            read_manifest(layout)
        assert "\n" not in str(caught.value)
