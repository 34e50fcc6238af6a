"""How many measured rows bring the error down: medians, bands, and where a curve stays below."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from gpucv.analysis import (
    FEW_SHOT_COLUMNS,
    NEXT_ROW_COLUMNS,
    Curve,
    CurveAt,
    error_levels,
    learning_curves,
    overtaken_at,
)
from gpucv.analysis.collect import collect_tables
from gpucv.report import csv_text, read_csv
from gpucv.runs import FoldRecord

if TYPE_CHECKING:
    from pathlib import Path

RECORD = FoldRecord(
    fold_id=0,
    key="k",
    scheme="lomo",
    holdout="d",
    predictor="xgboost",
    transform="log",
    target="time_us",
    status="ok",
    n_train=10,
    n_valid=0,
    n_test=4,
    device="cpu",
)


def points(
    errors: dict[int, list[float]], holdout: str = "d", **said: Any
) -> list[dict[str, object]]:
    """Rows of few_shot.csv: for every k the errors of its repeats; NaN has a reason."""
    named = {"scheme": "lomo", "holdout": holdout, "predictor": "xgboost", "transform": "log"}
    named |= {"target": "time_us", "start": "warm", "draw": "random"} | said
    return [
        {**named, "k": k, "repeat": repeat, "n_test": 7, "test_mape": error, "test_wape": error}
        | {"reason": "too few" if math.isnan(error) else ""}
        for k, of_k in errors.items()
        for repeat, error in enumerate(of_k)
    ]


def curve(*medians: float, start: str = "warm", ks: tuple[int, ...] = (0, 10, 30, 100)) -> Curve:
    return Curve(
        start,
        "random",
        tuple(CurveAt(k, m, m, m, 1, 1) for k, m in zip(ks, medians, strict=False)),
    )


def test_a_group_stands_by_the_median_of_its_repeats_and_their_10_to_90_percent() -> None:
    errors = np.random.default_rng(0).lognormal(2, 1, 11).tolist()
    (learning,) = learning_curves(pd.DataFrame(points({10: errors, 0: [9.0] * 11})))
    ((holdout, (found,)),) = learning.groups
    assert (holdout, found.start, found.draw) == ("d", "warm", "random")
    ordered = sorted(errors)
    assert found.points == (
        CurveAt(0, 9.0, 9.0, 9.0, 11, 11),
        CurveAt(10, ordered[5], ordered[1], ordered[9], 11, 11),
    )
    assert [p.median for p in learning.average[0].points] == [9.0, ordered[5]]


def test_the_mean_is_over_groups_not_over_repeats() -> None:
    rows = points({10: [1.0, 2.0, 9.0]}) + points({10: [10.0]}, "e")
    (learning,) = learning_curves(pd.DataFrame(rows))
    (at,) = learning.average[0].points
    assert (at.median, at.n_scored, at.n_planned) == (6.0, 2, 2)
    assert at.low == pytest.approx((1.2 + 10) / 2)
    assert at.high == pytest.approx((7.6 + 10) / 2)


def test_a_mean_that_lacks_a_group_is_left_out_rather_than_taken_over_fewer() -> None:
    nan = float("nan")
    rows = points({10: [4.0], 30: [3.0]}) + points({10: [8.0], 30: [nan]}, "e")
    (learning,) = learning_curves(pd.DataFrame(rows))
    ten, thirty = learning.average[0].points
    assert ten.median == 6.0
    assert math.isnan(thirty.median)
    assert (thirty.n_scored, thirty.n_planned) == (1, 2)
    assert learning.reasons == (("too few", 1),)
    assert learning.of_groups(learning.average[0])[0].needed(3.5) == 30


def test_repeats_without_a_score_are_counted_and_enter_no_median() -> None:
    (learning,) = learning_curves(pd.DataFrame(points({10: [4.0, float("nan"), 6.0]})))
    (at,) = learning.groups[0][1][0].points
    assert (at.median, at.n_scored, at.n_planned) == (5.0, 2, 3)


def test_infinite_errors_have_quantiles_that_are_no_nan() -> None:
    (learning,) = learning_curves(pd.DataFrame(points({1: [5.0, math.inf, math.inf]})))
    (at,) = learning.groups[0][1][0].points
    assert (at.low, at.median, at.high) == (5.0, math.inf, math.inf)


def test_starts_draws_schemes_and_formulations_are_kept_apart_warm_first() -> None:
    rows = points({1: [5.0]}, start="alone") + points({0: [2.0]}, draw="spread")
    rows += points({1: [1.0]}) + points({1: [3.0]}, scheme="lowo") + points({1: [4.0]}, target="b")
    found = learning_curves(pd.DataFrame(rows))
    assert [(each.scheme, each.target) for each in found] == [
        *[("lomo", "time_us"), ("lowo", "time_us"), ("lomo", "b")]
    ]
    assert [(each.start, each.draw) for each in found[0].average] == [
        *[("warm", "spread"), ("warm", "random"), ("alone", "random")]
    ]


@pytest.mark.parametrize(
    ("medians", "needed"),
    [
        ((9.0, 8.0, 7.0, 6.0), 0),
        ((11.0, 9.0, 8.0, 7.0), 10),
        ((9.0, 11.0, 9.0, 8.0), 30),  # below, above, below: it stays there from 30 on
        ((9.0, 9.0, 9.0, 10.0), None),
        ((11.0, 10.0, 9.0, math.nan), 30),
        ((math.nan,) * 4, None),
    ],
)
def test_the_rows_needed_are_the_fewest_from_which_the_error_stays_below(
    medians: tuple[float, ...], needed: int | None
) -> None:
    assert curve(*medians).needed(10.0) == needed


@pytest.mark.parametrize(
    ("warm", "alone", "overtaken"),
    [
        ((9.0, 8.0, 7.0, 6.0), (math.nan, 20.0, 9.0, 7.0), None),
        ((9.0, 8.0, 7.0, 6.0), (math.nan, 20.0, 7.0, 5.0), 30),
        ((9.0, 8.0, 7.0, 6.0), (math.nan, 5.0, 7.5, 6.0), 100),
        ((9.0, 8.0, 7.0, math.nan), (math.nan, 9.0, 6.0, 20.0), 30),
    ],
)
def test_a_warm_start_pays_until_learning_alone_is_as_good_for_good(
    warm: tuple[float, ...], alone: tuple[float, ...], overtaken: int | None
) -> None:
    assert overtaken_at(curve(*warm), curve(*alone, start="alone")) == overtaken


@pytest.mark.parametrize(
    ("mape_max", "levels"),
    [(25.0, (25.0, 10.0, 5.0)), (10.0, (10.0, 5.0)), (3.0, (10.0, 5.0, 3.0))],
)
def test_the_studys_threshold_is_asked_for_beside_ten_and_five(
    mape_max: float, levels: tuple[float, ...]
) -> None:
    assert error_levels(mape_max) == levels


def test_curves_of_the_records_are_one_table(tmp_path: Path) -> None:
    point = {"k": 0, "start": "warm", "draw": "random", "repeat": 0, "n_test": 5}
    scored = {**point, "test_mape": 5.0, "test_wape": 4.0, "reason": ""}
    missing = {**point, "k": 9, "test_mape": math.nan, "test_wape": math.nan, "reason": "=few, no"}
    record = replace(RECORD, curve=[scored, missing])
    # As a run that is resumed reads it back.
    table = collect_tables([FoldRecord.from_json_object(record.to_json_object())]).few_shot
    assert table is not None
    assert list(table.columns) == list(FEW_SHOT_COLUMNS)
    assert table["reason"].tolist() == ["", "=few, no"]
    (tmp_path / "few_shot.csv").write_text(csv_text(table), encoding="utf-8")
    pd.testing.assert_frame_equal(read_csv(tmp_path / "few_shot.csv", FEW_SHOT_COLUMNS), table)
    (learning,) = learning_curves(table)
    assert learning.reasons == (("=few, no", 1),)


def test_rows_to_measure_next_have_a_line_per_feature(tmp_path: Path) -> None:
    rows = [
        {"experiment_id": "x", "step_id": 7, "features": {"tokens": 5.0, "step_id": 1.5}},
        {"experiment_id": "y", "step_id": 3, "features": {"tokens": math.nan, "step_id": 2.0}},
    ]
    table = collect_tables([replace(RECORD, next_rows=rows)]).next_rows
    assert table is not None
    assert list(table.columns) == list(NEXT_ROW_COLUMNS)
    told = table[["rank", "experiment_id", "step_id", "feature"]].values.tolist()
    assert told == [
        *[[1, "x", 7, "tokens"], [1, "x", 7, "step_id"]],
        *[[2, "y", 3, "tokens"], [2, "y", 3, "step_id"]],
    ]
    assert table["value"].fillna(-1).tolist() == [5.0, 1.5, -1.0, 2.0]
    (tmp_path / "next_rows.csv").write_text(csv_text(table), encoding="utf-8")
    pd.testing.assert_frame_equal(read_csv(tmp_path / "next_rows.csv", NEXT_ROW_COLUMNS), table)


def test_a_study_without_few_shot_has_neither_table() -> None:
    tables = collect_tables([RECORD])
    assert tables.few_shot is None
    assert tables.next_rows is None
