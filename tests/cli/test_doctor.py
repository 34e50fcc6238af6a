from __future__ import annotations

import json
from importlib import metadata
from typing import TYPE_CHECKING

import pytest

import gpucv.machine
from gpucv.machine import Check

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Outcome

    Command = Callable[..., Outcome]

WHEELS = ("xgboost", "xgboost-cpu", "xgboost-cu12", "xgboost-cu13")
FOUND = (
    Check("cpu", "ok", "a processor"),
    Check("ports", "warn", "8787 (the Dask dashboard) taken \x1b[31m" + "again " * 12, "move"),
    Check("training", "fault", "it does not train", "mend " * 25),
)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Pretend that exactly these XGBoost wheels are installed."""
    version, asked = metadata.version, metadata.requires

    def pretend(*wheels: str) -> None:
        def look_up(name: str) -> str:
            if name in WHEELS:
                if name in wheels:
                    return "3.2.0"
                raise metadata.PackageNotFoundError(name)
            return version(name)

        def requires(name: str) -> list[str] | None:
            return [] if name in WHEELS else asked(name)

        monkeypatch.setattr(metadata, "version", look_up)
        monkeypatch.setattr(metadata, "requires", requires)

    return pretend


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let the checks have found this."""

    def pretend(*checks: Check) -> None:
        monkeypatch.setattr(gpucv.machine, "examine", lambda: checks)

    return pretend


def test_a_machine_that_can_run_is_code_0(gpucv: Command) -> None:
    outcome = gpucv("doctor")
    assert (outcome.code, outcome.err) == (0, "")
    for check in ("cpu", "memory", "xgboost", "driver", "training"):
        assert f" {check} " in outcome.out
    for line in ("host", "versions", "device", "checks"):
        assert f"\n{line} " in outcome.out


def test_checks_are_aligned_and_their_mends_stand_below(
    gpucv: Command, found: Callable[..., None]
) -> None:
    found(*FOUND)
    outcome = gpucv("doctor")
    assert outcome.code == 4
    lines = outcome.out.splitlines()
    assert lines[0] == "ok    cpu       a processor"
    assert lines[1].startswith(r"warn  ports     8787 (the Dask dashboard) taken \x1b[31magain")
    assert lines[2].startswith(" " * 16 + "again")
    told = next(number for number, line in enumerate(lines) if line.startswith("fault"))
    assert lines[told] == "fault training  it does not train"
    assert lines[told - 1] == " " * 16 + "-> move"
    assert lines[told + 1].startswith(" " * 16 + "-> mend mend")
    assert lines[told + 2].startswith(" " * 19 + "mend")
    assert max(map(len, lines)) <= 80
    assert lines[-1] == "checks   1 ok, 1 to know, 1 to mend"


def test_json_has_the_checks_beside_the_machine(gpucv: Command, found: Callable[..., None]) -> None:
    found(*FOUND)
    outcome = gpucv("doctor", "--json")
    told = json.loads(outcome.out)
    assert outcome.code == 4
    assert [Check(**each) for each in told["checks"]] == list(FOUND)
    assert {"host", "cpu", "cores", "memory_bytes", "gpus", "versions", "device"} <= set(told)


def test_what_is_only_worth_knowing_is_code_0(gpucv: Command, found: Callable[..., None]) -> None:
    found(*FOUND[:2])
    assert gpucv("doctor").code == 0


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
    told = json.loads(outcome.out)
    assert "pip uninstall -y xgboost-cpu xgboost," in told["device"]["reason"]
    fault = next(check for check in told["checks"] if check["name"] == "xgboost")
    assert fault["level"] == "fault"
    assert fault["mend"].startswith("run pip uninstall -y xgboost-cpu xgboost,")


@pytest.mark.fault(10)
def test_a_gpu_asked_for_and_absent_is_refused_before_data_is_read(
    gpucv: Command, study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    (study.parent / "steps.parquet").unlink()
    outcome = gpucv("run", study, "--device", "cuda", "--out", "run")
    assert (outcome.code, outcome.out) == (4, "")
    assert "device 'cuda' was asked for, but no NVIDIA GPU found" in outcome.err
