from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gpucv.analysis import SchemeMeaning, summarise_schemes

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd


def test_averages_are_plain_means_over_the_finished_folds(
    fold_table: Callable[..., pd.DataFrame],
) -> None:
    folds = fold_table(("lomo", "a", 10.0), ("lomo", "b", 40.0), ("lomo", "c", None))
    (lomo,) = summarise_schemes(folds)
    assert (lomo.n_finished, lomo.n_planned, lomo.n_test) == (2, 3, 20)
    assert lomo.average_mape == 25.0
    assert lomo.median_mape == 25.0
    assert (lomo.worst_holdout, lomo.worst_mape, lomo.rest_average) == ("b", 40.0, 10.0)
    assert not lomo.complete


def test_schemes_come_in_study_order(fold_table: Callable[..., pd.DataFrame]) -> None:
    folds = fold_table(("lowo", "x", 1.0), ("lomo", "a", 2.0), ("lowo", "y", 3.0))
    assert [each.scheme for each in summarise_schemes(folds)] == ["lowo", "lomo"]


def test_a_scheme_without_a_finished_fold_has_no_numbers(
    fold_table: Callable[..., pd.DataFrame],
) -> None:
    (lomo,) = summarise_schemes(fold_table(("lomo", "a", None)))
    assert (lomo.n_finished, lomo.n_planned, lomo.worst_holdout) == (0, 1, "")
    assert math.isnan(lomo.average_mape)
    assert math.isnan(lomo.worst_mape)


def test_a_finished_fold_without_a_mape_enters_no_average(
    fold_table: Callable[..., pd.DataFrame],
) -> None:
    folds = fold_table(("lomo", "a", 10.0), ("lomo", "zeros", math.nan))
    (lomo,) = summarise_schemes(folds)
    assert (lomo.n_finished, lomo.n_planned, lomo.average_mape) == (1, 2, 10.0)


def test_a_number_left_on_a_failed_fold_enters_no_average(
    fold_table: Callable[..., pd.DataFrame],
) -> None:
    folds = fold_table(("lomo", "a", 10.0), ("lomo", "b", 99.0))
    folds["status"] = ["ok", "failed"]
    (lomo,) = summarise_schemes(folds)
    assert (lomo.n_finished, lomo.average_mape) == (1, 10.0)


def test_a_scheme_means_what_is_said_and_else_what_its_name_says(
    fold_table: Callable[..., pd.DataFrame],
) -> None:
    said = SchemeMeaning(("gpu",), control=False)
    folds = fold_table(("lomo", "a", 10.0), ("lowo", "x", 10.0), ("random", "0", 1.0))
    lomo, lowo, random = summarise_schemes(folds, {"lomo": said})
    assert lomo.meaning == said
    assert lowo.meaning == SchemeMeaning(("workload",), control=False)
    assert random.meaning == SchemeMeaning((), control=True, random=True)
