"""One fit per group, and who answers for a group never seen."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpucv.errors import SplitError
from gpucv.pipelines import (
    Examples,
    Inputs,
    PerGroup,
    fit_pipeline,
    inputs_of_rows,
    per_group,
    single,
)
from gpucv.splits import GroupLabels

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpucv.features import FeatureTable
    from gpucv.pipelines import Setting
    from gpucv.study import PredictorSpec

    Spec = Callable[..., PredictorSpec]
    Parted = Callable[..., tuple[Examples, Inputs, np.ndarray]]


def rows_where(table: FeatureTable, **labels: str) -> np.ndarray:
    kept = np.ones(len(table), dtype=bool)
    for column, label in labels.items():
        key = table.keys[column]
        kept &= key.codes == key.names.index(label)
    return np.flatnonzero(kept)


def fitted(spec: PredictorSpec, train: Examples, asked: Inputs, setting: Setting) -> PerGroup:
    made = fit_pipeline(spec, train, None, setting, asked)
    assert isinstance(made, PerGroup)
    return made


def ape(actual: np.ndarray, predicted: float) -> float:
    return float(100 * np.mean(np.abs(predicted - actual) / actual))


@pytest.mark.parametrize("per", ["model", ("model", "gpu")])
@pytest.mark.parametrize(
    "said", [{"transform": "log"}, {"transform": "ratio", "baseline": "constant"}], ids=str
)
def test_every_group_is_predicted_by_a_fit_to_its_own_rows(
    per: Any, said: dict[str, Any], table: FeatureTable, spec: Spec, setting: Setting
) -> None:
    odd = np.arange(len(table)) % 2 == 1
    train, asked = (inputs_of_rows(table, np.flatnonzero(odd == out)) for out in (False, True))
    examples = Examples(train, table.y[train.rows])
    found = fitted(spec(per=per, **said), examples, asked, setting).predict(asked)
    for model in "abcd":
        for gpu in ("g0", "g1"):
            own = rows_where(table, model=model, **({} if per == "model" else {"gpu": gpu}))
            here = rows_where(table, model=model, gpu=gpu)
            alone = examples.take(np.isin(train.rows, own))
            rows = asked.take(np.isin(asked.rows, here))
            by_hand = fit_pipeline(spec(**said), alone, None, setting, rows).predict(rows)
            np.testing.assert_array_equal(found[np.isin(asked.rows, here)], by_hand)


def test_only_the_groups_asked_for_are_fitted_where_all_were_seen(
    table: FeatureTable, spec: Spec, setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    make = single.make_predictor
    monkeypatch.setattr(single, "make_predictor", lambda *words: sizes.append(1) or make(*words))
    every = inputs_of_rows(table, np.arange(len(table)))
    asked = inputs_of_rows(table, rows_where(table, model="c"))
    made = fitted(spec(per="model"), Examples(every, table.y), asked, setting)
    assert len(sizes) == 1
    assert made.knows(every).sum() == 50
    assert not made.knows(every)[rows_where(table, model="a")].any()
    assert np.isnan(made.predict(every)[rows_where(table, model="a")]).all()
    assert made.donors(asked) == []


def test_the_donor_by_error_is_the_one_that_predicts_the_other_groups_best(
    table: FeatureTable, spec: Spec, held_out: Parted, setting: Setting
) -> None:
    train, asked, _ = held_out(table)
    made = fitted(spec(name="constant", per="model"), train, asked, setting)
    times = {model: table.y[rows_where(table, model=model)] for model in "abc"}
    errors = {
        donor: np.mean(
            [ape(times[other], np.median(times[donor])) for other in "abc" if other != donor]
        )
        for donor in "abc"
    }
    best = min(errors, key=lambda donor: errors[donor])
    assert len(set(errors.values())) == 3
    np.testing.assert_array_equal(made.predict(asked), np.median(times[best]))
    told = made.report().chosen["donors"]["d"]
    assert told["donor"] == best
    assert told["scores"] == pytest.approx(errors)


def test_the_nearest_donor_is_the_one_whose_mean_features_are(
    table: FeatureTable, spec: Spec, held_out: Parted, setting: Setting
) -> None:
    train, asked, _ = held_out(table, label="b")
    made = fitted(spec(per="model", donor="nearest"), train, asked, setting)
    X = table.X.astype(np.float64)
    spread = X[train.inputs.rows].std(axis=0)
    there = X[rows_where(table, model="b")].mean(axis=0)
    distances = {
        donor: np.sqrt(
            (((X[rows_where(table, model=donor)].mean(axis=0) - there) / spread) ** 2).sum()
        )
        for donor in "acd"
    }
    told = made.report().chosen["donors"]["b"]
    assert told["scores"] == pytest.approx(distances)
    assert told["donor"] == min(distances, key=lambda donor: distances[donor]) == "a"


def test_a_missing_feature_stands_at_the_mean_and_moves_no_group_away(
    table: FeatureTable, spec: Spec, held_out: Parted, setting_of: Callable[..., Setting]
) -> None:
    X = table.X + np.float32(1000)  # far from 0, which a missing value must not become
    X[rows_where(table, model="a"), 2] = np.nan
    X[:, 1] = np.where(table.keys["model"].codes == 0, 5.0, X[:, 1])
    X[rows_where(table, model="b"), 1] = 5.0
    gappy = replace(table, X=X)
    train, asked, _ = held_out(gappy, label="b")
    made = fitted(spec(per="model", donor="nearest"), train, asked, setting_of(gappy))
    assert made.report().chosen["donors"]["b"]["donor"] == "a"
    empty = replace(table, X=np.full_like(table.X, np.nan))
    train, asked, _ = held_out(empty, label="b")
    nowhere = fitted(spec(per="model", donor="nearest"), train, asked, setting_of(empty))
    assert nowhere.report().chosen["donors"]["b"]["scores"] == {"a": 0.0, "c": 0.0, "d": 0.0}


def test_of_equally_good_donors_the_first_by_name_answers(
    table: FeatureTable, spec: Spec, held_out: Parted, setting: Setting
) -> None:
    # A constant reads no feature: all donors are equally near.
    train, asked, _ = held_out(table, label="a")
    made = fitted(spec(name="constant", per="model", donor="nearest"), train, asked, setting)
    assert made.report().chosen["donors"]["a"] == {
        "donor": "b",
        "scores": {"b": 0.0, "c": 0.0, "d": 0.0},
    }


def test_the_only_group_there_is_answers_for_all(
    table: FeatureTable, spec: Spec, setting: Setting
) -> None:
    rows = rows_where(table, model="c")
    train = Examples(inputs_of_rows(table, rows), table.y[rows])
    asked = inputs_of_rows(table, rows_where(table, model="a"))
    made = fitted(spec(name="constant", per="model"), train, asked, setting)
    assert made.predict(asked).tolist() == [np.median(train.y)] * 50
    assert [each.by_rule for each in made.donors(asked)] == [True]


@pytest.mark.parametrize("rule", ["elsewhere", "nearest"])
def test_every_group_never_seen_has_every_donor_and_exactly_one_by_rule(
    rule: str, table: FeatureTable, spec: Spec, held_out: Parted, setting: Setting
) -> None:
    train, asked, _ = held_out(table)
    made = fitted(spec(per=("model", "gpu"), donor=rule), train, asked, setting)
    donations = made.donors(asked)
    predicted = made.predict(asked)
    assert {each.group for each in donations} == {"d x g0", "d x g1"}
    for group in ("d x g0", "d x g1"):
        of_group = [each for each in donations if each.group == group]
        # The model is held out, the GPU is not.
        assert [each.donor for each in of_group] == [f"{m} x {group[-2:]}" for m in "abc"]
        (answering,) = [each for each in of_group if each.by_rule]
        np.testing.assert_array_equal(answering.predicted, predicted[answering.rows])
    assert sorted(np.concatenate([each.rows for each in donations if each.by_rule])) == [*range(50)]


@pytest.mark.parametrize("rule", ["elsewhere", "nearest"])
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 1000))
def test_no_time_of_the_group_held_out_decides_who_answers_for_it(
    rule: str, seed: int, table: FeatureTable, spec: Spec, held_out: Parted, setting: Setting
) -> None:
    factors = np.ones(len(table))
    rows = rows_where(table, model="d")
    factors[rows] = np.random.default_rng(seed).lognormal(0, 3, len(rows))
    poisoned = replace(table, y=table.y * factors)
    one, other = (
        fitted(spec(name="constant", per="model", donor=rule), *held_out(each)[:2], setting)
        for each in (table, poisoned)
    )
    asked = held_out(table)[1]
    assert one.report().chosen == other.report().chosen
    np.testing.assert_array_equal(one.predict(asked), other.predict(asked))


def test_a_table_of_another_operator_lends_to_none(
    table: FeatureTable, spec: Spec, setting_of: Callable[..., Setting], held_out: Parted
) -> None:
    # Per model, GPU and operator; the times of the one are 20 times those of the other.
    slow = np.arange(len(table)) % 2 == 1
    ops = GroupLabels.from_values(np.where(slow, "slow", "fast"))
    two = replace(table, y=np.where(slow, 20.0, 1.0) * table.y, keys={**table.keys, "op": ops})
    train, asked, _ = held_out(two)
    setting = setting_of(two, group=("model",))
    rows = np.flatnonzero(two.keys["model"].codes == 3)
    for rule in ("elsewhere", "nearest"):
        said = spec(name="constant", per=("model", "gpu", "op"), donor=rule)
        made = fitted(said, train, asked, setting)
        told = made.report().chosen["donors"]
        assert set(told) == {f"d x {g} x {op}" for g in ("g0", "g1") for op in ("fast", "slow")}
        for group, each in told.items():
            own = group.removeprefix("d")
            assert set(each["scores"]) == {f"{model}{own}" for model in "abc"}
            assert "widened" not in each
        assert {(each.group, each.donor) for each in made.donors(asked)} == {
            (group, f"{model}{group[1:]}") for group in told for model in "abc"
        }
        found = made.predict(asked)
        ratio = two.y[rows] / found
        assert np.median(ratio[slow[rows]]) < 10
        assert np.median(ratio[~slow[rows]]) > 0.1
    times = {m: two.y[rows_where(two, model=m, gpu="g1", op="slow")] for m in "abc"}
    by_hand = {
        donor: np.mean(
            [ape(times[other], np.median(times[donor])) for other in "abc" if other != donor]
        )
        for donor in "abc"
    }
    elsewhere = spec(name="constant", per=("model", "gpu", "op"))
    scores = fitted(elsewhere, train, asked, setting).report().chosen["donors"]["d x g1 x slow"]
    assert scores["scores"] == {
        f"{donor} x g1 x slow": pytest.approx(error) for donor, error in by_hand.items()
    }


def test_where_no_group_agrees_any_may_lend_and_the_record_says_so(
    table: FeatureTable, spec: Spec, held_out: Parted, setting: Setting
) -> None:
    train, asked, _ = held_out(table)
    only_g0 = train.take(table.keys["gpu"].codes[train.inputs.rows] == 0)
    made = fitted(spec(name="constant", per=("model", "gpu")), only_g0, asked, setting)
    told = made.report().chosen["donors"]
    assert told["d x g1"]["widened"] is True
    assert "widened" not in told["d x g0"]
    assert set(told["d x g1"]["scores"]) == {f"{model} x g0" for model in "abc"}
    assert told["d x g1"]["scores"] == told["d x g0"]["scores"]


def test_an_only_candidate_is_the_donor_without_a_rival(
    table: FeatureTable, spec: Spec, held_out: Parted, setting: Setting
) -> None:
    train, asked, _ = held_out(table)
    gpu, model = (table.keys[name].codes[train.inputs.rows] for name in ("gpu", "model"))
    kept = train.take((gpu == 0) | (model == 0))
    made = fitted(spec(name="constant", per=("model", "gpu")), kept, asked, setting)
    told = made.report().chosen["donors"]
    assert told["d x g1"] == {"donor": "a x g1", "scores": {"a x g1": 0.0}}


def test_the_nearest_donor_is_not_looked_for_by_the_codes_of_labels(
    table: FeatureTable, spec: Spec, held_out: Parted, setting_of: Callable[..., Setting]
) -> None:
    X = np.array(table.X)
    X[:, 2] = np.array([9, 5, 0, 0])[table.keys["model"].codes]  # d looks like c, and is not
    X[:, 1] = np.array([8, 2, 1, 8])[table.keys["model"].codes]  # it is as wide as a
    X[:, 0] = 1.0
    coded = replace(table, X=X, labels=("noise",))
    train, asked, _ = held_out(coded)
    made = fitted(spec(per="model", donor="nearest"), train, asked, setting_of(coded))
    told = made.report().chosen["donors"]["d"]
    assert told["donor"] == "a"
    assert told["scores"]["a"] == 0.0


def test_a_donor_that_predicts_no_finite_time_is_the_last_to_be_asked(
    table: FeatureTable,
    spec: Spec,
    held_out: Parted,
    setting: Setting,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train, asked, _ = held_out(table)
    first = np.median(table.y[rows_where(table, model="a")])
    score = per_group.mape
    monkeypatch.setattr(per_group, "mape", lambda y, p: np.nan if p[0] == first else score(y, p))
    made = fitted(spec(name="constant", per="model"), train, asked, setting)
    told = made.report().chosen["donors"]["d"]
    assert told["scores"]["a"] == np.inf
    assert told["donor"] in "bc"


def test_without_a_row_to_learn_from_there_is_nobody_to_ask(
    table: FeatureTable, spec: Spec, held_out: Parted, setting: Setting
) -> None:
    train, asked, _ = held_out(table)
    with pytest.raises(SplitError, match="no group of model x gpu has a row to learn from"):
        fit_pipeline(
            spec(per=("model", "gpu")), train.take(np.zeros(150, bool)), None, setting, asked
        )


def test_a_report_over_groups_has_the_mean_importance_and_no_single_model(
    table: FeatureTable, spec: Spec, setting: Setting
) -> None:
    every = inputs_of_rows(table, np.arange(len(table)))
    whole = fitted(spec(per="gpu"), Examples(every, table.y), every, setting).report()
    each = [
        fit_pipeline(
            spec(), Examples(every, table.y).take(rows_where(table, gpu=gpu)), None, setting, every
        ).report()
        for gpu in ("g0", "g1")
    ]
    for name in table.feature_names:
        mean = (each[0].importance[name] + each[1].importance[name]) / 2
        assert whole.importance[name] == pytest.approx(mean)
    assert whole.model is None
    asked = inputs_of_rows(table, rows_where(table, gpu="g1"))
    alone = fitted(spec(per="gpu"), Examples(every, table.y), asked, setting).report()
    assert alone.model == each[1].model


def test_what_is_chosen_inside_groups_is_told_group_by_group(
    table: FeatureTable, spec: Spec, setting: Setting
) -> None:
    every = inputs_of_rows(table, np.arange(len(table)))
    chooser = spec(per="gpu", choose={"grid": {"max_depth": (1, 3)}, "group": "model"})
    told = fitted(chooser, Examples(every, table.y), every, setting).report().chosen
    assert set(told) == {"by_group"}
    assert set(told["by_group"]) == {"g0", "g1"}
    assert all(each["max_depth"] in (1, 3) for each in told["by_group"].values())
