"""Several folds as the targets of one booster."""

from __future__ import annotations

import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost

from gpucv.errors import StudyError
from gpucv.predictors import EveryRow, FitContext, cuts
from gpucv.predictors.fused import fused
from gpucv.predictors.gbdt import GbdtParams
from gpucv.predictors.trainers import Fit, fit_folds
from gpucv.splits import make_split, split_validation
from gpucv.study import load_study
from gpucv.workflow import prepare

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "h3-generalization.toml"
UNSAMPLED = {"subsample": 1.0, "colsample_bytree": 1.0, "min_child_weight": 1.0}


def training(**params: Any) -> dict[str, Any]:
    return GbdtParams(**{**UNSAMPLED, **params}).model_dump(exclude={"n_estimators", "cuts"})


def fit(X: Any, y: Any, rows: Any, *, together: bool, **how: Any) -> Fit:
    params, rounds = how.pop("params", training()), how.pop("rounds", 15)
    context = FitContext(42, 1, "cpu", every_row=EveryRow(X.shape, X.copy))
    return Fit(
        X=None if together else np.asfortranarray(X[rows]),
        y=y[rows],
        valid=None,
        training=params,
        rounds=rounds,
        context=replace(context, **how),
        seconds={},
        rows=rows if together else None,
    )


def simple() -> tuple[Any, Any, list[Any]]:
    draw = np.random.default_rng(5)
    X = draw.gamma(2.0, 9.0, size=(900, 4)).astype(np.float32)
    y = 100 + X @ np.array([3.0, 1.0, 0.5, 0.0]) + draw.normal(size=900)
    groups = np.arange(900) % 3
    return X, y, [np.flatnonzero(groups != held) for held in range(3)]


def embedded() -> tuple[Any, Any, list[Any]]:
    study = prepare(load_study(EXAMPLE, ("data.audit=off",)), limit=150)
    table, parts = study.table, []
    for task in study.tasks:
        split = make_split(task.scheme, table.keys, task.index, n_rows=len(table), seed=task.seed)
        rows, _ = split_validation(
            split, task.validation, table.keys, experiment=task.experiment, seed=task.seed
        )
        parts.append(rows)
    return table.X, table.y, parts


@pytest.mark.parametrize("data", [simple, embedded])
def test_fused_folds_are_those_of_shared_cuts_trained_one_by_one_bit_for_bit(data: Any) -> None:
    cuts._made.clear()
    X, y, parts = data()
    alone = fit_folds([fit(X, y, rows, together=False) for rows in parts])
    together = fit_folds([fit(X, y, rows, together=True) for rows in parts], fused)
    assert len(together) == len(parts)
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one.inplace_predict(X), other.inplace_predict(X))
        assert other.num_boosted_rounds() == 15
        assert one.get_dump(with_stats=True) == other.get_dump(with_stats=True)


def test_boosters_come_in_the_order_of_their_fits() -> None:
    X, y, parts = simple()
    in_order = fit_folds([fit(X, y, rows, together=False) for rows in parts])
    backwards = fit_folds([fit(X, y, rows, together=False) for rows in reversed(parts)])
    for one, other in zip(in_order, reversed(backwards), strict=True):
        assert one.save_raw() == other.save_raw()
    assert in_order[0].save_raw() != in_order[1].save_raw()


def test_rows_are_freed_once_they_are_binned(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y, parts = simple()
    one = fit(X, y, parts[0], together=False)
    rows, alive = weakref.ref(one.X), []
    train = xgboost.train

    def watched(*words: Any, **named: Any) -> Any:
        alive.append(rows() is not None)
        return train(*words, **named)

    monkeypatch.setattr(xgboost, "train", watched)
    fit_folds([one])
    assert alive == [False]


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"params": training(subsample=0.8)}, "subsample below 1: targets would share one draw"),
        ({"params": training(colsample_bynode=0.5)}, "colsample_bynode below 1"),
        ({"params": training(objective="reg:gamma")}, "objective 'reg:gamma'"),
        ({"early_stopping_rounds": 5}, "early stopping: all targets would stop together"),
        ({"training": "external-memory"}, "training 'external-memory', not 'in-memory'"),
        ({"every_row": None}, "no table whose rows the fits share"),
    ],
)
def test_what_would_come_out_differently_is_refused(how: dict[str, Any], told: str) -> None:
    X, y, parts = simple()
    with pytest.raises(StudyError, match=f"as one booster: .*{told}.*; train them one by one"):
        fit_folds([fit(X, y, rows, together=True, **how) for rows in parts], fused)


def test_fits_that_differ_are_refused() -> None:
    X, y, parts = simple()
    fits = [fit(X, y, parts[0], together=True), fit(X, y, parts[1], together=True, rounds=9)]
    with pytest.raises(StudyError, match="different parameters, rounds, seeds"):
        fit_folds(fits, fused)
