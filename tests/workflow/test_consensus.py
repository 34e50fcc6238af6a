"""What folds chose, as one predictor: medians of what was drawn, modes of what was listed."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from gpucv.runs import FoldRecord
from gpucv.study import Study, study_from_dict
from gpucv.workflow.consensus import consensus, consensus_toml

SPACE = {"max_depth": [1, 9], "learning_rate": [0.001, 1.0, "log"]}


def study(**predictor: Any) -> Study:
    raw = {
        "schemes": [
            {"name": "lomo", "hold_out": "model"},
            {"name": "random", "splitter": "KFold"},
        ],
        "predictors": [predictor, {"name": "constant"}],
    }
    return study_from_dict(raw, base=Path()).study


def record(chosen: dict[str, Any], scheme: str = "lomo", **said: Any) -> FoldRecord:
    given: dict[str, Any] = {
        "predictor": "xgboost",
        "transform": "raw",
        "status": "ok",
        "holdout": "a",
        "target": "t",
        "device": "cpu",
    }
    counts = dict.fromkeys(("n_train", "n_valid", "n_test", "fold_id"), 1)
    return FoldRecord(key="k", scheme=scheme, chosen=chosen, **{**counts, **given, **said})


def drawn(depth: int, rate: float, transform: str = "raw") -> dict[str, Any]:
    return {"by": "x", "transform": transform, "max_depth": depth, "learning_rate": rate}


def test_numbers_drawn_from_a_space_become_their_median() -> None:
    spec = {"choose": {"space": SPACE, "trials": 3}, "params": {"max_depth": 6, "gamma": 1.0}}
    choices = [drawn(2, 0.2), drawn(9, 0.1), drawn(4, 0.4), drawn(7, 0.123456)]
    [agreed] = consensus(study(**spec), [record(choice) for choice in choices])
    # Between 4 and 7, rounded to even; between 0.123456 and 0.2, to four digits.
    assert agreed["params"] == {"max_depth": 6, "gamma": 1.0, "learning_rate": 0.1617}
    assert type(agreed["params"]["max_depth"]) is int
    assert agreed["label"] == "xgboost consensus"
    assert "choose" not in agreed


def test_listed_values_and_transforms_become_the_most_frequent() -> None:
    chooser = {"transform": "auto", "choose": {"grid": {"max_depth": [2, 4, 8]}}}
    chosen = [("log", 8), ("raw", 2), ("log", 2), ("utilisation", 4)]
    records = [
        record({"by": "x", "transform": transform, "max_depth": depth}, transform="auto")
        for transform, depth in chosen
    ]
    [agreed] = consensus(study(**chooser), records)
    assert (agreed["transform"], agreed["params"]) == ("log", {"max_depth": 2})


def test_of_equals_the_first_chosen_wins() -> None:
    records = [record({"by": "x", "transform": t}, transform="auto") for t in ("log", "raw")]
    assert consensus(study(transform="auto"), records)[0]["transform"] == "log"
    assert consensus(study(transform="auto"), records[::-1])[0]["transform"] == "raw"


def test_controls_have_a_say_only_where_nothing_else_has() -> None:
    spec = {"choose": {"space": SPACE, "trials": 3}}
    control = [record(drawn(9, 0.9), scheme="random")] * 5
    [agreed] = consensus(study(**spec), [record(drawn(2, 0.1)), *control])
    assert agreed["params"] == {"max_depth": 2, "learning_rate": 0.1}
    [agreed] = consensus(study(**spec), control)
    assert agreed["params"] == {"max_depth": 9, "learning_rate": 0.9}


def test_every_group_of_a_predictor_per_group_has_a_say() -> None:
    spec = {"choose": {"space": SPACE, "trials": 3}, "per": "gpu"}
    by_group = {"g0": drawn(2, 0.1), "g1": drawn(4, 0.2), "g2": drawn(6, 0.3)}
    [agreed] = consensus(study(**spec), [record({"by_group": by_group})])
    assert agreed["params"] == {"max_depth": 4, "learning_rate": 0.2}
    assert agreed["per"] == "gpu"


def test_what_belongs_to_another_transform_is_left_out() -> None:
    chooser = {
        "transform": "auto",
        "baseline": "constant",
        "smearing": True,
        "choose": {"transform": ["raw", "log", "ratio"]},
    }
    kept = {}
    for transform in ("raw", "log", "ratio"):
        one = record({"by": "x", "transform": transform}, transform="auto")
        [agreed] = consensus(study(**chooser), [one])
        kept[transform] = {"baseline", "smearing"} & set(agreed)
        study(**agreed)  # and what is left is a predictor a study takes
    assert kept == {"raw": set(), "log": {"smearing"}, "ratio": {"baseline", "smearing"}}


def test_where_nothing_was_chosen_there_is_nothing_to_write() -> None:
    spec = {"choose": {"space": SPACE, "trials": 3}}
    failed = record({}, status="failed")
    assert consensus_toml(study(**spec), [failed]) == ""
    assert consensus_toml(study(), [record({})]) == ""


@pytest.mark.parametrize("grid", [{"max_depth": [2]}, {f"p{at}": ["x" * 30] for at in range(5)}])
def test_the_text_can_be_pasted_behind_other_predictors(grid: dict[str, Any]) -> None:
    chosen = {"by": "x", "transform": "raw", **{name: values[0] for name, values in grid.items()}}
    text = consensus_toml(study(choose={"grid": grid}), [record(chosen)])
    pasted = f'[[predictors]]\nname = "constant"\n{text}\n[[predictors]]\nname = "xgboost"\n'
    found = tomllib.loads(pasted)["predictors"]
    assert [each.get("label", each["name"]) for each in found] == [
        "constant",
        "xgboost consensus",
        "xgboost",
    ]
    assert found[1]["params"] == {name: values[0] for name, values in grid.items()}
