from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gpucv.study import Study, fingerprint, study_from_dict

HOLD_OUT = {"name": "lomo", "hold_out": "model"}
GPU = {
    "name": "x1",
    "peak_bf16_flops": 1e15,
    "memory_bandwidth": 1e12,
    "bandwidth_efficiency": 0.5,
    "memory_bytes": 10**11,
}

CHANGES_A_RESULT: list[dict[str, Any]] = [
    {"seed": 43},
    {"data": {"target": "step.cycle_us"}},
    {"data": {"experiment": "recording"}},
    {"data": {"order_by": "time"}},
    {"data": {"bad_rows": "drop"}},
    {"data": {"constants": {"gpu": "h200"}}},
    {"features": {"columns": ["a"]}},
    {"features": {"set": "physics-30", "columns": ["a"]}},
    {"validation": {"fraction": 0.2}},
    {"validation": {"order": "time"}},
    {"validation": {"order": "group", "group": "workload"}},
    {"validation": {"early_stopping_rounds": 10}},
    {"schemes": [HOLD_OUT]},
    {"schemes": [HOLD_OUT | {"p": 2}]},
    {"schemes": [{"name": "random", "splitter": "KFold", "params": {"n_splits": 3}}]},
    {"predictors": [{"name": "constant"}]},
    {"predictors": [{"transform": "log"}]},
    {"predictors": [{"params": {"max_depth": 5}}]},
    {"catalog": {"gpus": [GPU]}},
]
CHANGES_NONE: list[dict[str, Any]] = [
    {"schema": 1},
    {"name": "other"},
    {"data": {"steps": ["elsewhere.parquet"]}},
    {"data": {"audit": "off"}},
    {"data": {"format": "vidur", "repeats": "median", "below_floor": "drop"}},
    {"data": {"where": {"op": "gemm"}, "sample": 10}},
    {"verdict": {"mape_max": 50.0}},
    {"execution": {"device": "cpu", "workers": 2, "threads_per_fold": 3}},
    {"execution": {"backend": "dask"}},
    {"execution": {"scheduler": "tcp://10.0.0.1:8786"}},
]


def of(raw: dict[str, Any]) -> str:
    return fingerprint(study_from_dict(raw, base=Path()).study)


def test_whatever_changes_a_result_changes_the_fingerprint() -> None:
    every = [fingerprint(Study()), *map(of, CHANGES_A_RESULT)]
    assert len(set(every)) == len(every)


@pytest.mark.parametrize("raw", CHANGES_NONE, ids=str)
def test_what_changes_no_result_leaves_the_fingerprint(raw: dict[str, Any]) -> None:
    assert of(raw) == fingerprint(Study())


def test_every_section_of_a_study_is_on_one_side_or_the_other() -> None:
    tried = {key for raw in (*CHANGES_A_RESULT, *CHANGES_NONE) for key in raw}
    assert tried == {field.alias or name for name, field in Study.model_fields.items()}


def test_the_order_of_keys_does_not_matter() -> None:
    one = {"predictors": [{"params": {"max_depth": 5, "max_bin": 64}}]}
    other = {"predictors": [{"params": {"max_bin": 64, "max_depth": 5}}]}
    assert of(one) == of(other)


def test_studies_of_earlier_versions_keep_their_fingerprint() -> None:
    # Runs recorded before a key existed can be resumed as long as it is not used.
    assert fingerprint(Study()) == "2c713632314434dd"


def test_a_fingerprint_is_sixteen_hex_digits() -> None:
    assert len(of({})) == 16
    int(of({}), 16)
