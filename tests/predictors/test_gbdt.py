from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import xgboost

from gpucv.errors import DeviceUnavailableError
from gpucv.machine import count_gpus
from gpucv.predictors import FitContext, Predictor, make_predictor

Rows = tuple[np.ndarray, np.ndarray]
SMALL = {"n_estimators": 30}


def rows(n_rows: int = 3000, seed: int = 0) -> Rows:
    """Step-like rows: a skewed target, a useless feature, and some missing values."""
    generator = np.random.default_rng(seed)
    X = generator.gamma(2.0, 50.0, size=(n_rows, 6)).astype(np.float32)
    X[:, 3] = 1.0
    X[generator.random(n_rows) < 0.1, 4] = np.nan
    y = 200 + 3 * X[:, 0] + np.sqrt(X[:, 1]) * X[:, 2] / 10 + generator.exponential(50, n_rows)
    return X, y.astype(np.float64)


def fitted(
    params: dict[str, Any] | None = None,
    train: Rows | None = None,
    valid: Rows | None = None,
    **context: Any,
) -> Predictor:
    whole = {"seed": 42, "threads": 1, "device": "cpu"} | context
    made = make_predictor("xgboost", SMALL if params is None else params, FitContext(**whole))
    made.fit(*(train or rows()), valid)
    return made


STUDY = {
    "max_depth": 6,
    "n_estimators": 300,
    "learning_rate": 0.05,
    "min_child_weight": 5,
    "subsample": 0.8,
    "colsample_bytree": 0.8,
}


@pytest.mark.parametrize(
    "params",
    [
        STUDY,
        STUDY | {"n_estimators": 40, "max_depth": 3, "reg_alpha": 2.0, "gamma": 1.5},
        STUDY | {"n_estimators": 40, "colsample_bylevel": 0.5, "colsample_bynode": 0.7},
        STUDY | {"n_estimators": 40, "grow_policy": "lossguide", "max_leaves": 12, "max_depth": 0},
        STUDY | {"n_estimators": 40, "objective": "reg:absoluteerror"},
        STUDY | {"n_estimators": 40, "objective": "reg:gamma", "max_bin": 32},
    ],
    ids=["study", "shallow", "columns", "lossguide", "absolute", "gamma"],
)
def test_predictions_are_those_of_xgboosts_own_regressor_bit_for_bit(
    params: dict[str, Any],
) -> None:
    X, y = rows()
    unseen, _ = rows(500, seed=1)
    theirs = xgboost.XGBRegressor(**params, tree_method="hist", random_state=42, n_jobs=1)
    theirs.fit(X, y)
    ours = fitted(params)
    np.testing.assert_array_equal(ours.predict(unseen), theirs.predict(unseen).astype(np.float64))
    np.testing.assert_allclose(ours.importance(), theirs.feature_importances_, rtol=1e-6)


def test_nothing_written_means_the_published_parameters() -> None:
    unseen, _ = rows(500, seed=1)
    np.testing.assert_array_equal(fitted({}).predict(unseen), fitted(STUDY).predict(unseen))


def test_early_stopping_stops_where_xgboosts_own_regressor_does() -> None:
    params = STUDY | {"learning_rate": 0.3}
    valid, unseen = rows(800, seed=2), rows(500, seed=1)[0]
    theirs = xgboost.XGBRegressor(
        **params, tree_method="hist", random_state=42, n_jobs=1, early_stopping_rounds=10
    )
    theirs.fit(*rows(), eval_set=[valid], verbose=False)
    ours = fitted(params, valid=valid, early_stopping_rounds=10)
    assert ours.best_iteration == theirs.best_iteration
    assert 0 < theirs.best_iteration < 289
    np.testing.assert_array_equal(ours.predict(unseen), theirs.predict(unseen).astype(np.float64))


def test_without_early_stopping_a_validation_set_changes_nothing() -> None:
    unseen, _ = rows(500, seed=1)
    watched = fitted(valid=rows(800, seed=2))
    assert watched.best_iteration is None
    np.testing.assert_array_equal(watched.predict(unseen), fitted().predict(unseen))


def test_early_stopping_with_nothing_to_watch_trains_to_the_end() -> None:
    unseen, _ = rows(500, seed=1)
    blind = fitted(early_stopping_rounds=5)
    assert blind.best_iteration is None
    np.testing.assert_array_equal(blind.predict(unseen), fitted().predict(unseen))


@pytest.mark.parametrize("threads", [2, 4])
def test_the_number_of_threads_changes_no_bit(threads: int) -> None:
    one, many = fitted(threads=1), fitted(threads=threads)
    unseen, _ = rows(500, seed=1)
    np.testing.assert_array_equal(many.predict(unseen), one.predict(unseen))
    np.testing.assert_array_equal(many.importance(), one.importance())


def test_folds_trained_at_once_are_those_trained_one_by_one() -> None:
    seeds = range(6)
    with ThreadPoolExecutor(4) as pool:
        at_once = list(pool.map(lambda seed: fitted(train=rows(seed=seed)).serialize(), seeds))
    one_by_one = [fitted(train=rows(seed=seed)).serialize() for seed in seeds]
    assert at_once == one_by_one


def test_the_seed_draws_rows_and_columns() -> None:
    unseen, _ = rows(500, seed=1)
    assert (fitted(seed=1).predict(unseen) != fitted(seed=2).predict(unseen)).any()


def test_importance_is_a_share_of_the_gain_and_a_constant_feature_has_none() -> None:
    shares = fitted().importance()
    assert shares is not None
    assert shares.shape == (6,)
    assert shares.sum() == pytest.approx(1)
    assert shares[3] == 0
    assert (shares[:3] > 0).all()


def test_where_there_is_nothing_to_learn_no_feature_counts() -> None:
    X, y = rows()
    flat = fitted(train=(np.ones_like(X), y))
    assert flat.importance().tolist() == [0.0] * 6  # type: ignore[union-attr]
    assert len(set(flat.predict(X).tolist())) == 1


def test_what_is_serialized_predicts_the_same_in_xgboost() -> None:
    ours, (unseen, _) = fitted(), rows(500, seed=1)
    content = ours.serialize()
    assert content is not None
    theirs = xgboost.Booster(model_file=bytearray(content))
    np.testing.assert_array_equal(
        theirs.predict(xgboost.DMatrix(unseen)).astype(np.float64), ours.predict(unseen)
    )


def test_predictions_are_float64_one_per_row_and_none_for_none() -> None:
    ours, (unseen, _) = fitted(), rows(7, seed=1)
    assert ours.predict(unseen).dtype == np.float64
    assert ours.predict(unseen).shape == (7,)
    assert ours.predict(unseen[:0]).shape == (0,)


def test_the_device_is_the_one_that_did_the_work() -> None:
    assert fitted().device == "cpu"


@pytest.mark.skipif(count_gpus() > 0, reason="needs a machine without an NVIDIA GPU")
def test_cuda_without_a_gpu_is_an_error_and_never_a_quiet_cpu_run() -> None:
    with pytest.raises(DeviceUnavailableError, match=r"'cuda' was asked for, and .* on 'cpu'"):
        fitted(device="cuda")


@pytest.mark.skipif(count_gpus() > 0, reason="needs a machine without an NVIDIA GPU")
def test_xgboost_itself_says_nothing_about_a_missing_gpu() -> None:
    program = (
        "import numpy as np\n"
        "from gpucv.errors import DeviceUnavailableError\n"
        "from gpucv.predictors import FitContext, make_predictor\n"
        "X = np.ones((50, 2), np.float32)\n"
        "try:\n"
        "    made = make_predictor('xgboost', {'n_estimators': 2}, FitContext(1, 1, 'cuda'))\n"
        "    made.fit(X, X[:, 0].astype(float), None)\n"
        "except DeviceUnavailableError:\n"
        "    print('raised')\n"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("raised\n", "")


def test_the_booster_carries_the_parameters_given() -> None:
    content = fitted(STUDY | {"n_estimators": 3, "max_bin": 64}).serialize()
    assert content is not None
    booster = xgboost.Booster(model_file=bytearray(content))
    assert booster.num_boosted_rounds() == 3
    learner = json.loads(booster.save_config())["learner"]
    assert learner["objective"]["name"] == "reg:squarederror"


def test_predicting_uses_no_more_threads_than_the_fold_was_given() -> None:
    predictor = fitted(threads=3)
    predictor.predict(rows()[0])
    config = json.loads(predictor._booster.save_config())
    assert int(config["learner"]["generic_param"]["nthread"]) == 3
