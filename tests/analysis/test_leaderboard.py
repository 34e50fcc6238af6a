"""Who is best in each scheme, by how much, and who cannot be told apart from it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from gpucv.analysis import (
    DIFFERENCE_COLUMNS,
    FOLD_COLUMNS,
    LEADERBOARD_COLUMNS,
    SchemeMeaning,
    rank_formulations,
)
from gpucv.analysis.bootstrap import mean_intervals

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Table = Callable[..., pd.DataFrame]


@pytest.fixture
def study(fold_table: Table) -> Callable[..., pd.DataFrame]:
    """Make a fold table of one scheme from the MAPEs of each predictor; None failed."""

    def make(scheme: str = "lomo", **mapes: Sequence[float | None]) -> pd.DataFrame:
        return pd.concat(
            [
                fold_table(
                    *((scheme, f"group-{i}", each) for i, each in enumerate(of)), predictor=name
                )
                for name, of in mapes.items()
            ],
            ignore_index=True,
        )

    return make


def by_predictor(table: pd.DataFrame) -> pd.DataFrame:
    return table.set_index("predictor")


def test_predictors_are_ranked_by_their_mean_and_have_their_figures(study: Table) -> None:
    folds = study(slow=[30.0, 10.0, 50.0], quick=[5.0, 6.0, 10.0]).assign(
        test_wape=[1.0, 2.0, 6.0, 4.0, 5.0, 9.0],
        test_time_error=[3.0, 3.0, 9.0, 0.0, 1.0, 2.0],
        fit_s=[1.0, 2.0, 3.0, 0.5, 0.5, 0.5],
        predict_s=0.25,
    )
    table = rank_formulations(folds).table
    assert list(table.columns) == list(LEADERBOARD_COLUMNS)
    assert table["predictor"].tolist() == ["quick", "slow"]
    quick, slow = (row for _, row in table.iterrows())
    assert (quick["rank"], slow["rank"]) == (1, 2)
    assert (quick["mean_mape"], slow["mean_mape"]) == (7.0, 30.0)
    assert (slow["median_mape"], slow["worst_holdout"], slow["worst_mape"]) == (30, "group-2", 50)
    assert (slow["mean_wape"], slow["mean_time_error"]) == (3.0, 5.0)
    assert (slow["mean_fit_s"], slow["mean_predict_s"]) == (2.0, 0.25)
    assert (slow["n_finished"], slow["n_planned"], slow["n_compared"]) == (3, 3, 3)


def test_equal_means_share_a_rank_and_the_next_one_is_left_out(study: Table) -> None:
    table = rank_formulations(study(a=[9.0, 9.0], b=[1.0, 3.0], c=[3.0, 1.0], d=[5.0, 5.0])).table
    assert dict(zip(table["predictor"], table["rank"], strict=True)) == {
        **{"b": 1, "c": 1},
        **{"d": 3, "a": 4},
    }


def test_every_scheme_has_a_leaderboard_of_its_own(study: Table) -> None:
    folds = pd.concat([study("lomo", a=[1.0], b=[2.0]), study("lowo", a=[4.0], b=[3.0])])
    table = rank_formulations(folds).table
    assert table[["scheme", "predictor", "rank"]].to_numpy().tolist() == [
        ["lomo", "a", 1],
        ["lomo", "b", 2],
        ["lowo", "b", 1],
        ["lowo", "a", 2],
    ]


def test_two_transforms_of_one_predictor_are_two_entries(fold_table: Table) -> None:
    rows = [("lomo", f"g{i}", float(i)) for i in range(1, 5)]
    better = [(scheme, group, mape / 2) for scheme, group, mape in rows]
    folds = pd.concat([fold_table(*rows), fold_table(*better, transform="log")])
    board = rank_formulations(folds)
    assert board.table["transform"].tolist() == ["log", "raw"]
    (pair,) = board.differences.to_dict("records")
    assert (pair["better_transform"], pair["worse_transform"]) == ("log", "raw")
    assert pair["mean_difference"] == 1.25


def test_the_others_are_set_against_the_best_fold_by_fold(study: Table) -> None:
    best, second = [10.0, 20.0, 30.0, 40.0], [11.0, 23.0, 32.0, 44.0]
    board = rank_formulations(study(second=second, best=best, worst=[90.0] * 4))
    assert list(board.differences.columns) == list(DIFFERENCE_COLUMNS)
    first, last = board.differences.to_dict("records")
    assert [first["better"], first["worse"], last["worse"]] == ["best", "second", "worst"]
    assert (first["n_groups"], first["method"]) == (4, "exact")
    assert first["mean_difference"] == pytest.approx(2.5)
    low, high = mean_intervals(np.array([[1.0], [3.0], [2.0], [4.0]]))
    assert (first["low"], first["high"]) == pytest.approx((low[0], high[0]))
    assert not first["tie"]


def test_pairing_tells_apart_what_the_spread_between_groups_would_hide(study: Table) -> None:
    a = np.array([5.0, 400.0, 20.0, 90.0, 1000.0, 7.0, 60.0, 33.0])
    b = a + np.array([1.0, 2.0, 1.5, 1.0, 2.5, 1.0, 2.0, 1.2])
    (pair,) = rank_formulations(study(a=a, b=b)).differences.to_dict("records")
    assert stats.ttest_ind(b, a).pvalue > 0.9
    paired = stats.ttest_rel(b, a)
    assert paired.pvalue < 0.001
    assert not pair["tie"]
    assert pair["method"] == "bootstrap"
    theirs = paired.confidence_interval(0.95)
    assert theirs.low < pair["low"] < pair["mean_difference"] < pair["high"] < theirs.high


def test_an_interval_that_holds_zero_is_a_tie(study: Table) -> None:
    table = rank_formulations(
        study(a=[1.0, 9.0, 5.0, 2.0], b=[9.0, 2.0, 5.0, 4.0], c=[50.0, 60.0, 70.0, 80.0])
    ).table
    assert by_predictor(table)["tied_with_best"].to_dict() == {"a": True, "b": True, "c": False}
    assert table["tied_with_best"].dtype == bool


def test_predictors_that_predict_the_same_are_tied(study: Table) -> None:
    board = rank_formulations(study(a=[1.5, 2.5, 7.1] * 3, b=[1.5, 2.5, 7.1] * 3))
    (pair,) = board.differences.to_dict("records")
    assert (pair["mean_difference"], pair["low"], pair["high"]) == (0, 0, 0)
    assert pair["tie"]
    assert board.table["rank"].tolist() == [1, 1]


@pytest.mark.parametrize("n", [1, 2])
def test_fewer_than_three_groups_tell_nothing_apart(study: Table, n: int) -> None:
    board = rank_formulations(study(a=[1.0] * n, b=[500.0] * n))
    (pair,) = board.differences.to_dict("records")
    assert (pair["tie"], pair["n_groups"], pair["method"]) == (True, n, "none")
    assert math.isnan(pair["low"])
    assert math.isnan(pair["high"])
    assert board.table["tied_with_best"].all()
    assert rank_formulations(study(a=[1.0] * 3, b=[500.0] * 3)).differences["tie"].tolist() == [
        False
    ]


def test_a_predictor_with_unfinished_folds_is_last_with_its_count(study: Table) -> None:
    board = rank_formulations(
        study(partial=[1.0, None, 1.0, 1.0], a=[9.0] * 4, b=[5.0, 6.0, 7.0, 8.0])
    )
    assert board.table["predictor"].tolist() == ["b", "a", "partial"]
    last = board.table.iloc[-1]
    assert (last["rank"], last["n_finished"], last["n_planned"]) == (3, 3, 4)
    assert (last["mean_mape"], last["n_compared"]) == (1.0, 3)
    assert not last["tied_with_best"]
    assert "partial" not in {*board.differences["better"], *board.differences["worse"]}


def test_those_with_unfinished_folds_share_the_last_rank_most_folds_first(study: Table) -> None:
    none, one, whole = [None] * 3, [1.0, None, None], [5.0] * 3
    table = rank_formulations(study(none=none, one=one, whole=whole)).table
    assert table["predictor"].tolist() == ["whole", "one", "none"]
    assert table["rank"].tolist() == [1, 2, 2]
    assert table["worst_holdout"].tolist() == ["group-0", "group-0", ""]
    assert math.isnan(table["mean_mape"].iloc[2])


def test_a_fold_that_nobody_finished_leaves_the_others_comparable(study: Table) -> None:
    board = rank_formulations(study(a=[None, 1.0, 2.0, 3.0], b=[None, 4.0, 5.0, 6.0]))
    assert board.table["n_finished"].tolist() == [3, 3]
    assert board.table["n_planned"].tolist() == [4, 4]
    (pair,) = board.differences.to_dict("records")
    assert (pair["n_groups"], pair["mean_difference"], pair["tie"]) == (3, 3.0, False)


def test_means_are_over_the_folds_that_all_ranked_predictors_finished(study: Table) -> None:
    # On their own folds a would be at 1 and b at 5; on those they share b is better.
    table = rank_formulations(study(a=[0.0, 0.0, 3.0, None], b=[None, 0.0, 1.0, 14.0])).table
    assert table["predictor"].tolist() == ["b", "a"]
    assert table["mean_mape"].tolist() == [0.5, 1.5]
    assert table["n_compared"].tolist() == [2, 2]


def test_predictors_that_share_no_fold_have_their_own_figures_and_no_rank(study: Table) -> None:
    board = rank_formulations(study(a=[1.0, None], b=[None, 2.0]))
    assert board.table["rank"].isna().all()
    assert board.table["mean_mape"].tolist() == [1.0, 2.0]
    assert board.table["n_compared"].tolist() == [1, 1]
    assert not board.table["tied_with_best"].any()
    assert board.differences.empty


def test_a_scheme_without_a_finished_fold_has_no_winner(study: Table) -> None:
    board = rank_formulations(study(a=[None, None], b=[None, None]))
    assert board.table["rank"].isna().all()
    assert board.table["tied_with_best"].tolist() == [False, False]
    assert board.differences.empty
    assert list(board.differences.columns) == list(DIFFERENCE_COLUMNS)


def test_an_infinite_error_ranks_last_and_has_no_interval(study: Table) -> None:
    board = rank_formulations(study(a=[math.inf, 1.0, 1.0], b=[9.0, 9.0, 9.0]))
    assert board.table["predictor"].tolist() == ["b", "a"]
    (pair,) = board.differences.to_dict("records")
    assert pair["mean_difference"] == math.inf
    assert math.isnan(pair["low"])
    assert not pair["tie"]
    assert board.table["tied_with_best"].tolist() == [True, False]


def test_two_infinite_errors_are_not_told_apart(study: Table) -> None:
    board = rank_formulations(study(a=[math.inf, 1.0, 1.0], b=[math.inf, 9.0, 9.0]))
    assert board.differences["tie"].tolist() == [True]


def test_one_predictor_has_a_leaderboard_and_no_differences(study: Table) -> None:
    board = rank_formulations(study(alone=[1.0, 2.0]))
    assert board.table[["rank", "tied_with_best"]].to_numpy().tolist() == [[1, True]]
    assert board.differences.empty


def test_no_folds_make_an_empty_leaderboard() -> None:
    board = rank_formulations(pd.DataFrame(columns=list(FOLD_COLUMNS)))
    assert board.table.empty
    assert list(board.table.columns) == list(LEADERBOARD_COLUMNS)


def test_folds_of_one_name_are_paired_in_their_order(fold_table: Table) -> None:
    rows = [("lomo", "same", 1.0), ("lomo", "same", 5.0), ("lomo", "other", 2.0)]
    more = [(scheme, group, mape + 1) for scheme, group, mape in rows]
    folds = pd.concat([fold_table(*rows), fold_table(*more, predictor="b")])
    (pair,) = rank_formulations(folds).differences.to_dict("records")
    assert (pair["n_groups"], pair["low"], pair["high"]) == (3, 1.0, 1.0)


@pytest.mark.parametrize("meaning", [None, SchemeMeaning((), control=True)])
def test_a_control_is_marked_as_one(study: Table, meaning: SchemeMeaning | None) -> None:
    # By its name where nothing else says so.
    scheme = "cv" if meaning else "random"
    folds = pd.concat([study(scheme, a=[1.0] * 3, b=[2.0] * 3), study("lomo", a=[1.0], b=[2.0])])
    board = rank_formulations(folds, {scheme: meaning} if meaning else None)
    assert board.table.groupby("scheme")["control"].all().to_dict() == {scheme: True, "lomo": False}
    assert board.differences.groupby("scheme")["control"].all().to_dict() == {
        **{scheme: True, "lomo": False}
    }


def test_the_folds_given_are_not_changed(study: Table) -> None:
    folds = study(a=[1.0, 2.0], b=[3.0, None])
    before = folds.copy()
    rank_formulations(folds)
    pd.testing.assert_frame_equal(folds, before)
