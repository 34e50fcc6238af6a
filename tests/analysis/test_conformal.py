"""Conformal quantiles by hand, their coverage where the truth is known, and the real study."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import gpucv
from gpucv.analysis import COVERAGE_COLUMNS, LEVELS, coverage_table, summarise_coverage
from gpucv.analysis.conformal import calibrated_quantiles, conformal_scores
from gpucv.report.uncertainty import uncertainty_stories
from gpucv.workflow.rendering import report_input

NAMED = {"scheme": "lomo", "predictor": "xgboost", "transform": "raw", "target": "t"}


def quantile(others: list[float], level: float) -> float:
    """The reach of intervals calibrated on one other group."""
    groups = [np.array([0.5]), np.array(others)]
    return float(calibrated_quantiles(groups, (level,))[0, 0])


@pytest.mark.parametrize(
    ("n", "level", "rank"),
    [(9, 0.8, 8), (9, 0.9, 9), (19, 0.9, 18), (19, 0.95, 19), (99, 0.95, 95), (10, 0.8, 9)],
)
def test_of_one_group_it_is_the_usual_rank(n: int, level: float, rank: int) -> None:
    assert rank == math.ceil((n + 1) * level - 1e-9)
    assert quantile([float(i) for i in range(n, 0, -1)], level) == rank


def test_too_few_scores_for_a_level_reach_to_infinity() -> None:
    assert quantile([1.0, 2.0, 3.0], 0.9) == math.inf
    assert quantile([1.0, 2.0, 3.0], 0.75) == 3.0


def test_every_group_counts_alike_however_many_rows_it_has() -> None:
    few, many = np.array([1.0, 2.0, 3.0]), np.full(999, 0.1)
    found = calibrated_quantiles([np.array([9.0]), few, many], (0.7, 0.8))[0]
    # By hand: 999/1000 of the many and 1/4, 2/4 of the few: (0.999 + 0.25) / 2 = 0.62,
    # (0.999 + 0.5) / 2 = 0.75, (0.999 + 0.75) / 2 = 0.87.
    assert list(found) == [2.0, 3.0]


def test_a_group_is_never_calibrated_on_itself() -> None:
    groups = [np.full(99, 1.0), np.full(99, 2.0)]
    assert calibrated_quantiles(groups, (0.9,)).ravel().tolist() == [2.0, 1.0]
    nobody = np.array([[False, True], [False, False]])
    found = calibrated_quantiles(groups, (0.9,), nobody).ravel()
    assert found[0] == 2.0
    assert math.isnan(found[1])


def test_scores_are_logarithms_of_how_far_off() -> None:
    actual = np.array([100.0, 100.0, 50.0, 0.0, 10.0, 10.0])
    predicted = np.array([200.0, 50.0, 50.0, 7.0, 0.0, -3.0])
    twice = math.log(2)
    assert conformal_scores(actual, predicted).tolist() == pytest.approx(
        [twice, twice, 0.0, math.inf, math.inf]
    )


def rows_of(
    holdout: str, factor: np.ndarray[Any, Any], recording: str = "", step: int = 0, **more: Any
) -> pd.DataFrame:
    """Rows of one fold whose actual time is the predicted one times `factor`."""
    steps = np.arange(step, step + len(factor))
    return pd.DataFrame(
        {
            **NAMED,
            "holdout": holdout,
            "experiment_id": recording or holdout,
            "step_id": steps,
            "actual": 100.0 * factor,
            "predicted": 100.0,
            **more,
        }
    )


def noise(seed: int, spread: float, n: int = 4_000) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).lognormal(0, spread, n)


def test_groups_alike_are_covered_as_meant_and_the_width_is_the_distributions() -> None:
    rows = pd.concat([rows_of(f"g{seed}", noise(seed, 0.2)) for seed in range(6)])
    table = coverage_table(rows)
    assert list(table.columns) == list(COVERAGE_COLUMNS)
    assert len(table) == 6 * len(LEVELS)
    assert (table["coverage"] - table["level"]).abs().max() < 0.025
    assert (table["n_calibrating"] == 5).all()
    # Half of a normal's 95 % lie within 1.96 standard deviations.
    widest = table[table["level"] == 0.95]
    reach = 1.96 * 0.2
    assert widest["factor"].to_numpy() == pytest.approx(math.exp(reach), rel=0.02)
    assert widest["median_width"].to_numpy() == pytest.approx(200 * math.sinh(reach), rel=0.03)


def test_a_group_unlike_the_others_falls_short_and_the_summary_says_which() -> None:
    spreads = {"a": 0.1, "b": 0.1, "c": 0.1, "odd": 0.5}
    rows = pd.concat(
        [rows_of(name, noise(i, spread)) for i, (name, spread) in enumerate(spreads.items())]
    )
    found = next(each for each in summarise_coverage(coverage_table(rows)) if each.level == 0.9)
    # By hand: 1.645 x 0.1 reaches 0.33 standard deviations of the odd group: 25.8 %.
    assert found.worst_holdout == "odd"
    assert found.worst == pytest.approx(0.258, abs=0.02)
    assert (found.n_groups, found.n_calibrating) == (4, 3)
    assert found.short == pytest.approx(90 - 100 * found.mean)
    assert found.low < found.mean < found.high


def test_phases_are_calibrated_apart_where_they_are_known() -> None:
    parts = []
    for seed in range(4):
        for phase, spread in (("pure decode", 0.05), ("mixed", 0.6)):
            more = {"phase": phase, "step": 0 if spread < 0.1 else 10_000}
            parts.append(rows_of(f"g{seed}", noise(7 * seed + len(phase), spread), **more))
    rows = pd.concat(parts, ignore_index=True)
    by_phase = coverage_table(rows)
    pooled = coverage_table(rows.drop(columns="phase"))
    for table in (by_phase, pooled):
        assert (table["coverage"] - table["level"]).abs().max() < 0.03
    # The median row of either phase: between 1.28 x 0.05 and 1.28 x 0.6, not the pooled reach.
    narrow = by_phase.loc[by_phase["level"] == 0.8, "factor"]
    assert (narrow < pooled.loc[pooled["level"] == 0.8, "factor"] * 1.2).all()
    decode = rows[rows["phase"] == "pure decode"]
    reach = np.log(coverage_table(decode).loc[lambda each: each["level"] == 0.8, "factor"])
    assert reach.to_numpy() == pytest.approx(1.28 * 0.05, rel=0.1)


def test_a_phase_no_other_group_has_is_calibrated_on_all_of_their_rows() -> None:
    rows = pd.concat(
        [
            rows_of("a", noise(1, 0.2), phase="mixed"),
            rows_of("b", noise(2, 0.2), phase="mixed"),
            rows_of("c", noise(3, 0.2), phase="prefill"),
        ]
    )
    table = coverage_table(rows)
    assert (table["coverage"] - table["level"]).abs().max() < 0.03


def test_folds_that_share_rows_do_not_calibrate_each_other() -> None:
    groups = {name: noise(i, 0.1, 200) for i, name in enumerate("abcd")}
    pairs = ["ab", "ac", "ad", "bc", "bd", "cd"]
    rows = pd.concat(
        [rows_of(pair, groups[name], recording=name) for pair in pairs for name in pair]
    )
    table = coverage_table(rows)
    assert (table["n_calibrating"] == 1).all()  # of ab only cd


def test_folds_that_all_share_rows_have_no_coverage() -> None:
    rows = pd.concat([rows_of(name, noise(1, 0.1, 50), recording="r") for name in "ab"])
    table = coverage_table(rows)
    assert table["coverage"].isna().all()
    assert summarise_coverage(table) == []


def test_one_fold_has_nothing_to_be_calibrated_on() -> None:
    assert coverage_table(rows_of("a", noise(1, 0.1, 50))).empty


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> gpucv.Result:
    """The embedded study's cycle times, by the formulation that transfers and by one that fails."""
    data = Path(__file__).parents[2] / "data" / "study.parquet"
    predictor = {"name": "xgboost", "params": {"n_estimators": 60, "learning_rate": 0.1}}
    study = {
        "schema": 1,
        "name": "coverage",
        "data": {"steps": [str(data)], "target": "step.cycle_us", "audit": "off"},
        "validation": {"order": "time"},
        "schemes": [
            {"name": "lomo", "hold_out": "model"},
            {"name": "lowo", "hold_out": "workload"},
        ],
        "predictors": [
            predictor | {"transform": "utilisation", "features": "transfer"},
            predictor | {"transform": "log"},
        ],
        "execution": {"device": "cpu"},
    }
    return gpucv.run(study, out=tmp_path_factory.mktemp("runs") / "coverage")


def test_on_workloads_never_seen_intervals_hold_within_3_points(embedded: gpucv.Result) -> None:
    assert embedded.coverage is not None
    of = embedded.coverage[embedded.coverage["transform"] == "utilisation"]
    found = [each for each in summarise_coverage(of) if each.scheme == "lowo"]
    assert [each.level for each in found] == list(LEVELS)
    for each in found:
        assert abs(each.short) < 3, each


def test_what_models_never_seen_fall_short_by_is_said(embedded: gpucv.Result) -> None:
    verdict = embedded.verdicts[1]
    told = {each.title[:4]: each for each in uncertainty_stories(report_input(embedded), verdict)}
    (sentence,) = told["lomo"].sentences
    assert "prediction intervals meant to hold 90% of the rows of a model it has never" in sentence
    assert " points short" in sentence
    assert "no more than 75% can be promised" in sentence


def test_a_run_keeps_both_tables_and_loads_them_again(embedded: gpucv.Result) -> None:
    loaded = gpucv.Result.load(embedded.path)
    for name in ("intervals", "coverage"):
        again, first = getattr(loaded, name), getattr(embedded, name)
        pd.testing.assert_frame_equal(again, first, check_dtype=False)
        assert f"{name}.csv" in loaded.manifest["outputs"]
