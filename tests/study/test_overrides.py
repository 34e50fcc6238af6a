"""Keys laid over a study from the command line."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpucv.errors import StudyError
from gpucv.study import Study, study_from_dict

RAW: dict[str, Any] = {
    "seed": 42,
    "data": {"steps": ["a.parquet"], "constants": {"tp": 1}},
    "schemes": [{"name": "lomo", "hold_out": "model"}, {"name": "lowo", "hold_out": "workload"}],
    "predictors": [{"name": "xgboost", "params": {"max_depth": 6}}],
}


def study(raw: dict[str, Any], *overrides: str) -> Study:
    return study_from_dict(raw, base=Path(), overrides=overrides).study


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("seed=7", ["seed"], 7),
        (" seed = 7 ", ["seed"], 7),
        ("name=plain words", ["name"], "plain words"),
        ('name="quoted"', ["name"], "quoted"),
        ("name=2026-01-31", ["name"], "2026-01-31"),
        ("name=a=b", ["name"], "a=b"),
        ("verdict.mape_max=30", ["verdict", "mape_max"], 30),
        ("validation.fraction=1e-1", ["validation", "fraction"], 0.1),
        ('data.steps=["a.csv", "b.csv"]', ["data", "steps"], ["a.csv", "b.csv"]),
        ("data.steps.0=c.csv", ["data", "steps", 0], "c.csv"),
        ("data.constants.gpu=h100", ["data", "constants", "gpu"], "h100"),
        ("schemes.1.hold_out=gpu", ["schemes", 1, "hold_out"], "gpu"),
        ("predictors.0.params.max_depth=4", ["predictors", 0, "params", "max_depth"], 4),
        ("predictors.0.params={ eta = 1 }", ["predictors", 0, "params"], {"eta": 1}),
    ],
)
def test_an_override_sets_one_key_and_no_other(override: str, path: list[Any], value: Any) -> None:
    raw = copy.deepcopy(RAW)
    expected = study(raw).model_dump(mode="json")
    place = expected
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    assert study(raw, override).model_dump(mode="json") == expected


def test_an_override_reaches_into_lists_the_study_leaves_to_their_defaults() -> None:
    found = study({}, "predictors.0.params.max_depth=4", "schemes.1.p=2")
    assert found.predictors[0].params == {"max_depth": 4}
    assert [(s.name, s.p) for s in found.schemes] == [("lomo", 1), ("lowo", 2)]


def test_the_last_override_wins() -> None:
    assert study({}, "seed=1", "seed=2").seed == 2


@pytest.mark.parametrize(
    ("override", "fault"),
    [
        ("seed", "is not of the form key.path=value"),
        ("=5", "is not of the form key.path=value"),
        ("data..steps=5", "is not of the form key.path=value"),
        ("schemes.2.p=1", "schemes.2 is not one of the 2 entries there"),
        ("schemes.-1.p=1", "schemes.-1 is not one of the 2 entries"),
        ("schemes.first.p=1", "schemes.first is not one of the 2 entries"),
        ("schemes.².p=1", "is not one of the 2 entries"),
        ("seed.x=1", "seed.x lies inside a plain value"),
        ("seed=", "seed: input should be a valid integer, found ''"),
        ("seed=1\nname = 2", r"seed: input should be a valid integer, found '1\\nname"),
        ("sed=1", "unknown key 'sed'; did you mean 'seed'"),
        ("verdict.mape_max=nan", "mape_max: input should be a finite number"),
        ("seed=" + "[" * 3000, "seed: input should be a valid integer"),
    ],
)
def test_an_override_that_fits_nothing_is_refused(override: str, fault: str) -> None:
    with pytest.raises(StudyError, match=fault):
        study(copy.deepcopy(RAW), override)


@given(st.text(max_size=40))
def test_no_override_ends_in_anything_but_a_study_or_a_study_error(text: str) -> None:
    for override in (text, f"name={text}", f"{text}=1", f"schemes.{text}=1"):
        try:
            study(copy.deepcopy(RAW), override)
        except StudyError:
            continue
