"""More tokens never take less time, where a study says so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from gpucv.errors import StudyError
from gpucv.features import build_table
from gpucv.folds import plan_folds
from gpucv.pipelines import columns_of, examples_of, fit_pipeline, inputs_of_rows
from gpucv.splits import GroupLabels
from gpucv.study import PredictorSpec, study_from_dict

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpucv.features import FeatureTable
    from gpucv.pipelines import Setting

    Spec = Callable[..., PredictorSpec]
    SettingOf = Callable[..., Setting]

TREES = {"n_estimators": 60, "min_child_weight": 1.0, "max_depth": 6, "learning_rate": 0.3}


def with_probes(table: FeatureTable) -> tuple[FeatureTable, np.ndarray, np.ndarray]:
    """Add rows that differ in tokens alone, and noise to the times learnt from."""
    tokens = np.linspace(1, 3000, 300)
    probes = np.column_stack([tokens, np.full(300, 2.0), np.zeros(300)]).astype(np.float32)
    noise = np.random.default_rng(2).lognormal(0, 0.5, len(table))
    keys = {
        name: GroupLabels(np.append(key.codes, np.zeros(300, np.int32)), key.names)
        for name, key in table.keys.items()
    }
    whole = replace(
        table,
        X=np.vstack([table.X, probes]),
        y=np.append(table.y * noise, np.ones(300)),
        keys=keys,
        sol_us=None,
    )
    return whole, np.arange(len(table)), np.arange(len(table), len(table) + 300)


@pytest.mark.parametrize("transform", ["raw", "log"])
@pytest.mark.parametrize("more", [{}, {"floor": 0.1}, {"per": "gpu"}], ids=str)
def test_more_tokens_never_take_less_time(
    transform: str, more: dict[str, Any], table: FeatureTable, spec: Spec, setting_of: SettingOf
) -> None:
    whole, train, probes = with_probes(table)
    asked = inputs_of_rows(whole, probes)

    def steps(**said: Any) -> np.ndarray:
        made = spec(transform=transform, params=TREES, **more, **said)
        fitted = fit_pipeline(made, examples_of(whole, train), None, setting_of(whole), asked)
        return np.diff(fitted.predict(asked))

    assert steps(monotone=True).min() >= 0
    assert steps(monotone=True).max() > 0
    assert steps().min() < 0  # what noise does to trees that are free


def test_features_that_may_fall_are_left_out_and_those_that_rise_are_bound(
    table: FeatureTable, spec: Spec
) -> None:
    columns = columns_of(spec(monotone=True), table)
    assert columns.names == ("tokens", "width")
    assert columns.positions == (0, 1)
    assert columns.directions == (1, 0)


def steps_frame() -> pd.DataFrame:
    """Steps of a dense model and a mixture, then a sweep of prefill and one of decode tokens."""
    draw = np.random.default_rng(4)
    parts = []
    for model in ("llama-2-7b", "mixtral-8x7b-v0-1"):
        prefill, decode = draw.integers(0, 2000, 150), draw.integers(0, 200, 150)
        parts.append(pd.DataFrame({"model": model, "prefill": prefill, "decode": decode}))
        for swept, other in (("prefill", "decode"), ("decode", "prefill")):
            sweep = pd.DataFrame({"model": model, swept: np.arange(1, 400, 3), other: 64})
            parts.append(sweep.assign(sweep=f"{model} {swept}"))
    rows = pd.concat(parts, ignore_index=True).fillna({"sweep": "none"})
    tokens = rows["prefill"] + rows["decode"]
    return pd.DataFrame(
        {
            "experiment_id": rows["sweep"],
            "model": rows["model"],
            "gpu": "H100",
            "tp": 2,
            "step.id": np.arange(len(rows)),
            "batch.prefill_tokens": rows["prefill"],
            "batch.decode_tokens": rows["decode"],
            "batch.scheduled_tokens": tokens,
            "batch.num_prefill_reqs": 1,
            "batch.num_decode_reqs": 64,
            "kv.blocks_total_gpu": 10_000,
            "kv.blocks_free_gpu": 5_000,
            "time_us": (900 + 20 * tokens) * draw.lognormal(0, 0.6, len(rows)),
        }
    )


@pytest.mark.parametrize("said", [{"transform": "log"}, {"transform": "raw"}], ids=str)
def test_on_the_transfer_features_more_tokens_of_either_kind_never_take_less_time(
    said: dict[str, Any], setting_of: SettingOf
) -> None:
    predictor = {"monotone": True, "features": "transfer", "params": TREES, **said}
    raw = {
        "data": {"target": "time_us"},
        "schemes": [{"name": "lomo", "hold_out": "model"}],
        "predictors": [predictor],
    }
    study = study_from_dict(raw, base=Path())
    table = build_table(steps_frame(), study.study, study.catalog)
    named = table.keys["experiment_id"]
    train = np.flatnonzero(named.codes == named.names.index("none"))
    every = inputs_of_rows(table, np.arange(len(table)))
    (spec,) = study.study.predictors
    fitted = fit_pipeline(spec, examples_of(table, train), None, setting_of(table), every)
    predicted = fitted.predict(every)
    assert columns_of(spec, table).directions.count(1) >= 2
    for code, name in enumerate(named.names):
        if name != "none":
            steps = np.diff(predicted[named.codes == code])
            assert steps.min() >= 0, name
            assert steps.max() > 0, name


@pytest.mark.parametrize("transform", ["utilisation", "auto"])
def test_what_may_fall_while_time_rises_cannot_be_learnt_monotone(transform: str) -> None:
    told = f"monotone constrains what is learnt, and with '{transform}'.*use 'raw', 'log'"
    with pytest.raises(ValidationError, match=told):
        PredictorSpec(monotone=True, transform=transform)  # type: ignore[arg-type]


def test_features_that_do_not_say_how_they_go_with_tokens_are_refused_before_any_fold_runs(
    table: FeatureTable,
) -> None:
    raw = {
        "features": {"columns": ["tokens", "width", "noise"]},
        "data": {"target": "time_us"},
        "schemes": [{"name": "lomo", "hold_out": "model"}],
        "predictors": [{"label": "mine", "monotone": True}],
    }
    study = study_from_dict(raw, base=Path()).study
    for known in ({}, {"tokens": "mixed", "width": "fixed"}):
        told = (
            "predictor 'mine': monotone needs features that rise with tokens, and none of its "
            "features says so; use features = 'transfer'"
        )
        with pytest.raises(StudyError, match=told):
            plan_folds(study, replace(table, tokens=known))
    assert plan_folds(study, table)


@pytest.mark.parametrize("name", ["ridge", "constant", "blackbox"])
def test_a_predictor_that_heeds_no_direction_is_refused_with_those_that_do(
    name: str, table: FeatureTable
) -> None:
    with pytest.raises(StudyError, match=f"'{name}' cannot be made monotone; xgboost"):
        columns_of(PredictorSpec(name=name, monotone=True), table)


def test_what_a_feature_is_said_to_do_decides_the_key_of_a_monotone_fold(
    table: FeatureTable,
) -> None:
    def keys(monotone: bool, tokens: dict[str, Any]) -> list[str]:
        raw = {
            "features": {"columns": ["tokens", "width", "noise"]},
            "data": {"target": "time_us"},
            "schemes": [{"name": "lomo", "hold_out": "model"}],
            "predictors": [{"monotone": monotone}],
        }
        study = study_from_dict(raw, base=Path()).study
        return [task.key for task in plan_folds(study, replace(table, tokens=tokens))]

    other = {**table.tokens, "noise": "rises"}
    assert keys(True, table.tokens) != keys(True, other)
    assert keys(False, table.tokens) == keys(False, other)
