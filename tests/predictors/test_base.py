from __future__ import annotations

import inspect
import json
from typing import Any

import numpy as np
import pytest
import xgboost

from gpucv.errors import StudyError
from gpucv.predictors import FitContext, check_params, make_predictor
from gpucv.predictors.base import Predictor, _registry
from gpucv.predictors.gbdt import GbdtParams

CONTEXT = FitContext(seed=1, threads=1, device="cpu")


def test_the_defaults_are_the_published_studys() -> None:
    whole = check_params("xgboost", {}).model_dump()
    published = {
        "max_depth": 6,
        "n_estimators": 300,
        "learning_rate": 0.05,
        "min_child_weight": 5,
        "subsample": 0.8,
        "colsample_bytree": 0.8,
    }
    assert {name: whole[name] for name in published} == published


def test_every_other_default_is_xgboosts_own() -> None:
    X = np.array([[0.0], [1.0], [2.0]] * 10, dtype=np.float32)
    plain = xgboost.train({"tree_method": "hist"}, xgboost.QuantileDMatrix(X, label=X[:, 0]), 2)
    params = check_params("xgboost", {}).model_dump()
    written = {
        name: params[name]
        for name in ("gamma", "reg_alpha", "reg_lambda", "max_delta_step", "max_leaves", "max_bin")
    }
    theirs = json.loads(plain.save_config())["learner"]["gradient_booster"]["tree_train_param"]
    for name, value in written.items():
        assert float(theirs[name]) == value, name


def test_every_parameter_is_one_that_xgboost_knows() -> None:
    known = set(inspect.signature(xgboost.XGBModel.__init__).parameters)
    assert set(GbdtParams.model_fields) - {"cuts"} <= known


@pytest.mark.parametrize("name", list(_registry()))
def test_every_predictor_keeps_the_protocol(name: str) -> None:
    made = make_predictor(name, {}, CONTEXT)
    members = [member for member in vars(Predictor) if not member.startswith("_")]
    assert len(members) == 6
    assert all(hasattr(type(made), member) for member in members)


def test_a_whole_number_will_do_for_a_fraction() -> None:
    assert check_params("xgboost", {"learning_rate": 1}).model_dump()["learning_rate"] == 1


@pytest.mark.parametrize(
    ("params", "fault"),
    [
        ({"max_dept": 3}, "unknown parameter 'max_dept'; did you mean 'max_depth'?"),
        ({"eta": 0.1}, "unknown parameter 'eta'"),
        ({"device": "cuda"}, "unknown parameter 'device'"),
        ({"max_depth": -1}, "max_depth: input should be greater than or equal to 0, found -1"),
        ({"max_depth": 6.5}, "max_depth: input should be a valid integer.*, found 6.5"),
        ({"max_depth": "6"}, "max_depth: input should be a valid integer, found '6'"),
        ({"n_estimators": 0}, "n_estimators: input should be greater than or equal to 1"),
        ({"n_estimators": True}, "n_estimators: input should be a valid integer, found True"),
        ({"learning_rate": 0}, "learning_rate: input should be greater than 0, found 0"),
        ({"learning_rate": float("nan")}, "learning_rate: .*, found nan"),
        ({"gamma": float("inf")}, "gamma: input should be a finite number, found inf"),
        ({"gamma": 10**400}, r"gamma: .*, found 10{10}.*\.\.\.$"),
        ({"subsample": 1.5}, "subsample: input should be less than or equal to 1, found 1.5"),
        ({"max_bin": 1}, "max_bin: input should be greater than or equal to 2"),
        ({"grow_policy": "wide"}, "grow_policy: input should be 'depthwise' or 'lossguide'"),
        ({"objective": "binary:logistic"}, "objective: input should be 'reg:squarederror'"),
        ({"x": 1, "max_depth": -1}, "max_depth: .*; unknown parameter 'x'"),
    ],
)
def test_a_wrong_parameter_is_a_fault_of_the_study(params: dict[str, Any], fault: str) -> None:
    with pytest.raises(StudyError, match=f"^predictor 'xgboost': .*{fault}") as caught:
        make_predictor("xgboost", params, CONTEXT)
    assert "\n" not in str(caught.value)


def test_a_constant_has_nothing_to_set() -> None:
    with pytest.raises(StudyError, match="'constant': unknown parameter 'max_depth'"):
        check_params("constant", {"max_depth": 3})


@pytest.mark.parametrize("name", ["xgbost", "", "__class__"])
def test_an_unknown_predictor_is_refused_with_those_there_are(name: str) -> None:
    with pytest.raises(StudyError, match=f"unknown predictor {name!r}.*known: xgboost, constant"):
        make_predictor(name, {}, CONTEXT)
