"""The few-shot curve: who is drawn, who is tested, and what happens where there is no score."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gpucv.errors import DataError, EnvironmentFaultError
from gpucv.metrics import mape, wape
from gpucv.pipelines import (
    CurvePoint,
    Examples,
    Inputs,
    few_shot_curve,
    fit_pipeline,
    next_rows,
    warm,
)
from gpucv.pipelines.correction import corrected
from gpucv.splits import split_pool, spread_order
from gpucv.study import FewShotSpec

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpucv.features import FeatureTable
    from gpucv.pipelines import Setting
    from gpucv.study import PredictorSpec

    Spec = Callable[..., PredictorSpec]
    Parted = Callable[..., tuple[Examples, Inputs, np.ndarray]]

FEW = FewShotSpec(k=(0, 1, 5, 20), draw=("random", "spread"), repeats=3)


def curve_of(
    few: FewShotSpec, spec: PredictorSpec, parts: tuple[Examples, Inputs, Any], setting: Setting
) -> list[CurvePoint]:
    train, asked, actual = parts
    prior = fit_pipeline(spec, train, None, setting, asked)
    return few_shot_curve(few, spec, prior, Examples(asked, actual), setting)


@pytest.fixture
def learnt(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Every fit of a curve: how it starts, the rows it learns from, and what it predicts."""
    seen: list[tuple[str, np.ndarray, np.ndarray]] = []

    def correct(prior: Any, shots: Examples, *more: Any) -> Any:
        fitted = corrected(prior, shots, *more)
        seen.append(("warm", shots.inputs.rows, fitted.predict(shots.inputs)))
        return fitted

    def fit(spec: Any, train: Examples, *more: Any) -> Any:
        fitted = fit_pipeline(spec, train, *more)
        seen.append(("alone", train.inputs.rows, fitted.predict(train.inputs)))
        return fitted

    monkeypatch.setattr(warm, "corrected", correct)
    monkeypatch.setattr(warm, "fit_pipeline", fit)
    return seen


def test_there_is_a_point_for_every_k_start_draw_and_repeat(
    table: FeatureTable, spec: Spec, held_out: Parted, setting: Setting
) -> None:
    points = curve_of(FEW, spec(transform="log"), held_out(table), setting)
    assert {(p.k, p.start, p.draw, p.repeat) for p in points} == {
        (k, start, draw, repeat)
        for k in FEW.k
        for start in ("warm", "alone")
        for draw in ("random", "spread")
        for repeat in range(3)
        if k or start == "warm"
    }
    assert len(points) == 3 * 2 * 7
    assert all(p.n_test == 25 and np.isfinite(p.test_mape) and not p.reason for p in points)


def test_without_a_measured_row_a_warm_start_is_the_folds_own_prediction(
    table: FeatureTable, spec: Spec, held_out: Parted, setting: Setting
) -> None:
    train, asked, actual = held_out(table)
    predicted = fit_pipeline(spec(), train, None, setting, asked).predict(asked)
    points = curve_of(FEW, spec(), (train, asked, actual), setting)
    for point in (p for p in points if not p.k):
        _, test = split_pool(50, 0.5, setting.seed, point.repeat)
        assert point.test_mape == mape(actual[test], predicted[test])
        assert point.test_wape == wape(actual[test], predicted[test])


def test_each_point_is_what_a_fit_by_hand_scores(
    table: FeatureTable, spec: Spec, held_out: Parted, setting: Setting
) -> None:
    train, asked, actual = held_out(table)
    said = spec(transform="utilisation")
    prior = fit_pipeline(said, train, None, setting, asked)
    whole = Examples(asked, actual)
    for point in curve_of(FEW, said, (train, asked, actual), setting):
        pool, test = split_pool(50, 0.5, setting.seed, point.repeat)
        if point.draw == "spread":
            pool = pool[spread_order(asked.take(pool).features(range(3)), 20)]
        shots = whole.take(np.sort(pool[: point.k]))
        rows = asked.take(test)
        if point.start == "alone":
            fitted = fit_pipeline(said, shots, None, setting, rows)
        else:
            fitted = corrected(prior, shots, said, setting) if point.k else prior
        assert point.test_mape == mape(actual[test], fitted.predict(rows))


def test_rows_tested_are_never_drawn_and_larger_draws_hold_the_smaller(
    table: FeatureTable,
    spec: Spec,
    held_out: Parted,
    setting: Setting,
    learnt: list[tuple[str, np.ndarray, np.ndarray]],
) -> None:
    parts = held_out(table)
    curve_of(replace_few(draw=("random",)), spec(), parts, setting)
    by_repeat = [learnt[at : at + 6] for at in range(0, 18, 6)]
    for repeat, fits in enumerate(by_repeat):
        _, test = split_pool(50, 0.5, setting.seed, repeat)
        tested = set(parts[1].rows[test].tolist())
        drawn = {start: [set(rows) for s, rows, _ in fits if s == start] for start, *_ in fits}
        for sets in drawn.values():
            assert [len(rows) for rows in sets] == [1, 5, 20]
            assert sets[0] < sets[1] < sets[2]
            assert not sets[2] & tested
        assert drawn["warm"] == drawn["alone"]
    assert len({tuple(fits[-1][1]) for fits in by_repeat}) == 3


def replace_few(**said: Any) -> FewShotSpec:
    return FewShotSpec(**{**FEW.model_dump(), **said})


def test_no_time_of_a_row_tested_reaches_a_fit(
    table: FeatureTable,
    spec: Spec,
    held_out: Parted,
    setting: Setting,
    learnt: list[tuple[str, np.ndarray, np.ndarray]],
) -> None:
    train, asked, actual = held_out(table)
    few = replace_few(repeats=1)
    curve_of(few, spec(transform="log"), (train, asked, actual), setting)
    _, test = split_pool(50, 0.5, setting.seed, 0)
    poisoned = actual.copy()
    poisoned[test] *= np.random.default_rng(0).lognormal(0, 3, len(test))
    once = list(learnt)
    learnt.clear()
    curve_of(few, spec(transform="log"), (train, asked, poisoned), setting)
    assert len(once) == len(learnt) == 12
    for (_, rows, predicted), (_, same_rows, same) in zip(once, learnt, strict=True):
        np.testing.assert_array_equal(rows, same_rows)
        np.testing.assert_array_equal(predicted, same)


def test_the_same_study_gives_the_same_curve(
    table: FeatureTable, spec: Spec, held_out: Parted, setting: Setting
) -> None:
    one, other = (curve_of(FEW, spec(), held_out(table), setting) for _ in range(2))
    assert one == other


def test_more_rows_than_there_are_have_no_score_and_say_so(
    table: FeatureTable, spec: Spec, held_out: Parted, setting: Setting
) -> None:
    points = curve_of(FewShotSpec(k=(25, 26), repeats=1), spec(), held_out(table), setting)
    assert [(p.k, p.reason) for p in points] == [
        *[(25, "")] * 2,
        *[(26, "only 25 rows can be drawn")] * 2,
    ]
    assert np.isnan(points[-1].test_mape)
    assert np.isnan(points[-1].test_wape)


@pytest.mark.parametrize(
    "failing",
    [
        (DataError("too few rows\nfor this"), "too few rows"),
        (ValueError("no"), "ValueError: no"),
    ],
)
def test_a_predictor_that_cannot_learn_from_so_few_loses_that_point_alone(
    failing: tuple[Exception, str],
    table: FeatureTable,
    spec: Spec,
    held_out: Parted,
    setting: Setting,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fault, reason = failing

    def fit(spec: Any, train: Examples, *more: Any) -> Any:
        if len(train) < 3:
            raise fault
        return fit_pipeline(spec, train, *more)

    monkeypatch.setattr(warm, "fit_pipeline", fit)
    points = curve_of(replace_few(repeats=1), spec(), held_out(table), setting)
    assert {(p.start, p.k) for p in points if p.reason} == {("alone", 1)}
    assert {p.reason for p in points} == {"", reason}
    assert all(np.isnan(p.test_mape) == bool(p.reason) for p in points)


@pytest.mark.parametrize(
    "fault", [EnvironmentFaultError("no such device"), MemoryError(), ImportError("xgboost")]
)
def test_a_fault_of_the_machine_is_not_a_missing_point(
    fault: Exception,
    table: FeatureTable,
    spec: Spec,
    held_out: Parted,
    setting: Setting,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fit(*words: Any) -> Any:
        raise fault

    monkeypatch.setattr(warm, "fit_pipeline", fit)
    with pytest.raises(type(fault)):
        curve_of(FEW, spec(), held_out(table), setting)


def test_an_error_that_is_no_number_is_a_reason(
    table: FeatureTable, spec: Spec, held_out: Parted, setting: Setting
) -> None:
    train, asked, actual = held_out(table)
    points = curve_of(
        FewShotSpec(k=(0,), repeats=1), spec(), (train, asked, np.zeros_like(actual)), setting
    )
    assert [p.reason for p in points] == ["its error on the rows tested is no number"]


@pytest.mark.parametrize(
    "said",
    [
        {"per": ("model", "gpu")},
        {"per": ("gpu",), "donor": "nearest"},
        {"transform": "auto"},
        {"choose": {"grid": {"max_depth": (1, 2)}, "by": "validation"}},
        {"name": "constant"},
        {"transform": "ratio", "baseline": "constant"},
    ],
    ids=str,
)
def test_every_way_to_fit_has_a_curve_from_one_row_on(
    said: dict[str, Any], table: FeatureTable, spec: Spec, held_out: Parted, setting: Setting
) -> None:
    train, asked, actual = held_out(table)
    made = spec(**said)
    few = FewShotSpec(k=(0, 1, 2, 12), repeats=1)
    watching = train.take(np.arange(0, len(train), 7))
    prior = fit_pipeline(made, train, watching, setting, asked)
    points = few_shot_curve(few, made, prior, Examples(asked, actual), setting)
    assert len(points) == 7
    assert [p.reason for p in points] == [""] * 7


def test_a_group_of_a_single_row_is_tested_and_nothing_is_drawn(
    table: FeatureTable, spec: Spec, held_out: Parted, setting: Setting
) -> None:
    train, asked, actual = held_out(table)
    one = (train, asked.take(np.array([3])), actual[[3]])
    points = curve_of(FewShotSpec(k=(0, 1), repeats=1), spec(), one, setting)
    assert [p.reason for p in points] == ["", *["only 0 rows can be drawn"] * 2]


def test_what_to_measure_next_is_spread_and_named_once(
    table: FeatureTable, spec: Spec, held_out: Parted, setting_of: Callable[..., Setting]
) -> None:
    X = np.array(table.X)
    X[:, 2] = 0.0
    X[:, 0] = np.round(X[:, 0], -2)
    coarse = replace(table, X=X)
    asked = held_out(coarse)[1]
    found = next_rows(spec(), asked, setting_of(coarse))
    shapes = [tuple(features.values()) for _, features in found]
    assert len(set(shapes)) == len(shapes) == min(30, len({tuple(x) for x in X[asked.rows]}))
    for row, features in found:
        assert row in asked.rows
        assert list(features) == ["tokens", "width", "noise"]
        assert tuple(features.values()) == tuple(X[row].tolist())
    tokens = [features["tokens"] for _, features in found]
    ends = {X[asked.rows, 0].min(), X[asked.rows, 0].max()}
    assert ends <= set(tokens[:3])  # the middle, then both ends


def test_rows_alike_but_for_missing_values_or_labels_are_named_once(
    table: FeatureTable, spec: Spec, held_out: Parted, setting_of: Callable[..., Setting]
) -> None:
    X = np.array(table.X)
    X[:, 0] = np.where(np.arange(len(X)) % 2, 7.0, 3.0)
    X[:, 1] = np.where(np.arange(len(X)) % 3, np.nan, 5.0)
    X[:, 2] = np.arange(len(X)) % 5
    coded = replace(table, X=X, labels=("noise",))
    asked = held_out(coded)[1]
    found = next_rows(spec(), asked, setting_of(coded))
    # A missing value stands at the mean of the others, and these are all 5: two rows remain.
    assert sorted(features["tokens"] for _, features in found) == [3.0, 7.0]
    assert all(features["noise"] == X[row, 2] for row, features in found)
    X[asked.rows[:2], 1] = [-5.0, 20.0]
    found = next_rows(spec(), asked, setting_of(replace(coded, X=X)))
    shapes = {str((features["tokens"], features["width"])) for _, features in found}
    assert len(shapes) == len(found) == 6


def test_to_a_predictor_without_features_no_row_tells_more(
    table: FeatureTable, spec: Spec, held_out: Parted, setting: Setting
) -> None:
    assert next_rows(spec(name="constant"), held_out(table)[1], setting) == []
