from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import xgboost
from sklearn.datasets import make_friedman1
from sklearn.ensemble import RandomForestRegressor
from sklearn.model_selection import KFold

from gpucv.errors import DeviceUnavailableError, StudyError
from gpucv.machine import count_gpus
from gpucv.metrics import mape
from gpucv.predictors import FitContext, make_predictor

if TYPE_CHECKING:
    from pathlib import Path

SMALL = {"n_estimators": 20, "max_depth": 6}


def rows(n_rows: int = 500, seed: int = 0, noise: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    X, y = make_friedman1(n_rows, noise=noise, random_state=seed)
    return X.astype(np.float32), 100 + y


def fitted(X: np.ndarray, y: np.ndarray, *, valid: Any = None, **params: Any) -> Any:
    context = {
        key: params.pop(key)
        for key in ("seed", "threads", "device", "directions", "early_stopping_rounds")
        if key in params
    }
    whole = FitContext(**({"seed": 42, "threads": 1, "device": "cpu"} | context))
    made = make_predictor("random-forest", params, whole)
    made.fit(X, y, valid)
    return made


def test_predictions_are_those_of_xgboosts_own_forest_bit_for_bit() -> None:
    X, y = rows()
    unseen, _ = rows(100, seed=1)
    theirs = xgboost.XGBRFRegressor(
        n_estimators=20,
        max_depth=6,
        min_child_weight=3,
        subsample=0.7,
        colsample_bynode=0.5,
        tree_method="hist",
        random_state=42,
        n_jobs=1,
    ).fit(X, y)
    ours = fitted(X, y, **SMALL, min_samples_leaf=3, subsample=0.7, colsample_bynode=0.5)
    np.testing.assert_array_equal(ours.predict(unseen), theirs.predict(unseen).astype(np.float64))
    np.testing.assert_allclose(ours.importance(), theirs.feature_importances_, rtol=1e-6)
    assert ours.best_iteration is None


def test_on_a_generated_problem_the_error_is_near_scikit_learns() -> None:
    X, y = rows(600)
    unseen, truth = rows(1000, seed=1, noise=0)
    params = {"n_estimators": 30, "max_depth": 10}
    theirs = RandomForestRegressor(**params, random_state=0).fit(X, y)
    ours = fitted(X, y, **params).predict(unseen)

    def rmse(predicted: np.ndarray) -> float:
        return float(np.sqrt(np.mean((predicted - truth) ** 2)))

    assert rmse(ours) < 1.1 * rmse(theirs.predict(unseen))
    assert rmse(ours) < 0.5 * rmse(np.full(len(truth), y.mean()))


def test_on_a_vidur_table_the_error_is_near_scikit_learns(shared_data: Path) -> None:
    path = shared_data / "vidur" / "h100" / "meta-llama" / "Llama-2-7b-hf" / "mlp.csv"
    raw = pd.read_csv(path)
    X = raw[["num_tokens", "num_tensor_parallel_workers"]].to_numpy(np.float32)
    y = raw["time_stats.mlp_up_proj.median"].to_numpy() * 1000
    ours, theirs, constant = [], [], []
    for train, test in KFold(3, shuffle=True, random_state=0).split(X):
        made = fitted(X[train], y[train])
        forest = RandomForestRegressor(100, max_depth=16, random_state=0).fit(X[train], y[train])
        ours.append(mape(y[test], made.predict(X[test])))
        theirs.append(mape(y[test], forest.predict(X[test])))
        constant.append(mape(y[test], np.full(len(test), np.median(y[train]))))
    # XGBoost splits at a value met in training, scikit-learn halfway to the next, which
    # suits a row between two token counts better.
    assert np.mean(ours) == pytest.approx(np.mean(theirs), abs=1.0)
    assert np.mean(ours) < np.mean(constant) / 10


def test_a_leaf_has_no_fewer_rows_than_asked_for() -> None:
    X, y = rows(200)
    made = fitted(X, y, n_estimators=5, max_depth=0, min_samples_leaf=25, subsample=1.0)
    booster = xgboost.Booster(model_file=bytearray(made.serialize()))
    leaves = booster.predict(xgboost.DMatrix(X), pred_leaf=True)
    sizes = [np.unique(leaves[:, tree], return_counts=True)[1] for tree in range(leaves.shape[1])]
    assert len(sizes) == 5
    assert min(size.min() for size in sizes) >= 25
    assert max(len(size) for size in sizes) > 1


def test_every_tree_stands_beside_the_others_in_one_round() -> None:
    made = fitted(*rows(), **SMALL)
    booster = xgboost.Booster(model_file=bytearray(made.serialize()))
    assert booster.num_boosted_rounds() == 1
    assert len(booster.get_dump()) == 20
    unseen, _ = rows(50, seed=1)
    np.testing.assert_array_equal(
        booster.predict(xgboost.DMatrix(unseen)).astype(np.float64), made.predict(unseen)
    )


def test_there_is_nothing_to_stop_early() -> None:
    X, y = rows()
    unseen, _ = rows(50, seed=1)
    watched = fitted(X, y, **SMALL, valid=rows(80, seed=2), early_stopping_rounds=1)
    assert watched.best_iteration is None
    np.testing.assert_array_equal(watched.predict(unseen), fitted(X, y, **SMALL).predict(unseen))


def test_the_seed_draws_and_threads_change_no_bit() -> None:
    X, y = rows()
    one, many, other = (
        fitted(X, y, **SMALL, **more).predict(X) for more in ({}, {"threads": 2}, {"seed": 7})
    )
    np.testing.assert_array_equal(one, many)
    assert (one != other).any()


def test_a_missing_value_is_no_fault() -> None:
    X, y = rows()
    X[::4, 2] = np.nan
    assert np.isfinite(fitted(X, y, **SMALL).predict(X)).all()


def test_a_forest_can_be_made_to_rise_with_a_feature() -> None:
    X, y = rows()
    y = y - 30 * X[:, 0]  # falls, against what is asked for
    grid = np.full((50, X.shape[1]), 0.5, np.float32)
    grid[:, 0] = np.linspace(0, 1, 50)
    free = fitted(X, y, **SMALL).predict(grid)
    bound = fitted(X, y, **SMALL, directions=(1,) + (0,) * 9).predict(grid)
    assert (np.diff(free) < 0).any()
    assert (np.diff(bound) >= 0).all()


@pytest.mark.skipif(count_gpus() > 0, reason="needs a machine without an NVIDIA GPU")
def test_cuda_without_a_gpu_is_an_error() -> None:
    with pytest.raises(DeviceUnavailableError, match=r"'cuda' was asked for, and .* on 'cpu'"):
        fitted(*rows(), **SMALL, device="cuda")


@pytest.mark.parametrize(
    ("params", "fault"),
    [
        ({"learning_rate": 0.1}, "unknown parameter 'learning_rate'"),
        ({"min_samples_leaf": 0}, "min_samples_leaf: .* greater than or equal to 1, found 0"),
        ({"subsample": 0}, "subsample: .* greater than 0, found 0"),
    ],
)
def test_a_wrong_parameter_is_refused(params: dict[str, Any], fault: str) -> None:
    with pytest.raises(StudyError, match=f"^predictor 'random-forest': {fault}"):
        fitted(*rows(), **params)
