"""One predictor on one transform, against the same predictor driven by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gpucv.errors import DataError
from gpucv.pipelines import Examples, Inputs, examples_of, fit_pipeline, single
from gpucv.predictors import FitContext, base, make_predictor
from gpucv.predictors.constant import NoParams

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpucv.features import FeatureTable
    from gpucv.pipelines import Setting
    from gpucv.study import PredictorSpec

    Spec = Callable[..., PredictorSpec]
    Parted = Callable[..., tuple[Examples, Inputs, np.ndarray]]
    SettingOf = Callable[..., Setting]

RELATIVE: list[dict[str, Any]] = [
    {"transform": "utilisation"},
    {"transform": "ratio", "baseline": "constant"},
]
LOGARITHMS = [{"transform": "log"}, *RELATIVE]


def predictions(
    spec: PredictorSpec, train: Examples, asked: Inputs, setting: Setting
) -> np.ndarray:
    return fit_pipeline(spec, train, None, setting, asked).predict(asked)


def by_hand(spec: PredictorSpec, train: Examples, asked: Inputs, z: np.ndarray) -> np.ndarray:
    predictor = make_predictor(spec.name, spec.params, FitContext(3, 1, "cpu"))
    predictor.fit(train.inputs.features((0, 1, 2)), z, None)
    return predictor.predict(asked.features((0, 1, 2)))


def references(said: dict[str, Any], train: Examples, asked: Inputs) -> tuple[Any, Any]:
    if said["transform"] == "utilisation":
        return train.inputs.sol_us, asked.sol_us
    median = np.median(train.y) if said["transform"] == "ratio" else 1.0
    return median, median


def test_raw_is_the_predictor_itself(
    table: FeatureTable, spec: Spec, held_out: Parted, setting: Setting
) -> None:
    train, asked, _ = held_out(table)
    np.testing.assert_array_equal(
        predictions(spec(), train, asked, setting), by_hand(spec(), train, asked, train.y)
    )


@pytest.mark.parametrize("said", LOGARITHMS, ids=lambda said: str(said["transform"]))
def test_a_logarithm_is_learnt_over_its_reference_and_undone_with_that_of_the_rows_asked(
    said: dict[str, Any], table: FeatureTable, spec: Spec, held_out: Parted, setting: Setting
) -> None:
    train, asked, _ = held_out(table)
    below, there = references(said, train, asked)
    z = by_hand(spec(), train, asked, np.log(train.y / below))
    found = predictions(spec(**said), train, asked, setting)
    np.testing.assert_allclose(found, np.exp(z) * there, rtol=1e-12)


@pytest.mark.parametrize("said", [{"transform": "raw"}, *LOGARITHMS], ids=str)
@pytest.mark.parametrize("more", [{}, {"floor": 0.2}, {"smearing": True}], ids=str)
def test_predictions_of_another_unit_are_the_same_times(
    said: dict[str, Any],
    more: dict[str, Any],
    table: FeatureTable,
    spec: Spec,
    held_out: Parted,
    setting: Setting,
) -> None:
    if said["transform"] == "raw" and "smearing" in more:
        return
    unit = 1024.0
    assert table.sol_us is not None
    scaled = replace(table, y=table.y * unit, sol_us=table.sol_us * unit)
    one, other = (
        predictions(spec(**said, **more), *held_out(each)[:2], setting) for each in (table, scaled)
    )
    # A relative target is the very same number; the others differ by rounding in float32.
    exactly = {"rtol": 1e-13 if said in RELATIVE else 2e-4}
    np.testing.assert_allclose(other, one * unit, **exactly)


class Oracle:
    """A baseline that knows the time: the predictor under test then has nothing to learn."""

    device, best_iteration = "cpu", None
    elsewhere = 7.0

    def __init__(self, params: Any, context: FitContext) -> None:
        self.answers: dict[bytes, float] = {}
        self.factor = 1.0

    def fit(self, X: np.ndarray, y: np.ndarray, valid: Any) -> None:
        self.answers = {row.tobytes(): each for row, each in zip(X, y, strict=True)}

    def predict(self, X: np.ndarray) -> np.ndarray:
        return np.array([self.answers.get(row.tobytes(), self.elsewhere) for row in X])

    def importance(self) -> None: ...

    def serialize(self) -> None: ...


class Backwards(Oracle):
    """A baseline that answers with less than nothing."""

    def predict(self, X: np.ndarray) -> np.ndarray:
        return -super().predict(X)


class Learner(Oracle):
    """Keeps what it was asked to learn and to watch."""

    seen: tuple[np.ndarray, Any]
    context: FitContext

    def __init__(self, params: Any, context: FitContext) -> None:
        super().__init__(params, context)
        type(self).context = context

    def fit(self, X: np.ndarray, y: np.ndarray, valid: Any) -> None:
        type(self).seen = (y, valid)

    def predict(self, X: np.ndarray) -> np.ndarray:
        return np.zeros(len(X))


@pytest.fixture
def more_predictors(monkeypatch: pytest.MonkeyPatch) -> None:
    known = base._registry()
    for each in (Oracle, Backwards, Learner):
        known[each.__name__.lower()] = base.Registration(NoParams, each)  # type: ignore[arg-type]
    monkeypatch.setattr(base, "_registry", lambda: known)


@pytest.mark.usefixtures("more_predictors")
def test_over_a_perfect_baseline_there_is_nothing_left_to_learn(
    table: FeatureTable, spec: Spec, held_out: Parted, setting: Setting
) -> None:
    train, asked, _ = held_out(table)
    over = spec(name="learner", transform="ratio", baseline="oracle")
    found = predictions(over, train, asked, setting)
    assert Learner.seen[0].tolist() == [0.0] * len(train)
    assert found.tolist() == [7.0] * len(asked)  # the baseline's own answer for rows unknown to it


@pytest.mark.usefixtures("more_predictors")
@pytest.mark.parametrize("elsewhere", [0.0, -3.0, np.nan, np.inf])
def test_where_a_baseline_predicts_no_time_its_least_answer_to_the_training_rows_stands_in(
    elsewhere: float,
    table: FeatureTable,
    spec: Spec,
    held_out: Parted,
    setting_of: SettingOf,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Oracle, "elsewhere", elsewhere)
    train, asked, y = held_out(table)
    over = spec(name="learner", transform="ratio", baseline="oracle")
    valid = Examples(asked, y)
    fitted = fit_pipeline(over, train, valid, setting_of(table, early_stopping_rounds=5), asked)
    assert fitted.predict(asked).tolist() == [train.y.min()] * len(asked)
    watched = Learner.seen[1]
    np.testing.assert_allclose(watched[1], np.log(y / train.y.min()), rtol=1e-12)


@pytest.mark.usefixtures("more_predictors")
def test_a_low_answer_of_a_baseline_is_an_answer(
    table: FeatureTable,
    spec: Spec,
    held_out: Parted,
    setting: Setting,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Rows asked may well be shorter than any learnt from."""
    monkeypatch.setattr(Oracle, "elsewhere", 1e-3)
    train, asked, _ = held_out(table)
    over = spec(name="learner", transform="ratio", baseline="oracle")
    assert predictions(over, train, asked, setting).tolist() == [1e-3] * len(asked)


@pytest.mark.usefixtures("more_predictors")
def test_a_baseline_that_predicts_no_positive_time_is_refused_by_what_it_is(
    table: FeatureTable, spec: Spec, held_out: Parted, setting: Setting
) -> None:
    train, asked, _ = held_out(table)
    over = spec(transform="ratio", baseline="backwards")
    with pytest.raises(DataError, match=r"needs a baseline's prediction above 0 .* 150 of 150"):
        predictions(over, train, asked, setting)


def test_utilisation_without_a_speed_of_light_is_refused_and_not_quietly_a_logarithm(
    table: FeatureTable, spec: Spec, held_out: Parted, setting_of: SettingOf
) -> None:
    dark = replace(table, sol_us=None)
    train, asked, _ = held_out(dark)
    with pytest.raises(DataError, match=r"needs a speed of light .* 150 of 150 rows have none"):
        predictions(spec(transform="utilisation"), train, asked, setting_of(dark))


def test_a_floor_lifts_what_lies_below_the_quantile_and_nothing_else(
    table: FeatureTable, spec: Spec, held_out: Parted, setting: Setting
) -> None:
    train, asked, _ = held_out(table, label="a")
    least = float(np.quantile(train.y, 0.4))
    free, floored = (predictions(spec(floor=floor), train, asked, setting) for floor in (0.0, 0.4))
    assert free.min() < least
    np.testing.assert_array_equal(floored, np.maximum(free, least))


def test_a_floor_below_zero_is_a_floor_all_the_same(
    table: FeatureTable, spec: Spec, held_out: Parted, setting: Setting
) -> None:
    below = replace(table, y=-table.y)
    train, asked, _ = held_out(below)
    found = predictions(spec(floor=0.9), train, asked, setting)
    least = float(np.quantile(train.y, 0.9))
    assert least < 0
    assert found.min() == least
    assert predictions(spec(), train, asked, setting).min() < least


def test_the_smeared_median_of_the_logarithms_is_the_mean_of_the_times(
    table: FeatureTable, spec: Spec, held_out: Parted, setting: Setting
) -> None:
    skewed = replace(table, y=np.random.default_rng(1).lognormal(2.0, 1.0, len(table)))
    train, asked, _ = held_out(skewed)
    plain, smeared = (
        predictions(spec(name="constant", transform="log", smearing=on), train, asked, setting)
        for on in (False, True)
    )
    np.testing.assert_allclose(smeared, train.y.mean(), rtol=1e-12)
    np.testing.assert_allclose(plain, np.median(train.y), rtol=1e-2)


def test_smearing_does_nothing_where_raw_was_chosen_among_transforms(
    table: FeatureTable, spec: Spec, held_out: Parted, setting: Setting
) -> None:
    train, asked, _ = held_out(table)
    chosen = spec(transform="auto", choose={"transform": ("raw",)}, smearing=True)
    np.testing.assert_array_equal(
        predictions(chosen, train, asked, setting), predictions(spec(), train, asked, setting)
    )


@pytest.mark.usefixtures("more_predictors")
@pytest.mark.parametrize("said", [{"transform": "raw"}, *LOGARITHMS], ids=str)
def test_early_stopping_watches_what_is_learnt_and_nothing_is_watched_without_it(
    said: dict[str, Any], table: FeatureTable, spec: Spec, setting_of: SettingOf
) -> None:
    train, valid = examples_of(table, np.arange(0, 100)), examples_of(table, np.arange(100, 130))
    learner = spec(name="learner", **said)
    for rounds in (0, 5):
        setting = setting_of(table, early_stopping_rounds=rounds)
        fit_pipeline(learner, train, valid, setting, valid.inputs)
        assert Learner.context.early_stopping_rounds == rounds
        watched = Learner.seen[1]
        if not rounds:
            assert watched is None
            continue
        _, there = references(said, train, valid.inputs)
        expected = valid.y if said["transform"] == "raw" else np.log(valid.y / there)
        np.testing.assert_allclose(watched[1], expected, rtol=1e-12)
        np.testing.assert_array_equal(watched[0], table.X[100:130])


@pytest.mark.usefixtures("more_predictors")
@pytest.mark.parametrize(("own", "used"), [(None, 3), (0, 0), (99, 99)])
def test_a_predictor_draws_by_its_own_seed_before_the_studys(
    own: int | None, used: int, table: FeatureTable, spec: Spec, held_out: Parted, setting: Setting
) -> None:
    train, asked, _ = held_out(table)
    predictions(spec(name="learner", seed=own), train, asked, setting)
    assert Learner.context.seed == used


def test_a_fit_reports_the_importance_of_its_features_by_name(
    table: FeatureTable, spec: Spec, held_out: Parted, setting: Setting
) -> None:
    train, asked, _ = held_out(table)
    report = fit_pipeline(spec(), train, None, setting, asked).report()
    assert list(report.importance) == ["tokens", "width", "noise"]
    assert report.importance["noise"] < report.importance["tokens"]
    assert sum(report.importance.values()) == pytest.approx(1)
    assert report.model is not None
    assert report.chosen == {}


def test_a_baseline_is_fitted_with_its_own_parameters_and_the_predictors_features(
    table: FeatureTable,
    spec: Spec,
    held_out: Parted,
    setting: Setting,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[tuple[str, dict[str, Any]]] = []
    make = single.make_predictor

    def spied(name: str, params: dict[str, Any], context: FitContext) -> Any:
        made.append((name, dict(params)))
        return make(name, params, context)

    monkeypatch.setattr(single, "make_predictor", spied)
    train, asked, _ = held_out(table)
    over = spec(
        name="constant",
        transform="ratio",
        baseline="xgboost",
        baseline_params={"n_estimators": 2},
    )
    predictions(over, train, asked, setting)
    assert sorted(made) == [("constant", {}), ("xgboost", {"n_estimators": 2})]
