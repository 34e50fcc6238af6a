"""A study that names none of the later keys is the study it always was.

The fingerprints and keys below were computed before predictors had features, baselines,
groups or choices of their own. A run folder made then resumes only while they hold.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gpucv.features import build_table
from gpucv.folds import plan_folds
from gpucv.schema import PROTOCOL
from gpucv.study import study_from_dict
from gpucv.study.load import fingerprint

OWN: dict[str, Any] = {"params": {"n_estimators": 5, "min_child_weight": 1}}
STUDIES: dict[str, dict[str, Any]] = {
    "trees": {"predictors": [OWN]},
    "trees and a constant": {
        "predictors": [OWN, {"name": "constant"}, {**OWN, "transform": "log", "label": "l"}]
    },
    "a constant alone": {"predictors": [{"name": "constant"}]},
    "splitters and groups": {
        "predictors": [OWN],
        "schemes": [
            {"name": "random", "splitter": "KFold", "params": {"n_splits": 3}},
            {"name": "pairs", "hold_out": ["model", "workload"], "p": 2},
        ],
        "validation": {"order": "group", "group": "workload"},
    },
    "disjoint": {
        "predictors": [OWN],
        "schemes": [{"name": "lomo", "hold_out": "model", "disjoint": ["depth", "step.id"]}],
    },
}
RECORDED: dict[str, tuple[str, str, str, str, int]] = {
    "trees": (
        "8c52ee61549c789a",
        "702b8682508dff30ade07d371a0306ad543c187334e3a52e687963240d580d0e",
        "8c3814a6fac9c015",
        "b6a7c9d9b687f4a8",
        5,
    ),
    "trees and a constant": (
        "57d245cc56733376",
        "702b8682508dff30ade07d371a0306ad543c187334e3a52e687963240d580d0e",
        "8c3814a6fac9c015",
        "787a95e96ccef633",
        15,
    ),
    "a constant alone": (
        "42986e6c9ee99972",
        "702b8682508dff30ade07d371a0306ad543c187334e3a52e687963240d580d0e",
        "f40399044e15a93e",
        "b451f7f60f6d1693",
        5,
    ),
    "splitters and groups": (
        "f7fee1694299146d",
        "702b8682508dff30ade07d371a0306ad543c187334e3a52e687963240d580d0e",
        "275255798461f82e",
        "b769f731bafb90d5",
        18,
    ),
    "disjoint": (
        "aa8237984509eca0",
        "452a0831ce3b06ba547a776ec72900fae16cc23d1e908bc9b8b3d1428bb1483d",
        "832801324c07b339",
        "aa23122b519069a3",
        3,
    ),
}


def frame() -> pd.DataFrame:
    """Whole numbers by arithmetic alone, the same on every machine."""
    row = np.arange(120)
    table = pd.DataFrame({"tokens": row * 37 % 2011 + 1, "depth": row * 53 % 17 + 1})
    table["model"] = np.repeat(["a", "b", "c"], 40)
    table["workload"] = np.tile(np.repeat(["chat", "code"], 20), 3)
    table["experiment_id"] = table["model"] + "-" + table["workload"]
    table["step.id"] = np.tile(np.arange(20), 6)
    table["time_us"] = 50 + 3 * table["tokens"] + 11 * table["depth"]
    return table


def identity(name: str) -> tuple[str, str, str, str, int]:
    """The study's and the table's fingerprint, the first and last fold's key, their number."""
    raw = {
        "features": {"columns": ["tokens", "depth"]},
        "data": {"target": "time_us"},
        **STUDIES[name],
    }
    loaded = study_from_dict(raw, base=Path())
    table = build_table(frame(), loaded.study, loaded.catalog)
    tasks = plan_folds(loaded.study, table)
    return (
        fingerprint(loaded.study),
        table.fingerprint,
        tasks[0].key,
        tasks[-1].key,
        len(tasks),
    )


@pytest.mark.skipif(PROTOCOL != 1, reason="recorded under protocol 1, which keys include")
@pytest.mark.parametrize("name", STUDIES)
def test_a_study_without_later_keys_has_the_fingerprints_and_keys_it_had(name: str) -> None:
    assert identity(name) == RECORDED[name]


def test_every_later_key_of_a_predictor_changes_its_key() -> None:
    said: list[dict[str, Any]] = [
        {},
        {"seed": 1},
        {"floor": 0.1},
        {"per": "model"},
        {"per": "model", "donor": "nearest"},
        {"transform": "auto"},
        {"transform": "log"},
        {"transform": "log", "smearing": True},
        {"transform": "ratio", "baseline": "constant"},
        {"transform": "ratio", "baseline": "random-forest"},
        {"transform": "ratio", "baseline": "random-forest", "baseline_params": {"max_depth": 3}},
        {"choose": {"grid": {"max_depth": [1, 2]}}},
        {"choose": {"grid": {"max_depth": [1, 2]}, "by": "validation"}},
    ]
    predictors = [{**OWN, **each, "label": str(place)} for place, each in enumerate(said)]
    raw = {
        "features": {"columns": ["tokens", "depth"]},
        "data": {"target": "time_us"},
        "predictors": predictors,
        "schemes": [{"name": "lomo", "hold_out": "model"}],
    }
    loaded = study_from_dict(raw, base=Path())
    table = build_table(frame(), loaded.study, loaded.catalog)
    first = [task.key for task in plan_folds(loaded.study, table) if task.index == 0]
    assert len(set(first)) == len(first) == len(said)
