from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest

from gpucv.errors import RunError
from gpucv.runs import FoldRecord, to_json


def test_a_record_survives_json(record: FoldRecord) -> None:
    content = json.loads(to_json(record.to_json_object()))
    assert content["schema"] == 1
    assert FoldRecord.from_json_object(content) == record


def test_a_number_that_does_not_exist_is_still_none_when_read_back(record: FoldRecord) -> None:
    odd = replace(record, scores={"test_r": math.nan, "test_mspe": -math.inf})
    scores = FoldRecord.from_json_object(json.loads(to_json(odd.to_json_object()))).scores
    assert math.isnan(scores["test_r"])
    assert scores["test_mspe"] == -math.inf


def test_a_record_of_another_schema_is_refused(record: FoldRecord) -> None:
    with pytest.raises(RunError, match="schema 2; this version reads 1"):
        FoldRecord.from_json_object({**record.to_json_object(), "schema": 2})


@pytest.mark.parametrize(
    "change",
    [{"surprise": 1}, {"scores": None}, {"scores": {"test_mape": "low"}}, {"experiments": [7]}],
)
def test_a_damaged_record_is_refused(record: FoldRecord, change: dict[str, Any]) -> None:
    with pytest.raises(RunError, match="damaged fold record"):
        FoldRecord.from_json_object({**record.to_json_object(), **change})


@pytest.mark.parametrize("field", ["holdout", "scores", "status"])
def test_a_record_that_lacks_a_field_is_refused(record: FoldRecord, field: str) -> None:
    content = record.to_json_object()
    del content[field]
    with pytest.raises(RunError, match=f"damaged fold record: .*{field}"):
        FoldRecord.from_json_object(content)
