"""A predictor with a sweep is written out when a study is loaded."""

from __future__ import annotations

import tomllib
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from gpucv.errors import StudyError
from gpucv.study import Study, load_study, study_from_dict, study_to_toml


def swept(sweep: Any, *overrides: str, **keys: Any) -> Study:
    raw = {"predictors": [{"sweep": sweep, **keys}]}
    return study_from_dict(raw, base=Path(), overrides=overrides).study


def test_every_combination_becomes_a_predictor_in_the_order_of_the_lists() -> None:
    sweep = {"transform": ["raw", "log"], "max_depth": [4, 6], "features": ["", "transfer"]}
    found = swept(sweep, params={"n_estimators": 9}).predictors
    assert [(p.transform, p.params["max_depth"], p.features) for p in found] == list(
        product(*sweep.values())
    )
    assert {p.params["n_estimators"] for p in found} == {9}


def test_what_the_sweep_leaves_alone_stays() -> None:
    raw = [{"name": "constant"}, {"label": "b", "sweep": {"seed": [1, 2]}}, {"label": "c"}]
    found = study_from_dict({"predictors": raw}, base=Path()).study.predictors
    assert [p.title for p in found] == ["constant", "b seed=1", "b seed=2", "c"]


@pytest.mark.parametrize(
    ("sweep", "titles"),
    [
        ({"transform": ["raw", "log"]}, ["xgboost", "xgboost"]),
        ({"name": ["xgboost", "constant"]}, ["xgboost", "constant"]),
        ({"label": ["p", "q"]}, ["p", "q"]),
        ({"seed": [1, 2]}, ["xgboost seed=1", "xgboost seed=2"]),
        ({"features": ["", "transfer"]}, ["xgboost features=none", "xgboost features=transfer"]),
        ({"monotone": [True, False]}, ["xgboost monotone=true", "xgboost monotone=false"]),
        ({"per": [["a", "b"], "c"]}, ["xgboost per=a x b", "xgboost per=c"]),
        (
            {"params": [{"a": 1, "b": 0.5}, {}]},
            ["xgboost params={a=1, b=0.5}", "xgboost params={}"],
        ),
        ({"max_depth": [4], "gamma": [0.5]}, ["xgboost max_depth=4, gamma=0.5"]),
    ],
)
def test_each_gets_a_label_that_tells_it_apart(sweep: dict[str, Any], titles: list[str]) -> None:
    assert [p.title for p in swept(sweep).predictors] == titles


def test_a_seed_sweep_repeats_one_predictor_over_seeds() -> None:
    found = swept({"seed": [1, 2, 3]}).predictors
    assert [p.seed for p in found] == [1, 2, 3]
    assert (
        len({p.model_copy(update={"seed": 0, "label": ""}).model_dump_json() for p in found}) == 1
    )


def test_a_baseline_and_smearing_go_to_the_transforms_they_belong_to() -> None:
    sweep = {"transform": ["raw", "log", "ratio"]}
    found = swept(sweep, baseline="constant", smearing=True).predictors
    assert [(p.transform, p.baseline, p.smearing) for p in found] == [
        ("raw", "", False),
        ("log", "", True),
        ("ratio", "constant", True),
    ]


def test_the_study_written_out_holds_the_list_and_loads_to_the_same() -> None:
    study = swept({"transform": ["raw", "log"], "seed": [1, 2]})
    text = study_to_toml(study)
    assert "sweep" not in text
    assert study_from_dict(tomllib.loads(text), base=Path()).study == study


def test_loading_leaves_the_callers_sweep_alone() -> None:
    raw = {"predictors": ({"sweep": {"seed": (1, 2)}},)}
    assert len(study_from_dict(raw, base=Path()).study.predictors) == 2
    assert raw == {"predictors": ({"sweep": {"seed": (1, 2)}},)}


def test_an_override_reaches_the_predictor_as_the_file_has_it() -> None:
    changed = swept({"seed": [1, 2]}, "predictors.0.params.max_depth=3", "predictors.0.label=x")
    assert [(p.title, p.params) for p in changed.predictors] == [
        ("x seed=1", {"max_depth": 3}),
        ("x seed=2", {"max_depth": 3}),
    ]
    longer = swept({"seed": [1, 2]}, "predictors.0.sweep.seed=[4, 5, 6]")
    assert [p.seed for p in longer.predictors] == [4, 5, 6]


def test_an_override_may_sweep_the_default_predictor() -> None:
    override = 'predictors.0.sweep.transform=["raw", "log"]'
    study = study_from_dict({}, base=Path(), overrides=(override,)).study
    assert [p.transform for p in study.predictors] == ["raw", "log"]


@pytest.mark.parametrize(
    ("sweep", "keys", "fault"),
    [
        ([1], {}, r"predictors.0.sweep: must be a table of lists, found \[1\]"),
        ({}, {}, r"predictors.0.sweep: must be a table of lists, found \{\}"),
        ({"seed": 1}, {}, "predictors.0.sweep.seed: must be a list of values to try, found 1"),
        ({"seed": []}, {}, r"predictors.0.sweep.seed: must be a list of values to try, found \[\]"),
        ({"seed": [1, 2, 1]}, {}, "predictors.0.sweep.seed: lists 1 twice; list each value once"),
        (
            {"transform": ["log"]},
            {"transform": "raw"},
            "predictors.0.sweep.transform: the predictor already says transform; say it in one",
        ),
        ({"a": [1]}, {"params": {"a": 2}}, "sweep.a: the predictor already says a; say it in one"),
        ({"a": [1], "params": [{}]}, {}, "sweep.a: the predictor already says a; say it in one"),
        ({"seed": [1]}, {"params": [1]}, r"predictors.0.params: must be a table, found \[1\]"),
        (
            {"a": list(range(40)), "b": list(range(40))},
            {},
            "predictors.0.sweep: makes 1,600 predictors; at most 1,000 are planned",
        ),
        ({"transform": ["raw", "lgo"]}, {}, "predictors.0.sweep.transform: input .* found 'lgo'"),
        ({"choose": [{"byy": "x"}]}, {}, "key 'predictors.0.sweep.choose.byy'; did you mean 'by'"),
        ({"seed": [1, 2]}, {"flor": 0}, "unknown key 'predictors.0.flor'; did you mean 'floor'?"),
        (
            {"seed": [1]},
            {"label": 5},
            "predictors.0.label: input should be a valid string, found 5",
        ),
    ],
)
def test_a_fault_is_said_with_the_place_in_the_file(
    sweep: Any, keys: dict[str, Any], fault: str
) -> None:
    with pytest.raises(StudyError, match=f"^study: .*{fault}") as caught:
        swept(sweep, **keys)
    assert "\n" not in str(caught.value)


def test_a_fault_names_the_predictor_where_it_stands_behind_a_sweep() -> None:
    raw = {"predictors": [{"sweep": {"seed": [1, 2, 3]}}, {"label": "x", "floor": 2}]}
    with pytest.raises(StudyError, match=r"predictors\.1\.floor: input should be less than 1"):
        study_from_dict(raw, base=Path())


def test_a_fault_of_a_sweep_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_text("[[predictors]]\nsweep = { seed = 1 }\n")
    with pytest.raises(StudyError, match=r"study\.toml: predictors\.0\.sweep\.seed: must be a"):
        load_study(path)
