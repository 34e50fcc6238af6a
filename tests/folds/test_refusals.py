"""What a predictor of a fixed form cannot answer is refused when the study is planned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gpucv.errors import DataError, StudyError
from gpucv.features import build_table
from gpucv.folds import plan_folds
from gpucv.folds.refusals import must_suit_target
from gpucv.study import PredictorSpec, study_from_dict

RAW_ONLY = [
    "blackbox",
    "fairbatching",
    "roofline",
    "splitwise",
    "trained-physics",
    "launch-roofline",
    "layered-roofline",
]
IN_US = ["trained-physics", "launch-roofline", "layered-roofline"]


@pytest.fixture
def frame() -> pd.DataFrame:
    draw = np.random.default_rng(5)
    model = np.repeat(["llama-2-7b", "llama-2-70b", "mixtral-8x7b-v0-1"], 20)
    prefill, decode = draw.integers(0, 900, 60), draw.integers(1, 90, 60)
    columns: dict[str, Any] = {
        "experiment_id": model,
        "model": model,
        "gpu": "H100",
        "tp": 2,
        "step.id": np.tile(np.arange(20), 3),
        "batch.prefill_tokens": prefill.astype(float),
        "batch.decode_tokens": decode.astype(float),
        "batch.scheduled_tokens": (prefill + decode).astype(float),
        "batch.num_prefill_reqs": draw.integers(1, 5, 60).astype(float),
        "batch.num_decode_reqs": decode.astype(float),
        "time_us": 500 + 3.0 * prefill + 20 * decode,
    }
    return pd.DataFrame(columns).assign(time_ms=columns["time_us"] / 1e3)


def planned(frame: pd.DataFrame, predictor: dict[str, Any], target: str = "time_us") -> int:
    raw = {
        "data": {"target": target},
        "schemes": [{"name": "lomo", "hold_out": "model"}],
        "predictors": [predictor],
        "features": {"columns": ["step.id"]},
    }
    loaded = study_from_dict(raw, base=Path())
    return len(plan_folds(loaded.study, build_table(frame, loaded.study, loaded.catalog)))


@pytest.mark.parametrize("name", RAW_ONLY)
@pytest.mark.parametrize("transform", ["log", "utilisation", "ratio", "auto"])
def test_the_form_of_a_time_learns_nothing_but_the_time(name: str, transform: str) -> None:
    more = {"baseline": "constant"} if transform == "ratio" else {}
    spec = PredictorSpec(name=name, label="mine", transform=transform, **more)
    told = f"predictor 'mine': {name} has the form of a time, .* '{transform}' is not; use .*'raw'"
    with pytest.raises(StudyError, match=told):
        must_suit_target(spec, "time_us")
    must_suit_target(PredictorSpec(name=name), "time_us")


@pytest.mark.parametrize("name", ["xgboost", "vidur", "ridge", "constant"])
def test_what_has_no_such_form_learns_whatever_is_asked(name: str) -> None:
    for target in ("time_us", "time_ms", "time"):
        must_suit_target(PredictorSpec(name=name, transform="log"), target)


@pytest.mark.parametrize("name", IN_US)
@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("time_ms", "is in ms"),
        ("time_s", "is in s"),
        ("time_ns", "is in ns"),
        ("time", "does not say its unit"),
        ("bus", "does not say its unit"),
    ],
)
def test_an_answer_in_us_is_refused_for_another_unit(name: str, target: str, told: str) -> None:
    advice = f"answers in us, and target '{target}' {told}; .* whose name ends in '_us'"
    with pytest.raises(StudyError, match=f"predictor '{name}': {name} {advice}"):
        must_suit_target(PredictorSpec(name=name), target)
    over = PredictorSpec(transform="ratio", baseline=name)
    with pytest.raises(StudyError, match=f"predictor 'xgboost': baseline {name} {advice}"):
        must_suit_target(over, target)
    must_suit_target(over, "step.cycle_us")


@pytest.mark.parametrize("name", sorted({*RAW_ONLY} - {*IN_US}))
def test_a_form_whose_every_number_is_fitted_takes_any_unit(name: str) -> None:
    must_suit_target(PredictorSpec(name=name), "time_ms")


def test_a_plan_refuses_what_does_not_suit_its_target(frame: pd.DataFrame) -> None:
    assert planned(frame, {"name": "layered-roofline"}) == 3
    with pytest.raises(StudyError, match="layered-roofline answers in us"):
        planned(frame, {"name": "layered-roofline"}, "time_ms")
    with pytest.raises(StudyError, match="has the form of a time"):
        planned(frame, {"name": "blackbox", "transform": "auto"})


@pytest.mark.parametrize(
    ("name", "column", "lost"),
    [
        ("trained-physics", "batch.num_decode_reqs", "decode_requests"),
        ("blackbox", "batch.decode_tokens", "decode_tokens"),
        ("fairbatching", "batch.scheduled_tokens", "tokens"),
        ("splitwise", "batch.prefill_tokens", "curve_tokens"),
        ("roofline", "batch.num_prefill_reqs", "compute_us"),
    ],
)
def test_a_missing_input_is_refused_before_any_fold_with_the_rows_that_lack_it(
    name: str, column: str, lost: str, frame: pd.DataFrame
) -> None:
    assert planned(frame, {"name": name}) == 3
    told = f"predictor '{name}' needs '{lost}', and 60 of 60 rows have none"
    with pytest.raises(DataError, match=told):
        planned(frame.drop(columns=column), {"name": name})
    frame.loc[[3, 44], column] = np.nan
    with pytest.raises(DataError, match=f"'{name}' needs '{lost}', and 2 of 60 rows have none"):
        planned(frame, {"name": name})
    over = {"transform": "ratio", "baseline": name}
    told = f"predictor 'xgboost': baseline '{name}' needs '{lost}', and 2 of 60 rows have none"
    with pytest.raises(DataError, match=told):
        planned(frame, over)


def test_trees_may_do_without_a_feature_of_a_set(frame: pd.DataFrame) -> None:
    bare = frame.drop(columns="batch.num_prefill_reqs")
    assert planned(bare, {"features": "transfer"}) == 3
