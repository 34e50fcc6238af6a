"""The optimism gap: numbers by hand, and what is said of them."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from gpucv.analysis import (
    SchemeMeaning,
    judge,
    optimism_gaps,
    scheme_meanings,
    summarise_schemes,
    verdicts_json,
)
from gpucv.study import SchemeSpec

if TYPE_CHECKING:
    from collections.abc import Callable

    Table = Callable[..., pd.DataFrame]

IN_ORDER = SchemeMeaning((), control=True)


def study(table: Table, *random: float | None) -> pd.DataFrame:
    """Two models and two workloads held out, beside a random split of these MAPEs."""
    return table(
        ("lomo", "a", 100.0),
        ("lomo", "b", 24.2),
        ("lowo", "x", 4.0),
        ("lowo", "y", 5.0),
        *[("random", f"split-{i}", mape) for i, mape in enumerate(random)],
    )


def test_the_gap_is_the_difference_of_the_averages(fold_table: Table) -> None:
    lomo, lowo = judge(study(fold_table, 2.0, 4.0))[0].gaps
    assert (lomo.scheme.scheme, lomo.control.scheme) == ("lomo", "random")
    assert lomo.points == pytest.approx(62.1 - 3.0)
    assert lomo.ratio == pytest.approx(62.1 / 3.0)
    assert (lowo.points, lowo.ratio) == (1.5, 1.5)


def test_the_gap_is_said_with_the_folds_behind_it(fold_table: Table) -> None:
    (verdict,) = judge(study(fold_table, 2.0, 4.0))
    assert [gap.sentence for gap in verdict.gaps] == [
        "lomo: 62.1% on a model it has never seen (n = 2 of 2 folds) against 3.0% on a random "
        "split (random, n = 2 of 2 folds): an optimism gap of 59.1 points (20.7x).",
        "lowo: 4.5% on a workload it has never seen (n = 2 of 2 folds) against 3.0% on a random "
        "split (random, n = 2 of 2 folds): an optimism gap of 1.5 points (1.5x).",
    ]
    assert verdict.follows[-2:] == tuple(gap.sentence for gap in verdict.gaps)


def test_without_a_control_nothing_is_said(fold_table: Table) -> None:
    (verdict,) = judge(study(fold_table))
    assert verdict.gaps == ()
    assert not any("optimism" in sentence for sentence in verdict.follows)
    assert json.loads(json.dumps(verdict.to_json()))["optimism_gaps"] == []


def test_the_json_holds_the_numbers(fold_table: Table) -> None:
    content = json.loads(
        json.dumps(verdicts_json(judge(study(fold_table, 2.0, 4.0, None))), allow_nan=False)
    )
    (lomo, _) = content["verdicts"][0]["optimism_gaps"]
    assert lomo == {
        "scheme": "lomo",
        "control": "random",
        "mape": 62.1,
        "control_mape": 3.0,
        "gap_points": pytest.approx(59.1),
        "ratio": pytest.approx(20.7),
        "n_finished": 2,
        "n_planned": 2,
        "control_n_finished": 2,
        "control_n_planned": 3,
    }


def test_failed_folds_of_the_control_are_told(fold_table: Table) -> None:
    sentence = judge(study(fold_table, 2.0, None, 4.0, None))[0].gaps[0].sentence
    assert "(random, n = 2 of 4 folds)" in sentence
    assert sentence.endswith("2 of the control's folds did not finish, and could move this gap.")


def test_a_control_without_a_finished_fold_leaves_the_gap_unknown(fold_table: Table) -> None:
    gap = judge(study(fold_table, None, None))[0].gaps[0]
    assert gap.sentence == (
        "lomo: the optimism gap is not known, as none of the 2 folds of the control random "
        "finished."
    )
    assert math.isnan(gap.points)
    assert math.isnan(gap.ratio)
    assert gap.to_json()["gap_points"] is None


def test_a_scheme_without_a_finished_fold_has_no_gap(fold_table: Table) -> None:
    folds = fold_table(("lomo", "a", None), ("lowo", "x", 4.0), ("random", "0", 2.0))
    assert [gap.scheme.scheme for gap in judge(folds)[0].gaps] == ["lowo"]


def test_a_random_split_that_is_harder_shows_no_optimism(fold_table: Table) -> None:
    gap = judge(fold_table(("lomo", "a", 3.0), ("random", "0", 5.0)))[0].gaps[0]
    assert gap.sentence.endswith("no optimism gap, -2.0 points (0.6x).")


@pytest.mark.parametrize(
    ("grouped", "control", "told"),
    [
        (5.0, 0.0, "an optimism gap of 5.0 points."),
        (math.inf, 5.0, "a gap without a number."),
        (math.inf, math.inf, "a gap without a number."),
        (0.0, 0.0, "no optimism gap, +0.0 points."),
    ],
)
def test_numbers_that_do_not_exist_are_not_made_up(
    grouped: float, control: float, told: str, fold_table: Table
) -> None:
    gap = judge(fold_table(("lomo", "a", grouped), ("random", "0", control)))[0].gaps[0]
    assert gap.sentence.endswith(told)
    json.dumps(gap.to_json(), allow_nan=False)


def test_a_split_in_order_is_not_called_random(fold_table: Table) -> None:
    folds = fold_table(("lomo", "a", 9.0), ("cv", "split-0", 5.0))
    sentence = judge(folds, schemes={"cv": IN_ORDER})[0].gaps[0].sentence
    assert "against 5.0% on a split of rows (cv, n = 1 of 1 folds)" in sentence
    assert "random" not in sentence


def test_every_scheme_meets_every_control_in_study_order(fold_table: Table) -> None:
    folds = fold_table(
        ("cv", "0", 1.0), ("lomo", "a", 9.0), ("random", "0", 2.0), ("lowo", "x", 8.0)
    )
    gaps = optimism_gaps(summarise_schemes(folds, {"cv": IN_ORDER}))
    assert [(gap.scheme.scheme, gap.control.scheme, gap.points) for gap in gaps] == [
        ("lomo", "cv", 8.0),
        ("lomo", "random", 7.0),
        ("lowo", "cv", 7.0),
        ("lowo", "random", 6.0),
    ]


def test_every_predictor_and_transform_has_its_own_gap(fold_table: Table) -> None:
    rows = [("lomo", "a"), ("random", "0")]
    tables = [
        fold_table(*[(*row, mape) for row, mape in zip(rows, mapes, strict=True)], transform=name)
        for name, mapes in (("raw", (50.0, 2.0)), ("log", (12.0, 3.0)))
    ]
    verdicts = judge(pd.concat(tables, ignore_index=True))
    assert [gap.points for verdict in verdicts for gap in verdict.gaps] == [48.0, 9.0]


def test_the_control_moves_no_verdict(fold_table: Table) -> None:
    good, bad = (judge(study(fold_table, mape))[0] for mape in (1.0, 5000.0))
    none = judge(study(fold_table))[0]
    assert good.label == bad.label == none.label
    assert good.reason == bad.reason == none.reason
    assert bad.worst is not None
    assert bad.worst.scheme == "lomo"


def test_a_summary_adds_up_the_rows_left_out(fold_table: Table) -> None:
    folds = study(fold_table, 1.0).assign(n_left_out=[5, 7, 0, 0, 0])
    verdict = judge(folds)[0]
    assert [each.n_left_out for each in verdict.schemes] == [12, 0, 0]
    content = json.loads(json.dumps(verdict.to_json()))
    assert content["schemes"][0]["n_left_out"] == 12
    assert judge(study(fold_table, 1.0))[0].schemes[0].n_left_out == 0


def test_testing_the_training_rows_is_a_control_that_moves_no_verdict(fold_table: Table) -> None:
    folds = fold_table(("lomo", "a", 30.0), ("lomo", "b", 40.0), ("mine", "in-sample", 0.5))
    spec = SchemeSpec(name="mine", splitter="Resubstitution")
    (verdict,) = judge(folds, schemes=scheme_meanings([spec]))
    alone = judge(folds[folds["scheme"] == "lomo"])[0]
    assert (verdict.label, verdict.reason) == (alone.label, alone.reason)
    assert verdict.label == "not supported"
    (gap,) = verdict.gaps
    assert gap.points == 34.5
    assert "against 0.5% on the training rows themselves (mine, n = 1 of 1 folds)" in gap.sentence
    (only,) = judge(folds[folds["scheme"] == "mine"], schemes=scheme_meanings([spec]))
    assert only.label == "undecided"
    assert only.reason == "Only controls were planned (mine): no group was held out."


SEEN = {
    "temporal": SchemeMeaning(("model",), control=False, temporal=True),
    "within": SchemeMeaning(("model",), control=False, several=True, within=("gpu",)),
}


@pytest.mark.parametrize("mapes", [(10.0, 12.0), (10.0, 90.0), (10.0, None), (None, None)])
@pytest.mark.parametrize("meaning", SEEN.values(), ids=SEEN)
def test_nothing_is_said_of_unseen_groups_where_training_saw_them(
    fold_table: Table, meaning: SchemeMeaning, mapes: tuple[float | None, float | None]
) -> None:
    folds = fold_table(
        *(("mine", name, mape) for name, mape in zip("ab", mapes, strict=True)),
        *(("lowo", name, 5.0) for name in "xy"),
        ("random", "split-0", 1.0),
    )
    (verdict,) = judge(folds, schemes={"mine": meaning})
    told = [each for each in verdict.follows if each.startswith("mine")]
    assert told
    for sentence in told:
        assert meaning.asked in sentence
        assert not any(word in sentence for word in ("unseen", "never seen", "has not seen"))
    assert not any("costs more" in each or "per model" in each for each in verdict.follows)


def test_a_recording_that_drifts_is_answered_by_learning_from_all_of_it(fold_table: Table) -> None:
    folds = fold_table(("mine", "a", 10.0), ("mine", "b", 90.0))
    (verdict,) = judge(folds, schemes={"mine": SEEN["temporal"]})
    assert verdict.label == "not supported"
    assert "Train on rows from the whole of a recording" in verdict.follows[0]
