from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xgboost
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.inspection import permutation_importance

from gpucv.pipelines import Examples, Inputs, explain
from gpucv.pipelines.base import Report, ViewColumns
from gpucv.predictors import FitContext, make_predictor
from gpucv.splits import GroupLabels

if TYPE_CHECKING:
    from numpy.typing import NDArray

COLUMNS = ViewColumns((0, 1, 2), ("x", "y", "noise"))


@dataclass
class Linear:
    """Answers 100 + 5 x + y; writes down which rows it was asked for."""

    asked: list[Inputs] = field(default_factory=list)

    def predict(self, inputs: Inputs) -> NDArray[np.float64]:
        self.asked.append(inputs)
        X = inputs.features(range(inputs.matrix.shape[1])).astype(float)
        return 100 + 5 * X[:, 0] + X[:, 1]

    def report(self) -> Report:
        return Report("cpu")


def examples(n: int = 400) -> Examples:
    X = np.random.default_rng(3).uniform(0, 10, (n, 3)).astype(np.float32)
    keys = {"model": GroupLabels(np.arange(n, dtype=np.int32) % 4, ("a", "b", "c", "d"))}
    light = X[:, 0].astype(float)
    return Examples(Inputs(X, light, keys, np.arange(n)), 100.0 + 5 * X[:, 0] + X[:, 1])


def by_feature(rows: list[dict[str, Any]], name: str) -> dict[str, float]:
    return {row["feature"]: row[name] for row in rows}


def test_shuffling_hurts_as_much_as_an_independent_library_says() -> None:
    held_out = examples(200)
    found = by_feature(explain(Linear(), held_out, COLUMNS, n_learnt=100, seed=1), "permutation")

    class Estimator(RegressorMixin, BaseEstimator):
        def fit(self) -> None:
            """Nothing to learn."""

        def predict(self, X: Any) -> Any:
            return 100 + 5 * X[:, 0] + X[:, 1]

    theirs = permutation_importance(
        Estimator(),
        held_out.inputs.matrix.astype(float),
        held_out.y,
        scoring="neg_mean_absolute_percentage_error",
        n_repeats=50,
        random_state=0,
    )
    for name, mean in zip(COLUMNS.names, 100 * theirs.importances_mean, strict=True):
        assert found[name] == pytest.approx(mean, rel=0.15, abs=1e-4)
    assert found["noise"] == pytest.approx(0.0, abs=1e-4)


def test_only_one_feature_at_a_time_is_shuffled_and_rows_keep_their_labels() -> None:
    fitted, held_out = Linear(), examples(50)
    explain(fitted, held_out, COLUMNS, n_learnt=100, seed=1)
    whole, shuffled = fitted.asked
    for column in range(3):
        here = shuffled.matrix[column * 50 : (column + 1) * 50]
        assert sorted(here[:, column]) == sorted(whole.matrix[:, column])
        others = [other for other in range(3) if other != column]
        np.testing.assert_array_equal(here[:, others], whole.matrix[:, others])
    codes = whole.groups(["model"]).codes
    np.testing.assert_array_equal(shuffled.groups(["model"]).codes, np.tile(codes, 3))
    assert shuffled.sol_us is not None
    np.testing.assert_array_equal(shuffled.sol_us, np.tile(whole.sol_us, 3))


def test_what_is_predicted_together_changes_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    together = explain(Linear(), examples(), COLUMNS, n_learnt=100, seed=1)
    monkeypatch.setattr("gpucv.pipelines.explanation._STACKED_VALUES", 1)
    assert explain(Linear(), examples(), COLUMNS, n_learnt=100, seed=1) == together


def test_the_sample_is_bounded_seeded_and_covers_short_and_long_times() -> None:
    fitted, held_out = Linear(), examples(10_000)
    rows = explain(fitted, held_out, COLUMNS, n_learnt=100, seed=1)
    assert {row["n_permutation"] for row in rows} == {200}
    sampled = np.sort(Linear().predict(fitted.asked[0]))
    even = np.quantile(held_out.y, (np.arange(200) + 0.5) / 200)
    # Drawn at random, some would lie 2 or more off; one in each part lies within its part.
    assert np.abs(sampled - even).max() < 0.7
    assert rows == explain(Linear(), held_out, COLUMNS, n_learnt=100, seed=1)
    assert rows != explain(Linear(), held_out, COLUMNS, n_learnt=100, seed=2)


def test_without_features_or_rows_there_is_nothing_to_explain() -> None:
    none = ViewColumns((), ())
    assert explain(Linear(), examples(), none, n_learnt=100, seed=1) == []
    empty = examples().take(np.empty(0, dtype=np.intp))
    assert explain(Linear(), empty, COLUMNS, n_learnt=100, seed=1) == []


def test_contributions_and_their_mean_add_up_to_the_prediction() -> None:
    held_out = examples(300)
    X = held_out.inputs.matrix
    predictor = make_predictor("xgboost", {"n_estimators": 40}, FitContext(7, 1, "cpu"))
    predictor.fit(X, held_out.y, None)
    found = predictor.contributions(X)  # type: ignore[attr-defined]
    booster = xgboost.Booster(model_file=bytearray(predictor.serialize() or b""))
    whole = booster.predict(xgboost.DMatrix(X), pred_contribs=True)
    np.testing.assert_array_equal(found, whole[:, :-1].astype(float))
    np.testing.assert_allclose(found.sum(axis=1) + whole[:, -1], predictor.predict(X), rtol=1e-4)
    assert np.abs(found).mean(axis=0)[0] > 3 * np.abs(found).mean(axis=0)[1]


def test_explaining_changes_no_bit_of_the_model() -> None:
    held_out = examples(300)
    predictor = make_predictor("xgboost", {"n_estimators": 20}, FitContext(7, 1, "cpu"))
    predictor.fit(held_out.inputs.matrix, held_out.y, None)
    before, answers = predictor.serialize(), predictor.predict(held_out.inputs.matrix)
    predictor.contributions(held_out.inputs.matrix)  # type: ignore[attr-defined]
    assert predictor.serialize() == before
    np.testing.assert_array_equal(predictor.predict(held_out.inputs.matrix), answers)


@pytest.mark.parametrize(("work", "n"), [(1.0, 400), (3e5, 100), (1e7, None)])
def test_shap_values_are_given_up_where_a_row_costs_too_much(work: float, n: int | None) -> None:
    class Costly(Linear):
        def contribution_work(self) -> float:
            return work

        def contributions(self, inputs: Inputs) -> dict[str, NDArray[np.float64]]:
            X = inputs.features((0, 1, 2))
            return {name: X[:, at] - 5.0 for at, name in enumerate(COLUMNS.names)}

    rows = explain(Costly(), examples(), COLUMNS, n_learnt=100, seed=1)
    if n is None:
        assert all("shap" not in row for row in rows)
        return
    assert {row["n_shap"] for row in rows} == {n}
    assert sum(by_feature(rows, "shap").values()) == pytest.approx(1.0)
