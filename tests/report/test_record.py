from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from gpucv.report import render_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpucv.report import ReportInput


def test_it_is_strict_json_with_null_for_what_does_not_exist(
    report_of: Callable[..., ReportInput],
) -> None:
    report = report_of(failed=("llama-2-7b",))
    content = json.loads(json.dumps(render_json(report), allow_nan=False))
    by_holdout = {fold["holdout"]: fold for fold in content["folds"]}
    assert by_holdout["llama-2-7b"]["test_mape"] is None
    assert by_holdout["codellama-34b"]["test_mape"] == 18.2
    assert content["failures"][0]["reason"] == "out of memory on llama-2-7b"
    scheme = content["verdicts"][0]["schemes"][0]
    assert (scheme["n_finished"], scheme["n_planned"]) == (2, 3)
    assert scheme["average"]["test_p99_ape"] == pytest.approx((78.9 + 18.2) * 9 / 2)


def test_every_table_is_whole(report: ReportInput) -> None:
    content = json.loads(json.dumps(render_json(report), allow_nan=False))
    for name in ("folds", "experiments", "importance", "stability"):
        assert len(content[name]) == len(getattr(report.tables, name)) > 0
    assert content["top10_rank_std"][0]["scheme"] == "lomo"


def test_names_stand_as_they_are(
    hostile_report: ReportInput, hostile_names: tuple[str, ...]
) -> None:
    content = json.loads(json.dumps(render_json(hostile_report), allow_nan=False))
    assert [fold["holdout"] for fold in content["folds"]] == list(hostile_names)
