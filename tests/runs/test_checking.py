from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from gpucv.machine import ResolvedDevice
from gpucv.runs import FoldStore, RunLayout, find_damage, new_manifest, write_manifest

if TYPE_CHECKING:
    from pathlib import Path

    from gpucv.runs import FoldArrays, FoldRecord

ORIGIN = {
    "seed": 42,
    "study_fingerprint": "0" * 16,
    "data_fingerprint": "1" * 64,
    "limit": None,
    "synthetic": True,
    "data": [],
}


@pytest.fixture
def layout(tmp_path: Path, record: FoldRecord, arrays: FoldArrays) -> RunLayout:
    """A finished run of one fold, number 7."""
    layout = RunLayout(tmp_path)
    layout.study.write_text("seed = 42\n", encoding="utf-8")
    layout.plan.write_text(f"fold_id,key\n7,{record.key}\n", encoding="utf-8")
    layout.folds_csv.write_text("scheme\nlomo\n", encoding="utf-8")
    layout.verdict.write_text("{}\n", encoding="utf-8")
    layout.page.write_text("<!doctype html>\n", encoding="utf-8")
    FoldStore(tmp_path).publish(record, arrays)
    manifest = new_manifest("h3", ResolvedDevice("cpu", "asked for"), ORIGIN, [])
    write_manifest(layout, manifest | {"status": "finished"})
    return layout


def put_status(layout: RunLayout, status: str) -> None:
    manifest = json.loads(layout.manifest.read_text(encoding="utf-8"))
    layout.manifest.write_text(json.dumps(manifest | {"status": status}), encoding="utf-8")


def test_a_finished_run_as_it_was_written_is_sound(layout: RunLayout) -> None:
    assert find_damage(layout.root) == []
    (layout.root / "notes.txt").write_text("somebody's own", encoding="utf-8")
    assert find_damage(layout.root) == []


@pytest.mark.parametrize(
    "name",
    [
        *("study.toml", "plan.csv", "folds.csv", "verdict.json", "report.html"),
        *("folds/0007/result.json", "folds/0007/predictions.parquet", "folds/0007/model.ubj"),
    ],
)
@pytest.mark.parametrize("damage", ["gone", "grown", "a byte changed"])
def test_every_file_has_to_be_the_one_that_was_written(
    name: str, damage: str, layout: RunLayout
) -> None:
    path = layout.root / name
    content = bytearray(path.read_bytes())
    path.unlink()
    if damage != "gone":
        content[0] ^= damage == "a byte changed"
        path.write_bytes(bytes(content) + b"\n" * (damage == "grown"))
    told = find_damage(layout.root)
    assert told
    assert all(path.name in each or str(path.parent) in each for each in told)


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"schema": 2}', '{"schema": 1}'])
def test_a_manifest_that_cannot_be_read_is_the_first_thing_to_tell(
    content: str, layout: RunLayout
) -> None:
    layout.manifest.write_text(content, encoding="utf-8")
    (told,) = find_damage(layout.root)
    assert str(layout.manifest) in told


@pytest.mark.parametrize("plan", ["", "fold_id\n7\n", "fold_id,key\nx,y\n"])
def test_a_plan_that_cannot_be_read_is_damage(plan: str, layout: RunLayout) -> None:
    layout.plan.write_text(plan, encoding="utf-8")
    assert any(str(layout.plan) in each or "plan" in each for each in find_damage(layout.root))


def test_a_fold_holds_what_it_lists_and_nothing_else(layout: RunLayout) -> None:
    (layout.fold(7) / "core.1234").touch()
    (told,) = find_damage(layout.root)
    assert told.endswith("core.1234 is not among the files that DONE lists")


def test_a_fold_that_was_not_planned_is_damage(layout: RunLayout) -> None:
    layout.fold(8).mkdir()
    (told,) = find_damage(layout.root)
    assert told.endswith("0008 is no fold of plan.csv")


@pytest.mark.parametrize(
    "name", [".folds.csv.0a1b2c3d.tmp", "folds/.0007.0a1b2c3d.tmp", "folds/.0007.1.begun"]
)
def test_what_is_half_written_is_damage_once_the_run_is_finished(
    name: str, layout: RunLayout
) -> None:
    (layout.root / name).touch()
    (told,) = find_damage(layout.root)
    assert told.endswith(f"{name} was left over by the run")
    put_status(layout, "running")
    assert find_damage(layout.root) == []


def test_a_run_that_was_cut_off_lacks_folds_and_a_finished_one_does_not(
    layout: RunLayout,
) -> None:
    FoldStore(layout.root).forget(7)
    (told,) = find_damage(layout.root)
    assert told.endswith("0007 is missing")
    put_status(layout, "interrupted")
    assert find_damage(layout.root) == []


def test_the_manifest_vouches_for_the_tables(layout: RunLayout) -> None:
    manifest = json.loads(layout.manifest.read_text(encoding="utf-8"))
    del manifest["outputs"]["folds.csv"]
    layout.manifest.write_text(json.dumps(manifest), encoding="utf-8")
    (told,) = find_damage(layout.root)
    assert told.endswith("does not vouch for folds.csv")
