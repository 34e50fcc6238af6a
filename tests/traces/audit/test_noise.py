from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from gpucv.traces.audit.noise import noise_floor, repeat_errors

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpucv.traces.audit.subject import Subject

    Make = Callable[..., pd.DataFrame]
    Subjects = Callable[..., Subject]


def best_constant(values: np.ndarray) -> float:
    """The value among `values` with the least mean |y - c| / y, by trying each."""
    return float(min(values, key=lambda c: np.mean(np.abs(values - c) / values)))


def test_a_pair_is_judged_by_its_distance() -> None:
    fitted, left_out, size = repeat_errors(np.array([7, 7, 8]), np.array([10.0, 12.0, 99.0]))
    # 1/y weighs the smaller more, so the constant is 10; each predicts the other.
    assert fitted.tolist() == [0.0, pytest.approx(2 / 12)]
    assert left_out.tolist() == [pytest.approx(0.2), pytest.approx(2 / 12)]
    assert size.tolist() == [2, 2]


@pytest.mark.parametrize("seed", range(5))
def test_errors_are_those_of_the_best_constant_found_by_trial(seed: int) -> None:
    rng = np.random.default_rng(seed)
    keys = rng.integers(0, 40, 200)
    values = rng.lognormal(0, 1, 200)
    fitted, left_out, size = repeat_errors(keys, values)
    expected_fitted, expected_left_out = [], []
    for key in np.unique(keys):
        group = np.sort(values[keys == key])
        if len(group) < 2:
            continue
        c = best_constant(group)
        expected_fitted.append(np.abs(group - c) / group)
        others = [np.delete(group, at) for at in range(len(group))]
        constants = np.array([best_constant(each) for each in others])
        expected_left_out.append(np.abs(group - constants) / group)
    np.testing.assert_allclose(fitted, np.concatenate(expected_fitted))
    np.testing.assert_allclose(left_out, np.concatenate(expected_left_out))
    assert len(size) == len(fitted)


@pytest.mark.parametrize("repeats", [2, 3, 4, 9])
def test_the_floor_is_the_noise_whatever_the_number_of_repeats(
    repeats: int, gemms: Make, subject_of: Subjects
) -> None:
    # Of 2 % Gaussian noise the mean absolute error is sqrt(2 / pi) x 2 %.
    rng = np.random.default_rng(1)
    table = pd.concat([gemms(6000)] * repeats, ignore_index=True)
    table["latency_us"] = 100 * (1 + 0.02 * rng.standard_normal(len(table)))
    judged = noise_floor(subject_of(table), "latency_us")
    assert judged is not None
    found = judged.figures["noise_floor"]
    assert found["mape"] == pytest.approx(2 * np.sqrt(2 / np.pi), rel=0.02)
    assert found["fitted_mape"] < found["mape"] < found["leave_one_out_mape"]
    assert (found["groups"], found["rows"], found["share_of_rows"]) == (6000, len(table), 1.0)
    assert judged.reason.startswith("no model of these columns goes below a MAPE of about 1.6 %")


def test_steps_repeat_where_experiment_and_batch_do(steps: Make, subject_of: Subjects) -> None:
    table = pd.concat([steps(30), steps(30, **{"step.duration_us": 22_000.0 + np.arange(30)})])
    table["kv.blocks_free_gpu"] = np.arange(60)
    judged = noise_floor(subject_of(table), "step.duration_us")
    assert judged is not None
    assert judged.figures["noise_floor"]["groups"] == 30
    apart = table.assign(experiment_id=["e1"] * 30 + ["e2"] * 30)
    judged = noise_floor(subject_of(apart), "step.duration_us")
    assert judged is not None
    assert "noise_floor" not in judged.figures


def test_other_labels_and_sizes_are_no_repeats(gemms: Make, subject_of: Subjects) -> None:
    twice = pd.concat([gemms(30), gemms(30)], ignore_index=True)
    for column, other in (("dtype", "fp8"), ("n", 1), ("gpu", "h200"), ("kernel", "b")):
        table = twice.assign(kernel="a")
        table.loc[30:, column] = other
        judged = noise_floor(subject_of(table), "latency_us")
        assert judged is not None
        assert "noise_floor" not in judged.figures, column


def test_a_recorded_deviation_is_a_second_estimate(gemms: Make, subject_of: Subjects) -> None:
    table = gemms(4, latency_us=[10.0, 10, 10, 10], latency_std_us=[0.1, 0.2, 0.4, np.nan])
    judged = noise_floor(subject_of(table), "latency_us")
    assert judged is not None
    spread = judged.figures["recorded_spread"]
    assert spread["median_percent"] == pytest.approx(2.0)
    assert spread["mean_percent"] == pytest.approx(7 / 3)
    assert spread["rows"] == 3


def test_what_a_study_does_not_hold_out_still_tells_points_apart(
    gemms: Make, subject_of: Subjects
) -> None:
    table = pd.concat([gemms(30, tp=1), gemms(30, tp=2)], ignore_index=True)
    judged = noise_floor(subject_of(table, groups=("gpu",)), "latency_us")
    assert judged is not None
    assert "noise_floor" not in judged.figures


@pytest.mark.parametrize("table_of", ["gemms", "steps"])
def test_features_tell_points_apart(
    table_of: str, request: pytest.FixtureRequest, subject_of: Subjects
) -> None:
    # A study that learns from FLOPs alone reads no shapes.
    table = request.getfixturevalue(table_of)(30).assign(flops=1e9 * (1 + np.arange(30)))
    table = table.drop(columns=["m", "n", "k"], errors="ignore")
    table[[name for name in table if name.startswith("batch.")]] = 1
    target = "latency_us" if table_of == "gemms" else "step.duration_us"
    without, features = (
        noise_floor(subject_of(table, features=features), target) for features in ((), ("flops",))
    )
    assert without is not None
    assert without.figures["noise_floor"]["rows"] == 30
    assert features is not None
    assert "noise_floor" not in features.figures
