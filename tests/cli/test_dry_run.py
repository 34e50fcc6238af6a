"""``--dry-run`` says what would run, where, in how much memory, and why."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Outcome

    Command = Callable[..., Outcome]


def test_a_dry_run_tells_the_placement_after_the_folds(gpucv: Command, study: Path) -> None:
    outcome = gpucv("run", study, "--dry-run", "--device", "cpu")
    assert outcome.code == 0, outcome.err
    folds, _, told = outcome.out.partition("\n\n")
    assert len(folds.splitlines()) == 4
    assert all(len(line) <= 80 for line in told.splitlines())
    words = " ".join(told.split())
    assert "device cpu: asked for" in words
    assert "placement threads, 2 folds at once, 1 thread each, trained in-memory" in words
    for part in ("table 0 MiB", "largest fold", "at once", "a process may use", "why threads"):
        assert part in words


def test_a_run_says_its_placement_in_one_line(gpucv: Command, study: Path) -> None:
    outcome = gpucv("run", study, "--dry-run")
    line = "placement: threads, 2 folds at once, 1 thread each, trained in-memory\n"
    assert line in outcome.err
    assert gpucv("run", study, "--dry-run", "--quiet").err == ""


def test_json_holds_all_of_the_placement(gpucv: Command, study: Path) -> None:
    told = json.loads(gpucv("run", study, "--dry-run", "--json").out)["placement"]
    assert (told["backend"], told["device"], told["training"]) == ("threads", "cpu", "in-memory")
    assert told["at_once"] == told["processes"] * told["folds_per_process"] == 2
    assert told["at_once_bytes"] >= told["fold_bytes"] + told["table_bytes"]
    assert told["memory_bytes"] > 0
    assert (len(told["why"]), told["gpus"], told["features_on"]) == (3, [], "numpy")
    assert told["reason"]


@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_a_gpu_that_is_not_there_ends_a_dry_run_too(
    device: str, gpucv: Command, study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    outcome = gpucv("run", study, "--dry-run", "--device", device)
    assert (outcome.code, outcome.out) == (4, "")
    assert outcome.err.count("\n") == 1
