"""A run's boosters are trained one way, wherever and however often it goes on."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest

import gpucv
from gpucv.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[..., gpucv.Result]
    Results = Callable[..., dict[str, bytes]]

PAGED = {"workers": 2, "threads_per_fold": 1, "training": "external-memory"}


def manifest_of(root: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((root / "manifest.json").read_text(encoding="utf-8"))
    return found


def test_the_manifest_holds_the_placement_and_where_features_were_computed(run: Run) -> None:
    found = manifest_of(run().path)
    placement = found["placement"]
    assert (placement["backend"], placement["at_once"]) == ("threads", 2)
    assert placement["training"] == "in-memory"
    assert len(placement["why"]) == 3
    assert found["features_on"] == "numpy"
    assert found["device"]["gpus"] == []


def test_a_resumed_run_trains_as_it_began(run: Run, results_of: Results) -> None:
    root = run(execution=PAGED).path
    before = results_of()
    study = root / "study.toml"
    text = study.read_text(encoding="utf-8")
    # As "auto" would have it: what fits here need not be what fitted where the run began.
    study.write_text(text.replace('"external-memory"', '"auto"'), encoding="utf-8")
    shutil.rmtree(root / "folds" / "0001")
    gpucv.resume(root)
    assert results_of() == before
    record = json.loads((root / "folds" / "0001" / "result.json").read_text(encoding="utf-8"))
    assert record["training"] == "external-memory"


def test_another_training_is_refused(run: Run) -> None:
    root = run().path
    with pytest.raises(RunError, match=r"began with training 'in-memory', .* 'external-memory'"):
        gpucv.resume(root, overrides=["execution.training=external-memory"])


def test_a_run_from_before_placements_goes_on_in_memory(run: Run, results_of: Results) -> None:
    root = run().path
    before, manifest = results_of(), manifest_of(root)
    del manifest["placement"], manifest["features_on"], manifest["device"]["gpus"]
    (root / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    shutil.rmtree(root / "folds" / "0001")
    gpucv.resume(root)
    assert results_of() == before
    assert manifest_of(root)["placement"]["training"] == "in-memory"
