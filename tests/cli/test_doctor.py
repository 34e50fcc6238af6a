from __future__ import annotations

import json
from importlib import metadata
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Outcome

    Command = Callable[..., Outcome]

WHEELS = ("xgboost", "xgboost-cpu", "xgboost-cu12", "xgboost-cu13")


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Pretend that exactly these XGBoost wheels are installed."""
    version = metadata.version

    def pretend(*wheels: str) -> None:
        def look_up(name: str) -> str:
            if name in WHEELS:
                if name in wheels:
                    return "3.2.0"
                raise metadata.PackageNotFoundError(name)
            return version(name)

        monkeypatch.setattr(metadata, "version", look_up)

    return pretend


def test_a_machine_that_can_run_is_code_0(gpucv: Command) -> None:
    outcome = gpucv("doctor")
    assert outcome.code == 0
    for line in ("host", "cpu", "memory", "gpus", "device", "versions"):
        assert f"\n{line} " in f"\n{outcome.out}"


def test_without_xgboost_nothing_runs(
    gpucv: Command, study: Path, installed: Callable[..., None]
) -> None:
    installed()
    for outcome in (gpucv("doctor"), gpucv("doctor", "--json")):
        assert outcome.code == 4
        assert "XGBoost is missing" in outcome.out
    outcome = gpucv("run", study, "--out", "run")
    assert outcome.code == 4
    assert 'gpucv: error: XGBoost is missing: pip install "gpucv[cpu]"' in outcome.err
    assert not (study.parent / "run").exists()


def test_two_xgboosts_at_once_are_refused(gpucv: Command, installed: Callable[..., None]) -> None:
    installed("xgboost", "xgboost-cpu")
    outcome = gpucv("doctor", "--json")
    assert outcome.code == 4
    assert "pip uninstall -y xgboost-cpu xgboost," in json.loads(outcome.out)["device"]["reason"]


def test_a_gpu_asked_for_and_absent_is_refused_before_data_is_read(
    gpucv: Command, study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    (study.parent / "steps.parquet").unlink()
    outcome = gpucv("run", study, "--device", "cuda", "--out", "run")
    assert (outcome.code, outcome.out) == (4, "")
    assert "device 'cuda' was asked for, but no NVIDIA GPU found" in outcome.err
