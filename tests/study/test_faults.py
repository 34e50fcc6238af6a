"""What a study may not hold, and how that is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gpucv.errors import StudyError
from gpucv.study import Study, study_from_dict

GPU = {
    "name": "x1",
    "peak_bf16_flops": 1e15,
    "memory_bandwidth": 1e12,
    "bandwidth_efficiency": 0.5,
    "memory_bytes": 10**11,
}


def study(raw: dict[str, Any]) -> Study:
    return study_from_dict(raw, base=Path()).study


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        ({"sed": 1}, "unknown key 'sed'; did you mean 'seed'?"),
        ({"data": {"stepz": []}}, "unknown key 'data.stepz'; did you mean 'steps'?"),
        ({"features": {"sets": ""}}, "unknown key 'features.sets'; did you mean 'set'?"),
        (
            {"validation": {"early-stopping-rounds": 5}},
            "unknown key 'validation.early-stopping-rounds'; did you mean 'early_stopping_rounds'?",
        ),
        (
            {"schemes": [{"name": "a", "hold_out": "x"}, {"name": "b", "hold-out": "model"}]},
            "unknown key 'schemes.1.hold-out'; did you mean 'hold_out'?",
        ),
        (
            {"predictors": [{"parms": {}}]},
            "unknown key 'predictors.0.parms'; did you mean 'params'?",
        ),
        ({"verdict": {"mape_mx": 1}}, "unknown key 'verdict.mape_mx'; did you mean 'mape_max'?"),
        ({"execution": {"gpu (s)": 1}}, "unknown key 'execution.gpu (s)'"),
        (
            {"catalog": {"models": [{"name": "a", "heads": 1}]}},
            "unknown key 'catalog.models.0.heads'",
        ),
        (
            {"catalog": {"gpus": [GPU | {"memory_byte": 1}]}},
            "unknown key 'catalog.gpus.0.memory_byte'; did you mean 'memory_bytes'?",
        ),
        ({"schema_version": 1}, "unknown key 'schema_version'; did you mean 'schemes'?"),
    ],
)
def test_an_unknown_key_is_named_with_its_path_and_the_nearest_known_one(
    raw: dict[str, Any], fault: str
) -> None:
    with pytest.raises(StudyError) as caught:
        study(raw)
    assert str(caught.value) == f"study: {fault}"


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        ({"schema": 2}, "schema 2 is not known; this version reads 1"),
        ({"schema": "1"}, "schema: input should be a valid integer, found '1'"),
        ({"seed": -1}, "seed: input should be greater than or equal to 0, found -1"),
        ({"seed": True}, "seed: input should be a valid integer, found True"),
        ({"seed": 1.0}, "seed: input should be a valid integer"),
        ({"seed": 10**4000}, r"seed: input should be less than 2147483648, found 10+\.\.\.$"),
        ({"name": ""}, "name: string should have at least 1 character"),
        ({"name": 5}, "name: input should be a valid string, found 5"),
        ({"data": []}, "data: input should be an object"),
        ({"data": {"steps": "x.csv"}}, "data.steps: input should be a valid array, found 'x.csv'"),
        (
            {"data": {"audit": "maybe"}},
            "data.audit: input should be 'stop', 'warn' or 'off'",
        ),
        ({"data": {"constants": {"a-b": True}}}, "data.constants.a-b: input should be"),
        ({"features": {"set": "physics-31"}}, "features.set: input should be 'physics-30', 'trans"),
        ({"features": {"columns": ["a", "a"]}}, "features: columns named twice: a"),
        ({"features": {"columns": [3]}}, "features.columns.0: input should be a valid string, fou"),
        ({"features": {"columns": "a"}}, "features.columns: input should be a valid array, found"),
        ({"features": {"set": ""}}, "features: names no feature"),
        (
            {"data": {"target": "t"}, "features": {"columns": ["a", "t"]}},
            "features.columns holds the target 't', which would leak",
        ),
        ({"validation": {"fraction": 1}}, "validation.fraction: input should be less than 1"),
        ({"validation": {"fraction": float("nan")}}, "validation.fraction: input should be .*nan"),
        ({"validation": {"fraction": 0, "early_stopping_rounds": 5}}, "needs a fraction above 0"),
        ({"verdict": {"mape_max": float("inf")}}, "mape_max: input should be a finite number"),
        ({"verdict": {"mape_max": 10**400}}, "mape_max: input should be a finite number"),
        ({"verdict": {"mape_max": 0}}, "mape_max: input should be greater than 0, found 0"),
        ({"schemes": []}, "schemes is empty"),
        ({"predictors": []}, "predictors is empty"),
        ({"schemes": [{"name": "a"}]}, "schemes.0: needs hold_out .* or splitter"),
        ({"schemes": [{"hold_out": "a"}]}, "schemes.0.name: field required"),
        ({"schemes": [{"name": "a", "hold_out": 3}]}, r"schemes.0.hold_out: input should be.* 3$"),
        ({"schemes": [{"name": "a", "hold_out": "m", "p": 0}]}, "schemes.0.p: .*, found 0"),
        (
            {"schemes": [{"name": "a", "hold_out": "m", "params": {"x": 1}}]},
            "schemes.0: params belong to a splitter",
        ),
        (
            {"schemes": [{"name": "a", "splitter": "KFold", "p": 2}]},
            "schemes.0: p belongs to leave-P-groups-out",
        ),
        (
            {"schemes": [{"name": "a", "hold_out": "m"}, {"name": "a", "hold_out": "n"}]},
            "schemes named twice: a; give each a name of its own",
        ),
        ({"predictors": [{}, {}]}, r"predictors named twice: xgboost \(raw\); give each a label"),
        (
            {"execution": {"device": "gpu"}},
            "execution.device: must be 'auto', 'cpu', 'cuda' or 'cuda:<number>'",
        ),
        ({"catalog": {"gpus": [{"name": "x"}]}}, "catalog.gpus.0.peak_bf16_flops: field required"),
    ],
)
def test_a_wrong_value_is_said_with_its_key_and_what_was_found(
    raw: dict[str, Any], fault: str
) -> None:
    with pytest.raises(StudyError, match=fault) as caught:
        study(raw)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_the_same_predictor_may_stand_twice_with_labels_or_transforms() -> None:
    both = study({"predictors": [{}, {"transform": "log"}, {"label": "deep"}]}).predictors
    assert [p.title for p in both] == ["xgboost", "xgboost", "deep"]


def test_all_faults_are_listed_at_once_in_the_order_of_the_file() -> None:
    raw = {"seed": "x", "data": {"stepz": 1, "audit": "no"}, "execution": {"workers": -1}}
    with pytest.raises(StudyError) as caught:
        study(raw)
    faults = str(caught.value).removeprefix("study: ").split("; ")
    assert [fault.split(": ")[0] for fault in faults] == [
        "seed",
        "data.audit",
        "unknown key 'data.stepz'",
        "did you mean 'steps'?",
        "execution.workers",
    ]


@pytest.mark.parametrize("value", [object(), {1, 2}, b"x"])
def test_a_value_no_file_could_hold_is_refused(value: object) -> None:
    with pytest.raises(StudyError, match=r"study: holds a value that no key accepts: .* is a "):
        study({"name": value})
