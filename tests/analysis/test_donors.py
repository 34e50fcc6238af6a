"""What borrowing costs: the best donor, the mean, the worst, and the one chosen beforehand."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from gpucv.analysis import DONOR_COLUMNS, summarise_donors
from gpucv.analysis.collect import collect_tables
from gpucv.errors import RunError
from gpucv.report import csv_text, read_csv
from gpucv.runs import FoldRecord

if TYPE_CHECKING:
    from pathlib import Path

RECORD = FoldRecord(
    fold_id=0,
    key="k",
    scheme="lomo",
    holdout="d",
    predictor="forest",
    transform="raw",
    target="time_us",
    status="ok",
    n_train=10,
    n_valid=0,
    n_test=4,
    device="cpu",
)


def donors(holdout: str = "d", group: str = "d", **mapes: float) -> list[dict[str, Any]]:
    """Rows of donors.csv: one donor per name, the first of them chosen by the rule."""
    named = {"scheme": "lomo", "holdout": holdout, "predictor": "forest", "transform": "raw"}
    return [
        {**named, "target": "time_us", "group": group, "donor": name}
        | {"by_rule": not at, "n_test": 30, "test_mape": error}
        for at, (name, error) in enumerate(mapes.items())
    ]


def test_a_fold_has_its_best_mean_worst_and_chosen_donor() -> None:
    fold, scheme = summarise_donors(pd.DataFrame(donors(a=20.0, b=10.0, c=60.0)))
    assert (fold.holdout, scheme.holdout) == ("d", "")
    for each in (fold, scheme):
        assert (each.best, each.mean, each.worst, each.by_rule) == (10.0, 30.0, 60.0, 20.0)
        assert (each.n_groups, each.n_donors, each.n_rule_best) == (1, 3, 0)


def test_groups_of_a_fold_count_by_their_rows_and_folds_of_a_scheme_alike() -> None:
    large = [row | {"n_test": 90} for row in donors(group="d x 1", a=10.0, b=30.0)]
    rows = large + donors(group="d x 2", a=50.0, b=30.0) + donors("e", "e x 1", a=1.0, b=2.0)
    first, second, scheme = summarise_donors(pd.DataFrame(rows))
    assert first.by_rule == (90 * 10 + 30 * 50) / 120
    assert first.best == (90 * 10 + 30 * 30) / 120
    assert first.worst == (90 * 30 + 30 * 50) / 120
    assert (first.n_groups, first.n_rule_best) == (2, 1)
    assert scheme.by_rule == (first.by_rule + second.by_rule) / 2
    assert scheme.best == (first.best + 1.0) / 2
    assert (scheme.n_groups, scheme.n_rule_best) == (3, 2)


def test_schemes_and_formulations_are_kept_apart_in_order_of_appearance() -> None:
    rows = donors(a=2.0) + [row | {"predictor": "boosted"} for row in donors(a=1.0)]
    rows += [row | {"scheme": "lowo"} for row in donors(a=3.0)]
    told = [
        (each.scheme, each.predictor, each.holdout) for each in summarise_donors(pd.DataFrame(rows))
    ]
    assert told == [
        *[("lomo", "forest", "d"), ("lomo", "forest", "")],
        *[("lomo", "boosted", "d"), ("lomo", "boosted", "")],
        *[("lowo", "forest", "d"), ("lowo", "forest", "")],
    ]


def test_a_donor_without_a_finite_error_is_the_worst() -> None:
    fold, _ = summarise_donors(pd.DataFrame(donors(a=10.0, b=float("inf"))))
    assert (fold.best, fold.by_rule) == (10.0, 10.0)
    assert fold.worst == fold.mean == float("inf")


def test_the_best_is_never_above_the_rules_and_the_worst_never_below() -> None:
    errors = np.random.default_rng(0).lognormal(3, 2, (20, 3)).tolist()
    rows = [
        row
        for group, (a, b, c) in enumerate(errors)
        for row in donors(group=f"g{group}", a=a, b=b, c=c)
    ]
    fold = summarise_donors(pd.DataFrame(rows))[0]
    assert fold.best <= fold.by_rule <= fold.worst
    assert fold.best <= fold.mean <= fold.worst


def test_donors_of_the_records_are_one_table(tmp_path: Path) -> None:
    told = [
        {"group": "d", "donor": "a", "by_rule": False, "n_test": 4, "test_mape": 1.5},
        {"group": "d", "donor": "b", "by_rule": True, "n_test": 4, "test_mape": float("nan")},
    ]
    table = collect_tables([RECORD, replace(RECORD, donors=told)]).donors
    assert table is not None
    assert list(table.columns) == list(DONOR_COLUMNS)
    assert table["by_rule"].tolist() == [False, True]
    assert table["by_rule"].dtype == bool
    (tmp_path / "donors.csv").write_text(csv_text(table), encoding="utf-8")
    assert "a,false,4,1.5" in (tmp_path / "donors.csv").read_text(encoding="utf-8")
    pd.testing.assert_frame_equal(read_csv(tmp_path / "donors.csv", DONOR_COLUMNS), table)


def test_without_donors_there_is_no_table() -> None:
    assert collect_tables([RECORD]).donors is None


def test_a_flag_that_is_no_truth_is_refused(tmp_path: Path) -> None:
    (tmp_path / "donors.csv").write_text("by_rule\ntrue\n1\n", encoding="utf-8")
    with pytest.raises(RunError, match=r"donors\.csv: column 'by_rule': '1' is neither true nor"):
        read_csv(tmp_path / "donors.csv", {"by_rule": "flag"})
