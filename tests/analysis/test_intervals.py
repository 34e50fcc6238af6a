"""Intervals of errors, against SciPy, time series of known truth and the metrics themselves."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from scipy import signal, stats

from gpucv import metrics
from gpucv.analysis import INTERVAL_COLUMNS, METRICS, interval_table, intervals, judge
from gpucv.analysis.blocks import MOST_CELLS, block_length, cell_sums, resampled_sums
from gpucv.analysis.bootstrap import mean_intervals
from gpucv.analysis.intervals import FEWEST_BLOCKS, fold_intervals

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


def autoregressive(n: int, phi: float, seed: int) -> NDArray[np.float64]:
    """AR(1) noise of unit innovations, its start forgotten."""
    noise = np.random.default_rng(seed).normal(size=n + 400)
    return np.asarray(signal.lfilter([1.0], [1.0, -phi], noise)[400:])


def one_recording(errors: NDArray[np.float64]) -> dict[str, tuple[float, float]]:
    """Intervals of a recording whose every row is off by so many percent."""
    actual = np.full(len(errors), 200.0)
    found, _ = fold_intervals(actual, actual * (1 + errors / 100), [np.arange(len(errors))])
    return found


@pytest.mark.parametrize(("phi", "by_rows"), [(0.0, 0.95), (0.5, 0.72), (0.9, 0.33)])
def test_of_resembling_rows_blocks_hold_the_truth_as_often_as_meant_where_rows_do_not(
    phi: float, by_rows: float
) -> None:
    n, repeats = 1_000, 100
    blocks = rows = absolute = 0
    typical = math.sqrt(2 / math.pi / (1 - phi**2))
    for seed in range(repeats):
        errors = autoregressive(n, phi, seed)
        found = one_recording(errors)
        blocks += found["test_mspe"][0] <= 0 <= found["test_mspe"][1]
        absolute += found["test_mape"][0] <= typical <= found["test_mape"][1]
        rows += abs(errors.mean()) <= 1.96 * errors.std() / math.sqrt(n)
    assert blocks / repeats == pytest.approx(0.93, abs=0.06)
    assert absolute / repeats == pytest.approx(0.93, abs=0.06)
    assert rows / repeats == pytest.approx(by_rows, abs=0.09)


@pytest.mark.parametrize("phi", [0.3, 0.6, 0.85])
def test_the_block_length_is_the_one_theory_gives_an_autoregression(phi: float) -> None:
    n = 20_000
    lengths = [block_length(autoregressive(n, phi, seed)) for seed in range(8)]
    # Sums of k phi^k and of phi^k in closed form, put into the rule.
    optimal = (6 * phi**2 * n / (1 - phi**2) ** 2) ** (1 / 3)
    assert np.median(lengths) == pytest.approx(optimal, rel=0.2)


def test_rows_that_do_not_resemble_each_other_are_drawn_one_by_one() -> None:
    lengths = [block_length(np.random.default_rng(seed).normal(size=4_000)) for seed in range(20)]
    assert np.median(lengths) < 4


@pytest.mark.parametrize(
    "series",
    [np.ones(50), np.arange(5.0), np.full(20, np.nan), np.append(np.inf, np.arange(20.0))],
    ids=["constant", "short", "nan", "infinite"],
)
def test_a_series_without_a_correlation_has_blocks_of_one(series: NDArray[np.float64]) -> None:
    assert block_length(series) == 1.0


def test_a_trend_has_the_longest_blocks_there_are() -> None:
    assert block_length(np.arange(900.0)) == pytest.approx(90, rel=0.35)
    assert block_length(np.arange(30.0)) <= 10


def test_cells_keep_every_sum_and_are_of_equal_length() -> None:
    rows = np.random.default_rng(0).normal(size=(1_000, 3))
    cells = cell_sums(rows)
    assert cells.shape == (250, 3)
    assert cells.sum(axis=0) == pytest.approx(rows.sum(axis=0))
    for n, longer in ((1_000, 0), (1_023, 3), (257, 1), (256, 0)):
        lengths = cell_sums(np.ones((n, 1))).ravel()
        assert len(lengths) <= MOST_CELLS
        assert (lengths == lengths.max()).sum() == (longer or len(lengths))
        assert np.ptp(lengths) <= 1
    assert cell_sums(rows[:7]) == pytest.approx(rows[:7])


def test_every_recording_keeps_its_weight_in_every_draw() -> None:
    recordings = [
        cell_sums(np.column_stack([np.ones(len(series)), series]))
        for series in (autoregressive(700, 0.9, 1), autoregressive(90, 0.2, 2) + 50)
    ]
    sums, n_blocks = resampled_sums(recordings, (1,))
    assert sums[:, 0] == pytest.approx(np.full(len(sums), 790.0), rel=0.01)
    means = sums[:, 1] / sums[:, 0]
    truth = sum(cells[:, 1].sum() for cells in recordings) / 790
    assert means.mean() == pytest.approx(truth, abs=0.1)
    # Mixed, the two levels would spread the draws far more.
    assert means.std() < 0.5
    assert 20 < n_blocks < 350


def test_rows_in_no_order_have_scipys_intervals() -> None:
    random = np.random.default_rng(3)
    n = 250
    actual = random.lognormal(3, 0.5, n)
    predicted = actual * random.lognormal(0.1, 0.3, n)
    found, n_blocks = fold_intervals(actual, predicted, [np.arange(n)])
    assert n_blocks > n / 4
    for name, statistic in (
        ("test_mape", metrics.mape),
        ("test_mspe", metrics.mspe),
        ("test_wape", metrics.wape),
        ("test_r", metrics.pearson_r),
    ):
        theirs = stats.bootstrap(
            (actual, predicted),
            statistic,
            paired=True,
            vectorized=False,
            n_resamples=2_000,
            method="percentile",
            rng=np.random.default_rng(4),
        ).confidence_interval
        width = theirs.high - theirs.low
        assert found[name] == pytest.approx((theirs.low, theirs.high), abs=0.13 * width), name


def test_measured_zeros_count_for_the_weighted_error_alone() -> None:
    actual = np.tile([100.0, 0.0], 200)
    predicted = np.tile([110.0, 5.0], 200)
    found, _ = fold_intervals(actual, predicted, [np.arange(400)])
    assert found["test_mape"] == pytest.approx((10.0, 10.0))
    assert found["test_wape"][0] <= 15.0 <= found["test_wape"][1]


def test_what_a_draw_leaves_undefined_has_no_interval() -> None:
    n = 200
    noise = autoregressive(n, 0.0, 0)
    found, _ = fold_intervals(np.full(n, 5.0), 5.0 + noise, [np.arange(n)])
    assert np.isnan(found["test_r"]).all()
    assert np.isfinite(found["test_mape"]).all()
    huge, _ = fold_intervals(np.full(n, 1e-300), np.full(n, 1e300), [np.arange(n)])
    assert np.isnan(huge["test_mape"]).all()


def test_a_handful_of_rows_has_no_interval() -> None:
    few = one_recording(np.arange(FEWEST_BLOCKS - 1.0))
    assert np.isnan(list(few.values())).all()


def test_units_do_not_change_percentages() -> None:
    errors = 30 * autoregressive(500, 0.5, 9)
    actual = np.random.default_rng(0).lognormal(0, 1, 500)
    found = [
        fold_intervals(unit * actual, unit * actual * (1 + errors / 100), [np.arange(500)])[0]
        for unit in (1.0, 1e9)
    ]
    for name in METRICS:
        assert found[0][name] == pytest.approx(found[1][name])


def predictions_of(folds: pd.DataFrame, rows: Callable[[str], NDArray[np.float64]]) -> pd.DataFrame:
    """Every fold's rows in two recordings, off by what `rows` says of its holdout."""
    parts = []
    for fold in folds[folds["status"] == "ok"].to_dict("records"):
        errors = rows(str(fold["holdout"]))
        n = len(errors)
        named = {name: fold[name] for name in ("scheme", "holdout", "predictor", "transform")}
        parts.append(
            pd.DataFrame(
                {
                    **named,
                    "target": fold["target"],
                    "experiment_id": np.repeat([f"{fold['holdout']}-a", "b"], [n // 2, n - n // 2]),
                    "step_id": np.arange(n),
                    "actual": 100.0,
                    "predicted": 100.0 + errors,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def test_the_table_has_every_finished_fold_and_the_average(
    fold_table: Callable[..., pd.DataFrame],
) -> None:
    folds = fold_table(("lomo", "a", 10.0), ("lomo", "b", 20.0), ("lomo", "c", None))
    more = fold_table(*(("lowo", name, 5.0 * i) for i, name in enumerate("wxyz", start=1)))
    folds = pd.concat([folds, more], ignore_index=True)
    errors = {name: 10.0 + autoregressive(300, 0.4, i) for i, name in enumerate("abwxyz")}
    table = interval_table(folds, predictions_of(folds, errors.__getitem__))
    assert list(table.columns) == list(INTERVAL_COLUMNS)
    assert list(table["holdout"]) == ["a", "b", "", "w", "x", "y", "z", ""]
    assert list(table["over"]) == [*["steps"] * 2, "folds", *["steps"] * 4, "folds"]
    own = table[table["over"] == "steps"]
    assert (own["n"] == 300).all()
    means = [errors[name].mean() for name in own["holdout"]]
    assert (own["test_mspe_low"] < means).all()
    assert (means < own["test_mspe_high"]).all()
    two, four = table[table["over"] == "folds"].to_dict("records")
    assert (two["n"], two["test_mape"]) == (2, 15.0)
    assert math.isnan(two["test_mape_low"])
    low, high = mean_intervals(np.array([[5.0], [10.0], [15.0], [20.0]]))
    assert (four["test_mape_low"], four["test_mape_high"]) == (low[0], high[0])
    assert math.isnan(four["test_wape_low"])  # the folds have none


def test_without_predictions_only_averages_have_intervals(
    fold_table: Callable[..., pd.DataFrame],
) -> None:
    table = interval_table(fold_table(("lomo", "a", 1.0), ("lomo", "b", 2.0)), None)
    assert list(table["over"]) == ["folds"]


def test_rows_out_of_order_and_other_folds_do_not_change_an_interval(
    fold_table: Callable[..., pd.DataFrame],
) -> None:
    folds = fold_table(("lomo", "a", 10.0), ("lomo", "b", 20.0), ("lomo", "c", 30.0))
    errors = {name: autoregressive(400, 0.9, i) for i, name in enumerate("abc")}
    rows = predictions_of(folds, errors.__getitem__)
    table = interval_table(folds, rows)
    mixed = interval_table(folds, rows.sample(frac=1.0, random_state=0))
    alone = interval_table(folds[folds["holdout"] == "b"], rows)
    first: Any = table[table["holdout"] == "b"].to_dict("records")[0]
    for other in (mixed, alone):
        found = other[other["holdout"] == "b"].to_dict("records")[0]
        assert found["test_mape_low"] == pytest.approx(first["test_mape_low"], rel=0.05)
    assert alone.iloc[0].equals(table[table["holdout"] == "b"].iloc[0])


@pytest.mark.parametrize(
    ("workloads", "told"),
    [
        ((8.0, 9.0, 10.0), "Their 95% intervals do not overlap."),
        ((8.0, 30.0, 49.0), "Their 95% intervals overlap: other folds could turn this round."),
        ((8.0, 30.0), "So few folds have no interval: how sure that is, is not known."),
    ],
)
def test_no_scheme_is_called_harder_without_saying_how_sure_that_is(
    fold_table: Callable[..., pd.DataFrame], workloads: tuple[float, ...], told: str
) -> None:
    models = [("lomo", name, mape) for name, mape in zip("abc", (40.0, 50.0, 60.0), strict=True)]
    rest = [("lowo", f"w{index}", mape) for index, mape in enumerate(workloads)]
    (verdict,) = judge(fold_table(*models, *rest))
    (said,) = (each for each in verdict.follows if "cost more than" in each)
    assert said.startswith("In these folds an unseen model cost more than an unseen workload")
    assert said.endswith(told)


def test_no_text_is_taken_from_the_rows_fold_by_fold(
    fold_table: Callable[..., pd.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    folds = fold_table(("lomo", "a", 10.0), ("lomo", "b", 20.0))
    rows = predictions_of(folds, lambda holdout: autoregressive(100, 0.4, ord(holdout)))
    seen: list[pd.DataFrame] = []
    per_fold = intervals._of_fold

    def watched(fold: Any, of_fold: pd.DataFrame) -> dict[str, Any]:
        seen.append(of_fold)
        return per_fold(fold, of_fold)

    monkeypatch.setattr(intervals, "_of_fold", watched)
    interval_table(folds, rows)
    assert len(seen) == 2
    assert all(pd.api.types.is_numeric_dtype(kind) for of in seen for kind in of.dtypes)
