"""What the audit says of a target reaches the run, and `data.audit` switches it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import gpucv
from gpucv.errors import DataError
from gpucv.schema import DURATION_US

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

TOLD = "shorter than a GPU needs to read the model's weights once"


def warnings_of(result: gpucv.Result) -> list[str]:
    return [note["message"] for note in result.manifest["notes"] if note["level"] == "warning"]


def test_a_target_that_no_gpu_can_reach_draws_a_warning(
    study: dict[str, Any], tmp_path: Path
) -> None:
    data = {**study["data"], "audit": "warn"}
    result = gpucv.run({**study, "data": data}, out=tmp_path / "run")
    assert any(TOLD in message for message in warnings_of(result))
    assert "weights once" in (result.path / "FINDINGS.md").read_text(encoding="utf-8")


def test_it_ends_the_run_before_anything_is_trained_or_made(
    study: dict[str, Any], tmp_path: Path
) -> None:
    data = {**study["data"], "audit": "stop"}
    with pytest.raises(DataError, match=TOLD) as refused:
        gpucv.run({**study, "data": data}, out=tmp_path / "run")
    assert refused.value.exit_code == 3
    assert 'set data.audit = "warn" to go on' in str(refused.value)
    assert not (tmp_path / "run").exists()


def test_what_it_said_is_kept_and_shown_again(study: dict[str, Any], tmp_path: Path) -> None:
    data = {**study["data"], "audit": "warn"}
    made = gpucv.run({**study, "data": data}, out=tmp_path / "run")
    loaded = gpucv.Result.load(made.path)
    assert made.audit is not None
    assert loaded.audit == made.audit
    (target,) = made.audit.targets
    assert (target.target, target.verdict) == (study["data"].get("target", DURATION_US), "fail")
    page = (made.path / "report.html").read_text(encoding="utf-8")
    assert "Is this trace fit to learn from?" in page
    assert "audit.json" in loaded.manifest["outputs"]


def test_no_audit_no_warning(study: dict[str, Any], tmp_path: Path) -> None:
    data = {**study["data"], "audit": "off"}
    result = gpucv.run({**study, "data": data}, out=tmp_path / "run")
    assert not any(TOLD in message for message in warnings_of(result))


def test_steps_that_name_no_gpu_are_judged_by_the_published_one(
    study: dict[str, Any], few_steps: pd.DataFrame, tmp_path: Path
) -> None:
    few_steps.drop(columns="gpu").to_parquet(tmp_path / "steps.parquet")
    data = {**study["data"], "audit": "warn"}
    result = gpucv.run({**study, "data": data}, out=tmp_path / "run")
    assert any(TOLD in message and "on h100" in message for message in warnings_of(result))
