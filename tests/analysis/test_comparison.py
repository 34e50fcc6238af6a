from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from gpucv.analysis.comparison import ComparedRun, Comparison, compare_runs
from gpucv.analysis.gates import judge_gates, parse_gate
from gpucv.analysis.paired import moved_interval, same_rows
from gpucv.errors import StudyError

if TYPE_CHECKING:
    from numpy.typing import NDArray

STEPS = 400
# Ratios of the fit times of two runs of one study, on a machine that others used as well.
BUSY = (1.46, 1.33, 1.38, 1.49, 2.02, 2.24, 2.28, 2.14)


def series(random: np.random.Generator, n: int, r: float) -> NDArray[np.float64]:
    """A stationary AR(1) of mean 0 and variance 1."""
    shocks = random.normal(size=n) * math.sqrt(1 - r * r)
    values = np.empty(n)
    values[0] = random.normal()
    for at in range(1, n):
        values[at] = r * values[at - 1] + shocks[at]
    return values


def rows(errors: NDArray[np.float64], recordings: int = 4) -> pd.DataFrame:
    """Predictions of one fold whose measured values are 100 and whose errors are `errors` %."""
    n = len(errors)
    return pd.DataFrame(
        {
            "experiment_id": np.repeat([f"e{i}" for i in range(recordings)], n // recordings),
            "step_id": np.tile(np.arange(n // recordings), recordings),
            "actual": 100.0,
            "predicted": 100.0 + errors,
        }
    )


def run(name: str, folds: dict[str, pd.DataFrame], **columns: Any) -> ComparedRun:
    """A run of one predictor, scored by the definitions of its metrics."""
    table = []
    for holdout, fold in folds.items():
        off = (fold["predicted"] - fold["actual"]).abs()
        table.append(
            {
                **{"scheme": "lomo", "holdout": holdout, "predictor": "xgboost"},
                **{"transform": "raw", "target": "t", "status": "ok", "n_test": len(fold)},
                "test_mape": 100 * (off / fold["actual"]).mean(),
                "test_wape": 100 * off.sum() / fold["actual"].sum(),
                "test_p99_ape": float(np.quantile(100 * off / fold["actual"], 0.99)),
                "test_time_error": 1.0,
                **{"fit_s": 1.0, "predict_s": 0.1},
            }
        )
    frame = pd.DataFrame(table).assign(**columns)
    return ComparedRun(name, frame, pd.concat(folds.values(), ignore_index=True))


def metric(found: Comparison, name: str = "mape") -> dict[str, Any]:
    of = found.accuracy[found.accuracy["metric"] == name]
    assert len(of) == 1
    return dict(of.iloc[0])


def statuses(found: Comparison, *gates: str) -> list[str]:
    judged = judge_gates([parse_gate(gate) for gate in gates], found.accuracy, found.speed)
    return list(judged["status"])


def base_errors(random: np.random.Generator) -> dict[str, NDArray[np.float64]]:
    """Errors of about 20 % in every fold, alike from step to step."""
    return {f"m{i}": 20 + 5 * i + 4 * series(random, STEPS, 0.8) for i in range(4)}


def as_run(name: str, errors: dict[str, NDArray[np.float64]], **columns: Any) -> ComparedRun:
    return run(name, {holdout: rows(of) for holdout, of in errors.items()}, **columns)


def test_a_rerun_is_the_same_to_the_last_bit_and_fails_no_gate() -> None:
    errors = base_errors(np.random.default_rng(0))
    found = compare_runs(as_run("a", errors), [as_run("b", errors)])
    for name in ("mape", "wape", "p99_ape", "time_error"):
        told = metric(found, name)
        assert (told["change"], told["low"], told["high"]) == (0.0, 0.0, 0.0)
        assert told["standing"] == "same"
        assert told["n_folds"] == 4
    assert statuses(found, "mape:+0%", "wape:+0", "p99_ape:+0%") == ["pass"] * 3


def test_a_planted_rise_of_3_percent_fails_at_2_percent_and_not_at_4() -> None:
    errors = base_errors(np.random.default_rng(1))
    worse = {holdout: 1.03 * of for holdout, of in errors.items()}
    found = compare_runs(as_run("a", errors), [as_run("b", worse)])
    told = metric(found)
    assert told["percent"] == pytest.approx(3.0)
    assert (told["method"], told["standing"]) == ("rows", "worse")
    assert statuses(found, "mape:+2%", "mape:+4%", "wape:+2%") == ["fail", "pass", "fail"]
    assert statuses(found, "mape:+0.5", "mape:+1") == ["fail", "pass"]
    turned = compare_runs(as_run("b", worse), [as_run("a", errors)])
    assert metric(turned)["standing"] == "better"
    assert statuses(turned, "mape:+2%", "mape:+0") == ["pass", "pass"]


def test_a_rise_of_3_percent_is_found_through_the_noise_of_retraining() -> None:
    """Retraining moves every row's error by something that resembles its neighbour's."""
    random = np.random.default_rng(2)
    flagged = {1.0: 0, 1.03: 0}
    for _ in range(10):
        errors = base_errors(random)
        for factor in flagged:
            moved = {h: factor * of + 0.8 * series(random, STEPS, 0.8) for h, of in errors.items()}
            found = compare_runs(as_run("a", errors), [as_run("b", moved)])
            flagged[factor] += statuses(found, "mape:+2%") == ["fail"]
    assert flagged[1.0] == 0
    assert flagged[1.03] == 10


def test_the_interval_over_rows_covers_the_truth_where_rows_resemble_their_neighbours() -> None:
    random = np.random.default_rng(3)
    by_blocks = by_rows = 0
    trials = 200
    for _ in range(trials):
        before = 20 + series(random, 1600, 0.9)
        noise = series(random, 1600, 0.9)
        matched = same_rows(rows(before), rows(before + 0.5 + noise))
        assert matched is not None
        low, high = moved_interval([matched], "mape")
        by_blocks += low <= 0.5 <= high
        half = 1.96 * noise.std() / math.sqrt(len(noise))
        by_rows += abs(noise.mean()) <= half
    assert by_blocks / trials >= 0.88  # 0.95 is asked for; blocks of a strong AR(1) fall short
    assert by_rows / trials <= 0.55


def test_an_interval_of_independent_rows_is_that_of_students_t() -> None:
    random = np.random.default_rng(4)
    move = random.normal(0.3, 1.0, 4000)
    matched = same_rows(rows(np.full(4000, 20.0)), rows(20 + move))
    assert matched is not None
    ends = stats.t.interval(0.95, 3999, loc=move.mean(), scale=stats.sem(move))
    assert moved_interval([matched], "mape") == pytest.approx(ends, abs=0.01)
    # Measured values are all 100, so both errors weigh rows alike.
    by_size = moved_interval([matched], "wape")
    assert by_size == pytest.approx(moved_interval([matched], "mape"))


def test_a_fold_of_one_row_recordings_has_no_interval_of_width_zero() -> None:
    random = np.random.default_rng(5)
    move = random.normal(0.0, 1.0, 900)
    matched = same_rows(rows(np.full(900, 20.0), recordings=900), rows(20 + move, recordings=900))
    assert matched is not None
    low, high = moved_interval([matched], "mape")
    assert high - low == pytest.approx(2 * 1.96 / 30, rel=0.15)


def test_rows_are_matched_by_recording_and_step_whatever_their_order() -> None:
    fold = rows(np.arange(40.0))
    shuffled = fold.sample(frac=1.0, random_state=0)
    matched = same_rows(fold, shuffled)
    assert matched is not None
    np.testing.assert_array_equal(matched.before, matched.after)
    assert matched.starts.tolist() == [0, 10, 20, 30]
    assert same_rows(fold, fold.assign(actual=99.0)) is None
    assert same_rows(fold, fold.assign(step_id=fold["step_id"] + 1)) is None
    assert same_rows(fold, fold.head(30)) is None


def test_other_rows_are_compared_over_folds_by_drawing_them_again() -> None:
    errors = base_errors(np.random.default_rng(6))
    other = as_run("b", {holdout: 1.1 * of for holdout, of in errors.items()})
    assert other.predictions is not None
    moved = ComparedRun(
        "b", other.folds, other.predictions.assign(step_id=other.predictions["step_id"] + 7)
    )
    told = metric(compare_runs(as_run("a", errors), [moved]))
    assert told["method"] == "folds"
    points = 0.1 * np.array([of.mean() for of in errors.values()])
    assert told["change"] == pytest.approx(points.mean(), rel=1e-3)
    drawn = stats.bootstrap((points,), np.mean, method="percentile", rng=0).confidence_interval
    assert (told["low"], told["high"]) == pytest.approx((drawn.low, drawn.high), rel=0.02)


def test_two_folds_of_other_rows_have_no_interval_and_the_rise_decides() -> None:
    errors = dict(list(base_errors(np.random.default_rng(7)).items())[:2])
    bare = [
        ComparedRun(each.name, each.folds)
        for each in (
            as_run("a", errors),
            as_run("b", {holdout: 1.03 * of for holdout, of in errors.items()}),
        )
    ]
    found = compare_runs(bare[0], [bare[1]])
    assert metric(found)["method"] == "none"
    assert metric(found)["standing"] == "not told apart"
    assert statuses(found, "mape:+2%", "mape:+4%", "fit:+10%") == ["fail", "pass", "undecided"]


def test_a_rise_whose_interval_holds_zero_passes() -> None:
    """One fold in three rises by half: over folds that is not told apart from none."""
    errors = dict(list(base_errors(np.random.default_rng(8)).items())[:3])
    worse = dict(errors, m2=1.5 * errors["m2"])
    first, second = as_run("a", errors), as_run("b", worse)
    by_rows = compare_runs(first, [second])
    assert statuses(by_rows, "mape:+2%") == ["fail"]
    by_folds = compare_runs(ComparedRun("a", first.folds), [ComparedRun("b", second.folds)])
    assert metric(by_folds)["standing"] == "tied"
    judged = judge_gates([parse_gate("mape:+2%")], by_folds.accuracy, by_folds.speed)
    assert judged["status"].tolist() == ["pass"]
    assert "the interval holds 0" in judged["said"].iloc[0]


def test_a_fold_lost_fails_the_gate_and_leaves_both_means() -> None:
    errors = base_errors(np.random.default_rng(9))
    whole, other = as_run("a", errors), as_run("b", errors)
    failed = other.folds.copy()
    failed.loc[3, ["status", "test_mape"]] = ["failed", np.nan]
    found = compare_runs(whole, [ComparedRun("b", failed, other.predictions)])
    told = metric(found)
    assert (told["n_folds"], told["n_lost"], told["change"]) == (3, 1, 0.0)
    assert told["baseline"] == pytest.approx(whole.folds["test_mape"][:3].mean())
    judged = judge_gates([parse_gate("mape:+50%")], found.accuracy, found.speed)
    assert judged["status"].tolist() == ["fail"]
    assert "1 of the 4 folds that the baseline finished" in judged["said"].iloc[0]
    assert found.plan[["holdout", "baseline", "value"]].values.tolist() == [["m3", "ok", "failed"]]


def test_a_fold_only_one_run_planned_is_listed_and_not_judged() -> None:
    errors = base_errors(np.random.default_rng(10))
    fewer = {holdout: of for holdout, of in errors.items() if holdout != "m1"}
    found = compare_runs(as_run("a", errors), [as_run("b", fewer)])
    assert (metric(found)["n_folds"], metric(found)["n_lost"]) == (3, 0)
    assert metric(found)["method"] == "rows"
    assert found.plan["value"].tolist() == ["not planned"]
    back = compare_runs(as_run("b", fewer), [as_run("a", errors)])
    assert back.plan[["holdout", "baseline"]].values.tolist() == [["m1", "not planned"]]
    assert statuses(back, "mape:+0%") == ["pass"]


def test_folds_that_spell_alike_are_matched_in_their_order() -> None:
    first = run("a", {"x": rows(np.full(40, 10.0)), "y": rows(np.full(40, 20.0))}, holdout="half")
    second = run("b", {"x": rows(np.full(40, 10.0)), "y": rows(np.full(40, 22.0))}, holdout="half")
    found = compare_runs(first, [second])
    assert found.folds["mape"].tolist() == pytest.approx([10.0, 22.0])
    assert found.folds["baseline_mape"].tolist() == pytest.approx([10.0, 20.0])


def test_an_infinite_error_fails_and_one_that_became_finite_passes() -> None:
    errors = base_errors(np.random.default_rng(11))
    burst = dict(errors, m0=np.where(np.arange(STEPS) == 5, np.inf, errors["m0"]))
    found = compare_runs(as_run("a", errors), [as_run("b", burst)])
    assert metric(found)["standing"] == "worse"
    assert statuses(found, "mape:+2%", "mape:+1") == ["fail", "fail"]
    back = compare_runs(as_run("b", burst), [as_run("a", errors)])
    assert statuses(back, "mape:+2%", "mape:+1") == ["pass", "pass"]
    both = compare_runs(as_run("a", burst), [as_run("b", burst)])
    assert statuses(both, "mape:+2%") == ["pass"]


def timed(name: str, seconds: NDArray[np.float64]) -> ComparedRun:
    errors = {f"m{i}": np.full(40, 10.0) for i in range(len(seconds))}
    return as_run(name, errors, fit_s=seconds)


def test_the_ratio_of_times_has_the_prediction_interval_of_its_logarithms() -> None:
    random = np.random.default_rng(12)
    before = random.uniform(1, 50, 8)
    after = before * np.exp(random.normal(0.2, 0.05, 8))
    found = compare_runs(timed("a", before), [timed("b", after)])
    told = dict(found.speed[found.speed["time"] == "fit"].iloc[0])
    logs = np.log(after / before)
    ends = stats.t.interval(0.95, 7, loc=logs.mean(), scale=logs.std(ddof=1) * math.sqrt(1 + 1 / 8))
    assert told["ratio"] == pytest.approx(stats.gmean(after / before))
    assert (told["low"], told["high"]) == pytest.approx(tuple(np.exp(ends)))
    assert told["baseline_s"] == np.median(before)
    assert told["n_folds"] == 8


def test_a_slower_fit_fails_where_folds_agree_and_passes_where_the_machine_was_busy() -> None:
    before = np.linspace(1, 20, 8)
    found = compare_runs(timed("a", before), [timed("b", 1.3 * before)])
    assert statuses(found, "fit:+10%", "fit:+50%", "predict:+10%") == ["fail", "pass", "pass"]
    busy = before * np.array(BUSY)
    assert statuses(compare_runs(timed("a", before), [timed("b", busy)]), "fit:+10%") == ["pass"]


def test_reruns_under_a_load_of_their_own_rarely_fail_a_gate_on_time() -> None:
    """A whole run is slowed by as much as any of its folds is."""
    random = np.random.default_rng(13)
    before = np.linspace(1, 20, 8)
    quiet = ComparedRun("a", timed("a", before).folds)
    failed = 0
    for _ in range(40):
        load = np.exp(random.normal(0, 0.2) + random.normal(0, 0.2, 8))
        busy = ComparedRun("b", quiet.folds.assign(fit_s=before * load))
        failed += statuses(compare_runs(quiet, [busy]), "fit:+10%") == ["fail"]
    assert failed <= 1


def test_times_that_are_missing_or_zero_are_left_out() -> None:
    before = np.array([0.0, np.nan, 1.0, 1.0])
    found = compare_runs(timed("a", before), [timed("b", np.full(4, 2.0))])
    told = dict(found.speed[found.speed["time"] == "fit"].iloc[0])
    assert (told["n_folds"], told["ratio"]) == (2, pytest.approx(2.0))
    assert math.isnan(told["low"])


def test_every_run_is_set_against_the_baseline() -> None:
    errors = base_errors(np.random.default_rng(14))
    worse = {holdout: 1.2 * of for holdout, of in errors.items()}
    found = compare_runs(as_run("a", errors), [as_run("b", errors), as_run("c", worse)])
    mapes = found.accuracy[found.accuracy["metric"] == "mape"].set_index("run")
    assert mapes["standing"].to_dict() == {"b": "same", "c": "worse"}
    assert found.runs == ("b", "c")


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("mape:+2%", ("mape", 2.0, True)),
        ("mape:0.5", ("mape", 0.5, False)),
        ("p99_ape:+.5%", ("p99_ape", 0.5, True)),
        ("fit:+10%", ("fit", 10.0, True)),
    ],
)
def test_a_gate_is_read(text: str, read: tuple[str, float, bool]) -> None:
    gate = parse_gate(text)
    assert (gate.metric, gate.threshold, gate.relative) == read


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("mpae:+2%", "did you mean 'mape'"),
        ("mape", "write how much worse"),
        ("mape:-1%", "write how much worse"),
        ("mape:+nan", "write how much worse"),
        ("mape:+2%%", "write how much worse"),
        ("fit:+2", r"times compare in percent: fit:\+2%"),
        ("wall:+2%", "none of mape, wape"),
        ("", "none of mape, wape"),
    ],
)
def test_a_gate_that_cannot_be_read_is_refused(text: str, said: str) -> None:
    with pytest.raises(StudyError, match=said):
        parse_gate(text)
