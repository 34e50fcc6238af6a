from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from gpucv.errors import RunError
from gpucv.machine import ResolvedDevice
from gpucv.runs import RunLayout, new_manifest, read_manifest, write_manifest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def layout(tmp_path: Path) -> RunLayout:
    return RunLayout(tmp_path)


@pytest.fixture
def manifest() -> dict[str, Any]:
    origin = {
        "seed": 42,
        "study_fingerprint": "0" * 16,
        "data_fingerprint": "1" * 64,
        "limit": None,
        "synthetic": True,
        "data": [{"path": "steps.parquet", "sha256": "2" * 64}],
    }
    note = {"code": "limited", "message": "a trial", "count": 3, "level": "warning"}
    return new_manifest("h3", ResolvedDevice("cpu", "asked for"), origin, [note])


def test_a_manifest_says_what_a_number_needs_behind_it(
    layout: RunLayout, manifest: dict[str, Any]
) -> None:
    write_manifest(layout, manifest)
    found = read_manifest(layout)
    assert found == manifest
    assert found["schema"] == 1
    assert found["machine"]["versions"]["numpy"]
    assert found["process"]["pid"]
    assert found["device"] == {"used": "cpu", "reason": "asked for", "gpus": []}


def test_every_output_is_vouched_for(layout: RunLayout, manifest: dict[str, Any]) -> None:
    layout.folds_csv.write_text("scheme\n", encoding="utf-8")
    write_manifest(layout, manifest)
    assert read_manifest(layout)["outputs"] == {
        "folds.csv": {"bytes": 7, "sha256": hashlib.sha256(b"scheme\n").hexdigest()}
    }


@pytest.mark.fault(20)
@pytest.mark.parametrize("schema", [2, "1", None])
def test_a_manifest_of_another_schema_is_refused(
    schema: Any, layout: RunLayout, manifest: dict[str, Any]
) -> None:
    write_manifest(layout, {**manifest, "schema": schema})
    with pytest.raises(RunError, match="use the gpucv that wrote it"):
        read_manifest(layout)


@pytest.mark.fault(20)
@pytest.mark.parametrize(
    "field",
    ["name", "status", "study_fingerprint", "data_fingerprint", "synthetic", "device", "notes"],
)
@pytest.mark.parametrize("damage", ["gone", "of another type"])
def test_a_damaged_manifest_is_refused_by_field(
    field: str, damage: str, layout: RunLayout, manifest: dict[str, Any]
) -> None:
    write_manifest(layout, manifest)
    content = json.loads(layout.manifest.read_text(encoding="utf-8"))
    content[field] = 3.5
    if damage == "gone":
        del content[field]
    layout.manifest.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(RunError, match=f"is damaged: '{field}' is"):
        read_manifest(layout)
