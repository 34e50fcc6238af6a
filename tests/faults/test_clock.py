"""A clock set back while a run is under way: times of day are labels, and no more."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

import gpucv
from gpucv.errors import EnvironmentFaultError
from gpucv.injection import count_anew

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HOUR = 3600.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The system's clock, an hour earlier whenever somebody looks; what it has said."""
    real, said = time.time, []

    def earlier() -> float:
        said.append(real() - HOUR * (len(said) + 1))
        return said[-1]

    monkeypatch.setattr(time, "time", earlier)
    return said


@pytest.mark.fault(42)
def test_no_duration_is_negative_or_an_hour_long_where_the_clock_is_set_back(
    clock: list[float], study: dict[str, Any], tmp_path: Path
) -> None:
    result = gpucv.run(study, out=tmp_path / "run")
    assert len(clock) > 4  # once for the run, once for each fold
    for name in ("fit_s", "predict_s"):
        assert result.folds[name].between(0, HOUR / 2).all()
    timeline = pd.read_csv(tmp_path / "run" / "timeline.csv")
    assert (timeline["queued_s"] >= 0).all()
    assert (timeline["began_s"] >= 0).all()
    assert (timeline["ended_s"] - timeline["began_s"]).between(0, HOUR / 2).all()


@pytest.mark.fault(42)
def test_a_clock_set_back_changes_no_result_and_keeps_no_run_from_going_on(
    undisturbed: dict[str, bytes],
    clock: list[float],
    study: dict[str, Any],
    tmp_path: Path,
    assert_heals: Callable[[Path], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert undisturbed
    assert not clock
    monkeypatch.setenv("GPUCV_TESTING", "1")
    monkeypatch.setenv("GPUCV_FAULTS", "eio:write=60+")
    count_anew()
    with pytest.raises(EnvironmentFaultError):
        gpucv.run(study, out=tmp_path / "run")
    monkeypatch.setenv("GPUCV_FAULTS", "")
    assert_heals(tmp_path / "run")
    assert clock == sorted(clock, reverse=True)
