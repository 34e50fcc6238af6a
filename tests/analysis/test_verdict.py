from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from gpucv.analysis import (
    SchemeMeaning,
    Thresholds,
    judge,
    thresholds_from_json,
    verdicts_json,
)
from gpucv.errors import RunError, StudyError

if TYPE_CHECKING:
    from collections.abc import Callable

OF_MODEL = SchemeMeaning(("model",), control=False)
OF_WORKLOAD = SchemeMeaning(("workload",), control=False)
CONTROL = SchemeMeaning((), control=True)


@pytest.mark.parametrize(
    ("lomo", "lowo", "label"),
    [
        ([5.0, 19.9], [1.0, 19.99], "strongly supported"),
        ([5.0, 20.0], [1.0, 19.99], "supported"),
        ([24.9, 24.9], [24.9, 24.9], "supported"),
        ([25.0, 5.0], [10.0, 10.0], "partially supported"),
        ([50.0, 9.9], [29.0, 29.0], "partially supported"),
        ([50.0, 10.0], [29.0, 29.0], "not supported"),
        ([10.0, 10.0], [40.0, 25.0], "not supported"),
        ([None, None], [None, None], "undecided"),
    ],
)
def test_the_label_follows_the_published_thresholds(
    fold_table: Callable[..., pd.DataFrame],
    lomo: list[float | None],
    lowo: list[float | None],
    label: str,
) -> None:
    folds = fold_table(
        *[("lomo", f"m{i}", mape) for i, mape in enumerate(lomo)],
        *[("lowo", f"w{i}", mape) for i, mape in enumerate(lowo)],
    )
    assert judge(folds)[0].label == label


@pytest.mark.parametrize(
    ("mapes", "label"),
    [
        ([10.0, None], "undecided"),  # the missing fold may fail
        ([26.0, 26.0, None], "undecided"),  # 52 / 3 is below 30: still partial if it is 0
        ([40.0, 40.0, None], "undecided"),  # 80 / 3 is below 30 although both are above
        ([46.0, 46.0, None], "not supported"),  # 92 / 3 is above 30 whatever it is
        ([10000.0, None], "not supported"),
    ],
)
def test_a_missing_fold_is_never_taken_for_a_good_one(
    fold_table: Callable[..., pd.DataFrame], mapes: list[float | None], label: str
) -> None:
    folds = fold_table(*[("lomo", f"m{i}", mape) for i, mape in enumerate(mapes)])
    assert judge(folds)[0].label == label


def test_thresholds_move_the_label(fold_table: Callable[..., pd.DataFrame]) -> None:
    folds = fold_table(("lomo", "a", 40.0), ("lomo", "b", 35.0))
    assert judge(folds)[0].label == "not supported"
    assert judge(folds, Thresholds(50.0, 30.0, 60.0))[0].label == "supported"
    assert judge(folds, Thresholds(39.0, 30.0, 60.0))[0].label == "partially supported"


def test_the_control_scheme_is_shown_but_does_not_decide(
    fold_table: Callable[..., pd.DataFrame],
) -> None:
    folds = fold_table(("random", "0", 900.0), ("lomo", "a", 10.0))
    (verdict,) = judge(folds)
    assert verdict.label == "strongly supported"
    assert [each.scheme for each in verdict.schemes] == ["random", "lomo"]
    assert verdict.worst is not None
    assert verdict.worst.scheme == "lomo"
    assert any("on a random split" in sentence for sentence in verdict.follows)


def test_a_study_with_the_control_alone_is_undecided(
    fold_table: Callable[..., pd.DataFrame],
) -> None:
    (verdict,) = judge(fold_table(("random", "0", 5.0)))
    assert verdict.label == "undecided"
    assert "Only controls were planned (random)" in verdict.reason


@pytest.mark.parametrize("name", ["cv", "lomo", "leave-one-model-out"])
def test_a_control_is_one_whatever_it_is_called(
    fold_table: Callable[..., pd.DataFrame], name: str
) -> None:
    folds = fold_table((name, "split-0", 900.0), ("unseen", "a", 10.0))
    (verdict,) = judge(folds, schemes={name: CONTROL, "unseen": OF_MODEL})
    assert verdict.label == "strongly supported"
    assert verdict.worst is not None
    assert verdict.worst.scheme == "unseen"
    follows = " ".join(verdict.follows)
    assert f"against 900.0% on a split of rows ({name}, n = 1 of 1 folds)" in follows
    assert "does not hold on" not in follows


def test_every_control_is_set_against_the_held_out_schemes(
    fold_table: Callable[..., pd.DataFrame],
) -> None:
    folds = fold_table(("cv", "split-0", 5.0), ("shuffle", "split-0", 6.0), ("lomo", "a", 10.0))
    (verdict,) = judge(folds, schemes={"cv": CONTROL, "shuffle": CONTROL})
    follows = " ".join(verdict.follows)
    assert "against 5.0% on a split of rows (cv, n = 1 of 1 folds)" in follows
    assert "against 6.0% on a split of rows (shuffle, n = 1 of 1 folds)" in follows


def test_a_scheme_that_holds_groups_out_is_judged_though_it_is_called_random(
    fold_table: Callable[..., pd.DataFrame],
) -> None:
    (verdict,) = judge(fold_table(("random", "a", 90.0)), schemes={"random": OF_MODEL})
    assert verdict.label == "not supported"
    assert verdict.reason.startswith("1 of 1 finished folds")
    assert "a model it has never seen" in verdict.follows[0]


def test_the_advice_follows_the_column_held_out_and_not_the_name(
    fold_table: Callable[..., pd.DataFrame],
) -> None:
    folds = fold_table(("lomo", "chat", 90.0), ("lowo", "a", 9.0))
    (verdict,) = judge(folds, schemes={"lomo": OF_WORKLOAD, "lowo": OF_MODEL})
    follows = " ".join(verdict.follows)
    assert "lomo: one predictor does not hold on a workload it has never seen" in follows
    assert "Record some rows of a workload" in follows
    assert "per model" not in follows
    assert "In these folds an unseen workload cost more than an unseen model" in follows


def test_a_combination_of_columns_is_spoken_of_as_one(
    fold_table: Callable[..., pd.DataFrame],
) -> None:
    meaning = SchemeMeaning(("model", "workload"), control=False)
    follows = judge(fold_table(("lomo", "a x b", 90.0)), schemes={"lomo": meaning})[0].follows
    assert "does not hold on a combination of model and workload it has never seen" in follows[0]
    assert "per model" not in follows[0]


@pytest.mark.parametrize(
    "more",
    [
        SchemeMeaning(("model",), control=False, several=True),
        SchemeMeaning(("model", "workload"), control=False),
    ],
)
def test_unseen_models_and_workloads_are_compared_only_one_against_one(
    fold_table: Callable[..., pd.DataFrame], more: SchemeMeaning
) -> None:
    folds = fold_table(("a", "x", 90.0), ("b", "y", 9.0))
    alike = judge(folds, schemes={"a": OF_MODEL, "b": OF_WORKLOAD})[0].follows
    assert any("a factor of 10.0" in sentence for sentence in alike)
    unlike = judge(folds, schemes={"a": more, "b": OF_WORKLOAD})[0].follows
    assert not any("a factor of" in sentence for sentence in unlike)


def test_the_json_says_what_every_scheme_holds_out(
    fold_table: Callable[..., pd.DataFrame],
) -> None:
    folds = fold_table(("random", "a", 9.0), ("cv", "split-0", 5.0))
    content = json.loads(
        json.dumps(verdicts_json(judge(folds, schemes={"random": OF_MODEL, "cv": CONTROL})))
    )
    schemes = content["verdicts"][0]["schemes"]
    assert [(each["scheme"], each["held_out"], each["control"]) for each in schemes] == [
        ("random", ["model"], False),
        ("cv", [], True),
    ]


def test_every_predictor_and_transform_gets_its_own_verdict_in_study_order(
    fold_table: Callable[..., pd.DataFrame],
) -> None:
    raw, log = fold_table(("lomo", "a", 90.0)), fold_table(("lomo", "a", 9.0), transform="log")
    ridge = fold_table(("lomo", "a", 22.0), predictor="ridge")
    verdicts = judge(pd.concat([raw, log, ridge], ignore_index=True))
    assert [(each.formulation.label, each.label) for each in verdicts] == [
        ("xgboost", "not supported"),
        ("xgboost on log", "strongly supported"),
        ("ridge", "supported"),
    ]


def test_the_reason_counts_the_folds_that_miss(fold_table: Callable[..., pd.DataFrame]) -> None:
    folds = fold_table(("lomo", "a", 30.0), ("lomo", "b", 60.0), ("lomo", "c", None))
    assert judge(folds)[0].reason == (
        "2 of 2 finished folds (3 planned) have a test MAPE of 25% or more; "
        "averages: lomo 45.0% (n = 2 of 3 folds)."
    )


def test_an_unseen_model_that_fails_asks_for_one_predictor_per_model(
    fold_table: Callable[..., pd.DataFrame],
) -> None:
    folds = fold_table(("lomo", "a", 90.0), ("lowo", "x", 9.0))
    follows = " ".join(judge(folds)[0].follows)
    assert "Fit one predictor per model" in follows
    assert "lowo: every fold stays below 25%" in follows
    assert "a factor of 10.0" in follows


def test_folds_that_hold_allow_one_predictor_and_say_how_many_stand_for_it(
    fold_table: Callable[..., pd.DataFrame],
) -> None:
    follows = " ".join(judge(fold_table(("lomo", "a", 9.0), ("lomo", "b", 8.0)))[0].follows)
    assert "one predictor can serve a model it has not seen, as far as these 2" in follows
    assert "per model" not in follows


def test_missing_folds_allow_no_conclusion(fold_table: Callable[..., pd.DataFrame]) -> None:
    follows = judge(fold_table(("lomo", "a", 9.0), ("lomo", "b", None)))[0].follows
    assert "the missing ones decide" in follows[0]
    nothing = judge(fold_table(("lomo", "a", None)))[0].follows
    assert "nothing follows" in nothing[0]


def test_an_average_carried_by_one_fold_is_said_with_the_rest_beside_it(
    fold_table: Callable[..., pd.DataFrame],
) -> None:
    folds = fold_table(("lomo", "a", 970.0), ("lomo", "b", 20.0), ("lomo", "c", 10.0))
    follows = " ".join(judge(folds)[0].follows)
    assert "a carries the average of 333.3%; the other folds average 15.0% (n = 2)" in follows


def test_the_json_is_finite_and_brings_the_thresholds_back(
    fold_table: Callable[..., pd.DataFrame],
) -> None:
    limits = Thresholds(12.0, 6.0, 18.0)
    content = verdicts_json(judge(fold_table(("lomo", "a", None)), limits))
    text = json.dumps(content, allow_nan=False)
    assert json.loads(text)["verdicts"][0]["schemes"][0]["average"]["test_mape"] is None
    assert thresholds_from_json(json.loads(text)) == limits


@pytest.mark.parametrize("content", [{}, {"verdicts": [{"thresholds": 3}]}, {"verdicts": [3]}])
def test_a_damaged_verdict_file_is_named(content: dict[str, object]) -> None:
    with pytest.raises(RunError, match=r"verdict\.json: no thresholds of a verdict"):
        thresholds_from_json(content)


def test_a_study_without_folds_has_no_verdict(fold_table: Callable[..., pd.DataFrame]) -> None:
    assert judge(fold_table()) == []


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_a_threshold_must_be_a_percentage(value: float) -> None:
    with pytest.raises(StudyError, match=r"verdict\.mape_max must be a percentage above 0"):
        Thresholds(mape_max=value)


def test_the_strong_threshold_may_not_lie_above_the_plain_one() -> None:
    with pytest.raises(StudyError, match=r"mape_strong \(30.0\) is above verdict\.mape_max"):
        Thresholds(mape_max=25.0, mape_strong=30.0)
