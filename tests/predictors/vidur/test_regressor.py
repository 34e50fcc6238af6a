from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures

from gpucv.catalog import load_catalog
from gpucv.errors import DataError, StudyError
from gpucv.features import build_table
from gpucv.predictors import FitContext, check_params
from gpucv.predictors.vidur import VidurParams, VidurPredictor, regressor, vidur_mape
from gpucv.study import study_from_dict

CONTEXT = FitContext(seed=7, threads=1, device="cpu")
ONE_OF_EACH = {"include_bias": [True], "interaction_only": [False], "fit_intercept": [True]}
FEW_TREES = {"n_estimators": [5], "max_depth": [8]}


def predictor(seed: int = 7, **params: Any) -> VidurPredictor:
    context = FitContext(seed=seed, threads=1, device="cpu")
    return VidurPredictor(VidurParams.model_validate(params), context)


def profile(n: int = 60, seed: int = 1) -> tuple[Any, Any]:
    """Tokens from many to few, and times that step up with them."""
    generator = np.random.default_rng(seed)
    tokens = 8.0 * np.arange(n, 0, -1)
    times = 0.1 + 0.02 * np.ceil(tokens / 64) + 1e-5 * tokens
    return tokens[:, None].astype(np.float32), times * generator.normal(1, 0.01, n)


def test_without_a_search_a_forest_is_the_middle_of_vidurs_grid() -> None:
    X, y = profile()
    made = predictor(search=False)
    made.fit(X, y, None)
    theirs = RandomForestRegressor(500, max_depth=16, min_samples_split=5, random_state=7).fit(X, y)
    assert made.predict(X).tolist() == theirs.predict(X).tolist()
    assert made.settings() == {"n_estimators": 500, "max_depth": 16, "min_samples_split": 5}


def test_without_a_search_a_polynomial_is_a_cubic() -> None:
    X, y = profile()
    made = predictor(form="polynomial", search=False)
    made.fit(X, y, None)
    assert made.predict(X) == pytest.approx(
        np.polyval(np.polyfit(X[:, 0] / 100, y, 3), X[:, 0] / 100)
    )


def test_the_grids_are_vidurs() -> None:
    forest = VidurParams().candidates()
    assert forest == {
        "n_estimators": [250, 500, 750],
        "max_depth": [8, 16, 32],
        "min_samples_split": [2, 5, 10],
    }
    polynomial = VidurParams(form="polynomial").candidates()
    assert np.prod([len(values) for values in polynomial.values()]) == 5 * 2 * 2 * 2
    assert polynomial["degree"] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(("rows", "parts"), [(60, 10), (10, 10), (9, 2)])
def test_the_search_keeps_what_scores_best_on_ranges_of_tokens_left_out(
    rows: int, parts: int
) -> None:
    X, y = profile(rows)
    degrees = [1, 2, 3, 4, 5]
    scores = {}
    for degree in degrees:
        errors = []
        for fit, held in KFold(parts).split(X):
            theirs = make_pipeline(PolynomialFeatures(degree), LinearRegression())
            theirs.fit(X[fit].astype(float), y[fit])
            found = theirs.predict(X[held].astype(float))
            errors.append(np.mean(np.abs(found / y[held] - 1)))
        scores[degree] = np.mean(errors)
    made = predictor(form="polynomial", grid=ONE_OF_EACH)
    made.fit(X, y, None)
    assert made.settings()["degree"] == min(scores, key=lambda degree: scores[degree])


def test_a_searched_forest_is_fitted_anew_to_all_rows() -> None:
    X, y = profile(30)
    made = predictor(grid={**FEW_TREES, "min_samples_split": [2, 10]})
    made.fit(X, y, None)
    best = made.settings()
    assert best["n_estimators"] == 5
    theirs = RandomForestRegressor(**best, random_state=7).fit(X, y)
    assert made.predict(X).tolist() == theirs.predict(X).tolist()


def test_the_order_of_the_rows_does_not_matter_and_the_seed_does() -> None:
    X, y = profile()
    shuffled = np.random.default_rng(0).permutation(len(y))
    narrow = {name: [values[0]] for name, values in FEW_TREES.items()}
    made = [predictor(seed, search=False, grid=narrow) for seed in (7, 7, 8)]
    for each, order in zip(made, (slice(None), shuffled, slice(None)), strict=True):
        each.fit(X[order], y[order], None)
    one, other_order, other_seed = (each.predict(X).tolist() for each in made)
    assert one == other_order
    assert one != other_seed


def test_a_forest_is_flat_beyond_the_tokens_it_has_seen() -> None:
    X, y = profile()
    made = predictor(search=False, grid={"n_estimators": [20]})
    made.fit(X, y, None)
    beyond = made.predict(np.array([[480.0], [4800.0], [1e6]], np.float32))
    assert len(set(beyond.tolist())) == 1


def test_no_row_gets_no_prediction() -> None:
    X, y = profile()
    made = predictor(form="polynomial", search=False)
    made.fit(X, y, None)
    assert made.predict(X[:0]).shape == (0,)


def test_a_true_zero_counts_as_vidur_counts_it() -> None:
    actual = np.array([0.0, 0.0, 2.0, 4.0])
    predicted = np.array([0.0, 0.5, 1.0, 5.0])
    assert vidur_mape(actual, predicted) == pytest.approx((0 + 100 + 50 + 25) / 4)


def table_of(frame: pd.DataFrame, name: str = "vidur") -> Any:
    raw = {
        "data": {"target": "latency_us"},
        "schemes": [{"name": "leave-one-gpu-out", "hold_out": "gpu"}],
        "predictors": [{"name": name}],
    }
    return build_table(frame, study_from_dict(raw, base=Path()).study, load_catalog())


def operators(**columns: Any) -> pd.DataFrame:
    base = {"flops": 1e9, "bytes": 1e6, "sol_us": 1.0, "latency_us": [3.0, 4.0]}
    return pd.DataFrame({"gpu": ["a100", "h100"], **base, **columns})


def test_it_reads_the_tokens_of_a_pass_or_the_m_of_a_product() -> None:
    assert table_of(operators(num_tokens=[8, 16])).X.tolist() == [[8.0], [16.0]]
    assert table_of(operators(m=[3, 5])).X.tolist() == [[3.0], [5.0]]
    both = table_of(operators(m=[3, 5], num_tokens=[8.0, None]))
    assert both.X.tolist() == [[8.0], [5.0]]


def test_rows_without_tokens_are_told() -> None:
    X = table_of(operators()).X
    with pytest.raises(DataError, match="'vidur' needs 'num_tokens', and 2 of 2 rows have none"):
        predictor(search=False).fit(X, np.array([3.0, 4.0]), None)


def test_steps_of_an_engine_have_no_operator_to_fit(few_steps: pd.DataFrame) -> None:
    steps = few_steps.rename(columns={"step.duration_us": "latency_us"})
    with pytest.raises(DataError, match=r"'vidur': a table of this kind has no 'num_tokens'"):
        table_of(steps)


def test_one_row_is_too_few_to_search_with() -> None:
    X, y = profile(1)
    with pytest.raises(DataError, match=r"cannot cross-validate 1 row; .*search = false"):
        predictor().fit(X, y, None)
    alone = predictor(search=False, grid={"n_estimators": [3]})
    alone.fit(X, y, None)
    assert alone.predict(X) == pytest.approx(y)


@pytest.mark.parametrize(
    ("params", "fault"),
    [
        ({"grid": {"max_dept": [3]}}, "no setting 'max_dept'; did you mean 'max_depth'"),
        ({"form": "polynomial", "grid": {"max_depth": [3]}}, "no setting 'max_depth'"),
        ({"grid": {"n_estimators": []}}, "n_estimators needs one value"),
        ({"grid": {"n_estimators": [0]}}, "n_estimators takes int values of at least 1"),
        ({"grid": {"min_samples_split": [1]}}, "min_samples_split takes int values of at least 2"),
        ({"grid": {"max_depth": [True]}}, "max_depth takes int values"),
        (
            {"form": "polynomial", "grid": {"fit_intercept": [1]}},
            "fit_intercept takes bool values",
        ),
        ({"search": False, "grid": {"max_depth": [3, 4]}}, "one value, or several and search"),
        ({"form": "boosting"}, "form: input should be 'forest' or 'polynomial'"),
    ],
)
def test_a_wrong_parameter_is_a_fault_of_the_study(params: dict[str, Any], fault: str) -> None:
    with pytest.raises(StudyError, match=f"^predictor 'vidur': .*{fault}"):
        check_params("vidur", params)


def test_a_public_profile_scores_as_vidur_prints_and_not_as_it_extrapolates(
    shared_data: Path,
) -> None:
    # Llama-2-7B on one A100. The settings Vidur's whole search chooses score 0.8, 2.1 and 14.5 %.
    path = shared_data / "vidur" / "a100" / "meta-llama" / "Llama-2-7b-hf" / "mlp.csv"
    raw = pd.read_csv(path).drop_duplicates()
    raw = raw[raw["num_tensor_parallel_workers"] == 1]
    X = raw[["num_tokens"]].to_numpy(np.float32)
    y = raw["time_stats.mlp_up_proj.median"].to_numpy()

    def scored(fit: Any, held: Any) -> float:
        made = predictor(search=False, grid={"n_estimators": [25], "min_samples_split": [2]})
        made.fit(X[fit], y[fit], None)
        return vidur_mape(y[held], made.predict(X[held]))

    everything = np.arange(len(y))
    in_sample = scored(everything, everything)
    shuffled = [scored(*each) for each in KFold(10, shuffle=True, random_state=0).split(X)]
    ranges = [scored(*each) for each in KFold(10).split(X)]
    assert in_sample == pytest.approx(0.75, abs=0.15)
    assert np.mean(shuffled) == pytest.approx(2.1, abs=0.3)
    assert np.mean(ranges) == pytest.approx(14.5, abs=1.5)
    assert ranges[-1] == max(ranges) > 40


def test_the_settings_not_searched_are_among_those_that_would_be() -> None:
    for form, settings in regressor._UNSEARCHED.items():
        assert all(value in regressor.GRIDS[form][name] for name, value in settings.items())
